"""Measure a judge model: how well its posterior, and each signal alone, predicts which answers are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import asdict

from routemoa.core.text.plural import counted
from routemoa.judging.evidence import collect_signals
from routemoa.judging.judge_model import JudgeModel
from routemoa.training.judge.coefficients import build_regression, coefficient_vector
from routemoa.training.judge.graded_panel import GradedPanel
from routemoa.training.metrics import measure_calibration

__all__ = ["SignalPairs", "collect_signal_pairs", "describe_judge_model", "measure_signals"]

SHOWN_PAIRS = 10
"""Pairs of models with correlated errors that are described one by one."""
SignalPairs = dict[str, list[tuple[float, float]]]
"""Signal -> pairs of its value for an answer and how right the answer was, both in [0, 1]."""


def collect_signal_pairs(
    panels: Sequence[GradedPanel], judge_model: JudgeModel, *, verbalized: bool = True
) -> SignalPairs:
    """Return the value of the posterior and of each signal alone for every graded answer."""
    pairs: SignalPairs = {k: [] for k in ("posterior", "prior", "votes", "self", "cross")}
    weights = coefficient_vector(judge_model.coefficients, verbalized=verbalized)
    for panel in panels:
        if (regression := build_regression(panel, judge_model, verbalized=verbalized)) is None:
            continue
        p = regression.probabilities(weights)
        signals = collect_signals(panel.models, panel.groups, panel.assessments, judge_model)
        group_of = panel.groups.group_of
        for prior, g, right in zip(panel.impute_priors(), group_of, panel.right, strict=True):
            if right is None or g is None:
                continue
            pairs["posterior"].append((float(p[g]), right))
            pairs["prior"].append((prior, right))
            pairs["votes"].append((sum(h == g for h in group_of) / len(panel.models), right))
            for name, value in (("self", signals[g].self_assessment), ("cross", signals[g].cross_assessment)):
                if value is not None:
                    pairs[name].append((0.5 + value / 2, right))
    return pairs


def measure_signals(*parts: SignalPairs) -> dict[str, dict[str, float | None]]:
    """Return the calibration of each signal over several parts together: ece, brier, auc; None is undefined."""
    out: dict[str, dict[str, float | None]] = {}
    for name in parts[0]:
        pairs = np.array([pair for part in parts for pair in part[name]], np.float32).reshape(-1, 2)
        out[name] = measure_calibration(pairs[:, 0], pairs[:, 1])
    return out


def describe_judge_model(judge_model: JudgeModel) -> list[str]:
    """Return the learned numbers as lines of text."""
    coefficients = asdict(judge_model.coefficients)
    lines = ["log-odds per unit: " + ", ".join(f"{k} {v:g}" for k, v in coefficients.items())]
    correlation = judge_model.correlation
    coincide = 1 / (1 + correlation.error_concentration)
    lines.append(
        f"difficulty varies by {correlation.difficulty_sd:g} logits; two wrong answers coincide {coincide:.0%} of the "
        "time"
    )
    pairs = sorted(correlation.pairwise_error_correlation.items(), key=lambda item: -item[1])
    shown, rest = pairs[:SHOWN_PAIRS], pairs[SHOWN_PAIRS:]
    lines += [f"errors of {pair.replace('|', ' and ')} are correlated: {value:.2f}" for pair, value in shown]
    if rest:
        lines.append(f"and of {counted(len(rest), 'other pair')}, at most {rest[0][1]:.2f}")
    return lines
