"""A hedged pair of calls: every interleaving, each closed once, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from routemoa.core.errors import ModelError, ModelHTTPError
from routemoa.core.types import Completion, ModelSpec
from routemoa.mixture.calls.call_group import CallGroup, WaitPolicy
from routemoa.mixture.calls.pending_call import CallEnd, PendingCall

NO = ModelHTTPError("x", "no", status=500)
BROKEN = RuntimeError("a defect")


class Side:
    """One of the two: seconds to its first piece, its failure, and how often it was closed."""

    def __init__(
        self,
        name: str,
        first: float = 0.0,
        error: Exception | None = None,
        *,
        rest: float = 0.0,
        empty: bool = False,
        farewell: float = 0.0,
    ) -> None:
        self.name, self.first, self.error, self.rest, self.empty = name, first, error, rest, empty
        self.farewell = farewell
        self.opened = self.closed = 0

    async def stream(self) -> AsyncGenerator[str | Completion, None]:
        self.opened += 1
        try:
            await asyncio.sleep(self.first)
            if self.error is not None:
                raise self.error
            if self.empty:
                return
            yield self.name
            await asyncio.sleep(self.rest)
            yield Completion(self.name)
        finally:
            self.closed += 1
            await asyncio.sleep(self.farewell)


@asynccontextmanager
async def tidy(*sides: Side, opened: int | None = None) -> AsyncIterator[None]:
    """Nothing is left: no task, no open generator, no exception that nobody saw."""
    loop, unseen = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() == before
    gc.collect()
    await asyncio.sleep(0)
    assert unseen == []
    assert [s.closed for s in sides] == [s.opened for s in sides]
    if opened is not None:
        assert [s.opened for s in sides] == [1] * opened + [0] * (len(sides) - opened)


class Pair:
    """A call of `a` that is hedged with one of `b`, and what happens: pieces, errors, and "-a" for `a` cancelled."""

    def __init__(self, a: Side, b: Side | None, after: float | None) -> None:
        self.seen: list[Any] = []
        self._sides = {"a": a, "b": b}
        self._after = {} if after is None else {"a": after}

    async def run(self) -> list[Any]:
        reserve = [ModelSpec("b", "http://x")] if self._sides["b"] else []
        group = CallGroup(self._make, reserve, WaitPolicy(hedge_after=self._after))
        await group.run([ModelSpec("a", "http://x")])
        return self.seen

    async def _make(self, call: PendingCall) -> CallEnd:
        side = self._sides[call.spec.name]
        assert side is not None
        try:
            async with aclosing(side.stream()) as stream:
                async for piece in stream:
                    if (rival := call.begin()) is not None:
                        self.seen.append(f"-{rival.spec.name}")
                    self.seen.append(piece.text if isinstance(piece, Completion) else piece)
                    if isinstance(piece, Completion):
                        return CallEnd.ANSWERED
        except ModelError as e:
            self.seen.append(e)
        except asyncio.CancelledError:
            if call.cancel_reason is None:
                raise
        return CallEnd.FAILED


async def pieces(a: Side, b: Side | None, after: float | None = 0.02) -> list[Any]:
    return await Pair(a, b, after).run()


async def test_in_time_is_not_hedged() -> None:
    a, b = Side("a", 0.0, rest=0.05), Side("b")
    async with tidy(a, b, opened=1):
        assert await pieces(a, b) == ["a", "a"]


@pytest.mark.parametrize(("second", "after"), [(False, 0.0), (True, None)])
async def test_without_another_or_a_time_nobody_is_late(second: bool, after: float | None) -> None:
    a, b = Side("a", 0.03), Side("b")
    async with tidy(a, b, opened=1):
        assert await pieces(a, b if second else None, after) == ["a", "a"]


async def test_late_but_first() -> None:
    a, b = Side("a", 0.04, rest=0.02), Side("b", 5.0)
    async with tidy(a, b, opened=2):
        assert await pieces(a, b) == ["-b", "a", "a"]


async def test_the_second_begins_first() -> None:
    a, b = Side("a", 5.0), Side("b", 0.01, rest=0.02)
    async with tidy(a, b, opened=2):
        assert await pieces(a, b) == ["-a", "b", "b"]


async def test_both_begin_at_once_and_the_first_goes_on() -> None:
    gate = asyncio.Event()

    class Gated(Side):
        async def stream(self) -> AsyncGenerator[str | Completion, None]:
            self.opened += 1
            try:
                await gate.wait()
                yield self.name
            finally:
                self.closed += 1

    a, b = Gated("a"), Gated("b")
    asyncio.get_running_loop().call_later(0.05, gate.set)
    async with tidy(a, b, opened=2):
        assert await pieces(a, b, 0.01) == ["-b", "a"]


async def test_the_second_fails_at_once_and_the_first_goes_on() -> None:
    a, b = Side("a", 0.05), Side("b", error=NO)
    async with tidy(a, b, opened=2):
        assert await pieces(a, b) == [NO, "a", "a"]


async def test_the_first_fails_late_and_the_second_goes_on() -> None:
    a, b = Side("a", 0.03, NO), Side("b", 0.04)
    async with tidy(a, b, opened=2):
        assert await pieces(a, b) == [NO, "b", "b"]


async def test_the_first_fails_in_time_and_nobody_is_asked() -> None:
    a, b = Side("a", 0.0, NO), Side("b")
    async with tidy(a, b, opened=1):
        assert await pieces(a, None) == [NO]


@pytest.mark.parametrize(("one", "other"), [(0.03, 0.05), (0.08, 0.0), (0.03, 0.01)])
async def test_both_fail(one: float, other: float) -> None:
    mine, theirs = ModelHTTPError("a", "mine", status=500), ModelHTTPError("b", "theirs", status=500)
    a, b = Side("a", one, mine), Side("b", other, theirs)
    async with tidy(a, b, opened=2):
        assert sorted(await pieces(a, b), key=str) == [mine, theirs]


@pytest.mark.parametrize(("empty", "others"), [("a", ["b", "b"]), ("b", ["-b", "a", "a"]), ("ab", [])])
async def test_an_empty_stream_is_no_beginning(empty: str, others: list[Any]) -> None:
    a, b = Side("a", 0.05, empty="a" in empty), Side("b", 0.04, empty="b" in empty)
    async with tidy(a, b, opened=2):
        assert await pieces(a, b) == others


@pytest.mark.parametrize("which", ["first in time", "first", "second", "second, and the first goes on"])
async def test_a_defect_is_raised(which: str) -> None:
    a = Side("a", {"first in time": 0.0, "second": 5.0}.get(which, 0.05), BROKEN if "first" in which[:5] else None)
    b = Side("b", 0.01 if "second" in which else 0.05, BROKEN if "second" in which else None)
    if which == "second":
        a.first = 0.06
    async with tidy(a, b):
        with pytest.raises(RuntimeError, match="a defect"):
            await pieces(a, b)


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("second", [0.0, 5.0])
async def test_the_reader_leaves_early(count: int, late: bool, second: float) -> None:
    a, b = Side("a", 0.05 if late else 0.0, rest=0.05), Side("b", second, rest=0.05)
    async with tidy(a, b):
        await leave_after(Pair(a, b, 0.01), count)


@pytest.mark.parametrize("failing", ["", "a", "b"])
async def test_the_reader_leaves_once_the_pair_is_decided(failing: str) -> None:
    a = Side("a", 0.2, NO if "a" in failing else None)
    b = Side("b", 0.05, NO if "b" in failing else None)
    async with tidy(a, b, opened=2):
        pair = Pair(a, b, 0.01)
        await leave_after(pair, 1)
        assert pair.seen[0] in ("-a", NO)


async def leave_after(pair: Pair, count: int) -> None:
    """Cancel a pair once so much was seen of it."""
    task = asyncio.create_task(pair.run())
    for _ in range(10_000_000):
        if len(pair.seen) >= count or task.done():
            break
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def cancelled_after(turns: int, make: Callable[[], tuple[Side, Side]]) -> bool:
    """Whether reading was still under way after so many turns of the loop, when it was cancelled."""
    a, b = make()
    async with tidy(a, b):
        task = asyncio.create_task(pieces(a, b, 0.0))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            assert task.exception() is None or isinstance(task.exception(), ModelHTTPError)
            return False
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    return True


@pytest.mark.parametrize(
    "make",
    [
        lambda: (Side("a", 5.0), Side("b")),
        lambda: (Side("a", 5.0, farewell=0.005), Side("b")),
        lambda: (Side("a", 0.003), Side("b", 5.0, farewell=0.005)),
        lambda: (Side("a", 5.0, farewell=0.005), Side("b", 5.0, farewell=0.01)),
        lambda: (Side("a", 0.003, NO), Side("b", 0.002, NO)),
    ],
)
async def test_cancelled_at_every_turn_it_ends_and_stays_cancelled(make: Callable[[], tuple[Side, Side]]) -> None:
    turns = 0
    while turns < 40 and await cancelled_after(turns, make):
        turns += 1 if turns < 6 else 3
    assert turns > 3


async def test_cancelled_while_both_run() -> None:
    a, b = Side("a", 5.0), Side("b", 5.0)
    async with tidy(a, b, opened=2):
        task = asyncio.create_task(pieces(a, b))
        await asyncio.sleep(0.04)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cancelled_while_the_loser_takes_its_leave() -> None:
    a, b = Side("a", 5.0, farewell=0.05), Side("b", rest=5.0)
    async with tidy(a, b, opened=2):
        task = asyncio.create_task(pieces(a, b))
        await asyncio.sleep(0.04)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 1.0)


async def test_a_time_limit_around_it_holds_while_the_loser_takes_its_leave() -> None:
    a, b = Side("a", 5.0, farewell=0.05), Side("b", rest=0.2)
    async with tidy(a, b, opened=2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.04):
                await pieces(a, b)


async def test_a_defect_in_one_closes_the_other_too() -> None:
    a, b = Side("a", 0.03, BROKEN), Side("b", 5.0)
    async with tidy(a, b, opened=2):
        task = asyncio.create_task(pieces(a, b))
        await asyncio.sleep(0.06)
        task.cancel()
        with pytest.raises((RuntimeError, asyncio.CancelledError)):
            await task
