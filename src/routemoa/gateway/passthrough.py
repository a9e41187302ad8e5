"""A member of the pool asked for by its name: its own response passed on, the call paid for as any other is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from routemoa.clients import wire
from routemoa.clients.http import Forwarded
from routemoa.core.errors import Garbled, ModelError, QueryError, Refused, TimedOut
from routemoa.core.protocols import Client, Patient, Tab
from routemoa.core.types import Contract, Failure, Message, ModelSpec, Purpose, Request, Usage
from routemoa.gateway.bounds import check_bounded
from routemoa.gateway.connection import Outgoing
from routemoa.gateway.errors import Interrupted, refusal
from routemoa.gateway.sse import sse
from routemoa.gateway.usage_tap import Events, Watch, Whole, watch
from routemoa.mixture.budget.metering import Desk, Metered, Tries

__all__ = ["UNBUFFERED", "Direct", "Forwarder"]

UNBUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # proxies hold streams back otherwise
KEPT_BACK = {401, 403}  # an endpoint refused our operator's key; that is not the caller's 401
FRAME = 64  # tokens that a chat template may add to what the body's own braces and quotes stand for
MILLION = Usage(1_000_000, 1_000_000)


class Forwarder(Client, Patient, Protocol):
    """Passes requests on to the pool's members, an attempt at a time; the HTTP client is one."""

    def attempt_forward(
        self, model: ModelSpec, body: Mapping[str, Any], deadline: float
    ) -> AbstractAsyncContextManager[Forwarded]:
        """The response to a caller's body, to be passed on as it comes; raise ModelError."""
        ...


class Direct:
    """One such request.

    Args:
        contract: what it may take, the pool file's defaults included.
        tab: whom its calls are put down to, if anybody.

    Raises:
        QueryError: what it asks for cannot be bounded, and there is a limit.
    """

    def __init__(
        self, client: Forwarder, model: ModelSpec, body: Mapping[str, Any], contract: Contract, tab: Tab | None
    ) -> None:
        self._client, self._model, self._body = client, model, body
        self._desk = Desk(client, contract, tab)
        self._watched = tab is not None or replace(contract, stream_mode=None) != Contract()
        in_dollars = contract.max_cost is not None or (tab is not None and tab.limited)
        self._limited = contract.max_output_tokens is not None or (in_dollars and model.cost(MILLION) != 0.0)
        sent = wire.overlay(model, body, model.model)
        if self._limited:
            check_bounded({k: v for k, v in sent.items() if k not in model.parameters or k in ("n", "messages")})
        try:
            self._prompt = msgspec.json.encode(sent).decode()
        except (ValueError, TypeError) as e:
            raise QueryError(f"the request cannot be written as JSON: {wire.clean(str(e))}") from e
        self._between_events = False  # it broke off, and what went on by then is whole events
        options = sent.get("stream_options")
        asked = isinstance(options, dict) and bool(options.get("include_usage"))
        self._adds_usage = self._watched and sent.get("stream") is True and not asked
        self._adds_usage = self._adds_usage and (options is None or isinstance(options, dict))

    async def send(self, out: Outgoing) -> None:
        """Pass the response on byte for byte; what the member refuses is passed on too, unless it speaks of our key.

        Raises:
            ModelError: there is no response, or its rest is lost.
            Unaffordable: the call does not fit into what is left.
        """
        try:
            await self._try_again_and_again(out)
        except Refused as e:
            if out.begun or e.status < 400 or e.status in KEPT_BACK or not e.body:
                raise
            wait = {} if e.retry_after is None else {"retry-after": str(max(1, round(e.retry_after)))}
            await out.begin(e.status, _kind(e.body), wait)
            await out.write(e.body, last=True)
        except ModelError as e:
            if not (out.begun and self._between_events):
                raise
            told = refusal(e if isinstance(e, TimedOut) else Interrupted(_failure(e)))
            await out.write(sse(told.body), last=True)
        else:
            await out.write(b"", last=True)

    async def _try_again_and_again(self, out: Outgoing) -> None:
        tries = Tries(self._desk, self._client, self._model)
        while True:
            try:
                await self._attempt(out, tries.purpose("direct"), tries.total)
                return
            except ModelError as e:
                await tries.failed(e, give_up=out.begun)

    async def _attempt(self, out: Outgoing, purpose: Purpose, total: float) -> None:
        """One attempt, reserved before, settled after, ended in time."""
        caps = {cap: self._body[cap] for cap in wire.CAPS if cap in self._body}
        request = Request((Message("user", self._prompt),), caps, purpose=purpose)
        metered = await Metered.open(self._desk, self._model, request, read=len(self._prompt.encode()) + FRAME)
        watched: Watch | None = None
        try:
            async with (
                asyncio.timeout(self._desk.seconds_left),
                self._client.attempt_forward(self._model, self._sent(metered.request), total) as response,
            ):
                if self._watched:
                    watched = watch(response.content_type, metered.take, drop_usage=self._adds_usage)
                await self._pass(response, watched, out)
            metered.count((watched and watched.usage) or Usage())
        except ModelError as e:
            metered.fail(e)
            self._between_events = isinstance(watched, Events)
            raise
        except TimeoutError as e:
            late = self._desk.late(self._model)
            metered.fail(late)
            self._between_events = isinstance(watched, Events)
            raise late from e
        finally:
            if watched is not None and watched.usage is not None and watched.whole:
                metered.count(watched.usage)
            metered.close()

    async def _pass(self, response: Forwarded, watched: Watch | None, out: Outgoing) -> None:
        """Pass a response on: the head at once, but of one in one piece, whose body may still break off."""
        if not isinstance(watched, Whole):
            await out.begin(response.status, response.content_type, UNBUFFERED)
        async for chunk in response.chunks:
            if ready := chunk if watched is None else watched.feed(chunk):
                await _write(ready, response, out)
            if watched is not None and watched.broken:
                raise Garbled(self._model.name, "an event of the stream is no JSON", produced=True)
        rest = b"" if watched is None else watched.end()
        await _write(rest, response, out)

    def _sent(self, request: Request) -> Mapping[str, Any]:
        """The body for the endpoint: as it came, but for the limit of its answer and the wish to have it counted."""
        body = self._body
        if self._limited:
            caps = {k: v for k, v in request.parameters.items() if k in wire.CAPS and wire.is_cap(v)}
            name = min(caps, key=lambda k: caps[k], default=None)
            body = {k: v for k, v in body.items() if k not in wire.CAPS} | ({} if name is None else {name: caps[name]})
        if self._adds_usage:
            body = {**body, "stream_options": {**(body.get("stream_options") or {}), "include_usage": True}}
        return body


async def _write(data: bytes, response: Forwarded, out: Outgoing) -> None:
    if not out.begun:
        await out.begin(response.status, response.content_type, UNBUFFERED)
    if data:
        await out.write(data)


def _failure(error: ModelError) -> Failure:
    return Failure(error.model, error.reason, type(error).__name__, Usage(), None, None)


def _kind(body: bytes) -> str:
    """The content type of an error body; an error's record keeps only its bytes."""
    try:
        msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"
