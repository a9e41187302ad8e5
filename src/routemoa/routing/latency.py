"""How long a call takes, learned from calls: a running quantile for each model, conditioned on the answer's length."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from routemoa.core.errors import FailureKind
from routemoa.core.events import Event, ProposalFailed, ProposalFinished
from routemoa.core.trace import Proposal
from routemoa.core.types import CHARACTERS_PER_TOKEN

__all__ = ["CallEstimates", "LatencyTracker"]

CALLS_KEPT = 64  # calls of a model that are remembered
LATE_QUANTILE = 0.95  # quantile of its own first tokens from which on one is late
MIN_FIRST_TOKENS = 20  # first tokens of a model before anybody can say what is late
MIN_HEDGE_SECONDS = 0.05  # seconds: nothing is late before
MAX_STRETCH = 2.0  # a measured call tells of answers from half to twice its length; longer ones are taken as that


class CallEstimates(Struct, frozen=True):
    """What one call of each model is expected to take: completion tokens and seconds; absent is unknown."""

    tokens: Mapping[str, float] = {}
    seconds: Mapping[str, float] = {}
    hedge_after: Mapping[str, float] = {}  # seconds after which a model's first token is later than 95 % of its own


class LatencyTracker:
    """Remembers the last calls of each model."""

    def __init__(self, quantile: float = 0.5) -> None:
        self._quantile = quantile
        self._calls: dict[str, deque[tuple[int, float]]] = {}
        self._first: dict[str, deque[float]] = {}
        self._last: tuple[object, CallEstimates] | None = None  # asked for several times between two things learned

    def observe(self, event: Event) -> None:
        """Take in what a method says."""
        if isinstance(event, ProposalFinished):
            self.record_answer(event.proposal)
            if event.first_token is not None:
                self.record_first_token(event.proposal.model, event.first_token)
        elif (
            isinstance(event, ProposalFailed)
            and event.failure.kind is FailureKind.CANCELLED
            and not event.failure.partial
        ):
            self._waited(event.failure.model, event.failure.latency or 0.0)

    def record_answer(self, proposal: Proposal) -> None:
        """Take in one answer whose latency (seconds) is known; tokens that nobody counted follow from its text."""
        tokens, seconds = proposal.usage.completion_tokens, proposal.latency
        if tokens is None:
            tokens = len(proposal.text) // CHARACTERS_PER_TOKEN
        if seconds is not None:
            self._last = None
            self._calls.setdefault(proposal.model, deque(maxlen=CALLS_KEPT)).append((max(tokens, 1), seconds))

    def _waited(self, model: str, seconds: float) -> None:
        """No first token had come by then: that tells something only where it was late already."""
        late = _late(self._first.get(model, ()))
        if late is not None and seconds >= late:
            self.record_first_token(model, seconds)

    def record_first_token(self, model: str, seconds: float) -> None:
        """A model's first token came after so many seconds, or had not come by then where the call was given up."""
        self._last = None
        self._first.setdefault(model, deque(maxlen=CALLS_KEPT)).append(seconds)

    def estimates(self, answers: Iterable[Proposal] = ()) -> CallEstimates:
        """Tokens and seconds of a call of each model that was ever measured, for a query of which `heard` is known.

        Answers that were heard tell how much longer than usual this query's answers are.
        """
        known = [(p.model, n) for p in answers if (n := p.usage.completion_tokens)]
        if self._last is None or self._last[0] != known:
            self._last = (known, self._expected(known))
        return self._last[1]

    def _expected(self, heard: Sequence[tuple[str, int]]) -> CallEstimates:
        usual = {model: sum(t for t, _ in calls) / len(calls) for model, calls in self._calls.items()}
        ratios = [n / usual[model] for model, n in heard if model in usual]
        longer = sum(ratios) / len(ratios) if ratios else 1.0
        tokens = {model: longer * mean for model, mean in usual.items()}
        seconds = {model: self._seconds(model, length) for model, length in tokens.items()}
        return CallEstimates(tokens, seconds, {m: late for m, waits in self._first.items() if (late := _late(waits))})

    def _seconds(self, model: str, tokens: float) -> float:
        """The quantile over the half of the calls whose answers were closest in length, each stretched to `tokens`."""
        nearest = sorted(self._calls[model], key=lambda call: abs(call[0] - tokens))
        some = nearest[: max(1, (len(nearest) + 1) // 2)]
        stretched = sorted(s * min(max(tokens / t, 1 / MAX_STRETCH), MAX_STRETCH) for t, s in some)
        return stretched[min(len(stretched) - 1, int(self._quantile * len(stretched)))]


def _late(waits: Collection[float]) -> float | None:
    """Seconds after which a first token is late; None while too few were seen."""
    if len(waits) < MIN_FIRST_TOKENS:
        return None
    return max(MIN_HEDGE_SECONDS, sorted(waits)[int(LATE_QUANTILE * len(waits))])
