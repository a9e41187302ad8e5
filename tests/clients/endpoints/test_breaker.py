"""The circuit breaker: its laws under any sequence of calls, and what opens it for how long."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routemoa.clients.endpoints import breaker as rules
from routemoa.clients.endpoints.breaker import CAP, JITTER, RETRY_AFTER_CAP, THRESHOLD, Breaker
from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.clients.faults import Fault
from routemoa.core.errors import InvalidResponse, ModelError, ModelHTTPError, ModelTimeout, Unreachable
from routemoa.core.failure_kind import FailureKind
from routemoa.core.types import ModelSpec

SOFT = Fault(FailureKind.UNREACHABLE)
FAULTS = st.one_of(
    st.just(SOFT),
    st.builds(lambda s: Fault(FailureKind.HTTP_ERROR, 429, s, opens_at_once=True), st.floats(0.001, 1e9)),
    st.builds(lambda s: Fault(FailureKind.TIMEOUT, wasted=s, opens_at_once=True), st.floats(0, 1e4)),
    st.just(Fault(FailureKind.HTTP_ERROR, 401, permanent=True, opens_at_once=True)),
)


@dataclass
class Calls:
    """One member under a made-up clock: calls begin, end in one of three ways, and time passes."""

    breaker: Breaker = field(default_factory=Breaker)
    now: float = 1000.0
    running: list[float] = field(default_factory=list)
    """When each call under way began."""
    probes: int = 0

    def begin(self, *, forced: bool) -> None:
        before = self.breaker
        begun = (rules.force if forced else rules.acquire)(before, self.now)
        if begun is None:
            assert rules.phase(before, self.now) != "closed"
            return
        if rules.phase(before, self.now) == "open":
            assert forced
            assert not before.told, "an endpoint that said when to return is not called before"
        if begun.probe == self.now and before.probe != self.now:
            assert before.probe is None or self.now - before.probe >= rules.PROBE_SECONDS, "two probes at once"
        self.breaker = begun
        self.running.append(self.now)

    def end(self, index: int, how: Fault | bool | None, share: float) -> None:
        if not self.running:
            return
        began = self.running.pop(index % len(self.running))
        before = self.breaker
        if how is True:
            self.breaker = rules.on_success(before, began)
            if before.opened is None or began >= before.opened:
                assert self.breaker == Breaker()
        elif isinstance(how, Fault):
            self.breaker = rules.on_failure(before, how, began, self.now, share)
            assert self.breaker.wait(self.now) <= max(RETRY_AFTER_CAP, CAP * (1 + JITTER)) + 1e-6
            assert self.breaker.until >= before.until or before.opened is None or began >= before.opened
        else:
            assert rules.release(before, began) == before or before.probe == began
        self.breaker = rules.release(self.breaker, began)


STEPS = st.one_of(
    st.tuples(st.just("begin"), st.booleans()),
    st.tuples(st.just("end"), st.integers(0, 9), st.one_of(FAULTS, st.just(True), st.none()), st.floats(0, 1)),
    st.tuples(st.just("pass"), st.floats(0, 400)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_the_laws_hold_under_any_calls(steps: list[tuple[object, ...]]) -> None:
    calls = Calls()
    for step in steps:
        match step:
            case ("begin", bool(forced)):
                calls.begin(forced=forced)
            case ("end", int(index), how, float(share)):
                assert how is None or how is True or isinstance(how, Fault)
                calls.end(index, how, share)
            case ("pass", float(seconds)):
                calls.now += seconds
    calls.now += max(RETRY_AFTER_CAP, CAP * (1 + JITTER)) + rules.PROBE_SECONDS + 1
    assert rules.acquire(calls.breaker, calls.now) is not None, "no breaker stays open for ever"


def test_it_opens_after_three_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker()
    for number in range(1, THRESHOLD + 1):
        breaker = rules.on_failure(breaker, SOFT, 0.0, 1.0, 0.5)
        assert (rules.phase(breaker, 1.0) == "open") == (number == THRESHOLD)
    assert breaker.wait(1.0) == pytest.approx(5.0)
    breaker = Breaker()
    for _ in range(10):
        breaker = rules.on_failure(breaker, SOFT, 0.0, 1.0, 0.5)
        breaker = rules.on_success(breaker, 0.0)
    assert breaker == Breaker()


@pytest.mark.parametrize(
    ("calls", "failing", "opens"),
    [(1, 1, False), (3, 3, True), (4, 3, True), (30, 3, False), (300, 30, False), (300, 90, False), (300, 300, True)],
)
def test_while_many_calls_wait_the_failures_that_come_first_say_little(calls: int, failing: int, opens: bool) -> None:
    """A burst: refusals come at once, the first tokens of the others later."""
    memory = MemberMemory(clock=lambda: 0.0, jitter=lambda: 0.5)
    waits = [memory.start_waiting(A) for _ in range(calls)]
    for wait in waits[:failing]:
        memory.fail(A, Unreachable("a", "reset"), 0.0)
        wait.end()
        wait.end()
    assert (memory.acquire(A) is None) == opens


def test_what_says_at_once_that_it_is_not_there_is_believed_however_many_wait() -> None:
    memory = MemberMemory(clock=lambda: 0.0, jitter=lambda: 0.5)
    for _ in range(100):
        memory.start_waiting(A)
    memory.fail(A, ModelHTTPError("a", "HTTP 401", status=401), 0.0)
    assert memory.acquire(A) is None


def test_calls_that_have_ended_wait_no_more() -> None:
    memory = MemberMemory(clock=lambda: 0.0, jitter=lambda: 0.5)
    for wait in [memory.start_waiting(A) for _ in range(100)]:
        wait.end()
    for _ in range(THRESHOLD):
        memory.fail(A, Unreachable("a", "reset"), 0.0)
    assert memory.acquire(A) is None


def test_each_opening_in_a_row_is_twice_as_long_up_to_the_cap() -> None:
    breaker, now, waits = Breaker(failures=2), 0.0, []
    for _ in range(9):
        breaker = rules.on_failure(breaker, SOFT, now, now, 0.5)
        waits.append(breaker.wait(now))
        now = breaker.until
        begun = rules.acquire(breaker, now)
        assert begun is not None
        breaker = begun
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_calls_from_before_it_opened_neither_close_nor_lengthen_it() -> None:
    opened = rules.on_failure(Breaker(failures=2), SOFT, 0.0, 10.0, 0.5)
    assert rules.on_success(opened, 9.0) == opened
    assert rules.on_failure(opened, SOFT, 9.0, 11.0, 0.5) == opened
    told = rules.on_failure(opened, Fault(FailureKind.HTTP_ERROR, 429, 60.0), 9.0, 11.0, 0.5)
    assert told.wait(11.0) == 60.0, "but what the endpoint says is believed"


def test_one_probe_at_a_time_and_another_when_it_proved_nothing() -> None:
    opened = rules.on_failure(Breaker(failures=2), SOFT, 0.0, 0.0, 0.5)
    assert rules.acquire(opened, 4.9) is None
    probed = rules.acquire(opened, 5.0)
    assert probed is not None
    assert rules.acquire(probed, 5.1) is None
    assert rules.acquire(rules.release(probed, 5.0), 5.1) is not None
    assert rules.acquire(probed, 5.1 + rules.PROBE_SECONDS) is not None, "an end that was never seen"


A = ModelSpec("a", "http://x/v1", "m")


@pytest.mark.parametrize(
    ("error", "times", "seconds"),
    [
        (Unreachable("a", "refused"), 1, None),
        (Unreachable("a", "refused"), 3, 5),
        (Unreachable("a", "reset", sent=True), 3, 5),
        (InvalidResponse("a", "not JSON"), 2, None),
        (InvalidResponse("a", "cut", produced=True), 3, 5),
        (ModelHTTPError("a", "HTTP 500", status=500), 2, None),
        (ModelHTTPError("a", "HTTP 503", status=503), 3, 5),
        (ModelHTTPError("a", "HTTP 529: overloaded", status=529), 3, 5),
        (ModelHTTPError("a", "HTTP 408", status=408), 3, 5),
        (ModelHTTPError("a", "HTTP 429", status=429), 2, None),
        (ModelHTTPError("a", "HTTP 429", status=429, retry_after=20), 1, 20),
        (ModelHTTPError("a", "HTTP 429", status=429, retry_after=86400), 1, RETRY_AFTER_CAP),
        (ModelHTTPError("a", "HTTP 503", status=503, retry_after=2), 1, 5),
        (ModelHTTPError("a", "HTTP 503", status=503, retry_after=0), 1, None),
        (ModelHTTPError("a", "HTTP 401: bad key", status=401), 1, 15),
        (ModelHTTPError("a", "HTTP 402", status=402), 1, 15),
        (ModelHTTPError("a", "HTTP 404: model not found", status=404), 1, 15),
        (ModelHTTPError("a", "HTTP 302: elsewhere", status=302), 1, 15),
        (ModelHTTPError("a", "HTTP 429: You exceeded your current quota", status=429), 1, 15),
        (ModelTimeout("a", "no connection", sent=False), 1, 5),
        (ModelTimeout("a", "max_seconds", by_limit=True), 9, None),
        (ModelTimeout("a", "nothing came for 120 s", produced=True), 2, None),
        (ModelError("a", "its weights are not fetched"), 1, 15),
        (ModelHTTPError("a", "HTTP 400", status=400), 9, None),
        (ModelHTTPError("a", "HTTP 413", status=413), 9, None),
        (ModelHTTPError("a", "HTTP 422", status=422), 9, None),
        (ModelHTTPError("a", "HTTP 403: your input was flagged", status=403), 9, None),
        (ModelHTTPError("a", "HTTP 404: No endpoints found that support tool use", status=404), 9, None),
        (ModelHTTPError("a", "HTTP 429: Request too large for m: Limit 6000, Requested 9876", status=429), 9, None),
    ],
)
def test_what_opens_a_breaker_and_for_how_long(error: ModelError, times: int, seconds: float | None) -> None:
    memory = MemberMemory(clock=lambda: 100.0, jitter=lambda: 0.5)
    for _ in range(times):
        memory.fail(A, error, 99.0)
    assert memory.health(A).retry_in == (None if seconds is None else pytest.approx(seconds))
    assert (memory.acquire(A) is None) == (seconds is not None)


def test_a_timeout_cools_down_at_least_as_long_as_it_took() -> None:
    memory = MemberMemory(clock=lambda: 300.0, jitter=lambda: 0.5)
    memory.fail(A, ModelTimeout("a", "no first byte within 120 s"), 180.0)
    assert memory.health(A).retry_in == 120.0


def test_members_share_a_memory_by_endpoint_model_and_key() -> None:
    memory = MemberMemory(clock=lambda: 0.0)
    memory.fail(A, ModelHTTPError("a", "HTTP 401", status=401), 0.0)
    assert memory.skip_seconds(ModelSpec("twin", "http://x/v1", "m", system="Be kind.")) is not None
    for other in (
        ModelSpec("a", "http://x/v1", "n"),
        ModelSpec("a", "http://y/v1", "m"),
        ModelSpec("a", "http://x/v1", "m", api_key_env="KEY"),
    ):
        assert memory.skip_seconds(other) is None


def test_the_least_bad_is_the_one_that_returns_first_and_was_not_told_to_wait() -> None:
    now = 0.0
    memory = MemberMemory(clock=lambda: now, jitter=lambda: 0.5)
    limited, dead, new = (ModelSpec(n, f"http://{n}/v1", n) for n in ("limited", "dead", "new"))
    memory.fail(limited, ModelHTTPError("limited", "HTTP 429", status=429, retry_after=1), 0.0)
    for model in (dead, new):
        memory.fail(model, ModelHTTPError("x", "HTTP 401", status=401), 0.0)
        now = 3.0
    for expected in (dead, new, None):  # each at most once a second
        forced = memory.force([dead, new, limited][:2])
        assert (forced and forced[0]) == expected
    now = 2.9
    assert memory.force([limited]) is not None, "its time is over"
