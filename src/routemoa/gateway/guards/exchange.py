"""One request and its response on a connection: uvicorn's, with the head and the first piece sent as one."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

__all__ = ["Exchange"]

LARGE_PIECE = 64 * 1024
"""Bytes of a piece that is not copied to be sent with what goes around it."""
BYTES = [bytes([byte]) for byte in range(256)]
NAME_BYTES = b"".join(byte for byte in BYTES if not HEADER_RE.search(byte))
VALUE_BYTES = b"".join(byte for byte in BYTES if not HEADER_VALUE_RE.search(byte))
"""What uvicorn lets a header hold. To delete these and look for a rest takes a tenth of a search by expression."""


class Exchange(RequestResponseCycle):
    """One request and its response.

    The head waits for the first piece of the body, which ASGI allows: together they cost one system call. A response to
    HTTP/1.0 without a length ends with its connection.

    Args:
        uvicorn: what uvicorn's class takes.
    """

    def __init__(self, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._head: bytes = b""
        """That was not sent yet."""
        self._bytes_left: int | None = None
        """Of the body; None where its length is not known."""
        self._is_chunked = False
        self._is_read = False
        """Whether the application has the whole body."""
        self.task: asyncio.Task[None] | None = None
        """That answers it."""

    async def run_in(self, tasks: set[asyncio.Task[None]], app: Any) -> None:
        """Answer the request, in a task that is one of `tasks` until it ends."""
        try:
            await self.run_asgi(app)
        finally:
            tasks.discard(self.task)

    def take_body(self) -> bytes | None:
        """Take the body, where all of it has come and nothing was received of it; else None."""
        if self.more_body or self._is_read or self.disconnected:
            return None
        data, self.body = bytes(self.body), bytearray()  # an idle connection keeps its last exchange
        self._is_read = True
        self.flow.resume_reading()
        return data

    async def receive(self) -> Message:  # type: ignore[override]
        """Return the next piece of the body; after the last one wait for the end of the connection.

        For that no more is read of it: what comes is the next request.
        """
        if not self._is_read:
            message: Message = await super().receive()  # type: ignore[assignment]
            self._is_read = not message.get("more_body", False)
            return message
        while not (self.disconnected or self.response_complete):
            await self.message_event.wait()
            self.message_event.clear()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """Send the head or a piece of the body. Raises RuntimeError where the application breaks ASGI's rules."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"expected http.response.start, but got {kind}")
            self._start(message["status"], message.get("headers", ()))
        elif self.response_complete or kind != "http.response.body":
            raise RuntimeError(f"did not expect {kind}")
        else:
            self._write(message.get("body", b""), is_last=not message.get("more_body", False))

    def _start(self, status: int, given: Any) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        if self.access_log:
            path = get_path_with_query_string(self.scope)
            caller, method, version = get_client_addr(self.scope), self.scope["method"], self.scope["http_version"]
            self.access_logger.info('%s - "%s %s HTTP/%s" %d', caller, method, path, version, status)
        headers = [*self.default_headers, *given]
        names, values = map(b"".join, zip(*headers, strict=True)) if headers else (b"", b"")
        if names.translate(None, NAME_BYTES) or values.translate(None, VALUE_BYTES):
            raise RuntimeError("a header of the response is not valid")
        if names != names.lower():
            headers = [(name.lower(), value) for name, value in headers]
        fields = dict(headers)
        if has_length := b"content-length" in fields:
            self._bytes_left = int(fields[b"content-length"])
        if has_close := b"connection" in fields and any(_says_close(header) for header in headers):
            self.keep_alive = False
        lines = [*map(b": ".join, headers)]
        has_body = self.scope["method"] != "HEAD" and status not in (204, 304)
        if not has_body:
            self._bytes_left = 0
        elif not has_length:
            self._is_chunked = self.scope["http_version"] == "1.1"
            self.keep_alive = self.keep_alive and self._is_chunked
            if self._is_chunked:
                lines.append(b"transfer-encoding: chunked")
        if not self.keep_alive and not has_close:
            lines.append(b"connection: close")
        self._head = STATUS_LINE[status] + b"\r\n".join([*lines, b"", b""])

    def _write(self, body: bytes, *, is_last: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        parts = [self._head] if self._head else []
        self._head = b""
        if self._is_chunked:
            parts += [b"%x\r\n" % len(body), body, b"\r\n"] if body else []
            parts += [b"0\r\n\r\n"] if is_last else []
        else:
            if self._bytes_left is not None:
                self._bytes_left -= len(body)
                if self._bytes_left < 0 or (is_last and self._bytes_left):
                    raise RuntimeError("the response is not as long as its Content-Length")
            parts += [body] if body else []
        if len(body) > LARGE_PIECE:
            for part in parts:
                self.transport.write(part)
        elif parts:
            self.transport.write(b"".join(parts))
        if is_last:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()


def _says_close(header: tuple[bytes, bytes]) -> bool:
    return header[0] == b"connection" and b"close" in header[1].lower()
