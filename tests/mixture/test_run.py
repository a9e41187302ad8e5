"""A method's run: events reach the reader in order, a slow one holds streams up, and leaving ends the work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from routemoa.core.errors import AllModelsFailed
from routemoa.core.events import AnswerDelta, Done, Event, ProposalDelta, Started
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import Completion, ModelSpec, Query, Request
from routemoa.core.usage import Usage
from routemoa.mixture.baselines.single import Single
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.run import MAX_WAITING, Run, stream_events
from routemoa.testing import ScriptedClient

QUERY = Query.from_text("Why?")
SPEC = ModelSpec("a", "http://x")


class Endless:
    """A model that never stops; counts its words."""

    def __init__(self) -> None:
        self.words = 0
        self.open = 0

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        self.open += 1
        try:
            while True:
                self.words += 1
                yield "word "
                await asyncio.sleep(0)
        finally:
            self.open -= 1

    async def close(self) -> None:
        pass


def metered() -> MeteredClient:
    return MeteredClient(ScriptedClient({}))


async def test_a_reader_that_stops_reading_stops_the_stream() -> None:
    client = Endless()
    async with aclosing(Single(SPEC, client).stream(QUERY)) as events:
        async for event in events:
            if isinstance(event, AnswerDelta):
                break
        for _ in range(5):
            await asyncio.sleep(0.01)
            assert client.words <= MAX_WAITING
        held = client.words
        for _ in range(MAX_WAITING):
            await anext(events)
        await asyncio.sleep(0.01)
        assert held < client.words <= held + MAX_WAITING  # it goes on as the reader does
    assert client.open == 0


async def test_a_slow_reader_misses_nothing() -> None:
    words = [f"{i} " for i in range(3 * MAX_WAITING)]

    class Talker(ScriptedClient):
        async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
            for word in words:
                yield word
            yield Completion("".join(words), Usage(1, len(words)), "stop")

    seen: list[Event] = []
    async with aclosing(Single(SPEC, Talker({})).stream(QUERY)) as events:
        async for event in events:
            seen.append(event)
            if len(seen) % 100 == 0:
                await asyncio.sleep(0.001)
    assert [e.text for e in seen if isinstance(e, ProposalDelta)] == words
    assert fold_events(seen).text == "".join(words)


async def test_what_an_observer_emits_follows_the_event() -> None:
    async def work(run: Run) -> None:
        def echo(event: Event) -> None:
            if isinstance(event, ProposalDelta):
                run.emit(AnswerDelta(event.text))

        run.observe(echo)
        run.emit(ProposalDelta(1, "a", "x"))
        run.emit(ProposalDelta(1, "a", "y"))

    events = [e async for e in stream_events(work, QUERY, metered())]
    x, y = ProposalDelta(1, "a", "x"), ProposalDelta(1, "a", "y")
    assert events == [x, AnswerDelta("x"), y, AnswerDelta("y")]


async def test_an_error_comes_after_the_events_before_it() -> None:
    async def work(run: Run) -> None:
        run.emit(Started(QUERY, "m"))
        raise run.no_answer()

    async with aclosing(stream_events(work, QUERY, metered())) as events:
        assert await anext(events) == Started(QUERY, "m")
        with pytest.raises(AllModelsFailed):
            await anext(events)


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_leaving_early_ends_the_work_and_waits_for_it(after: int) -> None:
    ended: list[str] = []

    async def work(run: Run) -> None:
        try:
            for number in range(5):
                run.emit(AnswerDelta(str(number)))
                await asyncio.sleep(0.01)
        finally:
            await asyncio.sleep(0.01)
            ended.append("ended")

    before = asyncio.all_tasks()
    events = stream_events(work, QUERY, metered())
    for _ in range(after):
        await anext(events)
    await events.aclose()
    assert ended == (["ended"] if after else [])  # a stream that was never read has begun nothing
    assert asyncio.all_tasks() == before


async def test_cancelling_the_reader_ends_the_work() -> None:
    client = Endless()

    async def read() -> None:
        async for _ in Single(SPEC, client).stream(QUERY):
            pass

    before = asyncio.all_tasks()
    task = asyncio.create_task(read())
    await asyncio.sleep(0.02)
    assert client.open == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.open == 0
    assert asyncio.all_tasks() == before


async def test_an_answer_is_the_fold_of_its_stream() -> None:
    method = Single(SPEC, ScriptedClient({"a": "It is so."}, pieces=3))
    events = [e async for e in method.stream(QUERY)]
    folded, answer = fold_events(events), await method.answer(QUERY)
    assert isinstance(events[-1], Done)
    assert answer.text == folded.text == "It is so."
    assert answer.trace.calls == folded.trace.calls == 1
