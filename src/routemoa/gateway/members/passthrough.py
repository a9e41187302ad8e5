"""Passes a request on to the member of the pool that it names; each call is metered like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from math import ceil
from typing import Any, Literal

import msgspec

from routemoa.clients.endpoints.placed_call import PlacedCall
from routemoa.clients.endpoints.placement import hash_body_prefix
from routemoa.clients.protocol import wire
from routemoa.clients.transport.upstream_response import UpstreamResponse
from routemoa.core.content.media import count_media_tokens, media_kinds, replace_media
from routemoa.core.errors import (
    AnswerInterrupted,
    ContextExceeded,
    ModelError,
    ModelHTTPError,
    ModelTimeout,
    QueryError,
)
from routemoa.core.failure_kind import KEY_STATUSES
from routemoa.core.protocols import CallRecorder
from routemoa.core.system.large_work import LARGE, run_large
from routemoa.core.types import Limits, Message, ModelSpec, Request
from routemoa.core.usage import Usage
from routemoa.gateway.chat_api.sse import encode_sse
from routemoa.gateway.failures import CoolingDown, error_response, log_failure, to_failure
from routemoa.gateway.guards.request_ids import REQUEST_ID
from routemoa.gateway.http_exchange.connection import ResponseWriter
from routemoa.gateway.members.forwarder import Forwarder
from routemoa.gateway.members.member_routes import CHAT, MemberRoute
from routemoa.gateway.members.request_fields import count_answers, error_content_type, lacks_usage, prompt_texts
from routemoa.gateway.members.usage_tap import ReplyTap
from routemoa.gateway.telemetry.request_meter import UNMETERED, RequestMeter
from routemoa.mixture.budget.context import ContextFit, fit_texts
from routemoa.mixture.budget.metered_call import MeteredCall
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.calls.admission import skip_cooling

__all__ = ["UNBUFFERED", "PassThrough"]

UNBUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""Headers of a stream, without which proxies hold it back."""
FRAME_TOKENS = 64
"""Tokens that a chat template may add, beyond what the bytes of the body's own braces and quotes allow for."""
UNLIMITED = nullcontext()
"""Of the time of an attempt."""
NO_ANSWER = {"max_tokens": 1}
"""The limit of an answer of which there is none."""


class PassThrough:
    """A request for one member of the pool.

    Args:
        client: passes the request on.
        model: the member.
        body: the caller's, unchanged.
        limits: of the request, with the pool file's defaults.
        recorder: records its calls, if there is one.
        has_own_id: the caller gave its request an id, which goes before the member's.
        route: of the endpoint; chat completions by default.
        meter: counts its calls; without a recorder nothing is added to the body for its sake.

    Raises:
        QueryError: there is a limit, and what the body asks for has no upper bound; or the member's declared context
            surely cannot hold the prompt.
    """

    def __init__(
        self,
        client: Forwarder,
        model: ModelSpec,
        body: Mapping[str, Any],
        limits: Limits,
        recorder: CallRecorder | None,
        *,
        route: MemberRoute = CHAT,
        has_own_id: bool = False,
        meter: RequestMeter = UNMETERED,
    ) -> None:
        self._client, self._model, self._body, self._route = client, model, body, route
        self._has_own_id = has_own_id
        self._metered = MeteredClient(client, limits, meter.record_calls(recorder))
        sent = wire.apply_member_settings(model, body, model.model, route.path)
        owned = model.parameters if route is CHAT else {}
        in_dollars = limits.max_cost is not None or (recorder is not None and recorder.has_budget)
        self._bounded = limits.max_output_tokens is not None or (in_dollars and not model.is_free)
        if self._bounded:
            checked = {k: v for k, v in sent.items() if k not in owned or k in ("n", "messages")} if owned else sent
            route.check(checked)
        bodies = (
            [m for m in messages if isinstance(m, dict)] if isinstance(messages := sent.get("messages"), list) else []
        )
        in_parts = any(isinstance(m.get("content"), list) for m in bodies)
        self._media_tokens = sum(map(count_media_tokens, bodies)) if in_parts else 0
        """Of the prompt's images and the like at most."""
        shown = sent
        if self._media_tokens:
            shown = {**sent, "messages": [replace_media(m) if media_kinds(m) else m for m in bodies]}
        try:
            encoded = msgspec.json.encode(shown)
            self._prompt, self._prompt_bytes = encoded.decode(), len(encoded)
        except (ValueError, TypeError) as e:
            raise QueryError(f"the request cannot be encoded as JSON: {wire.one_line(str(e))}") from e
        counted = recorder is not None or limits.are_set
        self._answers: int | None = 1  # of what was checked
        if not self._bounded:
            self._answers = count_answers({k: v for k, v in sent.items() if k not in owned}, route)
        self._adds_usage = counted and lacks_usage(sent)
        """Whether we ask for the usage of a stream, which the caller did not."""
        self._wants_stream = sent.get("stream") is True
        self._has_passed = False
        """Whether anything of the member's was passed on."""
        self._is_framed = False
        """Whether its reply in one piece is passed on within a stream, whose head was sent before it came."""
        self._added_fields = ("stream_options",) if self._adds_usage else ()
        if model.context is not None and fit_texts(model.context, prompt_texts(sent)) is ContextFit.NEVER:
            raise ContextExceeded(f"{model.name} holds {model.context:,} tokens", "messages")
        self._broke_between_events = False
        self._error_passed = False
        """Whether the endpoint's own error event was passed on."""

    @property
    def asks_for_stream(self) -> bool:
        """Return whether a stream was asked for."""
        return self._wants_stream

    @property
    def is_silent_stream(self) -> bool:
        """Return whether a stream was asked for and nothing of the member's was passed on yet."""
        return self._wants_stream and not self._has_passed

    async def send(self, out: ResponseWriter) -> None:
        """Pass the response on byte for byte; an error of the member too, unless it is about our key.

        An error within a response whose status is good gets a status of its own, while nothing has been sent.

        Raises:
            ModelError: there is no response, or its rest is lost.
            Unaffordable: the call does not fit into what is left.
            CoolingDown: the member is left alone for a while after failures.
        """
        memory = self._metered.memory
        if (ticket := memory.acquire(self._model)) is None:  # there is no other to ask, and no waiting here
            raise CoolingDown(skip_cooling(self._model, memory))
        try:
            await self._send(out)
        finally:
            ticket.close()

    async def _send(self, out: ResponseWriter) -> None:
        try:
            await self._try(out)
        except ModelHTTPError as e:
            if self._error_passed:
                log_failure(e)
                await out.write(b"", last=True)
                return
            if out.started or e.status < 400 or e.status in KEY_STATUSES or not e.body:
                raise
            headers = self._passed_headers(e.headers)
            if e.retry_after is not None:
                headers["retry-after"] = str(max(1, ceil(e.retry_after)))
            if e.retried or self._metered.memory.breaker(self._model).openings > 1:  # it fails again and again
                headers["x-should-retry"] = "false"
            await out.respond(e.status, error_content_type(e), e.body, headers)
        except ModelError as e:
            if not (self._has_passed and self._broke_between_events):
                raise
            response = error_response(e if isinstance(e, ModelTimeout) else AnswerInterrupted(to_failure(e)))
            await out.write(encode_sse(response.body), last=True)
        else:
            await out.write(b"", last=True)

    async def _try(self, out: ResponseWriter) -> None:
        """Make attempts until one succeeds, or fails when a part of it was passed on."""
        retry = self._client.new_retry(self._model)
        placed = None
        if self._model.endpoints:
            placed = PlacedCall(self._metered.memory, self._model, hash_body_prefix(self._body))
        while True:
            again = retry.failures or (placed is not None and placed.failures)
            try:
                purpose: Literal["direct", "retry"] = "retry" if again else "direct"
                if placed is None:
                    await self._attempt(self._model, out, purpose, retry.deadline)
                    return
                with placed.take_place() as place:
                    await self._attempt(place, out, purpose, retry.deadline)
                return
            except ModelError as e:
                if self._has_passed:
                    raise
                await retry.recover(e, self._metered.deadline.at, None if placed is None else placed.moves_on)

    async def _attempt(
        self, place: ModelSpec, out: ResponseWriter, purpose: Literal["direct", "retry"], deadline: float
    ) -> None:
        """Make one attempt: reserved before, settled after, ended in time. `place` is the member at an endpoint."""
        writes = self._route.writes
        caps = {cap: self._body[cap] for cap in wire.TOKEN_LIMITS if cap in self._body} if writes else NO_ANSWER
        request = Request((Message("user", self._prompt),), caps, purpose=purpose)
        prompt_tokens = self._prompt_bytes + self._media_tokens + FRAME_TOKENS
        call = await self._metered.open(place, request, prompt_tokens=prompt_tokens, answers=self._answers)
        tap: ReplyTap | None = None
        is_complete = False
        try:
            seconds_left = self._metered.deadline.seconds_left
            async with UNLIMITED if seconds_left is None else asyncio.timeout(seconds_left):
                body = self._body_for(call.request)
                response = await self._client.forward(place, body, deadline, self._added_fields, self._route.path)
                try:
                    tap = ReplyTap(
                        self._model.name,
                        response.content_type,
                        call.add,
                        drop_usage=self._adds_usage,
                        caps=response.caps,
                    )
                    await self._pass_on(response, tap, out, call)
                finally:
                    response.close()
            usage, is_complete = tap.usage, True
            call.complete(usage or Usage(), has_answered=writes)
        except (ModelError, TimeoutError) as e:
            error = e if isinstance(e, ModelError) else self._metered.deadline.timeout(self._model)
            call.fail(error)
            self._broke_between_events = tap is not None and tap.is_stream
            raise error from (None if error is e else e)
        finally:
            if not is_complete and tap is not None and tap.is_complete and (usage := tap.usage) is not None:
                call.complete(usage, has_answered=writes)
            call.close()

    async def _pass_on(self, response: UpstreamResponse, tap: ReplyTap, out: ResponseWriter, call: MeteredCall) -> None:
        """Write a response, from the first bytes on that are no error. Raises ModelError where it is or ends as one."""
        while chunk := await response.read():
            ends_large = tap.is_stream and tap.waiting_bytes > LARGE and (b"\n" in chunk or b"\r" in chunk)
            ready = await run_large(tap.feed, chunk) if ends_large else tap.feed(chunk)
            error = tap.error
            if error is not None and not self._has_passed:
                raise error
            if ready:
                await self._write(ready, response, tap, out)
                call.answered()
            if error is not None:
                self._error_passed = isinstance(error, ModelHTTPError)
                raise error
        rest = await run_large(tap.end) if tap.waiting_bytes > LARGE else tap.end()
        if tap.error is None and tap.is_complete_body and not out.started:
            await self._write_whole(rest, response, tap, out)
        elif tap.error is None or self._has_passed:
            await self._write(rest, response, tap, out)
        if tap.error is not None:
            raise tap.error
        if self._is_framed:
            await out.write(b"\n\ndata: [DONE]\n\n")

    async def _write(self, data: bytes, response: UpstreamResponse, tap: ReplyTap, out: ResponseWriter) -> None:
        if not self._has_passed:
            self._has_passed = True  # from here on no comment of ours is written
            self._is_framed = out.started and not tap.is_stream
            headers = {**UNBUFFERED, **self._passed_headers(response.headers)}
            await out.start(response.status, tap.content_type, headers)
            data = b"data: " + data if self._is_framed else data
        if data:
            await out.write(data.replace(b"\r", b" ").replace(b"\n", b" ") if self._is_framed else data)

    async def _write_whole(self, data: bytes, response: UpstreamResponse, tap: ReplyTap, out: ResponseWriter) -> None:
        """Write a response of which nothing was passed on before, in one piece."""
        self._has_passed = True
        headers = {**UNBUFFERED, **self._passed_headers(response.headers)}
        await out.respond(response.status, tap.content_type, data, headers)

    def _passed_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the member's headers for the caller; its request id gives way to one that the caller chose."""
        return {name: value for name, value in headers.items() if name != REQUEST_ID or not self._has_own_id}

    def _body_for(self, request: Request) -> Mapping[str, Any]:
        """Return the body for the endpoint: unchanged, except for the token limit and the request for the usage."""
        body = self._body
        if self._bounded and self._route.writes and request.parameters:
            rest, limit, name = dict(body), None, None
            for each in wire.TOKEN_LIMITS:
                rest.pop(each, None)
                value = request.parameters.get(each)
                if wire.is_token_limit(value) and (limit is None or value < limit):
                    limit, name = value, each
            if name is not None:  # before chats, there was but one name for it
                rest[name if self._route is CHAT else "max_tokens"] = limit
            body = rest
        if self._adds_usage:
            body = {**body, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}
        return body
