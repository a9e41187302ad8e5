"""Notice that a member has become better or worse than it was: a two-sided cumulative sum of residuals. Pure.

The residual of an outcome is the member's score minus what was predicted. Its running mean is the member's usual one,
so that a prediction that is wrong all the time is no drift. What a residual is beyond that mean by more than SLACK adds
up, and an alarm is raised at EVIDENCE / SLACK. Source: Page, Continuous inspection schemes, Biometrika 41 (1954).

What a member was before a change is known, so its return is a change of known size. The slack that notices such a
change soonest is half of it, and false alarms stay as rare while slack times threshold does (Siegmund, Sequential
Analysis, 1985: both are about exp(2 slack threshold / variance) outcomes apart). So a return is looked for at once,
with half the way back as slack and EVIDENCE / slack as threshold.

SLACK and EVIDENCE were chosen on simulations with seeds 0 to 299 (right or wrong with probability 0.5, 0.8 and 0.95):
no alarm in 900 series of 10,000 outcomes without a change; so, with 95 % confidence, in less than 1 of 300. A fall from
80 to 40 % was noticed after 52 outcomes in the middle and 91 at most, one from 80 to 60 % after 132 in the middle.
A return from 42 to 74 % was noticed after 56 outcomes in the middle of 60 series and 106 in 95 % of them, and none in
20 series of 5,000 that stayed at 42 %. Changes below SLACK are not noticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["EVIDENCE", "SLACK", "WARM_UP", "DriftDetector", "MemberDrift", "Residual", "find_drifts", "list_fallen"]

SLACK = 0.1
"""How far a residual may lie from the usual one before it adds up."""
EVIDENCE = 1.6
"""The slack times the sum at which an alarm is raised."""
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
        self._before: float | None = None
        """The usual residual before the last change; None where there was none."""
        self._restart([])

    def add(self, outcome: Residual) -> MemberDrift | None:
        """Take an outcome; return what has changed, once, where it is enough for an alarm. Then start again."""
        residual = _find_residual(outcome)
        sides = (self._fall, self._rise)
        for side in sides:
            self._look(side, residual)
        self._seen.append(outcome)
        self._sums.append(self._sums[-1] + residual)
        alarm = next((side for side in sides if side.is_alarm), None)
        if alarm is None:
            return None
        drift = self._describe(alarm.start)
        self._before = self._sums[alarm.start] / alarm.start
        self._restart(self._seen[alarm.start :])
        return drift if abs(drift.change) >= SLACK else None  # else the prediction has changed, not the member

    def _look(self, side: _Side, residual: float) -> None:
        """Add a residual to a side: as a return to what was before the last change, else as a change of any size."""
        count = len(self._seen)
        settled = side.start if side.total else count
        if self._before is not None and settled:
            usual = self._sums[settled] / settled  # what grows the sum is no part of it
            way_back = side.sign * (self._before - usual)
            if way_back > 2.0 * SLACK:
                side.add(side.sign * (residual - usual), way_back / 2.0, count)
                return
        if count >= WARM_UP:
            side.add(side.sign * (residual - self._sums[-1] / count), SLACK, count)

    def _restart(self, since: list[Residual]) -> None:
        """Take what came since the change as the first outcomes of what is usual now."""
        self._seen = since[-(WARM_UP - 1) :]
        self._sums = [0.0, *accumulate(map(_find_residual, self._seen))]
        """Of the residuals of the first 0, 1, 2, ... outcomes."""
        self._fall, self._rise = _Side(-1.0), _Side(1.0)

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


def list_fallen(drifts: Iterable[MemberDrift]) -> tuple[str, ...]:
    """Return the members whose last change was for the worse; `drifts` are in the order in which they were noticed."""
    last = {drift.model: drift for drift in drifts}
    return tuple(model for model, drift in last.items() if drift.change < 0.0)


def _extend(drift: MemberDrift, later: list[Residual]) -> MemberDrift:
    """Return a change with the outcomes that came after it was noticed: the first few alone would exaggerate it."""
    known = [r.predicted for r in later if r.predicted is not None]
    predicted = drift.predicted
    if predicted is not None and known:
        predicted = (predicted * drift.outcomes + sum(known)) / (drift.outcomes + len(known))
    count = drift.outcomes + len(later)
    after = (drift.after * drift.outcomes + sum(r.score for r in later)) / count
    return replace(drift, outcomes=count, after=after, predicted=predicted)


class _Side:
    """The cumulative sum of one direction.

    Args:
        sign: -1 for falls, 1 for rises.
    """

    def __init__(self, sign: float) -> None:
        self.sign = sign
        self.start = 0
        """The place of the outcome from which the sum grew."""
        self.is_alarm = False
        self.total = 0.0

    def add(self, distance: float, slack: float, place: int) -> None:
        """Take how far an outcome lies in this direction from the usual one."""
        if self.total == 0.0:
            self.start = place
        self.total = max(0.0, self.total + distance - slack)
        self.is_alarm = self.total > EVIDENCE / slack


def _find_residual(outcome: Residual) -> float:
    return outcome.score - (0.0 if outcome.predicted is None else outcome.predicted)
