"""The HTTP client: calls every OpenAI-compatible endpoint, remote or embedded."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, suppress
from time import monotonic
from typing import Any

import msgspec

from routemoa.clients.connections.error_words import system_reason
from routemoa.clients.connections.pool import ConnectionPool, NotConnected
from routemoa.clients.connections.response import HttpResponse, MalformedResponse
from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.clients.endpoints.placed_call import PlacedCall
from routemoa.clients.endpoints.placement import hash_prefix
from routemoa.clients.protocol import wire
from routemoa.clients.protocol.capability import refused_capability
from routemoa.clients.protocol.dialect import KEPT, apply_dialect
from routemoa.clients.protocol.dialect_learning import LEARNING_STEPS, learn_dialect, read_refusal
from routemoa.clients.protocol.reply_reader import Pieces, ReplyReader
from routemoa.clients.replies.thoughts import is_thinker
from routemoa.clients.retry import Retry, RetryPolicy, read_retry_after, with_retries
from routemoa.clients.transport.incoming import IncomingBody
from routemoa.clients.transport.passed_headers import pass_headers
from routemoa.clients.transport.timeouts import Timeouts
from routemoa.clients.transport.trace_context import trace_headers
from routemoa.clients.transport.upstream_response import UpstreamResponse, read_content_type
from routemoa.core.errors import InvalidResponse, ModelError, ModelHTTPError, ModelTimeout, QueryError, Unreachable
from routemoa.core.protocols import Runtime
from routemoa.core.tables.caps_table import ReplyCaps
from routemoa.core.text.urls import hide_userinfo
from routemoa.core.types import CHAT_ROUTE, Address, Completion, ModelSpec, Request

__all__ = ["HttpClient"]

TOOL_FIELDS = frozenset({"tools", "tool_choice"})
"""Without these a request would be another one."""
PROBE_CONNECT = 1.0
"""Seconds in which an endpoint that gave no connection has to give one when it is tried again."""


class HttpClient:
    """Calls models over HTTP.

    Keys are read from `env` for each call, go into the Authorization header, and are removed from every error. Fields
    that an endpoint refuses are learned, and left out or renamed from then on (`dialect`).

    Args:
        runtime: serves the models whose endpoint is "local".
        timeouts: of members that set no `patience` themselves.
        retries: of `stream`; in place of other members, a call is repeated once (`new_retry`).
        caps: of what is read of a reply.
        sleep: waits so many seconds between two attempts.
        jitter: a number in [0, 1] for each wait; random but in tests.
    """

    def __init__(
        self,
        runtime: Runtime | None = None,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  (frozen)
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008
        caps: ReplyCaps = ReplyCaps(),  # noqa: B008
        env: Mapping[str, str] = os.environ,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._runtime = runtime
        self._timeouts = timeouts
        self._retries, self._retries_in_place = retries, retries.in_place
        self._env = env
        self._sleep = sleep
        self._jitter = jitter
        self._caps = caps
        self._connections = ConnectionPool(caps.header_bytes)
        self.memory = MemberMemory(jitter=jitter)
        """How well the members' endpoints are, and what was learned of them."""
        self._lacks_opening: dict[str, bool] = {}
        """Model -> whether its thoughts begin without a tag, since its chat template writes that into the prompt."""

    @property
    def runtime(self) -> Runtime | None:
        """The embedded runtime, where there is one and the client is not closed."""
        return self._runtime

    async def close(self) -> None:
        """Close connections and, where there is one, the embedded runtime."""
        await self._connections.close()
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            await runtime.close()

    def new_retry(self, model: ModelSpec) -> Retry:
        """Return the attempts of a call that begins now, for a caller that may ask another member instead."""
        return self._retry(model, self._retries_in_place)

    def new_patient_retry(self, model: ModelSpec) -> Retry:
        """Return the attempts of a call that begins now, for a caller that can only wait."""
        return self._retry(model, self._retries)

    def _retry(self, model: ModelSpec, policy: RetryPolicy) -> Retry:
        deadline = monotonic() + self._timeouts.with_patience(model.patience).total
        return Retry(policy, deadline, local=model.local, sleep=self._sleep, jitter=self._jitter)

    def _times(self, model: ModelSpec) -> Timeouts:
        times = self._timeouts.with_patience(model.patience)
        fault = self.memory.breaker(model).fault
        if fault is not None and fault.connecting:  # it gave no connection before: a call that tries it again is short
            return msgspec.structs.replace(times, connect=min(times.connect, PROBE_CONNECT))
        return times

    def stream(self, model: ModelSpec, request: Request) -> Pieces:
        """Yield pieces of the answer, then one Completion; repeat the call until the first piece.

        Raises:
            ModelError: there is no answer, or its rest is lost (`produced` is set then).
            QueryError: the request holds something that JSON cannot.
        """
        retry = self.new_patient_retry(model)
        if not model.endpoints:
            return with_retries(lambda: self.attempt(model, request, retry.deadline), retry)
        call = PlacedCall(self.memory, model, hash_prefix(request.messages))

        def attempt() -> Pieces:
            return call.attempt(lambda place: self.attempt(place, request, retry.deadline))

        return with_retries(attempt, retry, moves_on=call.moves_on)

    async def attempt(self, model: ModelSpec, request: Request, deadline: float) -> Pieces:
        """Yield what one attempt of `stream` gives; `deadline` is on the clock of `monotonic()`."""
        started = monotonic()
        address = await self.address(model)
        body = wire.build_body(model, request, address.model, stream=True)
        keep = ((request.parameters.keys() & KEPT) | TOOL_FIELDS) - model.parameters.keys()
        response = await self._send_in_dialect(model, address, body, deadline, keep)
        try:
            incoming = IncomingBody(model.name, response)

            def read(idle: float) -> Awaitable[bytes]:
                return self._chunk(model, incoming, idle, deadline)

            hold = self._lacks_opening.get(model.name, is_thinker(model.model))
            reader = ReplyReader(model.name, address.key, read, self._times(model).idle, self._caps, hold=hold)
            async with aclosing(reader.read(response.media_type, started)) as pieces:
                async for piece in pieces:
                    if reader.lacks_opening:
                        self._lacks_opening[model.name] = True
                    elif isinstance(piece, Completion):
                        self._lacks_opening.setdefault(model.name, False)
                    yield piece
        finally:
            response.leave()

    async def forward(
        self,
        model: ModelSpec,
        body: Mapping[str, Any],
        deadline: float,
        added: Collection[str] = (),
        route: str = CHAT_ROUTE,
    ) -> UpstreamResponse:
        """Send a caller's `body` with the member's name and settings to a route, in one attempt; return the response.

        What the caller asked for is never left out: its refusal is the caller's to read. Fields that we `added` may be.

        Raises:
            ModelError: no response, or an HTTP error (ModelHTTPError with the endpoint's own body).
            QueryError: the body holds something that JSON cannot.
        """
        address = await self.address(model)
        if address.route != route:
            address = msgspec.structs.replace(address, route=route)
        sent = wire.apply_member_settings(model, body, address.model, route)
        keep = body.keys() - model.parameters.keys() - set(added)
        response = await self._send_in_dialect(model, address, sent, deadline, keep)
        times = self._timeouts.with_patience(model.patience)
        return UpstreamResponse(model.name, response, address.key, self._caps, times=times, deadline=deadline)

    async def address(self, model: ModelSpec) -> Address:
        """Return where a model answers (of several endpoints, the first); load a local one. Raises ModelError."""
        model = model.places[0]
        if model.local:
            if self._runtime is None:
                raise Unreachable(model.name, "no embedded runtime was given to this client; use connect(pool)")
            return await self._runtime.address(model)
        key = self._env.get(model.api_key_env, "").strip() if model.api_key_env else ""  # a file's last line end
        return Address(model.endpoint, model.model, key or None)

    async def _send_in_dialect(
        self, model: ModelSpec, address: Address, body: Mapping[str, Any], deadline: float, keep: Collection[str]
    ) -> HttpResponse:
        """Return the response to a body once its status is known to be good; it must be left.

        A body that is refused for one of its fields is sent again without that field, unless it is in `keep`.

        Raises:
            ModelError: there is no good response.
            QueryError: the body holds something that JSON cannot.
        """
        known = dialect = self.memory.dialect(model).for_route(address.route)
        for _ in range(LEARNING_STEPS):
            sent = apply_dialect(body, dialect, keep) if dialect else body
            response = await self._send(model, address, _encode_body(sent), deadline)
            if isinstance(response, ModelError):
                raise response
            if response.status < 300:
                if dialect != known:
                    self.memory.learn(model, self.memory.dialect(model) | dialect)
                return response
            try:
                error = await self._http_error(model, address, response)
            finally:
                response.leave()
            said, named = read_refusal(error.body)
            if (lack := refused_capability(sent, error.status, said)) is not None:
                self.memory.note_lack(model, lack)
                break
            is_ours = error.status in (500, 501) and "stream_options" in said  # what we added broke it
            may_learn = error.status in (400, 422) or is_ours
            learned = learn_dialect(dialect, sent, said, named, keep) if may_learn else None
            if learned is None or learned == dialect:
                break
            dialect = learned
        raise error

    async def _send(
        self, model: ModelSpec, address: Address, data: bytes, deadline: float
    ) -> HttpResponse | ModelError:
        """Return the response once its head is there, or the error.

        An error raised in here would carry the connection's own error along, and with that the headers and the key.
        """
        url = wire.route_url(address.url, address.route)
        headers = {**model.headers, **trace_headers(), "Content-Type": "application/json"}
        if model.local:  # a new connection is cheap here; a kept one may be closed just as it is used again
            headers["Connection"] = "close"
        if address.key:
            headers["Authorization"] = f"Bearer {address.key}"
        times = self._times(model)
        wait, reason = times.bound_wait(times.first_byte, "no first byte within", deadline)
        connect = min(times.connect, wait)
        try:
            return await self._connections.send("POST", url, headers, data, connect=connect, wait=wait)
        except NotConnected as e:
            if isinstance(e.why, TimeoutError):
                no_connection = reason if wait < times.connect else f"no connection within {connect:g} s"
                return ModelTimeout(model.name, no_connection, sent=False)
            return _unreachable(model, address, e.why, sent=False)
        except TimeoutError:
            return ModelTimeout(model.name, reason)
        except MalformedResponse as e:
            said = wire.one_line(f"{hide_userinfo(address.url)} does not answer in HTTP: {e}", address.key)
            return InvalidResponse(model.name, said)
        except (OSError, ValueError) as e:
            return _unreachable(model, address, e, sent=isinstance(e, OSError))

    async def _chunk(self, model: ModelSpec, incoming: IncomingBody, idle: float, deadline: float) -> bytes:
        """Read the next bytes, within `idle` seconds and the deadline; none at the end of the response."""
        wait, reason = self._times(model).bound_wait(idle, "nothing came for", deadline)
        return await incoming.read_within(wait, reason)

    async def _http_error(self, model: ModelSpec, address: Address, response: HttpResponse) -> ModelHTTPError:
        body = b""
        with suppress(Exception):  # the status says enough when the body cannot be read
            async with asyncio.timeout(self._timeouts.connect):
                body = await IncomingBody(model.name, response).read_start(self._caps.error_bytes)
        after = read_retry_after(response.headers, body) if response.status >= 400 else None
        error = wire.make_http_error(model, response.status, body, address.key, after)
        error.headers = pass_headers(response.headers.items(), address.key)
        error.content_type = read_content_type(response)
        error.is_of_chat = address.route == CHAT_ROUTE
        return error


def _unreachable(model: ModelSpec, address: Address, error: Exception, *, sent: bool) -> Unreachable:
    fix = "its process ended" if model.local else "start it, or correct `endpoint` in the pool file"
    reason = wire.one_line(f"{hide_userinfo(address.url)} cannot be reached: {system_reason(error)}", address.key)
    return Unreachable(model.name, f"{reason}; {fix}", sent=sent)


def _encode_body(body: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (ValueError, TypeError) as e:
        raise QueryError(f"the request cannot be written as JSON: {wire.one_line(str(e))}") from e
