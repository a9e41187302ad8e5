"""The final answer: hedged, replaced where its writer fails, and the best one as it is where nobody can write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

from routemoa.core import events as t
from routemoa.core.errors import ModelError, ModelHTTPError
from routemoa.core.events import Event
from routemoa.core.trace import Proposal
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import Completion, Limits, ModelSpec, Query, Request
from routemoa.core.usage import Usage
from routemoa.mixture.answers import aggregator
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.run import Run, stream_events

GIVEN = tuple(Proposal(name, f"Answer of {name}.", Usage(1, 1), 0.1, 0.0) for name in "xy")


class Writers:
    """Models by their seconds to the first token, or the failure that comes then; a name in `mute` never completes."""

    def __init__(self, script: Mapping[str, float | tuple[float, ModelError]], mute: str = "") -> None:
        self.called: list[tuple[str, str]] = []
        self.open = 0
        self._script, self._mute = script, mute

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        self.called.append((model.name, request.purpose))
        self.open += 1
        try:
            says = self._script[model.name]
            await asyncio.sleep(says if isinstance(says, float) else says[0])
            if not isinstance(says, float):
                raise says[1]
            yield f"Written by {model.name}"
            if model.name not in self._mute:
                yield Completion(f"Written by {model.name}", Usage(7, 3), "stop")
        finally:
            self.open -= 1

    async def close(self) -> None:
        pass


def specs(names: str, local: str = "") -> list[ModelSpec]:
    return [ModelSpec(n, "local" if n in local else "http://x", n, input_price=1.0, output_price=1.0) for n in names]


async def written(
    client: Writers,
    writers: list[ModelSpec],
    late: Mapping[str, float],
    contract: Limits = Limits(),  # noqa: B008
) -> list[Event]:
    before = asyncio.all_tasks()
    desk = MeteredClient(client, contract)

    async def work(run: Run) -> None:
        await aggregator.write_answer(run, GIVEN, writers, late)

    out = [e async for e in stream_events(work, Query.from_text("Why?"), desk)]
    assert asyncio.all_tasks() == before
    assert client.open == 0
    assert desk.account.reserved == 0.0
    return out


def kinds(events: list[Event]) -> list[str]:
    return [type(e).__name__ for e in events]


LATE = {"a": 0.02}


async def test_one_writes() -> None:
    client = Writers({"a": 0.0})
    events = await written(client, specs("ab"), LATE)
    assert kinds(events) == ["AggregatorStarted", "AnswerDelta", "Done"]
    assert client.called == [("a", "aggregator")]
    assert fold_events(events).trace.usage == Usage(7, 3, None, None)


async def test_late_and_the_next_was_faster() -> None:
    client = Writers({"a": 5.0, "b": 0.0})
    trace = fold_events(await written(client, specs("ab"), LATE)).trace
    assert client.called == [("a", "aggregator"), ("b", "hedge")]
    assert (trace.aggregator, trace.calls) == ("b", 2)
    assert [(f.model, f.kind) for f in trace.failures] == [("a", "Cut")]


async def test_late_but_first_after_all() -> None:
    client = Writers({"a": 0.05, "b": 5.0})
    trace = fold_events(await written(client, specs("ab"), LATE)).trace
    assert (trace.aggregator, trace.calls) == ("a", 2)
    assert [(f.model, f.kind) for f in trace.failures] == [("b", "Cut")]


async def test_late_and_failed_is_said_as_it_was() -> None:
    client = Writers({"a": (0.04, ModelHTTPError("a", "HTTP 500", status=500)), "b": 0.05})
    events = await written(client, specs("ab"), LATE)
    trace = fold_events(events).trace
    assert trace.aggregator == "b"
    assert [(f.kind, f.status, f.cost) for f in trace.failures] == [("Refused", 500, 0.0)]
    assert fold_events(events).text == "Written by b"


async def test_a_hedge_that_does_not_fit_is_given_up() -> None:
    client = Writers({"a": 0.05, "b": 0.0})
    events = await written(client, specs("ab"), LATE, Limits(max_calls=1))
    trace = fold_events(events).trace
    assert fold_events(events).text == "Written by a"
    assert (trace.calls, client.called) == (1, [("a", "aggregator")])
    assert [(g.what, g.models) for g in trace.given_up] == [("hedge", ("b",))]


async def test_what_did_not_fit_beside_another_is_asked_in_its_place() -> None:
    client = Writers({"a": (0.05, ModelHTTPError("a", "HTTP 500", status=500)), "b": 0.0})
    dear = Limits(max_cost=0.0045)  # of which one call takes nearly all
    events = await written(client, specs("ab"), LATE, dear)
    assert client.called == [("a", "aggregator"), ("b", "aggregator")]
    assert fold_events(events).text == "Written by b"


async def test_never_to_or_from_a_local_model() -> None:
    for local, called in (("a", ["a"]), ("b", ["a"]), ("bc", ["a"]), ("", ["a", "b"])):
        client = Writers({"a": 0.06, "b": 0.5, "c": 0.5})
        await written(client, specs("abc" if local == "bc" else "ab", local), LATE)
        assert [name for name, _ in client.called] == called
    client = Writers({"a": 5.0, "b": 0.0, "c": 0.0})
    await written(client, specs("abc", "b"), LATE)
    assert [name for name, _ in client.called] == ["a", "c"]


async def test_a_stream_without_an_end_is_void() -> None:
    events = await written(Writers({"a": 0.0, "b": 0.0}, mute="a"), specs("ab"), {})
    assert fold_events(events).text == "Written by b"
    assert [f.kind for f in fold_events(events).trace.failures] == ["Garbled"]


async def test_where_nobody_can_write_the_best_stands() -> None:
    no = ModelHTTPError("a", "HTTP 500", status=500)
    events = await written(Writers({"a": (0.04, no), "b": (0.0, no)}), specs("ab"), LATE)
    assert fold_events(events).text == "Answer of x."
    assert isinstance(events[-1], t.Done)
    assert fold_events(await written(Writers({}), [], {})).text == "Answer of x."
