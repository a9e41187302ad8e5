"""A response goes out in as few pieces as it comes, framed as its request can read it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from routemoa.gateway.guards.exchange import LARGE_PIECE, Exchange


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


def make(method: str = "GET", version: str = "1.1") -> tuple[Exchange, Transport]:
    transport: Any = Transport()
    scope: Any = {"type": "http", "method": method, "http_version": version, "path": "/", "headers": []}
    exchange = Exchange(
        scope=scope,
        transport=transport,
        flow=FlowControl(transport),
        logger=logging.getLogger("x"),
        access_logger=logging.getLogger("x"),
        access_log=False,
        default_headers=[(b"date", b"now")],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=version == "1.1",
        on_response=lambda: None,
    )
    return exchange, transport


async def send(exchange: Exchange, *bodies: bytes, status: int = 200, **headers: str) -> None:
    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    await exchange.send({"type": "http.response.start", "status": status, "headers": raw})
    for number, body in enumerate(bodies, 1):
        await exchange.send({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})


async def test_a_whole_response_is_one_piece() -> None:
    exchange, transport = make()
    await send(exchange, b"hello", content_length="5")
    assert transport.written == [b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 5\r\n\r\nhello"]
    assert exchange.response_complete
    assert not transport.closed


async def test_the_head_of_a_stream_goes_with_its_first_piece() -> None:
    exchange, transport = make()
    await send(exchange, b"a", b"bc", b"")
    head, *rest = transport.written
    assert head.endswith(b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n")
    assert rest == [b"2\r\nbc\r\n", b"0\r\n\r\n"]


async def test_a_large_piece_is_not_copied() -> None:
    exchange, transport = make()
    data = b"x" * (LARGE_PIECE + 1)
    await send(exchange, data, content_length=str(len(data)))
    assert any(piece is data for piece in transport.written)


async def test_http_1_0_is_framed_by_the_end_of_the_connection() -> None:
    exchange, transport = make(version="1.0")
    await send(exchange, b"a", b"b")
    assert b"".join(transport.written).endswith(b"connection: close\r\n\r\nab")
    assert transport.closed


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_some_responses_have_no_body(method: str, status: int) -> None:
    exchange, transport = make(method)
    await send(exchange, b"x" if method == "HEAD" else b"", status=status)
    assert b"".join(transport.written).endswith(b"\r\n\r\n")
    assert exchange.response_complete


async def test_a_head_response_keeps_the_length_of_what_it_stands_for() -> None:
    exchange, transport = make("HEAD")
    await send(exchange, b"hello", content_length="5")
    assert b"content-length: 5\r\n" in transport.written[0]
    assert transport.written[0].endswith(b"\r\n\r\n")


@pytest.mark.parametrize("bodies", [(b"too long for it",), (b"ab",), (b"abc", b"de", b"")])
async def test_a_body_of_another_length_than_said_is_refused(bodies: tuple[bytes, ...]) -> None:
    exchange, _ = make()
    with pytest.raises(RuntimeError):
        await send(exchange, *bodies, content_length="4")


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("a\r\nb", "x"), ("a", "x\r\ny: z"), ("a", "x\x00")])
async def test_a_header_that_would_break_the_response_is_refused(name: str, value: str) -> None:
    exchange, transport = make()
    with pytest.raises(RuntimeError):
        await exchange.send(
            {"type": "http.response.start", "status": 200, "headers": [(name.encode(), value.encode())]}
        )
    assert not transport.written


async def test_an_application_that_breaks_the_order_is_told() -> None:
    exchange, _ = make()
    with pytest.raises(RuntimeError):
        await exchange.send({"type": "http.response.body", "body": b""})
    await send(exchange, b"")
    with pytest.raises(RuntimeError):
        await exchange.send({"type": "http.response.body", "body": b""})


async def test_a_body_that_was_taken_is_not_kept() -> None:
    exchange, _ = make("POST")
    exchange.body, exchange.more_body = bytearray(b"{}"), False
    assert exchange.take_body() == b"{}"
    assert not exchange.body
    assert exchange.take_body() is None
