"""One HTTP exchange: reads the body within a limit, writes the response, and notices that the caller disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from time import monotonic
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from routemoa.core.system.large_work import LARGE_TREE, run_large
from routemoa.core.text.json_bounds import TooManyValues, decode_bounded
from routemoa.gateway.errors import BodyTooLarge, HttpError, SlowRequest
from routemoa.gateway.http_exchange.compressed_bodies import content_encoding, decompress_body
from routemoa.gateway.http_exchange.request_headers import index_headers

__all__ = [
    "EXCHANGE_KEY",
    "ReceivedRequest",
    "ResponseWriter",
    "check_origin",
    "decode_json_bytes",
    "discard_body",
    "read_json_object",
    "read_sized_object",
    "receive_pieces",
]

EXCHANGE_KEY = "routemoa.exchange"
"""Where a scope of our server has a weak reference to what can give the whole body."""
MAX_DISCARDED_BODIES = 8
"""How many times the limit of a body is read, and dropped, before the connection is closed."""
MAX_CONTAINERS = 50_000
"""Objects and arrays in a body."""
PART_BYTES = 256 * 1024
"""Of a response that is sent at once."""
COMMENT = ord(":")
"""With which the comment of a stream begins."""
BOM = b"\xef\xbb\xbf"
"""That some clients write before their JSON."""
BYTES_PER_SECOND = 64 * 1024
"""At which a large body has to come in."""
T = TypeVar("T")


class ResponseWriter:
    """Writes one response. Its pieces go out whole and in order, whichever task writes them.

    Args:
        send: of the ASGI server.
        extra_headers: returns headers for every response, at the moment its head is sent.
    """

    def __init__(self, send: Send, extra_headers: Callable[[], Mapping[str, str]] = dict) -> None:
        self._send = send
        self._extra_headers = extra_headers
        self._lock = asyncio.Lock()
        self._ended = False
        self.started = False
        self.status: int | None = None
        """Of the response, once it has started."""
        self.first_piece: float | None = None
        """When the first piece of a body was sent that is no comment, on the clock of `monotonic()`."""

    async def start(self, status: int, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Send the status and the headers; they cannot be changed after that, and a second start does nothing."""
        async with self._lock:
            await self._start(status, content_type, headers)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the body; after the last one nothing more is sent.

        A large one goes out in parts, as it is read: each is copied several times on its way.
        """
        if not self._ended:
            async with self._lock:
                await self._write(data, last=last)

    async def respond(
        self, status: int, content_type: str, data: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole response; where one has started, the end of it."""
        if self.started:
            await self.write(data, last=True)
            return
        self._ended, self.first_piece = True, monotonic() if data else None  # so no other task writes
        await self._start(status, content_type, {"content-length": str(len(data)), **(headers or {})})
        await self._send_parts(data, last=True)

    async def json(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole JSON response."""
        await self.respond(status, "application/json", msgspec.json.encode(value), headers)

    async def _start(self, status: int, content_type: str, headers: Mapping[str, str] | None) -> None:
        if self.started:
            return
        fields = {"content-type": content_type, **self._extra_headers(), **(headers or {})}
        raw = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in fields.items()]
        self.started, self.status = True, status
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _write(self, data: bytes, *, last: bool) -> None:
        if self._ended:
            return
        self._ended = last
        if self.first_piece is None and data and data[0] != COMMENT:
            self.first_piece = monotonic()
        await self._send_parts(data, last=last)

    async def _send_parts(self, data: bytes, *, last: bool) -> None:
        if len(data) <= PART_BYTES:
            await self._send({"type": "http.response.body", "body": data, "more_body": not last})
            return
        for start in range(0, len(data), PART_BYTES):
            more = not last or start + PART_BYTES < len(data)
            part = data[start : start + PART_BYTES]
            await self._send({"type": "http.response.body", "body": part, "more_body": more})


class ReceivedRequest(Struct, frozen=True):
    """A request as it came in."""

    body: dict[str, Any]
    size: int
    """Bytes of the body."""
    headers: Iterable[tuple[bytes, bytes]]
    has_id: bool
    """Whether the caller gave it an id."""
    arrived: float
    """On the clock of `monotonic()`."""

    async def work(self, work: Callable[[], T]) -> T:
        """Return what work on the body returns: in a thread where it is large. Raises what it raises."""
        return await run_large(work) if self.size > LARGE_TREE else work()


async def read_json_object(scope: Scope, receive: Receive, limit: int, seconds: float) -> dict[str, Any]:
    """Read the JSON object in a request's body, as `read_sized_object` does."""
    return (await read_sized_object(scope, receive, limit, seconds))[0]


async def read_sized_object(scope: Scope, receive: Receive, limit: int, seconds: float) -> tuple[dict[str, Any], int]:
    """Read the JSON object in a request's body; return it and the bytes that it was decoded from.

    Args:
        scope: of the request.
        receive: of the ASGI server.
        limit: bytes of the body.
        seconds: for the body to come in; a large one has more, as `BYTES_PER_SECOND` says.

    Raises:
        HttpError: it is too large, too slow, compressed in an unknown way, not JSON, not an object, or a web page sent
            it without declaring it as JSON.
        ClientDisconnect: the caller disconnected.
    """
    check_origin(scope)
    data = _take_whole_body(scope, limit)
    if data is None:
        data = await _read_body(receive, limit, seconds)
    if encoding := content_encoding(scope):
        data = await decompress_body(data, encoding, limit)
    body = await decode_json_bytes(data.removeprefix(BOM))
    if not isinstance(body, dict):
        raise HttpError(400, "The request body must be a JSON object.")
    return body, len(data)


async def decode_json_bytes(data: bytes) -> Any:
    """Decode a body; a large one in a thread. Raises HttpError."""
    try:
        if len(data) > LARGE_TREE:
            return await run_large(decode_bounded, data, MAX_CONTAINERS)
        return decode_bounded(data, MAX_CONTAINERS)
    except TooManyValues as e:
        raise HttpError(413, f"The request body is too large: {e}; send fewer.", "request_too_large") from e
    except (ValueError, RecursionError) as e:
        raise HttpError(400, f"The request body is not valid JSON: {str(e)[:200]}") from e


def check_origin(scope: Scope) -> None:
    """Refuse a web page that may post to any server without asking it: it cannot declare JSON, nor hide its origin.

    So no page uses a server on loopback, while other clients may leave the content type out. Raises HttpError.
    """
    headers = index_headers(scope)
    if b"origin" not in headers:
        return
    content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type != b"application/json":
        raise HttpError(415, "Send the request with the header Content-Type: application/json.")


def _take_whole_body(scope: Scope, limit: int) -> bytes | None:
    """Return the body where all of it has come with the head, as small ones do; None where it has to be read."""
    exchange = scope[EXCHANGE_KEY]() if EXCHANGE_KEY in scope else None
    data = None if exchange is None else exchange.take_body()
    if data is not None and len(data) > limit:
        raise BodyTooLarge(limit)
    return data


async def _read_body(receive: Receive, limit: int, seconds: float) -> bytes:
    """Read the body, in time.

    What exceeds the limit is still read, up to a point, and dropped: a caller whose connection is closed while it
    sends sees a broken connection and never the reason.
    """
    data = bytearray()
    size = 0
    began = monotonic()
    while True:
        allowed = seconds + size / BYTES_PER_SECOND
        message = await _receive_before(receive, began + allowed, allowed)
        piece = message.get("body", b"")
        size += len(piece)
        if size <= limit:
            data += piece
        elif not message.get("more_body", False) or size > MAX_DISCARDED_BODIES * limit:
            raise BodyTooLarge(limit)
        else:
            data.clear()
        if not message.get("more_body", False):
            return bytes(data)


async def receive_pieces(receive: Receive, seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of a body whose size its reader bounds; its time is that of `read_sized_object`.

    Raises:
        ClientDisconnect: the caller disconnected.
        SlowRequest: it did not come in time.
    """
    size, began, more = 0, monotonic(), True
    while more:
        allowed = seconds + size / BYTES_PER_SECOND
        message = await _receive_before(receive, began + allowed, allowed)
        piece = message.get("body", b"")
        size += len(piece)
        more = message.get("more_body", False)
        yield piece


async def discard_body(receive: Receive, limit: int, seconds: float = 10.0) -> None:
    """Read a body of up to `limit` bytes, for so many seconds, and drop it: then the caller is ready for the response.

    Raises:
        ClientDisconnect: the caller disconnected.
        SlowRequest: it did not come in time.
    """
    size = 0
    until = monotonic() + seconds
    while size <= limit:
        message = await _receive_before(receive, until, seconds)
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


async def _receive_before(receive: Receive, until: float, seconds: float) -> Message:
    """Return the next piece of a body.

    Args:
        receive: of the ASGI server.
        until: when it has to be there, on the clock of `monotonic()`.
        seconds: how long that is after the beginning.

    Raises:
        ClientDisconnect: the caller disconnected.
        SlowRequest: it did not come in time.
    """
    try:
        async with asyncio.timeout(until - monotonic()):
            message = await receive()
    except TimeoutError as e:
        raise SlowRequest(seconds) from e
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message
