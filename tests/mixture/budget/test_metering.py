"""The desk: each attempt is reserved, put down to the tab and settled, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Any

import pytest

from routemoa.clients.http import HttpClient
from routemoa.clients.retry import Retry, RetryPolicy
from routemoa.core.errors import (
    AllModelsFailed,
    BudgetExceeded,
    ConfigError,
    InvalidResponse,
    ModelError,
    ModelHTTPError,
    ModelTimeout,
    RouteMoAError,
    Unaffordable,
    Unreachable,
)
from routemoa.core.events import ProposalFailed, Selected
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.trace import Failure
from routemoa.core.types import Completion, Limits, Message, ModelSpec, Query, Request, Thinking
from routemoa.core.usage import Usage
from routemoa.mixture.budget.metered_call import estimate_usage
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.calls.call_results import make_failure
from routemoa.mixture.run import Run
from routemoa.testing import FakeEndpoint, Fault, ScriptedClient

PRICED = ModelSpec("a", "http://x", "a", input_price=1.0, output_price=10.0)
UNPRICED = ModelSpec("u", "http://x", "u")
ASKED = Request((Message("user", "How many apples are left?"),), {"max_tokens": 100})
BUSY = ModelHTTPError("a", "HTTP 503", status=503)
RESET = Unreachable("a", "reset", sent=True)
UNSENT = Unreachable("a", "no connection")


class Recorder:
    """Checks that each call that was opened is closed, once, and no other."""

    def __init__(self, *, limited: bool = False, allows: int = 10**6, slow: float = 0.0) -> None:
        self.has_budget = limited
        self.opened: dict[int, CallStart] = {}
        self.closed: dict[int, CallResult] = {}
        self._allows, self._slow = allows, slow

    async def start(self, opening: CallStart) -> int:
        await asyncio.sleep(self._slow)
        if len(self.opened) >= self._allows:
            raise BudgetExceeded("the tenant's budget is used up", reset=1.0)
        number = len(self.opened) + 1
        self.opened[number] = opening
        return number

    def finish(self, number: int, closing: CallResult) -> None:
        assert number in self.opened
        assert number not in self.closed, "closed twice"
        self.closed[number] = closing
        most = self.opened[number].max_cost
        if most is not None and closing.cost is None:
            assert closing.charged is not None
            assert 0.0 <= closing.charged <= most

    @property
    def even(self) -> bool:
        return self.opened.keys() == self.closed.keys()

    @property
    def outcomes(self) -> list[str]:
        return [self.closed[n].outcome for n in sorted(self.closed)]


class Attempts:
    """A client whose attempts end as `script` says, one after the other: an error, before or after a word, or well."""

    def __init__(self, *script: ModelError | None, word: str = "It is ", patience: int = 9, hang: float = 0.0) -> None:
        self.made: list[Request] = []
        self.open = 0
        self._script, self._word, self._patience, self._hang = list(script), word, patience, hang

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        yield ""
        raise AssertionError("made one attempt at a time")

    async def attempt(
        self, model: ModelSpec, request: Request, deadline: float
    ) -> AsyncGenerator[str | Completion, None]:
        self.made.append(request)
        error = self._script.pop(0) if self._script else None
        self.open += 1
        try:
            await asyncio.sleep(0)
            if error is not None and not error.produced:
                raise error
            yield self._word
            await asyncio.sleep(self._hang)
            if error is not None:
                raise error
            yield Completion(self._word + "so.", Usage(11, 7), "stop")
        finally:
            self.open -= 1
            await asyncio.sleep(0)

    def new_retry(self, model: ModelSpec) -> Retry:
        return Retry(RetryPolicy(self._patience, base=0.0), monotonic() + 10.0)

    async def close(self) -> None:
        pass


async def read(desk: MeteredClient, model: ModelSpec = PRICED, request: Request = ASKED) -> list[str | Completion]:
    async with aclosing(desk.stream(model, request)) as pieces:
        return [piece async for piece in pieces if not isinstance(piece, Thinking)]


def settled(desk: MeteredClient) -> None:
    account = desk.account
    assert (account.reserved, account.reserved_tokens) == (0.0, 0)
    assert desk.recorder is None or desk.recorder.even  # type: ignore[attr-defined]


async def test_a_call_is_reserved_settled_and_put_down() -> None:
    tab = Recorder()
    desk = MeteredClient(Attempts(), Limits(max_cost=1.0), tab)
    pieces = await read(desk)
    assert [p if isinstance(p, str) else p.text for p in pieces] == ["It is ", "It is so."]
    settled(desk)
    cost = PRICED.cost(Usage(11, 7))
    assert desk.account.spent == desk.charged == cost
    closing = tab.closed[1]
    assert (closing.cost, closing.charged, closing.outcome, closing.usage) == (cost, cost, "ok", Usage(11, 7))
    assert tab.opened[1].purpose == "proposal"
    assert (tab.opened[1].max_cost or 0.0) >= (cost or 0.0)


async def test_what_a_call_may_write_is_capped_at_what_is_affordable() -> None:
    client = Attempts()
    await read(MeteredClient(client, Limits(max_output_tokens=80)))
    assert client.made[0].parameters == {"max_tokens": 80}


async def test_retries_are_reserved_one_by_one_and_called_so() -> None:
    tab, client = Recorder(), Attempts(BUSY, UNSENT, RESET)
    desk = MeteredClient(client, Limits(max_calls=9, max_cost=1.0), tab)
    await read(desk)
    settled(desk)
    assert [o.purpose for o in tab.opened.values()] == ["proposal", "retry", "retry", "retry"]
    assert tab.outcomes == ["Refused", "Unreachable", "Unreachable", "ok"]
    assert desk.account.calls == 4
    charged = [tab.closed[n].charged for n in (1, 2)]
    assert charged == [0.0, 0.0]  # refused, never sent
    assert tab.closed[3].cost is None  # perhaps billed: nobody knows
    assert desk.account.spent >= sum(c.charged or 0.0 for c in tab.closed.values())


@pytest.mark.parametrize("calls", [1, 2, 3])
async def test_retries_stop_at_the_calls_that_are_allowed(calls: int) -> None:
    first = ModelHTTPError("a", "the first", status=503)
    client = Attempts(first, *[ModelHTTPError("a", f"number {n}", status=503) for n in range(2, 9)])
    desk = MeteredClient(client, Limits(max_calls=calls), Recorder())
    with pytest.raises(ModelHTTPError) as caught:
        await read(desk)
    assert len(client.made) == desk.account.calls == calls
    assert caught.value.reason == (
        "the first" if calls == 1 else f"number {calls}"
    )  # what went wrong, not Unaffordable
    settled(desk)


async def test_a_retry_that_costs_too_much_leaves_the_failure_as_it_was() -> None:
    desk = MeteredClient(Attempts(RESET), Limits(max_cost=0.0015), Recorder())  # the most of one call is counted
    with pytest.raises(Unreachable, match="reset"):
        await read(desk)
    assert isinstance(desk.refusal, BudgetExceeded)
    settled(desk)


async def test_after_a_word_nothing_is_tried_again() -> None:
    client = Attempts(InvalidResponse("a", "cut", produced=True), None)
    with pytest.raises(InvalidResponse):
        await read(MeteredClient(client))
    assert len(client.made) == 1


async def test_a_call_that_does_not_fit_is_not_made() -> None:
    client, tab = Attempts(), Recorder()
    desk = MeteredClient(client, Limits(max_cost=1e-6), tab)
    with pytest.raises(Unaffordable) as caught:
        await read(desk)
    assert caught.value.why is desk.refusal
    assert isinstance(desk.refusal, BudgetExceeded)
    assert client.made == []
    assert tab.opened == {}
    desk = MeteredClient(client, Limits(max_cost=1.0), tab)
    with pytest.raises(Unaffordable):
        await read(desk, UNPRICED)
    assert isinstance(desk.refusal, ConfigError)


async def test_a_tenant_whose_budget_is_used_up_takes_nothing_of_the_contract() -> None:
    client, tab = Attempts(BUSY), Recorder(limited=True, allows=1)
    desk = MeteredClient(client, Limits(max_cost=1.0, max_calls=5), tab)
    with pytest.raises(ModelHTTPError):  # the call was made; only its retry did not fit
        await read(desk)
    with pytest.raises(Unaffordable) as caught:
        await read(desk)
    assert isinstance(caught.value.why, BudgetExceeded)
    assert caught.value.why.reset == 1.0
    assert (desk.account.calls, len(client.made)) == (1, 1)
    settled(desk)


async def test_a_limited_tab_bounds_calls_without_any_contract() -> None:
    client = Attempts()
    tab = Recorder(limited=True)
    await read(MeteredClient(client, Limits(), tab), request=Request(ASKED.messages))
    assert client.made[0].parameters == {"max_tokens": 4096}
    assert tab.opened[1].max_cost is not None
    with pytest.raises(Unaffordable, match="no price"):
        await read(MeteredClient(client, Limits(), tab), UNPRICED)


@pytest.mark.parametrize(
    ("error", "outcome", "known"),
    [
        (None, "ok", True),
        (ModelHTTPError("a", "HTTP 400", status=400), "Refused", True),
        (UNSENT, "Unreachable", True),
        (RESET, "Unreachable", False),
        (InvalidResponse("a", "cut", produced=True), "Garbled", False),
        (ModelTimeout("a", "slow", produced=True), "TimedOut", False),
    ],
)
async def test_outcomes(error: ModelError | None, outcome: str, known: bool) -> None:
    tab = Recorder()
    desk = MeteredClient(Attempts(error, patience=1), Limits(max_cost=1.0), tab)
    [done] = await asyncio.gather(read(desk), return_exceptions=True)
    assert done is error or (error is None and isinstance(done, list))
    settled(desk)
    assert tab.outcomes == [outcome]
    closing = tab.closed[1]
    assert (closing.cost is not None) == known
    if error is not None:  # the trace says what the desk says
        assert make_failure(PRICED, error, 0.1).cost == closing.cost
    if not known:
        most = tab.opened[1].max_cost
        assert most is not None
        assert desk.account.spent == most  # the contract counts the most
        assert closing.charged is not None
        assert closing.charged < most  # the tab what had come
    assert not desk.unpriced


async def test_a_stream_that_is_left_is_settled_at_what_it_produced() -> None:
    tab, client = Recorder(), Attempts(word="word " * 20)
    desk = MeteredClient(client, Limits(max_cost=1.0), tab)
    async with aclosing(desk.stream(PRICED, ASKED)) as pieces:
        assert await anext(pieces) == "word " * 20
    settled(desk)
    assert client.open == 0
    estimate = PRICED.cost(estimate_usage(ASKED, len("word " * 20)))
    closing = tab.closed[1]
    assert (closing.outcome, closing.cost, closing.charged) == ("cut", None, estimate)
    assert closing.usage == Usage()
    assert desk.account.spent == tab.opened[1].max_cost


async def test_what_a_cut_stream_is_charged_is_never_more_than_the_most() -> None:
    tab = Recorder()
    desk = MeteredClient(Attempts(word="many words " * 2000), Limits(max_cost=1.0), tab)
    async with aclosing(desk.stream(PRICED, ASKED)) as pieces:
        await anext(pieces)
    assert tab.closed[1].charged == tab.opened[1].max_cost


async def test_leaving_after_the_completion_is_no_cut() -> None:
    tab = Recorder()
    async with aclosing(MeteredClient(Attempts(), Limits(), tab).stream(PRICED, ASKED)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                break
    assert tab.outcomes == ["ok"]


async def test_without_a_price_or_a_count_nobody_knows() -> None:
    tab = Recorder()
    desk = MeteredClient(ScriptedClient({"u": "Words.", "a": Completion("Words.")}), Limits(), tab)
    await read(desk)
    assert (desk.unpriced, desk.charged) == (False, tab.opened[1].max_cost)  # the most that it can have cost
    assert (tab.closed[1].cost, tab.closed[1].charged) == (None, tab.opened[1].max_cost)
    await read(desk, UNPRICED)
    assert (desk.unpriced, desk.charged) == (True, None)
    assert tab.closed[2].charged is None
    settled(desk)


@pytest.mark.alone
@pytest.mark.parametrize("persistent", [False, True])
async def test_the_contracts_time_ends_a_stream_that_hangs(persistent: bool) -> None:
    tab = Recorder()
    client: Any = Attempts(hang=5.0) if persistent else ScriptedClient({"a": "x"}, delay=5.0)
    desk = MeteredClient(client, Limits(max_seconds=0.1), tab)
    with pytest.raises(ModelTimeout, match=r"a: the limit of 0.1 s was reached"):
        await read(desk)
    assert 0.09 <= desk.deadline.seconds_passed < 0.16
    assert desk.deadline.seconds_left == 0.0
    assert tab.outcomes == ["TimedOut"]
    settled(desk)


@pytest.mark.alone
async def test_the_contracts_time_ends_a_stream_of_a_real_endpoint() -> None:
    async with FakeEndpoint("One word after the other, slowly", Fault(between=0.05)) as endpoint:
        client = HttpClient(retries=RetryPolicy(1))
        desk = MeteredClient(client, Limits(max_seconds=0.15), Recorder())
        with pytest.raises(ModelTimeout):
            await read(desk, ModelSpec("s", endpoint.url, "s"), ASKED)
        assert 0.14 <= desk.deadline.seconds_passed < 0.25
        settled(desk)
        await client.close()


@pytest.mark.alone
async def test_no_retry_begins_after_the_contracts_time() -> None:
    async with FakeEndpoint("x", Fault(status=503, retry_after="5")) as endpoint:
        client = HttpClient()
        desk = MeteredClient(client, Limits(max_seconds=0.2), Recorder())
        with pytest.raises(ModelHTTPError):
            await read(desk, ModelSpec("s", endpoint.url, "s"), ASKED)
        assert desk.deadline.seconds_passed < 0.2
        assert len(endpoint.requests) == 1
        await client.close()


async def cancelled_after(turns: int, errors: Sequence[ModelError], slow: float) -> bool:
    """Whether reading was still under way after so many turns of the loop; it is cancelled then."""
    tab, client, before = Recorder(slow=slow), Attempts(*errors), asyncio.all_tasks()
    desk = MeteredClient(client, Limits(max_cost=1.0, max_calls=9), tab)
    task = asyncio.create_task(read(desk))
    for _ in range(turns):
        await asyncio.sleep(0)
    running = not task.done()
    if running:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    settled(desk)
    assert client.open == 0
    assert asyncio.all_tasks() == before
    assert desk.account.calls == len(tab.opened) >= len(client.made)
    return running


@pytest.mark.parametrize("errors", [(), (BUSY, RESET)])
async def test_cancelled_at_every_turn_all_is_closed(errors: tuple[ModelError, ...]) -> None:
    turns = 0
    while await cancelled_after(turns, errors, 0.0):
        turns += 1
    assert turns > 4


async def test_cancelled_while_the_tab_is_opened_nothing_is_held() -> None:
    tab = Recorder(slow=5.0)
    desk = MeteredClient(Attempts(), Limits(max_cost=1.0), tab)
    task = asyncio.create_task(read(desk))
    await asyncio.sleep(0.01)
    assert desk.account.reserved > 0.0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    settled(desk)
    assert (desk.account.calls, desk.account.spent) == (0, 0.0)


async def test_many_at_once_share_one_ledger() -> None:
    tab, client = Recorder(), Attempts(hang=0.01)
    desk = MeteredClient(client, Limits(max_calls=5, max_cost=1.0), tab)
    done = await asyncio.gather(*(read(desk) for _ in range(12)), return_exceptions=True)
    assert sum(isinstance(d, Unaffordable) for d in done) == 7
    assert len(client.made) == desk.account.calls == len(tab.opened) == 5
    settled(desk)


async def test_why_nobody_answered() -> None:
    desk = MeteredClient(Attempts(BUSY, patience=1), Limits(max_calls=1))
    failures = []
    for _ in range(2):
        try:
            await read(desk)
        except ModelError as e:
            failures.append(make_failure(PRICED, e, 0.0))
    assert [f.kind for f in failures] == ["Refused", "Unaffordable"]
    assert isinstance(why(desk, failures), AllModelsFailed)
    assert why(desk, failures[1:]) is desk.refusal
    assert isinstance(why(MeteredClient(Attempts()), []), AllModelsFailed)
    assert "raise max_seconds" in str(why(MeteredClient(Attempts(), Limits(max_seconds=1e-9)), []))


def why(desk: MeteredClient, failures: Sequence[Failure]) -> RouteMoAError:
    """The error of a query whose calls failed so."""
    run = Run(Query(()), desk)
    run.emit(Selected(1, ("a",)))
    for failure in failures:
        run.emit(ProposalFailed(1, failure))
    return run.no_answer()


async def test_a_defect_is_settled_too() -> None:
    def broken(model: ModelSpec, request: Request) -> str:
        raise ZeroDivisionError("a bug")

    tab = Recorder()
    desk = MeteredClient(ScriptedClient({"a": broken}), Limits(max_cost=1.0), tab)
    with pytest.raises(ZeroDivisionError):
        await read(desk)
    settled(desk)
    assert desk.account.spent == tab.opened[1].max_cost


async def test_calls_that_wait_and_answers_that_are_complete_speak_for_a_member_some_of_whose_calls_fail() -> None:
    desk = MeteredClient(HttpClient())

    async def fail(times: int) -> None:
        for _ in range(times):
            call = await desk.open(UNPRICED, ASKED)
            call.fail(RESET)
            call.close()

    early = await desk.open(UNPRICED, ASKED)
    early.add("Seven")
    waiting = [await desk.open(UNPRICED, ASKED) for _ in range(20)]
    await fail(5)
    assert desk.memory.breaker(UNPRICED).failures == 5
    assert desk.memory.skip_seconds(UNPRICED) is None, "twenty calls may still be answered"
    early.add(Completion("Seven", Usage(9, 1)))
    assert desk.memory.breaker(UNPRICED).failures == 0
    for call in (early, *waiting):
        call.close()
    await fail(3)
    assert desk.memory.skip_seconds(UNPRICED) is not None
