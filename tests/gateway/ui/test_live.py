"""What the server does now: bounded in memory, and each key sees its own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct

from routemoa.core.access.secret_keys import digest_secret
from routemoa.core.protocols import CallResult
from routemoa.core.usage import Usage
from routemoa.gateway.telemetry.live_board import (
    BUCKET_SECONDS,
    MAX_BUCKETS,
    MAX_KEYS,
    MAX_RECENT,
    LiveBoard,
    MemberState,
    QueueState,
    WorkerMoment,
)
from routemoa.gateway.ui.live_snapshot import Watcher, describe_members, describe_queue, describe_requests
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import Serving
from tests.gateway.traces.test_endpoints import ACME, OTHER, TENANTS
from tests.gateway.ui.test_routes import ADMIN, ask, get, showing

ALL = Watcher(None, everyone=True)


class Writer(Struct):
    first_piece: float | None = None


def take(board: LiveBoard, worker: int | None = None, *members: MemberState) -> WorkerMoment:
    queue = QueueState(waiting=1, refused=2, limit=100, busy=0.1 * (worker or 0))
    return WorkerMoment(worker, 0.0, board.list_running(), list(board.recent), list(board.buckets), [*members], queue)


def look(board: LiveBoard, watcher: Watcher, since: float = 0.0) -> dict[str, Any]:
    return describe_requests([take(board)], watcher, board.wall_clock(), since)


def result(charged: float | None) -> CallResult:
    return CallResult(Usage(1, 1), charged, charged, 0.1, "ok")


def test_a_request_is_shown_while_it_runs_and_counted_at_its_end() -> None:
    now = [100.0]
    board = LiveBoard(lambda: now[0], lambda: 1_000_000.0 + now[0])
    writer = Writer()
    request = board.add("acme", writer)
    request.model = "routemoa"
    writer.first_piece = 100.5
    [shown] = look(board, ALL)["requests"]
    assert (shown["model"], shown["tenant"], shown["began"], shown["first"]) == ("routemoa", "acme", 1_000_100.0, 0.5)
    request.add_call(result(0.25))
    request.add_call(result(None))
    now[0] += 2.0
    request.end(200, 0.5)
    request.end(200, 0.5)
    board.add("other", Writer()).end(503, None)
    moment = look(board, ALL)
    assert (moment["running"], moment["requests"]) == (0, [])
    assert [e["status"] for e in moment["ended"]] == [503, 200]
    assert moment["hour"] == {"requests": 2, "errors": 1, "dollars": 0.25, "first_token": 0.5}
    own = look(board, Watcher("other", everyone=False))
    assert own["hour"] == {"requests": 1, "errors": 1, "dollars": 0, "first_token": None}
    assert [e["tenant"] for e in own["ended"]] == ["other"]
    now[0] += 2 * 3600
    assert look(board, ALL)["hour"]["requests"] == 0


def test_only_new_buckets_are_told_again() -> None:
    now = [0.0]
    board = LiveBoard(lambda: now[0], lambda: now[0])
    for _ in range(3):
        board.add(None, Writer()).end(200, None)
        now[0] += BUCKET_SECONDS
    assert [start for start, *_ in look(board, ALL)["series"]] == [0.0, 15.0, 30.0]
    assert [start for start, *_ in look(board, ALL, 30.0)["series"]] == [30.0]


def test_several_workers_are_one_server() -> None:
    now = [0.0]
    boards = [LiveBoard(lambda: now[0], lambda: now[0]) for _ in range(2)]
    for board, status in zip(boards, (200, 500), strict=True):
        now[0] += 1.0
        board.add("acme", Writer()).end(status, None)
        board.add("acme", Writer())
    broken = MemberState("a", "open", 3, 9.0, "no answer")
    moments = [take(boards[0], 1, MemberState("a", "closed", 0, None, None)), take(boards[1], 2, broken)]
    found = describe_requests(moments, ALL, now[0])
    assert [(r["worker"], r["number"]) for r in found["requests"]] == [(1, 2), (2, 2)]
    assert [(r["worker"], r["status"]) for r in found["ended"]] == [(2, 500), (1, 200)]
    assert (found["running"], found["hour"]["requests"], found["series"]) == (2, 2, [[0.0, 2, 1, 0.0]])
    assert describe_members(moments, ["a", "gone"]) == [
        {"name": "a", "state": "open", "failures": 3, "retry_in": 9.0, "reason": "no answer", "workers": [2]}
    ]
    assert describe_queue(moments) == {"waiting": 2, "refused": 4, "limit": 200, "busy": 0.2}


def test_days_of_traffic_of_many_keys_stay_small() -> None:
    now = [0.0]
    board = LiveBoard(lambda: now[0], lambda: now[0])
    for i in range(20_000):
        now[0] += 4.32
        board.add(f"t{i}", Writer()).end(200, 0.1)
    for i in range(2 * MAX_KEYS):
        board.add(f"u{i}", Writer()).end(200, 0.1)
    assert len(board.buckets) == MAX_BUCKETS
    assert len(board.recent) == MAX_RECENT
    assert max(len(b.by_key) for b in board.buckets) == MAX_KEYS
    assert not board.running


async def read_moments(served: Serving, headers: dict[str, str], count: int) -> list[dict[str, Any]]:
    url = f"{served.url.removesuffix('/v1')}/ui/api/live"
    found: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as reply:
        assert reply.content_type == "text/event-stream"
        async for line in reply.content:
            if line.startswith(b"data: "):
                found.append(json.loads(line[6:]))
            if len(found) == count:
                break
    return found


async def test_the_stream_tells_each_key_of_its_own_requests(tmp_path: Path) -> None:
    budget = "[totals]\nmax_cost_per_day = 5.0\n"
    async with (
        FakeEndpoint("The answer is 4.", Fault(first_byte=1.0)) as upstream,
        showing(upstream.url, tmp_path, TENANTS + budget, admin_key=digest_secret("admin")) as served,
    ):
        asking = asyncio.create_task(ask(served, ACME))
        await asyncio.sleep(0.2)
        (acme,), (other,), (admin,) = await asyncio.gather(
            *(read_moments(served, headers, 1) for headers in (ACME, OTHER, ADMIN))
        )
        assert [m["running"] for m in (acme, other, admin)] == [1, 0, 1]
        assert acme["requests"][0]["model"] == "routemoa"
        assert (acme["queue"], admin["queue"]["waiting"]) == (None, 0)
        assert {m["name"] for m in acme["members"]} == {"a", "b"}
        assert ([b["key"] for b in admin["budgets"]], acme["budgets"]) == (["*"], [])
        await asking
        first, *_ = await read_moments(served, ACME, 1)
        assert (first["first"], first["running"], first["ended"][0]["status"]) == (True, 0, 200)
        assert (await get(served, "/ui/api/live"))[0] == 401
