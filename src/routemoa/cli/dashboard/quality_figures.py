"""Turns kept traces with feedback into the figures of the page Quality."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from routemoa.core.pool_file.pool import Pool

if TYPE_CHECKING:
    from routemoa.core.types import Scores
    from routemoa.evaluation.traffic.judged_answer import JudgedAnswer
    from routemoa.ledger.trace_store.traces import StoredTrace
    from routemoa.training.drift import Residual

__all__ = ["TrafficReader"]

MAX_JUDGED = 3_000
"""The newest judged answers that are measured: more would take seconds, and narrow no interval that matters."""
MAX_REMEMBERED = 20_000
MIXTURE = "routemoa"


class _Reading(NamedTuple):
    answer: JudgedAnswer
    residuals: list[tuple[str, Residual]]
    """Of the scores that teach, as `routemoa traces drift` has them."""


class TrafficReader:
    """Measures traffic; an answer whose feedback it has seen is not graded again."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, int], _Reading | None] = {}

    def measure(self, pool: Pool, judged: Iterable[StoredTrace], now: float) -> dict[str, Any]:
        """Return what feedback says of a pool's members and of the mixture; blocks."""
        import msgspec

        from routemoa.evaluation.traffic.quality import measure_quality
        from routemoa.mixture.baselines.best_single import choose_best_model
        from routemoa.training.drift import find_drifts

        newest: deque[StoredTrace] = deque(maxlen=MAX_JUDGED)
        count = 0
        for count, stored in enumerate(judged, 1):  # noqa: B007  (the last number is their count)
            newest.append(stored)
        found = map(self._read_trace, newest)
        readings = sorted((reading for reading in found if reading is not None), key=lambda r: r.answer.at)
        answers = [reading.answer for reading in readings]
        residuals = [residual for reading in readings for residual in reading.residuals]
        best, members = choose_best_model(pool), [m.name for m in pool]
        quality = measure_quality(answers, members, best.spec.name, now)
        return {
            "best_single": {"name": best.spec.name, "why": best.why},
            "members": members,
            "quality": msgspec.to_builtins(quality),
            "drift": [{**msgspec.to_builtins(d), "change": d.change} for d in find_drifts(residuals)],
            "left_out": count - len(newest),
        }

    def _read_trace(self, stored: StoredTrace) -> _Reading | None:
        key = stored.id, len(stored.feedback)
        if key in self._read:
            return self._read[key]
        if len(self._read) >= MAX_REMEMBERED:
            self._read.clear()
        self._read[key] = read = _read_judged(stored)
        return read


def _read_judged(stored: StoredTrace) -> _Reading | None:
    """Return what the figures need of a trace; None where its feedback scores nothing."""
    from routemoa.cli.learning.outcome_reader import list_residuals
    from routemoa.datasets.outcomes import merge_feedback, read_outcome, score_given_text
    from routemoa.evaluation.traffic.judged_answer import JudgedAnswer

    outcome = read_outcome(stored)
    given, trace = score_given_text(stored), stored.answer.trace
    if given is None and outcome is None:
        return None
    record = None if outcome is None else outcome.record
    posterior: Scores = trace.layers[-1].scores if trace.layers else {}
    scores: Scores = {} if record is None else record.scores
    said = merge_feedback(stored.feedback)
    judged = JudgedAnswer(
        stored.id,
        stored.at,
        trace.query.text,
        trace.method == MIXTURE,
        trace.choice,
        given,
        trace.prior,
        posterior,
        scores,
        {} if outcome is None else outcome.taught,
        said.score is not None and said.expected is None and not said.labels,
        tuple({p.model for layer in trace.layers for p in layer.proposals}),
        _keep_known(None if record is None else record.costs),
        _keep_known(None if record is None else record.seconds),
        trace.cost,
        trace.latency,
    )
    return _Reading(judged, [] if outcome is None else list_residuals([outcome]))


def _keep_known(values: Mapping[str, float | None] | None) -> dict[str, float]:
    return {name: value for name, value in (values or {}).items() if value is not None}
