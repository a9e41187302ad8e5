"""Summarize outcomes: means with 95 % bootstrap intervals, paired differences and savings.

The bootstrap resamples questions, each at its mean over the seeds it was asked with. Two methods are compared on the
questions that both have. An answer that could not be graded is left out; a failure counts as wrong.

Scores that are all the same have no spread to resample, and an interval all the same (`interval_without_spread`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from routemoa.core.learned.intervals import interval_without_spread
from routemoa.evaluation.outcomes import Outcome

__all__ = [
    "SUMMARY_MEASURES",
    "MeanInterval",
    "bootstrap_interval",
    "bootstrap_intervals",
    "compute_savings",
    "gain_interval",
    "gain_intervals",
    "summarize",
]

RESAMPLES = 2000
SUMMARY_MEASURES = ("calls", "tokens", "cost", "latency", "prompt_tokens", "completion_tokens", "path_tokens")
"""Measures of a summary besides accuracy, under their names in its JSON."""
SAVING_MEASURES = ("calls", "tokens", "path_tokens", "cost", "latency")
QuestionKey = tuple[str, str]
"""Task and id of a question."""
Floats = NDArray[np.float64]


class MeanInterval(Struct, frozen=True):
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


class QuestionMeans:
    """One method's results for each question: means over the seeds, in the order of `questions`."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        by_question: dict[QuestionKey, list[Outcome]] = {}
        for outcome in outcomes:
            by_question.setdefault((outcome.task, outcome.id), []).append(outcome)
        self.questions = tuple(sorted(by_question))
        self.index = {question: i for i, question in enumerate(self.questions)}
        groups = [by_question[question] for question in self.questions]
        self.scores = np.array([_mean([o.right for o in group]) for group in groups], np.float64)
        self.failed = sum(sum(o.failure is not None for o in group) / len(group) for group in groups)
        self.measures = {
            name: [_mean([_measure(o, name) for o in group]) for group in groups] for name in SUMMARY_MEASURES
        }

    def scores_on(self, questions: Sequence[QuestionKey]) -> Floats:
        """Return the mean score of each of these questions."""
        scores: Floats = self.scores[[self.index[question] for question in questions]]
        return scores


class BootstrapScores:
    """Resampled mean scores of methods. Methods with the same questions share their resamples."""

    def __init__(self, methods: Mapping[str, QuestionMeans], seed: int) -> None:
        self._methods = methods
        self._seed = seed
        self._means: dict[str, Floats] = {}
        for questions in dict.fromkeys(method.questions for method in methods.values()):
            names = [name for name, method in methods.items() if method.questions == questions]
            means = self._resample(names, questions)
            self._means |= {name: means[:, i] for i, name in enumerate(names)}

    def means(self, name: str) -> Floats:
        """Return the resampled means of a method, shape (RESAMPLES,)."""
        return self._means[name]

    def differences(self, a: str, b: str, shared: Sequence[QuestionKey]) -> Floats:
        """Return the resampled differences of two methods on the questions they share, shape (RESAMPLES,)."""
        if self._methods[a].questions == self._methods[b].questions:
            return self._means[a] - self._means[b]
        means = self._resample((a, b), shared)
        return means[:, 0] - means[:, 1]

    def _resample(self, names: Sequence[str], questions: Sequence[QuestionKey]) -> Floats:
        return _bootstrap_means(np.array([self._methods[name].scores_on(questions) for name in names]).T, self._seed)


def summarize(outcomes: Iterable[Outcome], seed: int) -> dict[str, Any]:
    """Return {"methods": ..., "paired": ...} for outcomes of any kind, live or replayed, in any order.

    A mean of dollars, seconds or tokens is null when it is unknown for any question. `failed` counts questions; it is
    a fraction where only some seeds failed. `p` is two-sided: twice the share of resamples in which the difference has
    the other sign, at least 1 / RESAMPLES; that of a sign test where all differences are the same.
    """
    methods = _group_by_method(outcomes)
    bootstrap = BootstrapScores(methods, seed)
    paired: dict[str, Any] = {}
    for a, b in combinations(methods, 2):
        shared = _shared_questions(methods[a], methods[b])
        if shared:
            differences = methods[a].scores_on(shared) - methods[b].scores_on(shared)
            paired[f"{a}|{b}"] = _paired_summary(differences, bootstrap.differences(a, b, shared))
    return {
        "methods": {name: _method_summary(method, bootstrap.means(name)) for name, method in methods.items()},
        "paired": paired,
    }


def compute_savings(outcomes: Iterable[Outcome], method: str, baseline: str, seed: int) -> dict[str, Any]:
    """Return {measure: {"saved", "ci95"}}: the share of a baseline's spending that a method saves.

    Calls, tokens, tokens on the critical path, dollars and seconds are compared on the questions that both answered. A
    measure that is unknown for any of them is absent.
    """
    methods = _group_by_method(o for o in outcomes if o.method in (method, baseline))
    if len(methods) < 2:
        return {}
    ours, theirs = methods[method], methods[baseline]
    shared = [question for question in ours.questions if question in theirs.index]
    savings: dict[str, Any] = {}
    for name in SAVING_MEASURES:
        rows = [[m.measures[name][m.index[question]] for m in (ours, theirs)] for question in shared]
        if not rows or any(value is None for row in rows for value in row):
            continue
        pairs = np.array(rows, np.float64)
        total = pairs.mean(axis=0)
        if total[1] > 0:
            means = _bootstrap_means(pairs, seed)
            ratio = 1 - means[:, 0] / means[:, 1]
            savings[name] = {"saved": _round(1 - total[0] / total[1]), "ci95": _percentile_interval(ratio)}
    return savings


def bootstrap_interval(values: Sequence[float], seed: int) -> MeanInterval:
    """Return the mean of at least one value with its 95 % percentile bootstrap interval."""
    return bootstrap_intervals([values], seed)[0]


def bootstrap_intervals(columns: Sequence[Sequence[float]], seed: int) -> list[MeanInterval]:
    """Return the mean and interval of each column; all have the same rows, at least one, and share the resamples."""
    table = np.array(columns, np.float64).T
    low, high = np.quantile(_bootstrap_means(table, seed), (0.025, 0.975), axis=0)
    return [MeanInterval(*map(float, each)) for each in zip(table.mean(axis=0), low, high, strict=True)]


def gain_interval(differences: Sequence[float], seed: int) -> MeanInterval:
    """Return the mean of at least one difference of two scores with its 95 % interval."""
    return gain_intervals([differences], seed)[0]


def gain_intervals(columns: Sequence[Sequence[float]], seed: int) -> list[MeanInterval]:
    """Return the mean difference of two scores, and its interval, of each column; see `bootstrap_intervals`."""
    return [
        MeanInterval(found.mean, *interval_without_spread(column[0], len(column), is_difference=True))
        if min(column) == max(column)
        else found
        for column, found in zip(columns, bootstrap_intervals(columns, seed), strict=True)
    ]


def _group_by_method(outcomes: Iterable[Outcome]) -> Mapping[str, QuestionMeans]:
    """Group graded outcomes by method, in the order in which methods first appear; a failure scores 0."""
    by_method: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        graded = by_method.setdefault(outcome.method, [])
        if outcome.failure is not None:
            graded.append(replace(outcome, right=0.0))
        elif outcome.right is not None:
            graded.append(outcome)
    return {name: QuestionMeans(graded) for name, graded in by_method.items()}


def _method_summary(method: QuestionMeans, means: Floats) -> dict[str, Any]:
    scores = method.scores
    if not len(scores):
        interval: list[float | None] = [None, None]
    elif np.ptp(scores) == 0:
        interval = [_round(end) for end in interval_without_spread(scores[0], len(scores))]
    else:
        interval = _percentile_interval(means)
    return {
        "accuracy": _round(scores.mean()) if len(scores) else None,
        "ci95": interval,
        **{name: _round(_mean(method.measures[name])) for name in SUMMARY_MEASURES},
        "failed": _round(method.failed),
        "n": len(method.questions),
    }


def _paired_summary(differences: Floats, resampled: Floats) -> dict[str, Any]:
    interval = _percentile_interval(resampled)
    if np.ptp(differences) == 0 and differences[0]:
        one_sided = 0.5 ** len(differences)
        interval = [
            _round(end) for end in interval_without_spread(differences[0], len(differences), is_difference=True)
        ]
    else:
        one_sided = min(float((resampled <= 0).mean()), float((resampled >= 0).mean()))
    return {
        "difference": _round(differences.mean()),
        "ci95": interval,
        "p": _round(min(1.0, max(2 * one_sided, 1 / RESAMPLES))),
        "n": len(differences),
    }


def _shared_questions(a: QuestionMeans, b: QuestionMeans) -> tuple[QuestionKey, ...]:
    if a.questions == b.questions:
        return a.questions
    return tuple(question for question in a.questions if question in b.index)


def _measure(outcome: Outcome, name: str) -> float | None:
    value: float | None = getattr(outcome, "seconds" if name == "latency" else name)
    return value


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, or None where there is no value or one is unknown."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _bootstrap_means(columns: Floats, seed: int) -> Floats:
    """Return RESAMPLES means of each column, shape (RESAMPLES, columns), over rows drawn with replacement.

    The draws depend on the seed and the number of rows only.
    """
    count = len(columns)
    rng = np.random.default_rng(seed)
    means = np.empty((RESAMPLES, columns.shape[1]))
    if count:
        for i in range(RESAMPLES):
            means[i] = np.bincount(rng.integers(0, count, count), minlength=count) @ columns / count
    return means


def _percentile_interval(means: Floats) -> list[float | None]:
    return [_round(np.quantile(means, 0.025)), _round(np.quantile(means, 0.975))]


def _round(value: float | np.floating[Any] | None) -> float | None:
    """Round to twelve digits: the last ones depend on the machine."""
    return None if value is None else float(f"{float(value):.12g}")
