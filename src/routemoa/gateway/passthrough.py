"""A member of the pool asked for by its name: its own response passed on, the call paid for as any other is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from routemoa.clients import wire
from routemoa.clients.http import UpstreamResponse
from routemoa.core.errors import InvalidResponse, ModelError, ModelHTTPError, ModelTimeout, QueryError
from routemoa.core.protocols import CallRecorder, Client, Patient
from routemoa.core.trace import Failure
from routemoa.core.types import Limits, Message, ModelSpec, Purpose, Request, Usage
from routemoa.gateway.bounds import check_bounded
from routemoa.gateway.connection import ResponseWriter
from routemoa.gateway.errors import Interrupted, error_response
from routemoa.gateway.sse import encode_sse
from routemoa.gateway.usage_tap import BodyTap, EventTap, ResponseTap, tap_response
from routemoa.mixture.budget.metering import MeteredCall, MeteredClient, Tries

__all__ = ["UNBUFFERED", "Forwarder", "PassThrough"]

UNBUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # proxies hold streams back otherwise
KEPT_BACK = {401, 403}  # an endpoint refused our operator's key; that is not the caller's 401
FRAME = 64  # tokens that a chat template may add to what the body's own braces and quotes stand for
MILLION = Usage(1_000_000, 1_000_000)


class Forwarder(Client, Patient, Protocol):
    """Passes requests on to the pool's members, an attempt at a time; the HTTP client is one."""

    def forward(
        self, model: ModelSpec, body: Mapping[str, Any], deadline: float
    ) -> AbstractAsyncContextManager[UpstreamResponse]:
        """The response to a caller's body, to be passed on as it comes; raise ModelError."""
        ...


class PassThrough:
    """One such request.

    Args:
        contract: what it may take, the pool file's defaults included.
        tab: whom its calls are put down to, if anybody.

    Raises:
        QueryError: what it asks for cannot be bounded, and there is a limit.
    """

    def __init__(
        self, client: Forwarder, model: ModelSpec, body: Mapping[str, Any], contract: Limits, tab: CallRecorder | None
    ) -> None:
        self._client, self._model, self._body = client, model, body
        self._desk = MeteredClient(client, contract, tab)
        self._watched = tab is not None or replace(contract, stream_mode=None) != Limits()
        in_dollars = contract.max_cost is not None or (tab is not None and tab.has_budget)
        self._limited = contract.max_output_tokens is not None or (in_dollars and model.cost(MILLION) != 0.0)
        sent = wire.apply_member_settings(model, body, model.model)
        if self._limited:
            check_bounded({k: v for k, v in sent.items() if k not in model.parameters or k in ("n", "messages")})
        try:
            self._prompt = msgspec.json.encode(sent).decode()
        except (ValueError, TypeError) as e:
            raise QueryError(f"the request cannot be written as JSON: {wire.one_line(str(e))}") from e
        self._between_events = False  # it broke off, and what went on by then is whole events
        options = sent.get("stream_options")
        asked = isinstance(options, dict) and bool(options.get("include_usage"))
        self._adds_usage = self._watched and sent.get("stream") is True and not asked
        self._adds_usage = self._adds_usage and (options is None or isinstance(options, dict))

    async def send(self, out: ResponseWriter) -> None:
        """Pass the response on byte for byte; what the member refuses is passed on too, unless it speaks of our key.

        Raises:
            ModelError: there is no response, or its rest is lost.
            Unaffordable: the call does not fit into what is left.
        """
        try:
            await self._try_again_and_again(out)
        except ModelHTTPError as e:
            if out.started or e.status < 400 or e.status in KEPT_BACK or not e.body:
                raise
            wait = {} if e.retry_after is None else {"retry-after": str(max(1, round(e.retry_after)))}
            await out.start(e.status, _kind(e.body), wait)
            await out.write(e.body, last=True)
        except ModelError as e:
            if not (out.started and self._between_events):
                raise
            told = error_response(e if isinstance(e, ModelTimeout) else Interrupted(_failure(e)))
            await out.write(encode_sse(told.body), last=True)
        else:
            await out.write(b"", last=True)

    async def _try_again_and_again(self, out: ResponseWriter) -> None:
        tries = Tries(self._desk, self._client, self._model)
        while True:
            try:
                await self._attempt(out, tries.purpose("direct"), tries.total)
                return
            except ModelError as e:
                await tries.failed(e, give_up=out.started)

    async def _attempt(self, out: ResponseWriter, purpose: Purpose, total: float) -> None:
        """One attempt, reserved before, settled after, ended in time."""
        caps = {cap: self._body[cap] for cap in wire.TOKEN_LIMITS if cap in self._body}
        request = Request((Message("user", self._prompt),), caps, purpose=purpose)
        metered = await MeteredCall.open(self._desk, self._model, request, read=len(self._prompt.encode()) + FRAME)
        watched: ResponseTap | None = None
        try:
            async with (
                asyncio.timeout(self._desk.seconds_left),
                self._client.forward(self._model, self._sent(metered.request), total) as response,
            ):
                if self._watched:
                    watched = tap_response(response.content_type, metered.take, drop_usage=self._adds_usage)
                await self._pass(response, watched, out)
            metered.count((watched and watched.usage) or Usage())
        except ModelError as e:
            metered.fail(e)
            self._between_events = isinstance(watched, EventTap)
            raise
        except TimeoutError as e:
            late = self._desk.late(self._model)
            metered.fail(late)
            self._between_events = isinstance(watched, EventTap)
            raise late from e
        finally:
            if watched is not None and watched.usage is not None and watched.is_complete:
                metered.count(watched.usage)
            metered.close()

    async def _pass(self, response: UpstreamResponse, watched: ResponseTap | None, out: ResponseWriter) -> None:
        """Pass a response on: the head at once, but of one in one piece, whose body may still break off."""
        if not isinstance(watched, BodyTap):
            await out.start(response.status, response.content_type, UNBUFFERED)
        async for chunk in response.chunks:
            if ready := chunk if watched is None else watched.feed(chunk):
                await _write(ready, response, out)
            if watched is not None and watched.is_broken:
                raise InvalidResponse(self._model.name, "an event of the stream is no JSON", produced=True)
        rest = b"" if watched is None else watched.end()
        await _write(rest, response, out)

    def _sent(self, request: Request) -> Mapping[str, Any]:
        """The body for the endpoint: as it came, but for the limit of its answer and the wish to have it counted."""
        body = self._body
        if self._limited:
            caps = {k: v for k, v in request.parameters.items() if k in wire.TOKEN_LIMITS and wire.is_token_limit(v)}
            name = min(caps, key=lambda k: caps[k], default=None)
            body = {k: v for k, v in body.items() if k not in wire.TOKEN_LIMITS} | (
                {} if name is None else {name: caps[name]}
            )
        if self._adds_usage:
            body = {**body, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}
        return body


async def _write(data: bytes, response: UpstreamResponse, out: ResponseWriter) -> None:
    if not out.started:
        await out.start(response.status, response.content_type, UNBUFFERED)
    if data:
        await out.write(data)


def _failure(error: ModelError) -> Failure:
    return Failure(error.model, error.reason, error.kind, Usage(), None, None)


def _kind(body: bytes) -> str:
    """The content type of an error body; an error's record keeps only its bytes."""
    try:
        msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"
