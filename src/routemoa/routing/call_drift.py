"""Notice that the calls of a member have changed: slower or faster, refused more often, billed otherwise. Pure.

Each call says yes or no to a question: is it among the slowest quarter of the first calls, was it refused, is it billed
otherwise than by the pool's price, or than when that was noticed last. A cumulative sum of log-likelihood ratios
(Page's test) of a share p1 against a share p0 raises an alarm at the logarithm of RUN_LENGTH. Whatever the
distribution, while at most p0 of the calls say yes and calls are independent, a false alarm comes after RUN_LENGTH
calls on average, or later. p0 is the upper bound of the share among the first WARM_UP calls, which holds with 99.9 %.

Sources: Page, Continuous inspection schemes, Biometrika 41 (1954); Lorden, Procedures for reacting to a change in
distribution, Annals of Mathematical Statistics 42 (1971), for the bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from routemoa.core.failure_kind import FailureKind
from routemoa.core.models.pricing import Price
from routemoa.core.text.plural import counted
from routemoa.core.trace import Failure, Proposal, Trace

__all__ = ["RUN_LENGTH", "WARM_UP", "CallDrift", "CallDriftDetector", "DriftKind", "MeasuredCall", "list_calls"]

DriftKind = Literal["slower", "faster", "refusals", "price"]
RUN_LENGTH = 100_000
"""Calls of a member between two false alarms of one kind, on average, at least."""
WARM_UP = 400
"""Calls of a member that say what is usual."""
QUARTER = 0.25
PRICE_TOLERANCE = 0.02
"""How far a bill may be from the pool's price: prices are rounded."""
MISPRICED = 0.05
"""The share of calls that may be billed otherwise: a cache that was not reported, for example."""
RISE = 0.2
"""How much a share has to rise above its bound to be looked for: what the sum is most sensitive to."""
MAX_SHARE = 0.95
"""The largest share that is looked for: above it a log-likelihood ratio would be infinite."""
MAX_BOUND = 0.9
"""The largest upper bound of a usual share, so that a rise above it is still a rise."""
LEAD_TOKENS = 50
"""What the time to the first token counts as, in tokens of the answer."""
UNMADE = (FailureKind.CANCELLED, FailureKind.UNAFFORDABLE)
"""Failures that are not the member's."""


class MeasuredCall(Struct, frozen=True):
    """A call, as far as it is known. None is unknown."""

    model: str
    at: float
    """Seconds since the epoch."""
    refused: bool
    """Whether the endpoint refused or failed it, or the model refused to answer."""
    pace: float | None = None
    """Seconds for each token of the answer, the first one counted as LEAD_TOKENS."""
    price_ratio: float | None = None
    """What the endpoint billed, by what its tokens cost at the pool's price."""


class CallDrift(Struct, frozen=True):
    """A change in the calls of a member."""

    model: str
    kind: DriftKind
    since: float
    """Seconds since the epoch: of the call from which the sum grew."""
    noticed: float
    """Seconds since the epoch."""
    calls: int
    """From `since` to `noticed`."""
    before: float
    """Median pace in seconds a token, share of refusals, or what was billed by the pool's price: 1 at first."""
    after: float
    """The same of these calls; of a price the median ratio."""

    def __str__(self) -> str:
        match self.kind:
            case "price":
                what = f"is billed {self.after:.2f} times the pool's price, {self.before:.2f} before"
            case "refusals":
                what = f"refuses or fails {self.after:.0%} of its calls, {self.before:.0%} before"
            case _:
                what = f"is {self.kind}: {1e3 * self.after:.3g} ms a token, {1e3 * self.before:.3g} before"
        return f"{self.model} {what} ({counted(self.calls, 'call')})"


class _CumulativeSum:
    """The sum of log-likelihood ratios of yes and no; it never falls below 0."""

    def __init__(self, p0: float, p1: float) -> None:
        self._yes, self._no = math.log(p1 / p0), math.log((1.0 - p1) / (1.0 - p0))
        self._sum = 0.0
        self.count = 0
        """Calls since the sum was 0."""

    def add(self, answer: bool) -> bool:
        """Take an answer; return whether it raises an alarm."""
        self._sum += self._yes if answer else self._no
        self.count += 1
        if self._sum <= 0.0:
            self._sum, self.count = 0.0, 0
        return self._sum >= math.log(RUN_LENGTH)


class _Watch:
    """Looks at one kind of change: the first WARM_UP values say what is usual, or `limit` does."""

    def __init__(self, model: str, kind: DriftKind) -> None:
        self.model, self.kind = model, kind
        self._ratio = 1.0
        """Of the bills to the pool's price, as it was noticed last."""
        self._start()

    def _start(self) -> None:
        self._first: list[float] = []
        self._since: list[tuple[float, float]] = []
        """Seconds since the epoch, and value, of the calls since the sum was 0."""
        self._sum = _start_sum(MISPRICED) if self.kind == "price" else None
        self._limit = 0.0

    def add(self, at: float, value: float) -> CallDrift | None:
        """Take a value; return what has changed where it raises an alarm, and start again."""
        if self._sum is None:
            self._first.append(value)
            if len(self._first) == WARM_UP:
                self._finish_warm_up()
            return None
        alarm = self._sum.add(self._answer(value))
        if self._sum.count:
            self._since.append((at, value))
        else:
            self._since.clear()
        if not alarm:
            return None
        since = self._since
        values = sorted(v for _, v in since)
        after = sum(values) / len(values) if self.kind == "refusals" else values[len(values) // 2]
        drift = CallDrift(self.model, self.kind, since[0][0], at, len(since), self._usual(), after)
        self._ratio = after
        self._start()
        return drift

    def _finish_warm_up(self) -> None:
        ordered = sorted(self._first)
        slow = round(QUARTER * WARM_UP)
        if self.kind == "refusals":
            self._sum = _start_sum(_bound_share(round(sum(ordered))))
        else:
            self._limit = ordered[-slow] if self.kind == "slower" else ordered[slow - 1]
            self._sum = _start_sum(_bound_share(sum(self._answer(v) for v in ordered)))

    def _answer(self, value: float) -> bool:
        match self.kind:
            case "refusals":
                return value > 0.0
            case "price":
                return abs(value / self._ratio - 1.0) > PRICE_TOLERANCE
            case "slower":
                return value > self._limit
            case _:
                return value < self._limit

    def _usual(self) -> float:
        if self.kind == "price":
            return self._ratio
        ordered = sorted(self._first)
        return sum(ordered) / len(ordered) if self.kind == "refusals" else ordered[len(ordered) // 2]


class CallDriftDetector:
    """Looks at the calls of all members, the oldest first."""

    def __init__(self) -> None:
        self._watches: dict[tuple[str, DriftKind], _Watch] = {}

    def add(self, call: MeasuredCall) -> list[CallDrift]:
        """Take a call; return what has changed, each change once."""
        values: list[tuple[DriftKind, float | None]] = [
            ("refusals", float(call.refused)),
            ("slower", call.pace),
            ("faster", call.pace),
            ("price", call.price_ratio),
        ]
        found = []
        for kind, value in values:
            if value is None:
                continue
            watch = self._watches.get((call.model, kind))
            if watch is None:
                watch = self._watches[call.model, kind] = _Watch(call.model, kind)
            if (drift := watch.add(call.at, value)) is not None:
                found.append(drift)
        return found


def list_calls(trace: Trace, at: float, prices: Mapping[str, Price | None]) -> Iterable[MeasuredCall]:
    """Yield the calls of a trace that say something of their members.

    Args:
        trace: of an answer.
        at: seconds since the epoch.
        prices: of the pool's members.
    """
    for layer in trace.layers:
        yield from (_measure(p, at, prices.get(p.model)) for p in layer.proposals)
        yield from (_measure_failure(f, at) for f in layer.failures if f.kind not in UNMADE)


def _measure(proposal: Proposal, at: float, price: Price | None) -> MeasuredCall:
    usage, tokens = proposal.usage, proposal.usage.completion_tokens
    pace = None if tokens is None or proposal.latency is None else proposal.latency / (tokens + LEAD_TOKENS)
    ratio = None
    if price is not None and usage.reported_cost is not None and usage.prompt_tokens is not None and tokens is not None:
        listed = price.cost(usage.prompt_tokens, tokens, usage.cached_tokens or 0, usage.cache_write_tokens or 0)
        ratio = usage.reported_cost / listed if listed > 0.0 else None
    return MeasuredCall(proposal.model, at, proposal.refusal, pace, ratio)


def _measure_failure(failure: Failure, at: float) -> MeasuredCall:
    return MeasuredCall(failure.model, at, True)


def _start_sum(p0: float) -> _CumulativeSum:
    return _CumulativeSum(p0, min(MAX_SHARE, p0 + RISE))


def _bound_share(count: int) -> float:
    """Return the upper bound of a share, with 99.9 %, from `count` of WARM_UP: above that of Clopper and Pearson.

    3.3 standard deviations of the count, where 3.09 bound a normal one, and 4 for the skew of small counts.
    """
    return min(MAX_BOUND, (count + 3.3 * math.sqrt(count + 1) + 4.0) / WARM_UP)
