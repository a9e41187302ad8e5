"""Parses requests with httptools, within bounds, and puts those that come too early behind the one that is answered."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import ref

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from routemoa.gateway.guards.exchange import Exchange
from routemoa.gateway.guards.request_head import RequestFault, check_head, find_framing, split_target
from routemoa.gateway.http_exchange.connection import EXCHANGE_KEY

__all__ = ["MAX_HEAD_BYTES", "RequestParser"]

MAX_HEAD_BYTES = 64 * 1024
"""Of a request: its first line and its headers."""
MAX_BLANK_BYTES = 4
"""Of line ends before a request."""
TINY_CHUNKS = 1000
"""Chunks of a body after which they have to have `TINY_BYTES` on average: each costs more time than it has bytes."""
TINY_BYTES = 32


class RequestParser(HttpToolsProtocol):
    """uvicorn's protocol, with what httptools lets pass checked, and with bounds.

    A caller may send a request before the one before it is answered, and what is wrong with it disturbs no answer.

    Args:
        uvicorn: what uvicorn's protocol takes.
    """

    def __init__(self, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._current: Exchange | None = None
        """What is answered or was last; `cycle` is the newest, which may wait behind it."""
        self._in_head = False
        """Whether the head of a request has begun and is not complete."""
        self._fault: RequestFault | None = None
        """What is wrong with the newest request; nothing after it is read."""
        self._undone_bytes = 0
        """That came since the last head, piece of a body or end of a request."""
        self._chunks = self._chunk_bytes = 0
        self._body_framing = b""
        """The header that frames the body, of a request that asks for another protocol, until its body begins."""
        self._is_head_known = False

    def _refuse(self, fault: RequestFault) -> None:
        raise NotImplementedError

    def parse(self, piece: bytes) -> None:
        """Read a small piece."""
        self._undone_bytes += len(piece)
        try:
            while piece:
                try:
                    self.parser.feed_data(piece)
                    break
                except httptools.HttpParserUpgrade as e:  # not served: its body or the next request follows
                    piece = piece[e.args[0] :]
                    self._read_upgrades_body()
        except httptools.HttpParserError as e:
            self._take_fault(self._fault or RequestFault(400, str(e)))
            return
        if self._undone_bytes > MAX_HEAD_BYTES:
            self._take_fault(RequestFault(431, "the head of the request is too large"))
        elif self._undone_bytes > MAX_BLANK_BYTES and not self._in_head and not self._is_body_open:
            self._take_fault(RequestFault(400, "no request line received"))

    def _read_upgrades_body(self) -> None:
        """Tell the parser of the body of a request that asks for another protocol, which it takes for that."""
        if self._body_framing:
            self._is_head_known = True
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + self._body_framing + b"\r\n\r\n")
            self._is_head_known, self._body_framing = False, b""

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._is_head_known:
            return
        super().on_message_begin()
        self._in_head = True
        self._chunks = self._chunk_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those after a body say nothing."""
        if self._in_head:
            name, value = name.lower(), value.rstrip(b" \t")
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin to answer a request, or let it wait for the one before. Raises RequestFault."""
        if self._is_head_known:
            return
        self._in_head, self._undone_bytes = False, 0
        version = self.parser.get_http_version()
        try:
            check_head(version, self.headers)
            self.scope.update(split_target(self.url))  # type: ignore[typeddict-item]
        except RequestFault as e:
            self._fault = e
            raise
        if self.parser.should_upgrade():
            self._body_framing = find_framing(self.headers)
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        waits = self._current is not None and not self._current.response_complete
        self.cycle = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        self.scope[EXCHANGE_KEY] = ref(self.cycle)  # type: ignore[literal-required]
        if waits:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start_asgi_task(self.cycle, self.app)

    def on_chunk_header(self) -> None:
        """Count the chunks of a body. Raises RequestFault for too many small ones."""
        self._chunks += 1
        if self._chunks > TINY_CHUNKS and self._chunk_bytes < TINY_BYTES * self._chunks:
            self._fault = RequestFault(400, "the body comes in too many too small chunks; send larger ones")
            raise self._fault

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._undone_bytes = 0
        self._chunk_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        if self._body_framing and not self._is_head_known:  # only that of its head
            return
        self._undone_bytes = 0
        if self.cycle.response_complete:
            self.cycle.more_body = False
        super().on_message_complete()

    @property
    def _is_body_open(self) -> bool:
        """Return whether the body of the newest request has not ended."""
        return self.cycle is not None and self.cycle.more_body

    def _take_fault(self, fault: RequestFault) -> None:
        """Refuse a request with a fault, once those before it are answered."""
        self._fault = fault
        current = self._current
        if self.pipeline and self._is_body_open:
            self.pipeline.popleft()
        if current is None or current.response_complete or (current is self.cycle and current.more_body):
            self._refuse(fault)
