"""A layer's calls with real concurrency: quorum, time, hedges, replacements, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from time import perf_counter

import pytest
from msgspec import Struct

from routemoa.clients.http import HttpClient
from routemoa.core.errors import ModelError, ModelHTTPError
from routemoa.core.events import (
    Degraded,
    Event,
    ProposalDelta,
    ProposalFailed,
    ProposalFinished,
    ProposalStarted,
    Selected,
    Started,
)
from routemoa.core.models.endpoint import Endpoint
from routemoa.core.protocols import Client
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import Completion, Limits, ModelSpec, Query, Request
from routemoa.core.usage import Usage
from routemoa.mixture import layer
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.calls.call_group import WAIT_FOR_ALL, CallGroup, WaitPolicy
from routemoa.mixture.calls.pending_call import CallEnd, PendingCall
from routemoa.mixture.run import Run, stream_events
from routemoa.testing import FakeEndpoint, Fault

BROKEN = RuntimeError("a defect")


class Says(Struct, frozen=True):
    """How one model behaves: seconds to its first token, seconds from there to its end, and how it ends."""

    first: float = 0.0
    rest: float = 0.0
    error: ModelError | RuntimeError | None = None
    late_error: bool = False  # after the first token
    farewell: float = 0.0  # seconds that closing its connection takes


class Models:
    """A client of such models that counts what is open."""

    def __init__(self, **says: Says) -> None:
        self.called: list[str] = []
        self.at: dict[str, float] = {}  # when each was called, since the start
        self.open = 0
        self._says = says
        self._begun = perf_counter()

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        self.called.append(model.name)
        self.at[model.name] = perf_counter() - self._begun
        self.open += 1
        says = self._says[model.name]
        try:
            await asyncio.sleep(says.first)
            if says.error is not None and not says.late_error:
                raise says.error
            yield f"I am {model.name}"
            await asyncio.sleep(says.rest)
            if says.error is not None:
                raise says.error
            yield Completion(f"I am {model.name}.", Usage(5, 3), "stop", 0.0, says.first)
        finally:
            if says.farewell:
                await asyncio.sleep(says.farewell)
            self.open -= 1

    async def close(self) -> None:
        pass


def spec(name: str, *, local: bool = False, price: float | None = 1.0) -> ModelSpec:
    return ModelSpec(name, "local" if local else "http://x", name, input_price=price, output_price=price)


def specs(names: str, local: str = "") -> list[ModelSpec]:
    return [spec(n, local=n in local) for n in names]


def run(
    client: Client,
    selected: Sequence[ModelSpec],
    reserve: Sequence[ModelSpec] = (),
    waiting: WaitPolicy = WAIT_FOR_ALL,
    leader: str | None = None,
    observer: Callable[[Event], None] | None = None,
) -> AsyncGenerator[Event, None]:
    query = Query.from_text("Why?")

    async def work(run: Run) -> None:
        run.emit(Selected(1, tuple(m.name for m in selected)))
        if observer is not None:
            run.observe(observer)
        request = layer.LayerRequest(1, query, leader=leader)
        await layer.run_layer(run, request, selected, reserve, waiting)

    return stream_events(work, query, client if isinstance(client, MeteredClient) else MeteredClient(client))


async def heard(events: AsyncGenerator[Event, None]) -> list[Event]:
    before = asyncio.all_tasks()
    async with aclosing(events):
        out = [e async for e in events]
    assert asyncio.all_tasks() == before
    return out


def answered(events: Sequence[Event]) -> list[str]:
    return [e.proposal.model for e in events if isinstance(e, ProposalFinished)]


def failed(events: Sequence[Event]) -> dict[str, str]:
    return {e.failure.model: e.failure.kind for e in events if isinstance(e, ProposalFailed)}


def started(events: Sequence[Event]) -> dict[str, str]:
    return {e.model: e.purpose for e in events if isinstance(e, ProposalStarted)}


async def test_all_are_waited_for_where_nothing_else_is_said() -> None:
    client = Models(a=Says(0.02), b=Says(0.0, 0.03), c=Says(0.01, error=ModelHTTPError("c", "no", status=500)))
    events = await heard(run(client, specs("abc")))
    assert set(answered(events)) == {"a", "b"}
    assert failed(events) == {"c": "Refused"}
    assert client.open == 0


@pytest.mark.alone
async def test_a_quorum_ends_the_layer_and_stragglers_are_cut_and_settled() -> None:
    client = Models(a=Says(0.01), b=Says(0.0, 5.0), c=Says(5.0))
    desk = MeteredClient(client, Limits(max_cost=1.0, max_calls=9))
    got: list[Event] = []
    asked: list[int] = []

    def enough() -> bool:
        asked.append(len(answered(got)))
        return True

    begun = perf_counter()
    await heard(run(desk, specs("abc"), specs("de"), WaitPolicy(None, {}, enough), observer=got.append))
    assert perf_counter() - begun < 0.5
    assert asked == [1]  # once one had come in, while others were under way; not of the ends that followed
    assert answered(got) == ["a"]
    assert failed(got) == {"b": "Cut", "c": "Cut"}
    assert {e.failure.model: e.failure.partial for e in got if isinstance(e, ProposalFailed)} == {
        "b": "I am b",
        "c": "",
    }
    assert all("suffice" in e.failure.reason for e in got if isinstance(e, ProposalFailed))
    assert set(client.called) == {"a", "b", "c"}  # nobody takes the place of one that we cut
    assert client.open == 0
    account = desk.account
    assert (account.reserved, account.reserved_tokens, account.calls) == (0.0, 0, 3)
    assert account.spent > 0.0


async def test_a_quorum_that_is_not_enough_goes_on() -> None:
    client = Models(a=Says(0.0), b=Says(0.02), c=Says(5.0))
    got: list[Event] = []
    policy = WaitPolicy(None, {}, lambda: len(answered(got)) > 1)
    await heard(run(client, specs("abc"), (), policy, observer=got.append))
    assert answered(got) == ["a", "b"]
    assert failed(got) == {"c": "Cut"}


async def test_a_cut_call_closes_its_connection() -> None:
    async with (
        FakeEndpoint("The answer is 4.") as quick,
        FakeEndpoint("One word after the other", Fault(between=0.2)) as slow,
    ):
        client = HttpClient()
        members = [ModelSpec("q", quick.url, "q"), ModelSpec("s", slow.url, "s")]
        got = [e async for e in run(client, members, (), WaitPolicy(None, {}, lambda: True))]
        assert answered(got) == ["q"]
        assert failed(got) == {"s": "Cut"}
        for _ in range(50):
            if not slow.open_requests:
                break
            await asyncio.sleep(0.01)
        assert (slow.open_requests, slow.gone) == (0, 1)
        await client.close()


@pytest.mark.alone
async def test_a_layer_ends_at_its_time_with_what_is_there() -> None:
    client = Models(a=Says(0.01), b=Says(0.0, 5.0), c=Says(5.0))
    begun = perf_counter()
    events = await heard(run(client, specs("abc"), specs("d"), WaitPolicy(0.1)))
    assert 0.09 <= perf_counter() - begun < 0.2
    assert answered(events) == ["a"]
    assert failed(events) == {"b": "Cut", "c": "Cut"}
    assert "d" not in client.called


@pytest.mark.alone
async def test_a_layer_ends_at_its_time_though_somebody_talks_all_the_time() -> None:
    class Talker(Models):
        async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
            for _ in range(100_000):
                yield "word "
                await asyncio.sleep(0)
            yield Completion("words", Usage(1, 1), "stop")

    begun = perf_counter()
    events = []
    async with aclosing(run(Talker(), specs("ab"), (), WaitPolicy(0.1))) as stream:
        async for event in stream:
            events.append(event)
            await asyncio.sleep(0)  # a reader slower than they are: there is always something more to hear
    assert perf_counter() - begun < 0.5
    assert failed(events) == {"a": "Cut", "b": "Cut"}


async def test_whoever_takes_long_to_leave_is_waited_for_in_peace() -> None:
    """Waiting for the ends of cut calls takes no processor time."""
    turns = 0

    async def propose(call: PendingCall) -> CallEnd:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
        return CallEnd.FAILED

    class Counting(CallGroup):
        async def _step(self) -> None:
            nonlocal turns
            turns += 1
            await super()._step()

    await Counting(propose, [], WaitPolicy(0.02)).run(specs("a"))
    assert turns < 10


async def test_a_failed_models_place_is_taken_by_the_next_of_the_reserve() -> None:
    no = ModelHTTPError("a", "no", status=400)
    client = Models(a=Says(error=no), b=Says(0.02), c=Says(error=no), d=Says(0.01), e=Says())
    events = await heard(run(client, specs("ab"), specs("cde")))
    assert client.called == ["a", "b", "c", "d"]
    assert set(answered(events)) == {"b", "d"}
    assert started(events)["d"] == "proposal"


LATE = {"a": 0.02}


async def test_who_is_late_is_hedged_and_cut_when_the_other_begins_first() -> None:
    client = Models(a=Says(5.0), c=Says(0.01, 0.02))
    events = await heard(run(client, specs("a"), specs("cd"), WaitPolicy(None, LATE)))
    assert client.called == ["a", "c"]
    assert 0.02 <= client.at["c"] < 0.2
    assert started(events) == {"a": "proposal", "c": "hedge"}
    assert answered(events) == ["c"]
    assert failed(events) == {"a": "Cut"}
    assert client.open == 0


async def test_who_is_late_but_first_goes_on_and_the_hedge_is_cut() -> None:
    client = Models(a=Says(0.05, 0.02), c=Says(5.0))
    events = await heard(run(client, specs("a"), specs("cd"), WaitPolicy(None, LATE)))
    assert answered(events) == ["a"]
    assert failed(events) == {"c": "Cut"}
    assert client.called == ["a", "c"]


async def test_the_one_that_lost_is_called_again_where_the_faster_one_fails_afterwards() -> None:
    client = Models(a=Says(0.2), c=Says(0.01, error=ModelHTTPError("c", "HTTP 500: cut", status=500), late_error=True))
    events = await heard(run(client, specs("a"), specs("c"), WaitPolicy(None, LATE)))
    assert client.called == ["a", "c", "a"]
    assert answered(events) == ["a"]


async def test_who_is_in_time_is_not_hedged() -> None:
    client = Models(a=Says(0.0, 0.06))  # its first token is in time, its end is not
    events = await heard(run(client, specs("a"), specs("c"), WaitPolicy(None, LATE)))
    assert client.called == ["a"]
    assert answered(events) == ["a"]


async def test_nobody_is_hedged_twice_nor_is_a_hedge() -> None:
    client = Models(a=Says(0.1), c=Says(0.2), d=Says())
    await heard(run(client, specs("a"), specs("cd"), WaitPolicy(None, {"a": 0.01, "c": 0.01})))
    assert client.called == ["a", "c"]


@pytest.mark.parametrize("local", ["a", "c"])
async def test_no_hedge_to_or_from_a_local_model(local: str) -> None:
    client = Models(a=Says(0.06), c=Says())
    events = await heard(run(client, specs("a", local), specs("c", local), WaitPolicy(None, LATE)))
    assert client.called == ["a"]
    assert answered(events) == ["a"]


async def test_a_hedge_passes_over_local_models() -> None:
    client = Models(a=Says(5.0), c=Says(), d=Says())
    await heard(run(client, specs("a"), specs("cd", "c"), WaitPolicy(None, LATE)))
    assert client.called == ["a", "d"]


async def test_a_hedge_that_does_not_fit_is_no_failure_of_the_pair() -> None:
    client = Models(a=Says(0.06), c=Says(), d=Says())
    desk = MeteredClient(client, Limits(max_calls=1))
    events = await heard(run(desk, specs("a"), specs("cd"), WaitPolicy(None, LATE)))
    assert answered(events) == ["a"]
    assert client.called == ["a"]
    assert failed(events) == {}
    assert fold_events([Started(Query(()), ""), *events]).trace.calls == 1
    assert [(e.given_up.what, e.given_up.models) for e in events if isinstance(e, Degraded)] == [("hedge", ("c",))]


@pytest.mark.parametrize("first", ["a", "c"])
async def test_where_one_of_a_pair_fails_the_other_goes_on_and_nobody_takes_its_place(first: str) -> None:
    no = ModelHTTPError(first, "no", status=400)
    says = {"a": Says(0.08), "c": Says(0.08), "d": Says()} | {first: Says(0.04, error=no)}
    client = Models(**says)
    events = await heard(run(client, specs("a"), specs("cd"), WaitPolicy(None, LATE)))
    assert failed(events) == {first: "Refused"}
    assert answered(events) == ["c" if first == "a" else "a"]
    assert client.called == ["a", "c"]


async def test_where_both_of_a_pair_fail_one_takes_their_place() -> None:
    no = ModelHTTPError("x", "no", status=400)
    client = Models(a=Says(0.05, error=no), c=Says(0.01, error=no), d=Says(), e=Says())
    events = await heard(run(client, specs("a"), specs("cde"), WaitPolicy(None, LATE)))
    assert answered(events) == ["d"]
    assert client.called == ["a", "c", "d"]


async def test_where_both_of_a_pair_fail_at_once_one_takes_their_place() -> None:
    gate = asyncio.Event()

    class Both(Models):
        async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
            self.called.append(model.name)
            if model.name in "ac":
                if model.name == "c":
                    asyncio.get_running_loop().call_later(0.01, gate.set)
                await gate.wait()
                raise ModelHTTPError(model.name, "no", status=400)
            yield Completion("Here.", Usage(1, 1), "stop")

    client = Both()
    events = await heard(run(client, specs("a"), specs("cde"), WaitPolicy(None, LATE)))
    assert failed(events) == {"a": "Refused", "c": "Refused"}
    assert answered(events) == ["d"]
    assert client.called == ["a", "c", "d"]


async def test_of_a_pair_only_one_goes_on_though_nobody_listens() -> None:
    """The reader is busy elsewhere while both begin."""
    client = Models(a=Says(0.05, 0.2), c=Says(0.02, 0.2))
    events: list[Event] = []
    async with aclosing(run(client, specs("a"), specs("c"), WaitPolicy(None, LATE))) as stream:
        async for event in stream:
            events.append(event)
            if isinstance(event, ProposalStarted) and event.model == "c":
                await asyncio.sleep(0.1)
    assert answered(events) == ["c"]
    assert failed(events) == {"a": "Cut"}


async def test_a_call_that_was_cancelled_before_it_ever_ran_says_nothing() -> None:
    """The answers suffice in the very turn in which another call was to begin."""
    ran: list[str] = []

    async def propose(call: PendingCall) -> CallEnd:
        ran.append(call.spec.name)
        try:
            await asyncio.sleep(0.0 if call.spec.name == "a" else 5.0)
        except asyncio.CancelledError:
            assert call.cancel_reason is not None
        return CallEnd.FAILED

    await CallGroup(propose, specs("b"), WaitPolicy(None, {}, lambda: True)).run(specs("ac"))
    assert ran == ["a", "c"]


async def test_closing_early_cancels_all() -> None:
    client = Models(a=Says(0.0, 5.0), b=Says(5.0), c=Says(5.0))
    before = asyncio.all_tasks()
    events = run(client, specs("ab"), specs("c"), WaitPolicy(9.0, {"b": 0.01}))
    async for event in events:
        if isinstance(event, ProposalStarted) and event.purpose == "hedge":
            break
    await asyncio.sleep(0)
    assert client.open == 3
    await events.aclose()
    assert client.open == 0
    assert asyncio.all_tasks() == before


async def test_cancelling_the_reader_cancels_all() -> None:
    client = Models(a=Says(0.0, 5.0), b=Says(5.0))
    before = asyncio.all_tasks()
    task = asyncio.create_task(heard(run(client, specs("ab"))))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.open == 0
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("late", [False, True])
async def test_a_defect_in_one_call_is_that_calls_failure(late: bool, caplog: pytest.LogCaptureFixture) -> None:
    client = Models(a=Says(0.0, 0.01, BROKEN, late), b=Says(0.02), c=Says(0.02))
    events = await heard(run(client, specs("ab"), specs("c")))
    [failure] = [e.failure for e in events if isinstance(e, ProposalFailed)]
    assert failure.model == "a"
    assert failure.reason == "its reply could not be handled (RuntimeError)"
    assert set(answered(events)) == {"b", "c"}
    assert client.open == 0
    assert caplog.records[0].exc_info is not None


async def test_a_defect_of_one_that_was_cut_is_its_failure() -> None:
    class Rude(Models):
        async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
            if model.name == "a":
                yield Completion("Here.", Usage(1, 1), "stop")
            try:
                await asyncio.sleep(5)
            finally:
                raise BROKEN

    events = await heard(run(Rude(), specs("ba"), (), WaitPolicy(None, {}, lambda: True)))
    assert {e.failure.model for e in events if isinstance(e, ProposalFailed)} == {"b"}
    assert set(answered(events)) == {"a"}


async def test_local_members_wait_for_the_local_leaders_first_token() -> None:
    client = Models(a=Says(0.05, 0.1), b=Says(), c=Says())
    events = await heard(run(client, specs("abc", "ab"), leader="a"))
    assert client.called == ["a", "c", "b"]
    assert client.at["c"] < 0.03
    assert 0.05 <= client.at["b"] < 0.13
    assert set(answered(events)) == {"a", "b", "c"}
    first = next(i for i, e in enumerate(events) if isinstance(e, ProposalDelta) and e.model == "a")
    assert first < next(i for i, e in enumerate(events) if isinstance(e, ProposalStarted) and e.model == "b")


async def test_local_members_begin_also_when_the_local_leader_fails() -> None:
    client = Models(a=Says(0.02, error=ModelHTTPError("a", "no", status=400)), b=Says())
    events = await heard(run(client, specs("ab", "ab"), leader="a"))
    assert answered(events) == ["b"]
    assert failed(events) == {"a": "Refused"}


async def test_local_members_do_not_begin_when_the_time_is_over() -> None:
    client = Models(a=Says(5.0), b=Says())
    events = await heard(run(client, specs("ab", "ab"), (), WaitPolicy(0.03), leader="a"))
    assert client.called == ["a"]
    assert failed(events) == {"a": "Cut"}


@pytest.mark.parametrize(("local", "leader"), [("b", "a"), ("", "a"), ("ab", None)])
async def test_nobody_waits_for_a_remote_leader_or_for_none(local: str, leader: str | None) -> None:
    client = Models(a=Says(0.05), b=Says())
    await heard(run(client, specs("ab", local), leader=leader))
    assert client.at["b"] < 0.03


async def test_a_slow_farewell_of_one_that_lost_is_waited_for() -> None:
    client = Models(a=Says(5.0, farewell=0.05), c=Says())
    events = await heard(run(client, specs("a"), specs("c"), WaitPolicy(None, LATE)))
    assert answered(events) == ["c"]
    assert failed(events) == {"a": "Cut"}
    assert client.open == 0


async def test_a_member_with_a_second_endpoint_is_hedged_there_first() -> None:
    """Another model is called after twice the time."""
    places = (Endpoint("http://a/v1"), Endpoint("http://b/v1"))
    member, other = ModelSpec("m", "http://a/v1", endpoints=places), ModelSpec("n", "http://n/v1")
    began = perf_counter()
    at: dict[str, float] = {}
    own: list[float | None] = []

    async def make(call: PendingCall) -> CallEnd:
        at[call.spec.name] = perf_counter() - began
        own.append(call.hedge_after)
        await asyncio.sleep(0.0 if call.spec is other else 5.0)
        call.begin()
        return CallEnd.ANSWERED

    await asyncio.wait_for(CallGroup(make, [other], WaitPolicy(hedge_after={"m": 0.1})).run([member]), 4)
    assert own == [0.1, None]
    assert at["n"] >= 0.2
