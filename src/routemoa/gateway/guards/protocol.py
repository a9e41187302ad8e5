"""HTTP/1.1 connections with deadlines: uvicorn's protocol, which waits for callers without end, with bounds.

It differs in this: the head of a request has a deadline, and so has a caller that does not read; a caller that has shut
down its side of the connection still gets its response; a connection for which there is no place gets a 503, and the
state of the server where it asks for that; what is wrong with a request is answered in JSON and is no line of the log.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from http import HTTPStatus
from time import monotonic
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.errors import ErrorResponse
from routemoa.gateway.guards.connections import ConnectionRegistry, caller_address
from routemoa.gateway.guards.event_loop import READ_BYTES
from routemoa.gateway.guards.exchange import Exchange
from routemoa.gateway.guards.overflow import TOO_MANY, OverflowApp
from routemoa.gateway.guards.request_head import RequestFault
from routemoa.gateway.guards.request_ids import REQUEST_ID, new_request_id
from routemoa.gateway.guards.request_parser import RequestParser

__all__ = ["HTTP_LOGGER", "GuardedProtocol"]

PROBE_AFTER = 0.5
"""Seconds after which a caller that has shut down its side is asked, by an interim response, whether it still reads."""
PROBE_AGAIN = 15.0
LOOK_EVERY = 0.2
"""Seconds between two looks whether it has gone."""
LINGER_SECONDS = 1.0
"""That a connection stays open after an error: closed while its caller sends, it would look broken."""

HTTP_LOGGER = "routemoa.gateway.http"
logger = logging.getLogger(HTTP_LOGGER)
logger.setLevel(logging.ERROR)  # a malformed request is its caller's fault


class GuardedProtocol(RequestParser):
    """One connection.

    Args:
        registry: of all connections.
        settings: the deadlines.
        uvicorn: what uvicorn's protocol takes.
    """

    def __init__(self, registry: ConnectionRegistry, settings: ServerSettings, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self.address = ""
        self.logger = logger
        self._registry = registry
        self._settings = settings
        self._is_over = False
        """Whether what still comes is dropped: the last response was sent, and its caller is given time to read it."""
        self._was_asked = False
        """Whether a request has come."""
        self._head_since: float | None = None
        """Since when a head of a request is missing; None while one is answered."""
        self._is_idle = False
        """Whether a request was answered, and nothing of the next one has come."""
        self._unread_since: float | None = None
        """Since when the caller has read too little."""
        self._probing: asyncio.TimerHandle | None = None

    # What uvicorn and asyncio call.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it where there is no place."""
        super().connection_made(transport)
        self.address = caller_address(self.client[0] if self.client else "")
        self._head_since = monotonic()
        if not self._registry.admit(self):
            # Its request is read first: closed with a request unread, a connection looks broken to its caller.
            self.app = OverflowApp(self.app)
            self._registry.linger(self)
            self.loop.call_later(LINGER_SECONDS, self._end_overflow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._registry.remove(self)
        self._stop_probing()
        self.pipeline.clear()
        if self._current is not None:
            self._current.disconnected = True
            self._current.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a piece of a request, little at once: the parser takes a head of any size that comes whole."""
        if self._is_idle:
            self._is_idle, self._head_since = False, monotonic()
        for start in range(0, len(data), READ_BYTES):
            if self._is_over or self._fault is not None:
                return
            self.parse(data if len(data) <= READ_BYTES else data[start : start + READ_BYTES])

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio has it so
        """Keep the connection for the response to a whole request; return whether it is kept.

        A caller that ends its side later, in the middle of the response, has gone.
        """
        if self._probing is not None:
            return True
        if self._is_over:
            return False
        if self._current is None or self._current.response_complete:
            if self._in_head:
                self._refuse(RequestFault(400, "the request is not complete"))
            return False
        if self._current.response_started:
            return False
        if self._current.more_body:
            self._refuse(RequestFault(400, "the body is not complete"))
            return False
        self.pipeline.clear()
        self._current.keep_alive = False
        self._probing = self.loop.call_later(PROBE_AFTER, self._probe)
        return True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin to answer a request, whose head is complete."""
        assert isinstance(cycle, Exchange)  # noqa: S101  (as it was made)
        self._current = cycle
        self._was_asked = True
        self._head_since = None
        self._registry.set_busy(self)
        if self._registry.is_closing:  # it was accepted at the last moment
            cycle.keep_alive = False
        cycle.task = self.loop.create_task(cycle.run_in(self.tasks, app))
        self.tasks.add(cycle.task)

    def on_response_complete(self) -> None:
        """Begin the next request that has come, or wait for it; the deadlines are looked at from time to time."""
        self.server_state.total_requests += 1
        self._head_since = monotonic()
        self._is_idle = not self._in_head
        self._registry.set_waiting(self)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._fault is not None:
            self._refuse(self._fault)

    def pause_writing(self) -> None:
        """Note that the caller does not read."""
        super().pause_writing()
        self._unread_since = monotonic()

    def resume_writing(self) -> None:
        """Note that it reads again."""
        super().resume_writing()
        self._unread_since = None

    # What the registry and the server call.

    def shutdown(self) -> None:
        """Answer the request under way, none that waits behind it, and close the connection: the server ends.

        A request that waits has had no effect, so that its caller may send it elsewhere (RFC 9112, 9.3.2 and 9.6).
        """
        self.pipeline.clear()
        if self._current is None or self._current.response_complete:
            self.transport.close()
        else:
            self._current.keep_alive = False

    def evict(self) -> None:
        """Close the connection at once; say why where nothing was said on it."""
        if not (self._was_asked or self._is_over):
            self._write(TOO_MANY)
        self.transport.abort()

    def check_deadlines(self, now: float) -> None:
        """Close the connection where its caller takes too long; `now` is on the clock of `monotonic()`."""
        if self.transport.is_closing():
            self._unread_since = self._unread_since or now  # until all that was sent is read
        if self._unread_since is not None and now - self._unread_since > self._settings.write_seconds:
            self.transport.abort()
        elif self._head_since is not None and now - self._head_since > self._head_limit:
            if not self._is_over and self._in_head:
                seconds = self._settings.head_seconds
                self._respond(ErrorResponse(408, f"The request was not complete within {seconds:g} s."))
            else:
                self.transport.abort()

    # Responses without the application.

    def _refuse(self, fault: RequestFault) -> None:
        """Say what is wrong with a request, where no response has begun, and close the connection."""
        self._respond(ErrorResponse(fault.status, f"Invalid HTTP request: {str(fault)[:200]}."))

    @property
    def _head_limit(self) -> float:
        """Seconds that the head of a request is waited for."""
        return self._settings.idle_seconds if self._is_idle else self._settings.head_seconds

    def _end_overflow(self) -> None:
        """Close a connection for which there was no place, unless it is being answered."""
        if not self._was_asked:
            self._respond(TOO_MANY)
        elif self._current is None or self._current.response_complete:
            self.transport.close()

    def _respond(self, response: ErrorResponse) -> None:
        """Send a whole response and close the connection; only close it where a response has begun."""
        current = self._current
        has_begun = current is not None and (
            current.more_body if current.response_complete else current.response_started
        )
        if current is not None and not current.response_complete:
            current.disconnected = True
            current.message_event.set()
        self.pipeline.clear()
        self._is_over = True
        if self.transport.is_closing() or has_begun:
            self.transport.close()
        else:
            self._registry.linger(self)
            self._write(response)
            self.transport.write_eof()
            self.flow.resume_reading()
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _write(self, response: ErrorResponse) -> None:
        body = msgspec.json.encode(response.body)
        headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        headers[REQUEST_ID] = new_request_id()
        lines = [f"{k}: {v}" for k, v in (headers | response.headers).items()]
        status = f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"
        self.transport.write("\r\n".join([status, *lines, "", ""]).encode("latin-1") + body)

    # A caller that has shut down its side.

    def _probe(self) -> None:
        """Send a caller that has shut down its side something that it skips.

        A caller that has closed its connection looks the same until something is sent to it. Before the response begins
        that is an interim response, which every client skips; later it is the next piece.
        """
        current = self._current
        if current is not None and not current.response_started and current.scope["http_version"] == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._look(monotonic() + PROBE_AGAIN)

    def _look(self, probe_again: float) -> None:
        """Close the connection where its caller has gone, else look again soon, and ask again after some time."""
        if self.transport.is_closing() or self._current is None or self._current.response_complete:
            return
        if self._is_gone():
            self.transport.abort()
        elif monotonic() > probe_again:
            self._probe()
        else:
            self._probing = self.loop.call_later(LOOK_EVERY, self._look, probe_again)

    def _is_gone(self) -> bool:
        """Return whether the other end has said that nothing reads any more."""
        sock = self.transport.get_extra_info("socket")
        return sock is None or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def _stop_probing(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
