"""Notice that a member has become better or worse than it was: a two-sided cumulative sum of residuals. Pure.

The residual of an outcome is the member's score minus what was predicted. Its running mean is the member's usual one,
so that a prediction that is wrong all the time is no drift. What a residual is beyond that mean by more than SLACK adds
up, and an alarm is raised at THRESHOLD. Source: Page, Continuous inspection schemes, Biometrika 41 (1954).

SLACK and THRESHOLD were chosen on simulations with seeds 0 to 299 (right or wrong with probability 0.5, 0.8 and 0.95):
no alarm in 900 series of 10,000 outcomes without a change; so, with 95 % confidence, in less than 1 of 300. A fall from
80 to 40 % was noticed after 52 outcomes in the middle and 91 at most, one from 80 to 60 % after 132 in the middle.
Changes below SLACK are not noticed.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["SLACK", "THRESHOLD", "WARM_UP", "DriftDetector", "MemberDrift", "Residual", "find_drifts"]

SLACK = 0.1
"""How far a residual may lie from the usual one before it adds up."""
THRESHOLD = 16.0
"""The sum at which an alarm is raised."""
WARM_UP = 100
"""Outcomes of a member before it can be said to have changed."""


class Residual(Struct, frozen=True):
    """One outcome of a member."""

    at: float
    """Seconds since the epoch."""
    score: float
    """In [0, 1]."""
    predicted: float | None
    """In [0, 1]; None is unknown."""


class MemberDrift(Struct, frozen=True):
    """A member that has changed."""

    model: str
    since: float
    """Seconds since the epoch: of the outcome from which the sum grew."""
    noticed: float
    """Seconds since the epoch: of the outcome at which it was noticed."""
    outcomes: int
    """From `since` on, to the next change or the end."""
    before: float
    """Mean score until then, in [0, 1]."""
    after: float
    """Mean score of these outcomes, in [0, 1]."""
    predicted: float | None
    """Their mean prediction, in [0, 1]; None where none is known."""

    @property
    def change(self) -> float:
        """Return how much the mean score changed."""
        return self.after - self.before


class DriftDetector:
    """Looks at the outcomes of one member, the oldest first."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._seen: list[Residual] = []
        self._mean = self._low = self._high = 0.0
        self._low_start = self._high_start = 0

    def add(self, outcome: Residual) -> MemberDrift | None:
        """Take an outcome; return what has changed, once, where it is enough for an alarm. Then start again."""
        value = outcome.score - (0.0 if outcome.predicted is None else outcome.predicted)
        if len(self._seen) >= WARM_UP:
            distance = value - self._mean
            self._low, self._low_start = _step(self._low, -distance - SLACK, self._low_start, len(self._seen))
            self._high, self._high_start = _step(self._high, distance - SLACK, self._high_start, len(self._seen))
        self._seen.append(outcome)
        self._mean += (value - self._mean) / len(self._seen)
        if max(self._low, self._high) <= THRESHOLD:
            return None
        drift = self._describe(self._low_start if self._low >= self._high else self._high_start)
        self._restart(self._seen[-drift.outcomes :])
        return drift if abs(drift.change) >= SLACK else None  # else the prediction has changed, not the member

    def _restart(self, since: list[Residual]) -> None:
        """Take what came since the change as the first outcomes of what is usual now."""
        self._seen = []
        self._mean = self._low = self._high = 0.0
        self._low_start = self._high_start = 0
        for outcome in since[-(WARM_UP - 1) :]:
            self.add(outcome)

    def _describe(self, start: int) -> MemberDrift:
        before, after = self._seen[:start], self._seen[start:]
        known = [r.predicted for r in after if r.predicted is not None]
        return MemberDrift(
            self.model,
            after[0].at,
            after[-1].at,
            len(after),
            sum(r.score for r in before) / len(before),
            sum(r.score for r in after) / len(after),
            sum(known) / len(known) if known else None,
        )


def find_drifts(outcomes: Iterable[tuple[str, Residual]]) -> list[MemberDrift]:
    """Return what changed, in the order in which it was noticed; `outcomes` are (model, outcome), oldest first."""
    detectors: dict[str, DriftDetector] = {}
    since: dict[str, list[Residual]] = {}
    found: list[MemberDrift] = []
    last: dict[str, int] = {}
    for model, outcome in outcomes:
        if model in last:
            since[model].append(outcome)
        drift = detectors.setdefault(model, DriftDetector(model)).add(outcome)
        if drift is None:
            continue
        if model in last:
            place = last[model]
            found[place] = _extend(found[place], [r for r in since[model] if r.at < drift.since])
        last[model] = len(found)
        since[model] = []
        found.append(drift)
    for model, place in last.items():
        found[place] = _extend(found[place], since[model])
    return found


def _extend(drift: MemberDrift, later: list[Residual]) -> MemberDrift:
    """Return a change with the outcomes that came after it was noticed: the first few alone would exaggerate it."""
    known = [r.predicted for r in later if r.predicted is not None]
    predicted = drift.predicted
    if predicted is not None and known:
        predicted = (predicted * drift.outcomes + sum(known)) / (drift.outcomes + len(known))
    count = drift.outcomes + len(later)
    after = (drift.after * drift.outcomes + sum(r.score for r in later)) / count
    return replace(drift, outcomes=count, after=after, predicted=predicted)


def _step(total: float, added: float, start: int, place: int) -> tuple[float, int]:
    """Return the next cumulative sum, and where it began to grow."""
    grown = total + added
    if grown <= 0.0:
        return 0.0, place + 1
    return grown, start if total > 0.0 else place
