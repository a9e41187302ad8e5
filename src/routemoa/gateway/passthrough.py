"""Passes a request on to the member of the pool that it names; each call is metered like any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec
from msgspec.structs import replace

from routemoa.clients import wire
from routemoa.clients.http import UpstreamResponse
from routemoa.clients.retry import AttemptClient, with_retries
from routemoa.core.errors import (
    AnswerInterrupted,
    InvalidResponse,
    ModelError,
    ModelHTTPError,
    ModelTimeout,
    QueryError,
)
from routemoa.core.failure_kind import KEY_STATUSES
from routemoa.core.protocols import CallRecorder
from routemoa.core.types import Limits, Message, ModelSpec, Request, Usage
from routemoa.gateway.bounds import check_bounded
from routemoa.gateway.connection import ResponseWriter
from routemoa.gateway.errors import error_response, to_failure
from routemoa.gateway.sse import encode_sse
from routemoa.gateway.usage_tap import BodyTap, EventTap, ResponseTap, tap_response
from routemoa.mixture.budget.metering import MeteredClient

__all__ = ["UNBUFFERED", "Forwarder", "PassThrough"]

UNBUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""Headers of a stream, without which proxies hold it back."""
FRAME_TOKENS = 64
"""Tokens that a chat template may add, beyond what the bytes of the body's own braces and quotes allow for."""
MILLION_TOKENS = Usage(1_000_000, 1_000_000)


class Forwarder(AttemptClient, Protocol):
    """Passes requests on to the pool's members, one attempt at a time; `HttpClient` is one."""

    def forward(
        self, model: ModelSpec, body: Mapping[str, Any], deadline: float
    ) -> AbstractAsyncContextManager[UpstreamResponse]:
        """Send a caller's body and return the response as it comes. Raises ModelError."""
        ...


class PassThrough:
    """A request for one member of the pool.

    Args:
        client: passes the request on.
        model: the member.
        body: the caller's, unchanged.
        limits: of the request, with the pool file's defaults.
        recorder: records its calls, if there is one.

    Raises:
        QueryError: there is a limit, and what the body asks for has no upper bound.
    """

    def __init__(
        self,
        client: Forwarder,
        model: ModelSpec,
        body: Mapping[str, Any],
        limits: Limits,
        recorder: CallRecorder | None,
    ) -> None:
        self._client, self._model, self._body = client, model, body
        self._metered = MeteredClient(client, limits, recorder)
        sent = wire.apply_member_settings(model, body, model.model)
        in_dollars = limits.max_cost is not None or (recorder is not None and recorder.has_budget)
        self._bounded = limits.max_output_tokens is not None or (in_dollars and model.cost(MILLION_TOKENS) != 0.0)
        if self._bounded:
            check_bounded({k: v for k, v in sent.items() if k not in model.parameters or k in ("n", "messages")})
        try:
            self._prompt = msgspec.json.encode(sent).decode()
        except (ValueError, TypeError) as e:
            raise QueryError(f"the request cannot be encoded as JSON: {wire.one_line(str(e))}") from e
        self._tapped = recorder is not None or replace(limits, stream_mode=None) != Limits()
        """Whether the response is read for its usage."""
        self._adds_usage = self._tapped and _lacks_usage(sent)
        """Whether we ask for the usage of a stream, which the caller did not."""
        self._broke_between_events = False

    async def send(self, out: ResponseWriter) -> None:
        """Pass the response on byte for byte; an error of the member too, unless it is about our key.

        Raises:
            ModelError: there is no response, or its rest is lost.
            Unaffordable: the call does not fit into what is left.
        """
        retry = self._client.new_retry(self._model)

        def attempt() -> AsyncGenerator[None, None]:
            return self._attempt(out, "retry" if retry.failures else "direct", retry.deadline)

        try:
            async for _ in with_retries(attempt, retry, self._metered.deadline.at):
                pass
        except ModelHTTPError as e:
            if out.started or e.status < 400 or e.status in KEY_STATUSES or not e.body:
                raise
            headers = {} if e.retry_after is None else {"retry-after": str(max(1, round(e.retry_after)))}
            await out.start(e.status, _content_type(e.body), headers)
            await out.write(e.body, last=True)
        except ModelError as e:
            if not (out.started and self._broke_between_events):
                raise
            response = error_response(e if isinstance(e, ModelTimeout) else AnswerInterrupted(to_failure(e)))
            await out.write(encode_sse(response.body), last=True)
        else:
            await out.write(b"", last=True)

    async def _attempt(
        self, out: ResponseWriter, purpose: Literal["direct", "retry"], deadline: float
    ) -> AsyncGenerator[None, None]:
        """Make one attempt: reserved before, settled after, ended in time; yield from when its head was written."""
        caps = {cap: self._body[cap] for cap in wire.TOKEN_LIMITS if cap in self._body}
        request = Request((Message("user", self._prompt),), caps, purpose=purpose)
        prompt_tokens = len(self._prompt.encode()) + FRAME_TOKENS
        call = await self._metered.open(self._model, request, prompt_tokens=prompt_tokens)
        tap: ResponseTap | None = None
        try:
            async with (
                asyncio.timeout(self._metered.deadline.seconds_left),
                self._client.forward(self._model, self._body_for(call.request), deadline) as response,
            ):
                if self._tapped:
                    tap = tap_response(response.content_type, call.add, drop_usage=self._adds_usage)
                async for _ in self._pass_on(response, tap, out):
                    yield
            call.complete((tap and tap.usage) or Usage())
        except (ModelError, TimeoutError) as e:
            error = e if isinstance(e, ModelError) else self._metered.deadline.timeout(self._model)
            call.fail(error)
            self._broke_between_events = isinstance(tap, EventTap)
            raise error from (None if error is e else e)
        finally:
            if tap is not None and tap.usage is not None and tap.is_complete:
                call.complete(tap.usage)
            call.close()

    async def _pass_on(
        self, response: UpstreamResponse, tap: ResponseTap | None, out: ResponseWriter
    ) -> AsyncGenerator[None, None]:
        """Write a response; its head at once, except where the body comes in one piece and may still break off."""
        if not isinstance(tap, BodyTap):
            await out.start(response.status, response.content_type, UNBUFFERED)
            yield
        async for chunk in response.chunks:
            if ready := chunk if tap is None else tap.feed(chunk):
                await _write(ready, response, out)
                yield
            if tap is not None and tap.is_broken:
                raise InvalidResponse(self._model.name, "an event of the stream is not JSON", produced=True)
        await _write(b"" if tap is None else tap.end(), response, out)

    def _body_for(self, request: Request) -> Mapping[str, Any]:
        """Return the body for the endpoint: unchanged, except for the token limit and the request for the usage."""
        body = self._body
        if self._bounded:
            limits = {k: v for k, v in request.parameters.items() if k in wire.TOKEN_LIMITS and wire.is_token_limit(v)}
            name = min(limits, key=lambda k: limits[k], default=None)
            rest = {k: v for k, v in body.items() if k not in wire.TOKEN_LIMITS}
            body = rest | ({} if name is None else {name: limits[name]})
        if self._adds_usage:
            body = {**body, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}
        return body


def _lacks_usage(sent: Mapping[str, Any]) -> bool:
    """Return whether a body asks for a stream without its usage, so that the usage may be asked for."""
    options = sent.get("stream_options")
    if options is None:
        return sent.get("stream") is True
    return sent.get("stream") is True and isinstance(options, dict) and not options.get("include_usage")


async def _write(data: bytes, response: UpstreamResponse, out: ResponseWriter) -> None:
    if not out.started:
        await out.start(response.status, response.content_type, UNBUFFERED)
    if data:
        await out.write(data)


def _content_type(body: bytes) -> str:
    """Return the content type of an error body, of which only the bytes were kept."""
    try:
        msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"
