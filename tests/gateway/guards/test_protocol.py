"""Callers that are slow, wrong, gone or too many: each gets an answer or is closed in time, and no line of the log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import time
from typing import Any

import pytest

from routemoa.core.events import AnswerDelta, Event
from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.lifecycle.server import Server
from tests.gateway.harness import ANSWER, HI, Raw, Script, Serving, serving, until

QUICK = ServerSettings(head_seconds=0.3, body_seconds=0.4, write_seconds=0.5, idle_seconds=1.0)
BODY = json.dumps({"model": "routemoa", "messages": HI}).encode()
STREAM = json.dumps({"model": "routemoa", "messages": HI, "stream": True}).encode()


def post(body: bytes, *more: str, length: int | None = None, version: str = "1.1") -> bytes:
    lines = [f"POST /v1/chat/completions HTTP/{version}", "Host: x", "Content-Type: application/json", *more]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@pytest.fixture(autouse=True)
def sweep_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routemoa.gateway.lifecycle.server.SWEEP_SECONDS", 0.05)


async def answer_to(s: Serving, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes and return all that comes until the server closes the connection."""
    caller = await s.connect(data)
    if end:
        caller.writer.write_eof()
    return await caller.all()


async def drip(s: Serving, before: bytes, piece: bytes) -> float:
    """Send a piece again and again until the server closes the connection; return the seconds until it did."""
    caller = await s.connect(before)
    began = time.perf_counter()
    reading = asyncio.ensure_future(caller.reader.read())
    while not reading.done() and time.perf_counter() - began < 4.0:
        caller.writer.write(piece)
        await asyncio.sleep(0.03)
    seconds = time.perf_counter() - began
    await asyncio.gather(reading, return_exceptions=True)
    caller.writer.transport.abort()
    return seconds


def status_of(answer: bytes) -> int:
    """The status of the final response."""
    statuses = [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]
    return statuses[-1] if statuses else 0


async def is_well(s: Serving) -> bool:
    return (await answer_to(s, GET.replace(b"Host: x", b"Host: x\r\nConnection: close"))).endswith(b'{"status":"ok"}')


@pytest.mark.alone
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 0),  # half-open
        (b"G", 408),
        (b"GET /healthz HTTP/1.1\r\n", 408),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", 408),
        (b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000, 408),
        (b"GET\r", 400),  # no method ends so
        (post(b"", length=20), 408),
        (post(b'{"model"', length=20), 408),
        (CHUNKED, 408),
        (CHUNKED + b"5\r\n{", 408),
        (CHUNKED + b"8\r\n", 408),
    ],
)
async def test_a_request_that_is_never_complete_ends_in_time(data: bytes, status: int) -> None:
    async with serving(Script(*ANSWER), settings=QUICK) as s:
        began = time.perf_counter()
        answer = await answer_to(s, data)
        assert status_of(answer) == status
        assert time.perf_counter() - began < 1.5
        if status:
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"]
        assert await is_well(s)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"GET /healthz HTTP/1.1\r\n", b"x: y\r\n"),
        (b"GET /healthz HTTP/1.1\r\nx:", b"y"),
        (b"", b"\r\n"),
        (post(b"", length=10_000), b" "),
        (CHUNKED, b"1\r\n \r\n"),
        (GET.replace(b"GET /healthz", b"GET /nothing").replace(b"\r\n\r\n", b"\r\nContent-Length: 9999\r\n\r\n"), b" "),
    ],
)
async def test_a_drip_gains_no_time(before: bytes, piece: bytes) -> None:
    async with serving(Script(*ANSWER), settings=QUICK) as s:
        assert await drip(s, before, piece) < 1.8


async def test_a_large_body_may_take_longer_than_a_small_one() -> None:
    method = Script(*ANSWER)
    async with serving(method, settings=QUICK) as s:
        body = json.dumps({"model": "routemoa", "messages": [{"role": "user", "content": "x" * 400_000}]}).encode()
        caller = await s.connect(post(b"", length=len(body)))
        for start in range(0, len(body), 40_000):
            caller.writer.write(body[start : start + 40_000])
            await asyncio.sleep(0.08)
        await until(lambda: method.begun)
        await caller.leave()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n", 400),  # TLS
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"\r\n" * 5, 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nbad header: y\r\n\r\n", 400),
        (b"GET /h\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (CHUNKED + b"zz\r\n", 400),
        (CHUNKED + b"5\r\n{}\r\n\r\n", 400),
        (CHUNKED + b"fffffffffffffffffffffff\r\n", 400),
        (CHUNKED + b"1\r\n \r\n" * 3000, 400),  # in too small chunks
    ],
)
async def test_what_is_no_request_is_told_so_and_is_no_line_of_the_log(
    data: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Script(*ANSWER), settings=QUICK) as s:
        answer = await answer_to(s, data)
        assert status_of(answer) == status, answer
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert len(error["message"]) < 300
        assert await is_well(s)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("rest", [b"garbage\r\n\r\n", b"\x00" * 50_000, GET * 50, b"POST"])
async def test_what_follows_a_request_disturbs_no_answer(rest: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Script(0.1, *ANSWER), settings=QUICK) as s:
        answer = await answer_to(s, post(BODY) + rest)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b'"Hello."' in answer
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.alone
async def test_a_body_that_goes_on_after_its_response_ends_in_time() -> None:
    async with serving(Script(*ANSWER), settings=QUICK) as s:
        before = post(b"", length=10**9).replace(b"/v1/chat/completions", b"/healthz")
        assert await drip(s, before, b"x" * 1000) < 1.8


# --- half-close


@pytest.mark.parametrize("seconds", [0.0, 0.2, 1.2])
@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_a_caller_that_has_ended_its_side_gets_its_answer(body: bytes, seconds: float) -> None:
    method = Script(seconds, *ANSWER)
    async with serving(method) as s:
        answer = await answer_to(s, post(body), end=True)
        assert status_of(answer) == 200
        assert b"lo." in answer
        assert method.finished


@pytest.mark.alone
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (GET, 200),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (post(BODY, version="1.0"), 200),
        (post(b"{}"), 400),
        (CHUNKED + f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n", 200),
        (b"", 0),
        (b"GET /healthz HTTP/1.1\r\n", 400),
        (post(b"{", length=100), 400),
        (CHUNKED, 400),
        (CHUNKED + b"5\r\n{", 400),
        (GET + GET, 200),
    ],
)
async def test_whatever_was_sent_before_the_end_is_answered(data: bytes, status: int) -> None:
    async with serving(Script(*ANSWER)) as s:
        began = time.perf_counter()
        answer = await answer_to(s, data, end=True)
        assert status_of(answer) == status
        assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize("body", [BODY, STREAM])
async def test_a_caller_that_has_gone_is_told_from_one_that_has_ended_its_side(body: bytes) -> None:
    method = Script(30.0, *ANSWER)
    async with serving(method) as s:
        caller = await s.connect(post(body))
        await until(lambda: method.begun)
        await caller.leave()
        await until(lambda: method.abandoned)


async def test_a_caller_that_goes_after_it_has_ended_its_side_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routemoa.gateway.guards.protocol.PROBE_AGAIN", 0.3)
    method = Script(30.0, *ANSWER)
    async with serving(method) as s:
        caller = await s.connect(post(BODY))
        await until(lambda: method.begun)
        caller.writer.write_eof()
        await asyncio.sleep(0.8)
        assert not method.abandoned
        await caller.leave()
        await until(lambda: method.abandoned)


# --- callers that do not read


async def test_a_caller_that_reads_nothing_is_left_in_time() -> None:
    steps: list[Event | float] = [AnswerDelta("x" * 100_000), 0.001]
    method = Script(*steps * 400, *ANSWER)
    async with serving(method, settings=QUICK) as s:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", s.port))
            sock.sendall(post(STREAM))
            await until(lambda: method.begun)
            await until(lambda: method.abandoned)


async def test_a_response_that_is_never_read_to_its_end_is_left_in_time() -> None:
    method = Script(AnswerDelta("x" * 3_000_000), *ANSWER)
    async with serving(method, settings=QUICK) as s:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", s.port))
            sock.sendall(post(BODY, "Connection: close"))
            await until(lambda: method.begun)
            await until(lambda: not s.server.server_state.connections)


async def test_a_slow_reader_gets_all_of_it() -> None:
    method = Script(*[AnswerDelta("x" * 50_000)] * 40, *ANSWER)
    async with serving(method, settings=QUICK) as s:
        caller = await s.connect(post(STREAM, "Connection: close"))
        got = b""
        while piece := await caller.reader.read(60_000):
            got += piece
            await asyncio.sleep(0.02)
        await caller.leave()
        assert got.count(b"x") >= 2_000_000
        assert b"[DONE]" in got


# --- the end of the server


async def test_a_connection_that_is_accepted_as_the_server_stops_gets_one_answer() -> None:
    async with serving(Script(*ANSWER)) as s:
        with socket.create_connection(("127.0.0.1", s.port)) as sock:
            s.server.should_exit = True
            time.sleep(0.02)  # noqa: ASYNC251  (so that one turn of the loop accepts it and looks at `should_exit`)
            await asyncio.sleep(0)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(sock, GET)
            assert b"\r\nconnection: close\r\n" in await asyncio.get_running_loop().sock_recv(sock, 1000)
            await until(lambda: not s.server.server_state.connections)


async def test_a_request_that_is_cancelled_before_its_first_step_is_forgotten() -> None:
    method = Script(*ANSWER)
    async with serving(method) as s:
        caller = await s.connect()
        await until(lambda: s.server.server_state.connections)
        (connection,) = s.server.server_state.connections
        connection.data_received(post(BODY))
        s.server._cancel_answers()
        await until(lambda: not s.server.server_state.tasks)
        caller.writer.transport.abort()
    assert not method.begun


# --- too many


async def fill(s: Serving, count: int, data: bytes = b"") -> list[Raw]:
    callers = [await s.connect(data) for _ in range(count)]
    await until(lambda: len(s.server.server_state.connections) >= min(count, 4))
    return callers


async def leave(callers: list[Raw]) -> None:
    for caller in callers:
        caller.writer.transport.abort()


@pytest.mark.parametrize("data", [b"", b"GET", post(b"", length=9)[:60]])
async def test_connections_without_a_request_make_room(data: bytes) -> None:
    async with serving(Script(*ANSWER), settings=ServerSettings(max_connections=4)) as s:
        callers = await fill(s, 20, data)
        assert await is_well(s)
        assert len(s.server.server_state.connections) <= 4
        await leave(callers)


async def test_an_idle_connection_makes_room_but_a_busy_one_does_not() -> None:
    method = Script(0.6, *ANSWER)
    async with serving(method, settings=ServerSettings(max_connections=3)) as s:
        idle = await s.connect(GET)
        assert b"ok" in await idle.reader.read(1000)
        busy = [await s.connect(post(BODY)) for _ in range(2)]
        await until(lambda: method.begun == 2)
        assert await is_well(s)  # in place of the idle one
        assert await idle.reader.read() == b""
        third = await s.connect(post(BODY))
        await until(lambda: method.begun == 3)
        refused = await answer_to(s, b"")
        assert refused.startswith(b"HTTP/1.1 503")
        assert re.search(rb"(?i)retry-after: \d+", refused)
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"]["code"] == "overloaded"
        for caller in (*busy, third):
            assert b"Hello." in await caller.reader.readuntil(b"Hello.")
        await leave([idle, *busy, third])


async def test_one_address_leaves_places_to_others() -> None:
    method = Script(0.5, *ANSWER)
    settings = ServerSettings(max_connections=10, max_connections_per_address=2)
    async with serving(method, settings=settings) as s:
        callers = [await s.connect(post(BODY)) for _ in range(2)]
        await until(lambda: method.begun == 2)
        assert (await answer_to(s, b"")).startswith(b"HTTP/1.1 503")
        with socket.socket() as sock:
            sock.bind(("127.0.0.2", 0))
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", s.port))
            await asyncio.get_running_loop().sock_sendall(sock, GET)
            assert (await asyncio.get_running_loop().sock_recv(sock, 1000)).startswith(b"HTTP/1.1 200")
        await leave(callers)


async def test_a_flood_of_connections_holds_few_open() -> None:
    method = Script(1.0, *ANSWER)
    async with serving(method, settings=ServerSettings(max_connections=1)) as s:
        busy = await s.connect(post(BODY))
        await until(lambda: method.begun)
        callers = [await s.connect() for _ in range(200)]
        await asyncio.sleep(0.1)
        assert len(s.server.server_state.connections) < 80
        await leave([busy, *callers])


def test_a_server_has_a_cap_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}

    class Registry:
        def __init__(self, limit: int, address_limit: int) -> None:
            made.update(limit=limit, address_limit=address_limit)

    monkeypatch.setattr("routemoa.gateway.lifecycle.server.ConnectionRegistry", Registry)
    monkeypatch.setattr("routemoa.gateway.lifecycle.server.descriptor_limit", lambda: 1024)

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    Server(app, lambda: None)
    assert made == {"limit": 403, "address_limit": 363}
