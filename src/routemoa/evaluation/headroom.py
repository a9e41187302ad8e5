"""How much a router could gain at most: 1 - beta, where beta is the share of questions that all models get wrong. Pure.

In multiple choice some of many models is right by luck, so there only the best five count. The interval of 1 - beta is
exact (Clopper and Pearson 1934). A router closes a share of the gap between the best single model and 1 - beta.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from routemoa.core.learned.intervals import interval_without_spread
from routemoa.core.types import Scores
from routemoa.evaluation.dominance import MIN_GAIN
from routemoa.evaluation.formatting import format_interval, format_percent, format_points
from routemoa.evaluation.statistics import MeanInterval, gain_interval
from routemoa.judging.multiple_choice import count_options

__all__ = ["Headroom", "clopper_pearson", "describe_no_gain", "format_headroom", "measure_headroom"]

CHOICE_MODELS = 5
"""Models that count in multiple choice: the best ones on other questions."""
MIN_QUESTIONS = 50
"""Below so many questions it is not said that no router helps."""
RIGHT = 0.5
"""The score from which an answer is right."""
RESAMPLES = 1000


class Headroom(Struct, frozen=True):
    """What routers could gain on N questions, and what they gain."""

    questions: int
    """Those on which the best single model and some model that counts were measured."""
    multiple_choice: int
    """Questions with lettered options."""
    all_wrong: int
    """Questions that all models that count get wrong."""
    best_single: str
    best_single_accuracy: float
    ceiling: float
    """1 - beta."""
    ceiling_low: float
    ceiling_high: float
    """95 %, Clopper-Pearson."""
    only_others: int
    """Questions that the best single model gets wrong and another that counts gets right."""
    undecided: int
    """Questions that no model is known to get right, and on which some that count were not measured."""
    gains: dict[str, MeanInterval]
    """Router -> what it gains over the best single model, in accuracy, paired."""
    gap_closed: dict[str, tuple[float, float, float]]
    """Router -> the share of the gap that it closes, with its 95 % bootstrap interval; empty where there is no gap."""
    mixtures: tuple[str, ...] = ()
    """Those in `gains` that are no routers, since they call several models."""


def measure_headroom(
    scores: Sequence[Scores],
    texts: Sequence[str],
    best_first: Sequence[str],
    routed: Mapping[str, Sequence[float | None]],
    *,
    seed: int = 0,
    mixtures: Sequence[str] = (),
) -> Headroom | None:
    """Measure 1 - beta on questions, and what routers gain; None where the best single model was not measured.

    Args:
        scores: of each question: model -> its score in [0, 1], None where it was not measured.
        texts: of each question, by which multiple choice is recognised.
        best_first: the models, best first on other questions; its first is the best single model.
        routed: router -> the score of the model that it chooses for each question.
        seed: of the bootstrap.
        mixtures: names in `routed` that are no routers, since they call several models.
    """
    best = best_first[0]
    rows = [i for i, row in enumerate(scores) if row.get(best) is not None]
    if not rows:
        return None
    choices = [count_options(texts[i]) is not None for i in rows]
    counted = [best_first[:CHOICE_MODELS] if is_choice else best_first for is_choice in choices]
    solved = np.array([_is_solved(scores[i], models) for i, models in zip(rows, counted, strict=True)])
    complete = np.array([None not in map(scores[i].get, models) for i, models in zip(rows, counted, strict=True)])
    single = np.array([scores[i][best] for i in rows], np.float64)
    n, wrong = len(rows), int((~solved).sum())
    low, high = clopper_pearson(n - wrong, n)
    chosen = {name: np.array([values[i] for i in rows], np.float64) for name, values in routed.items()}
    gains, closed = _measure_gains(chosen, single, solved, seed)
    return Headroom(
        questions=n,
        multiple_choice=sum(choices),
        all_wrong=wrong,
        best_single=best,
        best_single_accuracy=float(single.mean()),
        ceiling=(n - wrong) / n,
        ceiling_low=low,
        ceiling_high=high,
        only_others=int((solved & (single < RIGHT)).sum()),
        undecided=int((~solved & ~complete).sum()),
        gains=gains,
        gap_closed=closed,
        mixtures=tuple(mixtures),
    )


def format_headroom(found: Headroom | None) -> dict[str, Any] | None:
    """Return the figures for JSON; docs/how-to/scorer.md defines each key."""
    if found is None:
        return None
    return {
        "questions": found.questions,
        "multiple_choice": found.multiple_choice,
        "all_wrong": found.all_wrong,
        "only_others_right": found.only_others,
        "beta": 1.0 - found.ceiling,
        "one_minus_beta": found.ceiling,
        "one_minus_beta_ci95": [found.ceiling_low, found.ceiling_high],
        "best_single_model": found.best_single,
        "best_single": found.best_single_accuracy,
        "gains": {name: {"gain": g.mean, "ci95": [g.low, g.high]} for name, g in found.gains.items()},
        "gap_closed": {name: {"share": s, "ci95": [low, high]} for name, (s, low, high) in found.gap_closed.items()},
        "no_router_helps": describe_no_gain(found),
    }


def describe_no_gain(found: Headroom) -> str | None:
    """Return a sentence where no router can help, or where none of those measured does; else None."""
    if found.questions < MIN_QUESTIONS:
        return None
    best = f"{found.best_single} alone ({format_percent(found.best_single_accuracy)} right)"
    ceiling = f"{format_percent(found.ceiling)}, 95 % {format_interval((found.ceiling_low, found.ceiling_high))}"
    if clopper_pearson(found.only_others + found.undecided, found.questions)[1] < MIN_GAIN:
        return f"no router can help here: use {best}, since 1 - beta, where some model is right, is {ceiling}"
    routers = {name: gain for name, gain in found.gains.items() if name not in found.mixtures}
    if routers and all(gain.high < MIN_GAIN for gain in routers.values()):
        name, top = max(routers.items(), key=lambda item: item[1].mean)
        interval = f"95 % {format_points(top.low)} to {format_points(top.high)}"
        return (
            f"no router helps here: of {', '.join(routers)} the best, {name}, differs by {format_points(top.mean)} "
            f"points ({interval}) from {best}, though 1 - beta, where some model is right, is {ceiling}"
        )
    return None


def clopper_pearson(right: int, n: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share, of which `right` of `n` were observed (Clopper and Pearson 1934)."""
    low = 0.0 if right == 0 else 1.0 - _solve_tail(n - right, n)
    return low, 1.0 if right == n else _solve_tail(right, n)


def _solve_tail(k: int, n: int) -> float:
    """Return the share p at which at most `k` of `n` are right with probability 2.5 %, by bisection."""
    log_choose = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1)]
    terms, counts = np.array(log_choose), np.arange(k + 1)
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        tail = float(np.exp(terms + counts * math.log(p) + (n - counts) * math.log1p(-p)).sum())
        low, high = (p, high) if tail > 0.025 else (low, p)
    return (low + high) / 2


def _is_solved(row: Scores, models: Sequence[str]) -> bool:
    """Return whether one of the models is known to be right."""
    return any(s is not None and s >= RIGHT for s in map(row.get, models))


def _measure_gains(
    routed: Mapping[str, NDArray[np.float64]], single: NDArray[np.float64], solved: NDArray[np.bool_], seed: int
) -> tuple[dict[str, MeanInterval], dict[str, tuple[float, float, float]]]:
    """Return what each router gains over `single` where it was measured, and its share of the gap."""
    gains: dict[str, MeanInterval] = {}
    closed: dict[str, tuple[float, float, float]] = {}
    for name, chosen in routed.items():
        known = ~np.isnan(chosen)
        if not known.any():
            continue
        gains[name] = gain_interval(list((chosen - single)[known]), seed)
        if (share := _close_gap(chosen[known], single[known], solved[known], seed)) is not None:
            closed[name] = share
    return gains, closed


def _close_gap(
    chosen: NDArray[np.float64], single: NDArray[np.float64], solved: NDArray[np.bool_], seed: int
) -> tuple[float, float, float] | None:
    """Return the share of the gap from `single` to `solved` that `chosen` closes, with its interval; None without."""
    gain, gap = chosen - single, solved - single
    if gap.mean() < 1e-9:
        return None
    rng = np.random.default_rng(seed)
    shares = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(gap), len(gap))
        if (width := float(gap[rows].mean())) > 1e-9:
            shares.append(float(gain[rows].mean()) / width)
    low, high = np.quantile(shares, (0.025, 0.975)) if shares else (math.nan, math.nan)
    if low == high == 1.0:  # it closed every gap that there is, of which there may be few
        low, high = interval_without_spread(1.0, int((gap > 0).sum()))
    return float(gain.mean() / gap.mean()), float(low), float(high)
