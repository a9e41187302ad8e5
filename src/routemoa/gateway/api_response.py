"""Sends the response to one request: an answer whole or streamed, a member's response, or an error."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import aclosing

from routemoa.core.protocols import CallRecorder, Method
from routemoa.core.types import Query, StreamMode
from routemoa.gateway.access.caller import Caller
from routemoa.gateway.api import AnswerEncoder, Api, ApiRequest
from routemoa.gateway.chat_api.responses import ChatCompletion
from routemoa.gateway.chat_api.sse import KEEP_ALIVE_COMMENT, encode_sse
from routemoa.gateway.failures import error_response
from routemoa.gateway.http_exchange.connection import ResponseWriter
from routemoa.gateway.members.passthrough import UNBUFFERED, PassThrough
from routemoa.gateway.server_state import ServerState
from routemoa.gateway.telemetry.request_meter import RequestMeter

__all__ = ["ApiResponse"]

EVENT_STREAM = "text/event-stream; charset=utf-8"


class ApiResponse:
    """The response to one request: whole, streamed, passed through, or an error."""

    def __init__(
        self,
        writer: ResponseWriter,
        api: Api,
        state: ServerState,
        fingerprint: str,
        meter: RequestMeter,
    ) -> None:
        self._writer = writer
        self._state = state
        self.meter = meter
        self._api = api
        self._fingerprint = fingerprint
        self._has_started_stream = False
        """Whether we sent the head of a stream."""
        self._encoder: AnswerEncoder | None = None
        """Of the stream, where the request asks a method for one."""
        self._passed_through: PassThrough | None = None

    async def send_keep_alive(self) -> None:
        """Show that the connection is alive; a stream that has been silent so long begins with its head.

        From then on an error is the stream's last event and has no status of its own. A response in one piece keeps its
        status honest and stays silent.
        """
        passed = self._passed_through
        if self._encoder is not None or (passed is not None and passed.is_silent_stream):
            await self._start_stream()
        if self._is_own_stream:
            await self._writer.write(KEEP_ALIVE_COMMENT if self._encoder is None else self._encoder.encode_keep_alive())

    async def send_whole(self, method: Method, query: Query, request: ApiRequest, caller: Caller) -> None:
        """Send a method's answer in one piece."""
        completion = ChatCompletion(method.name, fingerprint=self._fingerprint, ignored=request.chat.ignored)
        async with aclosing(method.stream(query, self._new_recorder(method, caller))) as events:
            async for event in events:
                completion.add(event)
        _check_complete(completion)
        self.meter.note_answer(completion.answer.trace, completion.finish_reason)
        self._state.history.keep(completion, request, caller.name)
        await self._state.conversations.remember(completion.answer, caller.name)
        await caller.wait_until_settled()
        await self._writer.json(200, request.to_body(completion))

    async def send_stream(self, method: Method, query: Query, request: ApiRequest, caller: Caller) -> None:
        """Send a method's answer as it is written.

        The status waits for the first piece, or for the first comment, so that an early failure still gets its own.
        """
        mode: StreamMode = query.limits.stream_mode or "final"
        completion = ChatCompletion(method.name, mode, self._fingerprint, request.chat.ignored)
        encoder = self._encoder = request.new_encoder(completion)
        async with aclosing(method.stream(query, self._new_recorder(method, caller))) as events:
            async for event in events:
                if data := encoder.encode_event(event):
                    await self._start_stream()
                    await self._writer.write(data)
        _check_complete(completion)
        self.meter.note_answer(completion.answer.trace, completion.finish_reason)
        self._state.history.keep(completion, request, caller.name)
        await self._state.conversations.remember(completion.answer, caller.name)
        await self._start_stream()
        await self._writer.write(encoder.encode_end(), last=True)

    def _new_recorder(self, method: Method, caller: Caller) -> CallRecorder | None:
        return self.meter.record_calls(caller.new_recorder(method.name))

    @property
    def is_stream(self) -> bool:
        """Return whether a stream was sent."""
        passed = self._passed_through
        return self._encoder is not None or (passed is not None and passed.asks_for_stream)

    def pass_through(self, request: PassThrough) -> Awaitable[None]:
        """Send the response of a model of the pool."""
        self._passed_through = request
        return request.send(self._writer)

    async def send_error(self, error: Exception) -> None:
        """Send an error as a response, or as the last event of a stream that has started."""
        response = error_response(error)
        if not self._writer.started:
            await self._writer.json(response.status, self._api.shape_error(response), response.headers)
        elif self._is_own_stream:
            encoder = self._encoder
            data = encode_sse(response.body) if encoder is None else encoder.encode_error(response)
            await self._writer.write(data, last=True)
        # Else a passed-through response broke off: left unfinished, it makes the server close the connection, as the
        # endpoint closed its own.

    @property
    def _is_own_stream(self) -> bool:
        """Return whether our comments and error events may go into the stream: it holds nothing of a member's."""
        passed = self._passed_through
        return self._has_started_stream and (passed is None or passed.is_silent_stream)

    async def _start_stream(self) -> None:
        if not self._writer.started:
            await self._writer.start(200, EVENT_STREAM, UNBUFFERED)
            self._has_started_stream = True


def _check_complete(completion: ChatCompletion) -> None:
    if not completion.is_complete:
        raise RuntimeError("the method ended without Done")
