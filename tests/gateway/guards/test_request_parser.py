"""Requests one behind the other, in any pieces, with what no server of ours serves: bounded, in order, and answered."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import nullcontext

import pytest

from routemoa.gateway.guards.request_head import RequestFault, check_head, split_target
from routemoa.gateway.guards.request_parser import MAX_HEAD_BYTES
from tests.gateway.guards.test_protocol import BODY, CHUNKED, GET, QUICK, STREAM, answer_to, is_well, post, status_of
from tests.gateway.harness import ANSWER, Script, serving, until

LAST = GET.replace(b"Host: x", b"Host: x\r\nConnection: close")
MISSING = LAST.replace(b"/healthz", b"/nothing").replace(b"\r\nConnection: close", b"")


def statuses(answer: bytes) -> list[int]:
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


async def test_requests_one_behind_the_other_are_answered_in_their_order() -> None:
    async with serving(Script(0.05, *ANSWER)) as s:
        answer = await answer_to(s, GET + post(BODY) + MISSING + post(b"{}") + LAST)
        assert statuses(answer) == [200, 200, 404, 400, 200]
        assert await is_well(s)


@pytest.mark.parametrize("wrong", [b"garbage\r\n\r\n", GET.replace(b"Host: x", b"No: x"), CHUNKED + b"zz\r\n"])
async def test_what_is_wrong_behind_others_is_said_after_their_answers(wrong: bytes) -> None:
    async with serving(Script(0.05, *ANSWER), settings=QUICK) as s:
        assert statuses(await answer_to(s, post(BODY) + GET + wrong + GET)) == [200, 200, 400]


async def test_a_caller_that_leaves_is_noticed_though_it_has_sent_more() -> None:
    method = Script(30.0, *ANSWER)
    async with serving(method) as s:
        caller = await s.connect(post(BODY) + GET * 3)
        await until(lambda: method.begun)
        await caller.leave()
        await until(lambda: method.abandoned)


async def test_a_flood_of_requests_behind_a_slow_one_is_not_read_on() -> None:
    async with serving(Script(0.5, *ANSWER)) as s:
        caller = await s.connect(post(BODY))
        written = 0
        caller.writer.transport.set_write_buffer_limits(0)
        for _ in range(300):
            caller.writer.write(GET * 1000)
            written += 1
            try:
                await asyncio.wait_for(caller.writer.drain(), 0.05)
            except TimeoutError:
                break
        assert written < 300
        (connection,) = s.server.server_state.connections
        assert len(connection.pipeline) < 3000  # type: ignore[union-attr]
        caller.writer.transport.abort()


async def test_a_server_that_stops_answers_the_request_under_way_and_none_behind_it() -> None:
    method = Script(0.3, *ANSWER)
    async with serving(method) as s:
        caller = await s.connect(post(BODY) + post(BODY) * 3 + GET)
        await until(lambda: method.begun)
        s.server.should_exit = True
        answer = await caller.all()
    assert statuses(answer) == [200]
    assert b"\r\nconnection: close\r\n" in answer
    assert method.begun == method.finished == 1


@pytest.mark.parametrize(
    "data",
    [
        CHUNKED + b"0\r\n" + b"x: y\r\n" * 30_000,
        CHUNKED + b"0\r\nx: " + b"y" * 200_000,
        CHUNKED + b"1;" + b"e" * 200_000,
        b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 30_000,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"x" * 200_000,
    ],
)
async def test_all_that_is_no_body_is_bounded(data: bytes) -> None:
    async with serving(Script(*ANSWER), settings=QUICK) as s:
        assert status_of(await answer_to(s, data)) == 431
        assert await is_well(s)


async def test_a_head_below_the_bound_passes() -> None:
    async with serving(Script(*ANSWER)) as s:
        padding = b"x: " + b"y" * (MAX_HEAD_BYTES - 200) + b"\r\n"
        assert statuses(await answer_to(s, LAST.replace(b"\r\n\r\n", b"\r\n" + padding + b"\r\n"))) == [200]


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_a_request_may_come_in_any_pieces(size: int) -> None:
    body = f"{len(BODY):x};ext=1\r\n".encode() + BODY + b"\r\n0\r\nTrailer: t\r\n\r\n"
    data = GET + CHUNKED + body + b"\r\n" + LAST
    async with serving(Script(*ANSWER)) as s:
        caller = await s.connect()
        for start in range(0, len(data), size):
            caller.writer.write(data[start : start + size])
            await asyncio.sleep(0)
        assert statuses(await caller.all()) == [200, 200, 200]


@pytest.mark.parametrize(
    "first",
    [
        GET.replace(b"Host: x", b"Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c"),
        post(BODY, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        GET.replace(b"Host: x", b"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket"),
        CHUNKED.replace(b"Host: x", b"Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c")
        + f"{len(BODY):x}\r\n".encode()
        + BODY
        + b"\r\n0\r\n\r\n",
    ],
)
async def test_an_upgrade_is_not_taken_and_disturbs_nothing(first: bytes) -> None:
    async with serving(Script(*ANSWER)) as s:
        assert statuses(await answer_to(s, first + LAST)) == [200, 200]
        caller = await s.connect()
        for byte in first + LAST:
            caller.writer.write(bytes([byte]))
        assert statuses(await caller.all()) == [200, 200]


async def test_a_stream_to_http_1_0_ends_with_its_connection() -> None:
    async with serving(Script(*ANSWER)) as s:
        answer = await answer_to(s, post(STREAM, "Connection: keep-alive", version="1.0"))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        assert b"connection: close" in head.lower()
        assert body.startswith(b"data: ")
        assert body.rstrip().endswith(b"data: [DONE]")


async def test_a_head_request_has_no_body() -> None:
    async with serving(Script(*ANSWER)) as s:
        answer = await answer_to(s, LAST.replace(b"GET", b"HEAD") + b"")
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("version", "headers", "status"),
    [
        ("1.1", [(b"host", b"x")], None),
        ("1.0", [], None),
        ("1.1", [], 400),
        ("1.1", [(b"host", b"x"), (b"host", b"x")], 400),
        ("1.1", [(b"host", b"x"), (b"transfer-encoding", b"Chunked")], None),
        ("1.1", [(b"host", b"x"), (b"transfer-encoding", b"gzip, chunked")], 501),
        ("2.0", [(b"host", b"x")], 505),
        ("0.9", [], 505),
    ],
)
def test_the_head_is_checked(version: str, headers: list[tuple[bytes, bytes]], status: int | None) -> None:
    with nullcontext() if status is None else pytest.raises(RequestFault) as refused:
        check_head(version, headers)
    assert status is None or (refused is not None and refused.value.status == status)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/v1/models", "/v1/models", b""),
        (b"/a%20b?c=%20?d", "/a b", b"c=%20?d"),
        (b"//x/y", "//x/y", b""),
        (b"http://x/y?z", "http://x/y", b"z"),
        (b"*", "*", b""),
    ],
)
def test_the_target_is_split(target: bytes, path: str, query: bytes) -> None:
    found = split_target(target)
    assert (found["path"], found["query_string"]) == (path, query)
    assert found["raw_path"] == target.partition(b"?")[0]


def test_a_path_beyond_ascii_is_refused() -> None:
    with pytest.raises(RequestFault):
        split_target(b"/h\xc3\xa9")


async def test_white_space_around_a_header_is_no_part_of_it() -> None:
    async with serving(Script(*ANSWER)) as s:
        data = post(BODY, "X-Request-Id: \t mine \t", "Connection: close")
        assert b"x-request-id: mine\r\n" in await answer_to(s, data)
        assert json.loads((await answer_to(s, data)).rpartition(b"\r\n\r\n")[2])["choices"]
