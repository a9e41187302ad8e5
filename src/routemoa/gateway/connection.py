"""One HTTP exchange: read its body within a limit, write its response, and notice when the caller goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from routemoa.gateway.errors import BodyTooLarge, HttpError

__all__ = ["ResponseWriter", "discard_body", "read_json_object", "run_while_connected"]

PATIENCE = 8  # times the limit of a body that are read before a sender is cut off


class ResponseWriter:
    """A response in the making. Its pieces go out whole, one after the other, whoever writes them.

    Args:
        more: headers for every response, as they are when its head is sent.
    """

    def __init__(self, send: Send, more: Callable[[], Mapping[str, str]] = dict) -> None:
        self._send = send
        self._more = more
        self._lock = asyncio.Lock()
        self._ended = False
        self.started = False

    async def start(self, status: int, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Send the head: from here on the status is decided."""
        fields = {"content-type": content_type, **self._more(), **(headers or {})}
        raw = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in fields.items()]
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a piece of the body; after the last one nothing more goes out."""
        async with self._lock:
            if not self._ended:
                self._ended = last
                await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def json(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole JSON response."""
        data = msgspec.json.encode(value)
        await self.start(status, "application/json", {"content-length": str(len(data)), **(headers or {})})
        await self.write(data, last=True)


async def read_json_object(scope: Scope, receive: Receive, limit: int) -> dict[str, Any]:
    """The JSON object that a request carries.

    Raises:
        HttpError: it is too large, no JSON, no object, or sent by a web page without declaring it as JSON.
        ClientDisconnect: the caller went away.
    """
    headers = {k: v.decode("latin-1") for k, v in scope["headers"]}
    # A web page may post anything but JSON anywhere without asking, and cannot hide its origin. So no page drives a
    # server on loopback, and who is no page may leave the header out.
    kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    if b"origin" in headers and kind != "application/json":
        raise HttpError(415, "Send the request with the header Content-Type: application/json.")
    data = await _read(receive, limit)
    try:
        body = msgspec.json.decode(data)
    except (ValueError, RecursionError) as e:
        raise HttpError(400, f"The request body is not valid JSON: {e}") from e
    if not isinstance(body, dict):
        raise HttpError(400, "The request body must be a JSON object.")
    return body


async def _read(receive: Receive, limit: int) -> bytes:
    """The body. What exceeds the limit is read on, up to a point, and dropped: a caller cut off while it still sends
    sees a broken connection and never the reason."""
    data = bytearray()
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        size += len(piece)
        if size <= limit:
            data += piece
        elif not message.get("more_body", False) or size > PATIENCE * limit:
            raise BodyTooLarge(limit)
        else:
            data.clear()
        if not message.get("more_body", False):
            return bytes(data)


async def discard_body(receive: Receive, limit: int) -> None:
    """Read a body that nobody looks at and drop it, so that its sender hears the answer.

    Raises:
        ClientDisconnect: the caller went away.
    """
    size = 0
    while size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


async def run_while_connected(
    receive: Receive, work: Coroutine[Any, Any, None], beat: Callable[[], Awaitable[None]], every: float
) -> None:
    """Run `work` to its end, or cancel it when the caller goes away; call `beat` every so many seconds meanwhile.

    The body must have been read: `receive` then tells of nothing but the end of the connection.
    """
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(receive))
    tasks = {working, gone}
    try:
        while not (await asyncio.wait(tasks, timeout=every, return_when=asyncio.FIRST_COMPLETED))[0]:
            await beat()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if not working.cancelled():
        working.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
