"""One connection to an endpoint: sends a request, and parses what comes back, within bounds."""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Protocol, cast

import httptools

from routemoa.clients.connections.response import HttpResponse, MalformedResponse

__all__ = ["HttpConnection", "Place"]

MAX_HEADERS = 256
"""Of a response."""
CLOSED = "it closed the connection"
WHOLE_REQUEST = 64 * 1024
"""Bytes of a body that goes out in one piece with its head."""


@lru_cache(maxsize=256)
def _decode_name(name: bytes) -> str:
    """Return the name of a header in lower case: endpoints send the same few."""
    return name.decode("latin-1").lower()


Place = tuple[str, int, bool, str | None]
"""What a connection leads to: host, port, whether TLS is spoken, and the proxy's URL."""


class Owner(Protocol):
    """What owns connections."""

    def keep(self, connection: HttpConnection) -> None:
        """Keep a connection for the next request to its place."""
        ...

    def note_lost(self, connection: HttpConnection) -> None:
        """Forget a connection that has closed."""
        ...


class HttpConnection(asyncio.Protocol):
    """A connection that has one request at a time.

    Args:
        owner: takes it when a response was read.
        place: that it leads to.
        loop: that it runs in.
        header_bytes: of one header of a response.
    """

    def __init__(self, owner: Owner, place: Place, loop: asyncio.AbstractEventLoop, header_bytes: int) -> None:
        self.place, self.loop = place, loop
        self._owner, self._header_bytes = owner, header_bytes
        self._transport: asyncio.Transport
        self._response: HttpResponse | None = None
        self._may_be_kept = True
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        """That came since the last header, or piece of a body."""
        self._ends_with_connection = False
        """Whether the end of the connection is that of the body."""
        self._fault: MalformedResponse | None = None
        self._lost = loop.create_future()
        self._begin_parsing()

    # --- requests

    async def send(self, head: bytes, body: bytes, seconds: float) -> HttpResponse:
        """Send a request; return the response once its head is there. Cancelled or failed, it closes.

        Raises:
            OSError: the connection was lost; of these TimeoutError: no head within `seconds`.
            MalformedResponse: what came is no HTTP.
        """
        if not self.is_open:
            raise ConnectionResetError(CLOSED)
        response = self._response = HttpResponse(self, self.loop)
        self._head_bytes, self._ends_with_connection = 0, False
        if len(body) > WHOLE_REQUEST:
            self._transport.write(head)
            self._transport.write(body)
        else:
            self._transport.write(head + body)
        try:
            await response.wait_for_head(seconds)
        except BaseException:
            self.close()
            raise
        return response

    def leave(self, response: HttpResponse) -> None:
        """Be done with a response: wait for the next request, where it was read to its end, else close."""
        if response is not self._response:
            return
        self._response = None
        if response.is_at_end and self._may_be_kept and self.is_open and not self._transport.get_write_buffer_size():
            self._owner.keep(self)
        else:
            self.close()

    @property
    def is_open(self) -> bool:
        """Return whether it can take a request."""
        return not self._lost.done() and not self._transport.is_closing()

    @property
    def is_idle(self) -> bool:
        """Return whether it can take a request now: nothing has come that was not asked for, nor its end.

        The event loop may not have seen what has come a moment ago.
        """
        if not self.is_open or sys.platform == "win32":  # which has no such call
            return self.is_open
        return not self._poller.poll(0)

    def close(self) -> None:
        """Close it at once, that is in the next turn of the event loop."""
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until it has closed."""
        await self._lost

    def resume(self) -> None:
        """Read on."""
        if self.is_open:
            self._transport.resume_reading()

    async def start_tls(self, context: object, host: str) -> None:
        """Speak TLS from now on, with what a proxy has connected it to. Raises OSError."""
        try:
            transport = await self.loop.start_tls(self._transport, self, context, server_hostname=host)  # type: ignore[arg-type]
        except BaseException:
            self.connection_lost(None)  # asyncio does not say it of one that was closing its handshake
            raise
        if transport is None:
            raise ConnectionResetError(CLOSED)
        self._transport, self._response, self._may_be_kept = transport, None, True
        self._begin_parsing()

    # --- asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        with suppress(OSError):  # a model may think for minutes, in which routers forget a silent connection
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform != "win32":
            self._poller = select.poll()
            self._poller.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        response = self._response
        if response is None:  # nothing was asked
            self.close()
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as e:
            self._fail(self._fault or MalformedResponse(str(e)))
            return
        if self._head_bytes > self._header_bytes and not response.is_complete:
            self._fail(MalformedResponse("a header is too large"))
        elif response.is_full:
            self._transport.pause_reading()

    def eof_received(self) -> None:
        """Close it: what is still to be sent finds no answer."""
        self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Note the end: of a response without a length it is the end, else it was lost."""
        self._owner.note_lost(self)
        if not self._lost.done():  # already, where the loop ended meanwhile
            self._lost.set_result(None)
        if self._response is not None:
            ends = self._ends_with_connection and error is None
            self._response.end(None if ends else error or ConnectionResetError(CLOSED))

    # --- the parser's

    def on_message_begin(self) -> None:
        """Begin a response; one that nobody asked for breaks the connection."""
        self._headers = {}
        if self._response is None or self._response.status:
            self._may_be_kept = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those after a body say nothing. Raises MalformedResponse."""
        if self._response is None or self._response.status:
            return
        self._head_bytes = 0
        if len(name) + len(value) > self._header_bytes or len(self._headers) >= MAX_HEADERS:
            self._fault = MalformedResponse("a header is too large, or there are too many")
            raise self._fault
        self._headers.setdefault(_decode_name(name), value.decode("latin-1").rstrip(" \t"))

    def on_headers_complete(self) -> None:
        """Take the end of a head; interim responses are skipped."""
        status = self._parser.get_status_code()
        if status < 100 or status == 101:  # the latter changes the protocol, unasked for
            self._fault = MalformedResponse(f"its status is {status}")
            raise self._fault
        if status >= 200 and self._response is not None and not self._response.status:
            is_chunked = "chunked" in self._headers.get("transfer-encoding", "").lower()
            self._ends_with_connection = not is_chunked and "content-length" not in self._headers
            self._may_be_kept = self._may_be_kept and self._parser.should_keep_alive()
            self._response.begin(status, self._headers)

    def on_body(self, piece: bytes) -> None:
        """Take a piece of a body."""
        self._head_bytes = 0
        if self._response is not None and not self._response.is_complete:
            self._response.feed(piece)

    def on_message_complete(self) -> None:
        """Take the end of a response."""
        if self._response is not None and self._response.status:
            self._response.end()

    def _begin_parsing(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # What some servers do, and other clients let pass.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    def _fail(self, error: Exception) -> None:
        if self._response is not None:
            self._response.end(error)
        self.close()
