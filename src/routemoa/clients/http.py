"""The one HTTP client: every OpenAI-compatible endpoint, remote or embedded, is called through it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from routemoa.clients import wire
from routemoa.clients.retry import RetryPolicy, is_retryable, parse_retry_after
from routemoa.clients.sessions import SessionPool, find_proxy
from routemoa.core.errors import InvalidResponse, ModelError, ModelHTTPError, ModelTimeout, QueryError, Unreachable
from routemoa.core.protocols import Runtime
from routemoa.core.types import Address, Completion, ModelSpec, Request

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpClient", "Timeouts", "UpstreamResponse"]

# Seconds that an endpoint has, after the last word of its answer, to send the usage and to end the response.
TAIL = 5.0
END = 0.2


class Timeouts(Struct, frozen=True):
    """Seconds: to connect and to the first byte (each attempt), between two pieces, and for all attempts together."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 600.0


class UpstreamResponse(Struct, frozen=True):
    """An endpoint's response as it is: pass `chunks` on byte for byte."""

    status: int
    content_type: str
    chunks: AsyncIterator[bytes]


class HttpClient:
    """Calls models over HTTP; `runtime` serves those whose endpoint is "local".

    Keys are read from `env` for each call, go into the Authorization header, and are blotted out of every error.

    Args:
        sleep: waits so many seconds between two attempts.
        jitter: a number in [0, 1] for each wait, random but in tests.
    """

    def __init__(
        self,
        runtime: Runtime | None = None,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  (frozen)
        retries: RetryPolicy = RetryPolicy(),  # noqa: B008
        env: Mapping[str, str] = os.environ,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._runtime = runtime
        self._timeouts = timeouts
        self._retries = retries
        self._env = env
        self._sleep = sleep
        self._jitter = jitter
        self._sessions = SessionPool(timeouts.connect)

    async def ready(self) -> None:
        """Load what the first call would otherwise wait for, some 80 ms, and with it every other of its event loop."""
        await self._sessions.open()

    async def close(self) -> None:
        """Close connections and, where there is one, the embedded runtime."""
        await self._sessions.close()
        if self._runtime is not None:
            await self._runtime.close()

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        """Yield pieces of text, then one Completion; retried until the first piece.

        Raises:
            ModelError: there is no answer, or its rest is lost (`produced` is set then).
            QueryError: the request holds something that JSON cannot.
        """
        deadline = self.deadline()
        failures = 0
        while True:
            begun = False
            try:
                async with aclosing(self.attempt(model, request, deadline)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                return
            except ModelError as e:
                failures += 1
                await self.wait_before_retry(model, e, failures, deadline, give_up=begun)

    @asynccontextmanager
    async def forward(
        self, model: ModelSpec, body: Mapping[str, Any], deadline: float
    ) -> AsyncGenerator[UpstreamResponse, None]:
        """Send a caller's `body` as it is, but for the member's name and settings; tried once.

        Raises:
            ModelError: no response, or an HTTP error (Refused, with the endpoint's own body).
            QueryError: the body holds something that JSON cannot.
        """
        address = await self.address(model)
        async with self._post(
            model, address, wire.apply_member_settings(model, body, address.model), deadline
        ) as response:
            chunks = self._chunks(model, response, deadline)
            async with aclosing(chunks):
                yield UpstreamResponse(response.status, response.content_type, chunks)

    def deadline(self) -> float:
        """On the clock of `monotonic()`, when a call that begins now has to be over, all attempts together."""
        return monotonic() + self._timeouts.total

    async def wait_before_retry(
        self, model: ModelSpec, error: ModelError, failures: int, deadline: float, *, give_up: bool
    ) -> None:
        """Wait before the next attempt, or raise `error` when there is to be none."""
        if give_up or failures >= self._retries.attempts or not is_retryable(error, local=model.local):
            raise error
        asked = error.retry_after if isinstance(error, ModelHTTPError) else None
        delay = self._retries.delay(failures, self._jitter(), asked)
        if monotonic() + delay >= deadline:
            raise error
        await self._sleep(delay)

    async def address(self, model: ModelSpec) -> Address:
        """Where a model answers; a local one is loaded if need be. Raises ModelError."""
        if model.local:
            if self._runtime is None:
                raise Unreachable(
                    model.name, "no embedded runtime was given to this client; use routemoa.clients.connect"
                )
            return await self._runtime.address(model)
        key = self._env.get(model.api_key_env, "").strip() if model.api_key_env else ""  # a file's last line end
        return Address(model.endpoint, model.model, key or None)

    async def attempt(
        self, model: ModelSpec, request: Request, deadline: float
    ) -> AsyncGenerator[str | Completion, None]:
        """`stream`, tried once."""
        started = monotonic()
        address = await self.address(model)
        body = wire.build_body(model, request, address.model, stream=True)
        async with self._post(model, address, body, deadline) as response:
            if response.content_type == "text/event-stream":
                async with aclosing(self._read_events(model, address, response, started, deadline)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            # An endpoint that does not stream answers in one piece.
            whole = b"".join([c async for c in self._chunks(model, response, deadline)])
        found = wire.parse_object(model.name, whole, address.key)
        completion = wire.parse_completion(found, monotonic() - started)
        if completion is None:
            said = wire.error_text(found, address.key)
            raise InvalidResponse(model.name, f"no completion in the reply: {said}")
        if completion.text:
            yield completion.text
        yield completion

    async def _read_events(
        self, model: ModelSpec, address: Address, response: aiohttp.ClientResponse, started: float, deadline: float
    ) -> AsyncGenerator[str | Completion, None]:
        parser, folded = wire.SSEParser(), wire.CompletionBuilder()
        first: float | None = None
        done = ended = False
        try:
            while not (done or ended):
                idle = TAIL if folded.finish_reason else self._timeouts.idle
                chunk = await self._chunk(model, response, min(idle, self._timeouts.idle), deadline)
                ended = not chunk
                for data in parser.feed(chunk) if chunk else parser.end():
                    if done := data.strip() == "[DONE]":
                        break
                    if not data.strip() or (ended and not isinstance(wire.decode_json(data), dict)):
                        continue  # a sign of life; an event cut in half, of which the end below tells
                    if text := folded.add(wire.parse_object(model.name, data, address.key)):
                        first = first if first is not None else monotonic() - started
                        yield text
        except ModelError as e:
            # Once the model has said that it is done, how its connection ends takes nothing from the answer.
            if not (folded.finish_reason and isinstance(e, ModelTimeout | Unreachable)):
                if first is not None and isinstance(e, Unreachable):
                    raise InvalidResponse(model.name, e.reason, produced=True) from e
                e.produced = e.produced or first is not None
                raise
        if not done and folded.finish_reason is None:
            cut = "the stream was cut off before its end"
            raise (
                InvalidResponse(model.name, cut, produced=True)
                if first is not None
                else Unreachable(model.name, cut, sent=True)
            )
        completion = folded.completion(monotonic() - started, first)
        if done:
            with suppress(ModelError):  # read to the end of the response, so that its connection can serve again
                await self._chunk(model, response, END, deadline)
        yield completion

    @asynccontextmanager
    async def _post(
        self, model: ModelSpec, address: Address, body: Mapping[str, Any], deadline: float
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The response to a call, its head read and its status checked; closed for good when left early."""
        try:
            data = msgspec.json.encode(body)
        except (ValueError, TypeError) as e:
            raise QueryError(f"the request cannot be written as JSON: {wire.one_line(str(e))}") from e
        response = await self._send(model, address, data, deadline)
        if isinstance(response, ModelError):
            raise response
        try:
            if response.status >= 300:
                raise await self._refused(model, address, response)
            yield response
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def _send(
        self, model: ModelSpec, address: Address, data: bytes, deadline: float
    ) -> aiohttp.ClientResponse | ModelError:
        """The response once its head is there. An error is returned: raised in here, it would carry the HTTP
        library's own error along, and with that the headers and the key."""
        import aiohttp

        url = wire.chat_url(address.url)
        headers = {"Content-Type": "application/json"}
        if model.local:  # a new connection costs nothing here, and a kept one may be closed just as it is used again
            headers["Connection"] = "close"
        if address.key:
            headers["Authorization"] = f"Bearer {address.key}"
        wait, late = self._patience(self._timeouts.first_byte, "no first byte within", deadline)
        try:
            async with asyncio.timeout(wait):
                session = await self._sessions.open()
                return await session.post(url, data=data, headers=headers, allow_redirects=False, proxy=find_proxy(url))
        except aiohttp.ConnectionTimeoutError:
            return ModelTimeout(model.name, f"no connection within {self._timeouts.connect:g} s")
        except TimeoutError:
            return ModelTimeout(model.name, late)
        except aiohttp.ClientResponseError as e:
            return InvalidResponse(
                model.name, wire.one_line(f"{address.url} does not answer in HTTP: {e.message}", address.key)
            )
        except (aiohttp.ClientError, OSError, ValueError) as e:
            fix = "its process ended" if model.local else "start it, or correct `endpoint` in the pool file"
            why = wire.one_line(f"{address.url} cannot be reached: {_why(e)}", address.key)
            return Unreachable(model.name, f"{why}; {fix}", sent=not isinstance(e, aiohttp.ClientConnectorError))

    def _patience(self, limit: float, late: str, deadline: float) -> tuple[float, str]:
        """How many seconds to wait now, and what to say when they are over."""
        left = max(0.0, deadline - monotonic())
        total = f"no answer within {self._timeouts.total:g} s, all attempts together"
        return (limit, f"{late} {limit:g} s") if limit < left else (left, total)

    async def _chunk(self, model: ModelSpec, response: aiohttp.ClientResponse, idle: float, deadline: float) -> bytes:
        """The next bytes, within `idle` seconds and the total; none at the end of the response."""
        import aiohttp

        wait, late = self._patience(idle, "nothing came for", deadline)
        try:
            async with asyncio.timeout(wait):
                return await response.content.readany()
        except TimeoutError as e:
            raise ModelTimeout(model.name, late) from e
        except (aiohttp.ClientError, OSError) as e:
            raise Unreachable(model.name, f"the connection was lost: {_why(e)}", sent=True) from e

    async def _chunks(
        self, model: ModelSpec, response: aiohttp.ClientResponse, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        while chunk := await self._chunk(model, response, self._timeouts.idle, deadline):
            yield chunk

    async def _refused(self, model: ModelSpec, address: Address, response: aiohttp.ClientResponse) -> ModelHTTPError:
        body = b""
        with suppress(Exception):  # the status says enough when the body cannot be read
            async with asyncio.timeout(self._timeouts.connect):
                body = await response.content.read(64 * 1024)
        after = parse_retry_after(response.headers.get("Retry-After"))
        return wire.make_http_error(model, response.status, body, address.key, after)


def _why(error: BaseException) -> str:
    """The system's own words, without addresses and class names around them."""
    number = getattr(error, "errno", None) or getattr(getattr(error, "os_error", None), "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return str(error) or type(error).__name__
