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

from routemoa import wire
from routemoa.errors import Garbled, ModelError, Refused, TimedOut, Unreachable
from routemoa.protocols import Runtime
from routemoa.retry import Retries, retry_after, worth_retrying
from routemoa.sessions import Sessions, proxy
from routemoa.types import Address, Completion, ModelSpec, Request

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Forwarded", "HttpClient", "Timeouts"]

HINTS = {
    401: "check the key in {key}",
    403: "check the key in {key} and what it may use",
    404: "check `endpoint` and `model` in the pool file",
}


class Timeouts(Struct, frozen=True):
    """Seconds: to connect and to the first byte (each attempt), between two pieces, and for all attempts together."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 600.0


class Forwarded(Struct, frozen=True):
    """An endpoint's response as it is: pass `chunks` on byte for byte."""

    status: int
    content_type: str
    chunks: AsyncIterator[bytes]


class HttpClient:
    """Calls models over HTTP; `runtime` serves those whose endpoint is "local".

    Keys are read from `env` for each call, go into the Authorization header, and are blotted out of every error.
    """

    def __init__(
        self,
        runtime: Runtime | None = None,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  (frozen)
        retries: Retries = Retries(),  # noqa: B008
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
        self._sessions = Sessions(timeouts.connect)

    async def close(self) -> None:
        """Close connections and, where there is one, the embedded runtime."""
        await self._sessions.close()
        if self._runtime is not None:
            await self._runtime.close()

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        """Yield pieces of text, then one Completion; retried until the first piece. Raises ModelError."""
        deadline = monotonic() + self._timeouts.total
        failures = 0
        while True:
            begun = False
            try:
                async with aclosing(self._attempt(model, request, deadline)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                return
            except ModelError as e:
                failures += 1
                await self._pause(model, e, failures, deadline, give_up=begun)

    @asynccontextmanager
    async def forward(self, model: ModelSpec, body: Mapping[str, Any]) -> AsyncGenerator[Forwarded, None]:
        """Send a caller's `body` as it is, but for the member's name and settings; retried until the response's head.

        Raises:
            ModelError: no response, or an HTTP error (Refused, with the endpoint's own body).
        """
        deadline = monotonic() + self._timeouts.total
        failures = 0
        begun = False
        while True:
            try:
                address = await self._address(model)
                async with self._post(model, address, wire.overlay(model, body, address.model), deadline) as response:
                    begun = True
                    chunks = self._chunks(model, response, deadline)
                    async with aclosing(chunks):
                        yield Forwarded(response.status, response.content_type, chunks)
                return
            except ModelError as e:
                failures += 1
                await self._pause(model, e, failures, deadline, give_up=begun)

    async def _pause(
        self, model: ModelSpec, error: ModelError, failures: int, deadline: float, *, give_up: bool
    ) -> None:
        """Wait before the next attempt, or raise `error` when there is to be none."""
        if give_up or failures >= self._retries.attempts or not worth_retrying(error, local=model.local):
            raise error
        asked = error.retry_after if isinstance(error, Refused) else None
        delay = self._retries.delay(failures, self._jitter(), asked)
        if monotonic() + delay >= deadline:
            raise error
        await self._sleep(delay)

    async def _address(self, model: ModelSpec) -> Address:
        if model.local:
            if self._runtime is None:
                raise Unreachable(model.name, "no embedded runtime was given to this client; use routemoa.connect")
            return await self._runtime.address(model)
        return Address(model.endpoint, model.model, self._env.get(model.api_key_env) if model.api_key_env else None)

    async def _attempt(
        self, model: ModelSpec, request: Request, deadline: float
    ) -> AsyncGenerator[str | Completion, None]:
        started = monotonic()
        address = await self._address(model)
        body = wire.request_body(model, request, address.model, stream=True)
        async with self._post(model, address, body, deadline) as response:
            if response.content_type == "text/event-stream":
                async with aclosing(self._read_events(model, address, response, started, deadline)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            # An endpoint that does not stream answers in one piece.
            whole = b"".join([c async for c in self._chunks(model, response, deadline)])
        completion = wire.read_completion(_object(model, address, whole), monotonic() - started)
        if completion is None:
            reason = _clean(f"no completion in the reply: {wire.error_text(wire.decode(whole))}", address)
            raise Garbled(model.name, reason)
        if completion.text:
            yield completion.text
        yield completion

    async def _read_events(
        self, model: ModelSpec, address: Address, response: aiohttp.ClientResponse, started: float, deadline: float
    ) -> AsyncGenerator[str | Completion, None]:
        parser, folded = wire.EventParser(), wire.StreamedCompletion()
        first: float | None = None
        done = False
        try:
            async with aclosing(self._chunks(model, response, deadline)) as chunks:
                async for chunk in _then_end(chunks):
                    for data in parser.end() if chunk is None else parser.feed(chunk):
                        if done or (done := data.strip() == "[DONE]"):
                            continue
                        event = _object(model, address, data)
                        if "error" in event:
                            raise _refused_inside(model, address, event)
                        if text := folded.add(event):
                            first = first if first is not None else monotonic() - started
                            yield text
        except ModelError as e:
            e.produced = e.produced or first is not None
            raise
        if not done and folded.finish_reason is None:
            cut = "the stream was cut off before its end"
            raise Garbled(model.name, cut, produced=True) if first is not None else Unreachable(model.name, cut)
        yield folded.completion(monotonic() - started, first)

    @asynccontextmanager
    async def _post(
        self, model: ModelSpec, address: Address, body: Mapping[str, Any], deadline: float
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The response to a call, its head read and its status checked; closed for good when left early."""
        import aiohttp

        url = wire.chat_url(address.url)
        headers = {"Content-Type": "application/json"}
        if model.local:  # a new connection costs nothing here, and a kept one may be closed just as it is used again
            headers["Connection"] = "close"
        if address.key:
            headers["Authorization"] = f"Bearer {address.key}"
        wait = min(self._timeouts.first_byte, deadline - monotonic())
        try:
            async with asyncio.timeout(wait):
                session = await self._sessions.open()
                data = msgspec.json.encode(body)
                response = await session.post(url, data=data, headers=headers, allow_redirects=False, proxy=proxy(url))
        except TimeoutError as e:
            raise TimedOut(model.name, _timeout_reason(e, wait, self._timeouts.connect)) from e
        except (aiohttp.ClientError, OSError, ValueError) as e:
            fix = "its process ended" if model.local else "start it, or correct `endpoint` in the pool file"
            raise Unreachable(model.name, _clean(f"{address.url} cannot be reached: {_why(e)}; {fix}", address)) from e
        try:
            if response.status >= 300:
                raise await self._refused(model, address, response)
            yield response
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def _chunks(
        self, model: ModelSpec, response: aiohttp.ClientResponse, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        """The response's bytes as they come, with the idle and total timeouts kept."""
        import aiohttp

        while True:
            wait = min(self._timeouts.idle, deadline - monotonic())
            try:
                async with asyncio.timeout(wait):
                    chunk = await response.content.readany()
            except TimeoutError as e:
                raise TimedOut(model.name, f"nothing came for {wait:.3g} s") from e
            except (aiohttp.ClientError, OSError) as e:
                raise Unreachable(model.name, f"the connection was lost: {_why(e)}") from e
            if not chunk:
                return
            yield chunk

    async def _refused(self, model: ModelSpec, address: Address, response: aiohttp.ClientResponse) -> Refused:
        body = b""
        with suppress(Exception):  # the status says enough when the body cannot be read
            async with asyncio.timeout(self._timeouts.connect):
                body = await response.content.read(64 * 1024)
        if address.key:
            body = body.replace(address.key.encode(), b"[key]")
        hint = HINTS.get(response.status, "").format(key=model.api_key_env or "api_key_env")
        if response.status < 400:
            hint = "it redirects elsewhere; put the final URL into `endpoint`"
        said = _clean(wire.error_text(wire.decode(body)), address)
        reason = f"HTTP {response.status}" + (f": {said}" if said else "") + (f"; {hint}" if hint else "")
        after = retry_after(response.headers.get("Retry-After"))
        return Refused(model.name, reason, status=response.status, retry_after=after, body=body)


async def _then_end(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
    async for chunk in chunks:
        yield chunk
    yield None


def _object(model: ModelSpec, address: Address, data: bytes | str) -> dict[str, Any]:
    found = wire.decode(data)
    if not isinstance(found, dict):
        raise Garbled(model.name, _clean(f"not a JSON object: {wire.error_text(found)}", address))
    return found


def _refused_inside(model: ModelSpec, address: Address, event: Mapping[str, Any]) -> ModelError:
    """An error object in mid-stream, where the HTTP status can no longer say it."""
    code = event["error"].get("code") if isinstance(event["error"], dict) else None
    reason = _clean(wire.error_text(event), address)
    if isinstance(code, int) and 400 <= code < 600:
        return Refused(model.name, f"HTTP {code} in the stream: {reason}", status=code)
    return Garbled(model.name, f"error in the stream: {reason}")


def _timeout_reason(error: TimeoutError, wait: float, connect: float) -> str:
    connecting = type(error).__name__ in {"ConnectionTimeoutError", "ServerTimeoutError"}
    return f"no connection within {connect:g} s" if connecting else f"no first byte within {wait:.3g} s"


def _why(error: BaseException) -> str:
    """The system's own words, without addresses and class names around them."""
    number = getattr(error, "errno", None) or getattr(getattr(error, "os_error", None), "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return str(error) or type(error).__name__


def _clean(text: str, address: Address) -> str:
    """One line, without the key."""
    flat = " ".join(text.split())
    return flat.replace(address.key, "[key]") if address.key else flat
