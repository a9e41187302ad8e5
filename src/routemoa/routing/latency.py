"""How long a call takes: a running quantile of each model's measured calls, conditioned on the answer's length."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from routemoa.core.events import Event, ProposalFailed, ProposalFinished
from routemoa.core.failure_kind import FailureKind
from routemoa.core.trace import Proposal
from routemoa.core.types import CHARACTERS_PER_TOKEN

__all__ = ["CallEstimates", "LatencySample", "LatencyTracker"]

CALLS_KEPT = 64
"""Calls of a model that are remembered."""
LATE_QUANTILE = 0.95
"""Quantile of a model's own first tokens from which on one is late."""
MIN_FIRST_TOKENS = 20
"""First tokens of a model that must be known before any counts as late."""
MIN_HEDGE_SECONDS = 0.05
"""No first token is late before this."""
MIN_READ_TOKENS = 64
"""Tokens of a prompt that a model had to read, from which on its first token tells how fast it reads."""
MAX_STRETCH = 2.0
"""A measured call predicts answers from half to twice its length; longer or shorter ones count as that."""


class CallEstimates(Struct, frozen=True):
    """What one call of each model is expected to take; absent is unknown."""

    tokens: Mapping[str, float] = {}
    """Of the completion."""
    seconds: Mapping[str, float] = {}
    hedge_after: Mapping[str, float] = {}
    """Seconds after which a model's first token is later than 95 % of its own."""
    unavailable: Collection[str] = ()
    """Models that this query does not call: they cool down after failures, or cannot hold the prompt."""
    read_seconds: Mapping[str, float] = {}
    """Seconds before the first token for each token of a prompt that is not cached."""


class MeasuredCall(NamedTuple):
    """An answered call."""

    tokens: int
    """Of the completion."""
    seconds: float


class LatencySample(Struct, frozen=True):
    """What one call tells of its model's speed; None is unknown."""

    model: str
    tokens: int | None = None
    """Of the completion."""
    seconds: float | None = None
    first_token: float | None = None
    """Seconds."""
    read_seconds: float | None = None
    """Seconds before the first token for each token of the prompt."""


class _ModelCalls:
    """The last answered calls of one model."""

    def __init__(self) -> None:
        self._calls: deque[MeasuredCall] = deque(maxlen=CALLS_KEPT)
        self.by_length: list[MeasuredCall] = []
        self.mean_tokens = 0.0
        self._tokens = 0

    def add(self, call: MeasuredCall) -> None:
        """Remember a call, and forget the oldest of too many."""
        if len(self._calls) == CALLS_KEPT:
            oldest = self._calls[0]  # which the deque drops
            self.by_length.remove(oldest)
            self._tokens -= oldest.tokens
        self._calls.append(call)
        insort(self.by_length, call)
        self._tokens += call.tokens
        self.mean_tokens = self._tokens / len(self._calls)


class LatencyTracker:
    """Remembers the last calls of each model.

    Args:
        quantile: of the seconds that calls of similar length took, which is the estimate.
    """

    def __init__(self, quantile: float = 0.5) -> None:
        self.listener: Callable[[LatencySample], None] | None = None
        """Hears of each call that is measured here."""
        self._quantile = quantile
        self._calls: dict[str, _ModelCalls] = {}
        self._first_tokens: dict[str, deque[float]] = {}
        """Model -> seconds until its first tokens."""
        self._read_rates: dict[str, deque[float]] = {}
        """Model -> seconds until its first tokens, for each token of the prompt that it had to read."""
        # The last query's answer lengths and their estimates, which are asked for several times.
        self._cached_lengths: list[tuple[str, int]] | None = None
        self._cached_estimates = CallEstimates()

    def observe(self, event: Event) -> None:
        """Learn from an event of a method."""
        if isinstance(event, ProposalFinished):
            sample = _measure(event.proposal, event.first_token)
            self.add(sample)
            if self.listener is not None:
                self.listener(sample)
        elif isinstance(event, ProposalFailed):
            failure = event.failure
            if failure.kind is FailureKind.CANCELLED and not failure.partial:
                self._record_wait(failure.model, failure.latency or 0.0)

    def record_answer(self, proposal: Proposal) -> None:
        """Learn from an answer of known latency."""
        self.add(_measure(proposal, None))

    def add(self, sample: LatencySample) -> None:
        """Learn from a call that was measured here or elsewhere."""
        if sample.tokens is not None and sample.seconds is not None:
            self._cached_lengths = None
            self._calls.setdefault(sample.model, _ModelCalls()).add(MeasuredCall(sample.tokens, sample.seconds))
        if sample.first_token is not None:
            self.record_first_token(sample.model, sample.first_token)
        if sample.read_seconds is not None:
            rates = self._read_rates.setdefault(sample.model, deque(maxlen=CALLS_KEPT))
            rates.append(sample.read_seconds)

    def _record_wait(self, model: str, seconds: float) -> None:
        """Learn from a call cancelled before its first token, which says something only if the token was late."""
        late = _late_after(self._first_tokens.get(model, ()))
        if late is not None and seconds >= late:
            self.record_first_token(model, seconds)

    def record_first_token(self, model: str, seconds: float) -> None:
        """Learn after how many seconds a model's first token came, or had not come when the call was cancelled."""
        self._cached_lengths = None
        self._first_tokens.setdefault(model, deque(maxlen=CALLS_KEPT)).append(seconds)

    def estimates(self, answers: Iterable[Proposal] = ()) -> CallEstimates:
        """Return what a call of each measured model is expected to take, for a query with these answers so far.

        The answers show how much longer than usual this query's are.
        """
        lengths = [(p.model, tokens) for p in answers if (tokens := p.usage.completion_tokens)]
        if self._cached_lengths != lengths:
            self._cached_lengths, self._cached_estimates = lengths, self._estimate(lengths)
        return self._cached_estimates

    def _estimate(self, lengths: Sequence[tuple[str, int]]) -> CallEstimates:
        usual = {model: calls.mean_tokens for model, calls in self._calls.items()}
        ratios = [tokens / usual[model] for model, tokens in lengths if model in usual]
        stretch = sum(ratios) / len(ratios) if ratios else 1.0
        tokens = {model: stretch * mean for model, mean in usual.items()}
        seconds = {model: self._seconds(model, length) for model, length in tokens.items()}
        hedge_after = {
            model: late for model, waits in self._first_tokens.items() if (late := _late_after(waits)) is not None
        }
        reading = {model: sorted(rates)[len(rates) // 2] for model, rates in self._read_rates.items()}
        return CallEstimates(tokens, seconds, hedge_after, read_seconds=reading)

    def _seconds(self, model: str, tokens: float) -> float:
        """Return the quantile over the half of the calls that are closest in length, each stretched to `tokens`."""
        by_length = self._calls[model].by_length
        count = (len(by_length) + 1) // 2
        # The nearest calls lie side by side. Their first is the first that is not farther off than the next after them.
        first = bisect_left(
            range(len(by_length) - count),
            True,
            key=lambda i: tokens - by_length[i].tokens <= by_length[i + count].tokens - tokens,
        )
        nearest = by_length[first : first + count]
        shortest, longest = tokens / MAX_STRETCH, tokens * MAX_STRETCH
        # most calls are within the bounds; a function call for each would take the longest here
        stretched = sorted(
            seconds * tokens / length
            if shortest <= length <= longest
            else seconds * (MAX_STRETCH if length < shortest else 1.0 / MAX_STRETCH)
            for length, seconds in nearest
        )
        return stretched[min(len(stretched) - 1, int(self._quantile * len(stretched)))]


def _late_after(waits: Collection[float]) -> float | None:
    """Return the seconds after which a first token is late; None while too few are known."""
    if len(waits) < MIN_FIRST_TOKENS:
        return None
    return max(MIN_HEDGE_SECONDS, sorted(waits)[int(LATE_QUANTILE * len(waits))])


def _measure(proposal: Proposal, first_token: float | None) -> LatencySample:
    """Return what an answer tells; tokens that were not counted are estimated from its text."""
    tokens, usage = proposal.usage.completion_tokens, proposal.usage
    if tokens is None:
        tokens = len(proposal.text) // CHARACTERS_PER_TOKEN
    unread = None if usage.prompt_tokens is None else usage.prompt_tokens - (usage.cached_tokens or 0)
    tells = first_token is not None and unread is not None and unread >= MIN_READ_TOKENS
    read_seconds = first_token / unread if tells and first_token is not None and unread else None
    return LatencySample(proposal.model, max(tokens, 1), proposal.latency, first_token, read_seconds)
