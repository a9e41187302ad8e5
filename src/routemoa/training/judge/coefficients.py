"""Fit a judge model: reliabilities of judges, and the worth of each signal by a conditional logit (McFadden 1974)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from routemoa.judging.difficulty import prior_log_odds
from routemoa.judging.evidence import collect_signals, credit_self_assessment, estimate_reliability
from routemoa.judging.judge_model import Coefficients, JudgeModel, Reliability
from routemoa.judging.multiple_choice import limit_to_options
from routemoa.judging.posterior import Vote, infer
from routemoa.training.judge.error_correlation import fit_error_correlation
from routemoa.training.judge.graded_panel import GradedPanel
from routemoa.training.judge.lone_leader import fit_lone_leader

__all__ = ["PanelRegression", "build_regression", "coefficient_vector", "fit_judge_model"]

COEFFICIENT_PENALTIES = np.array([4.0, 20.0, 1.0, 1.0, 1.0])
"""Ridge penalties on the distance of each coefficient from its default, in the order of `coefficient_vector`."""
INFORMED_VOTES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""The weights that are tried for the vote of a model that saw the other answers."""
MIN_PAIRS = 30
"""Panels with two grades, below which what is known already of the errors' correlation holds."""

Array = NDArray[np.float64]


class PanelRegression(Struct, frozen=True):
    """A panel as the regression sees it: G groups of answers."""

    x: Array
    """G x 5: constant, votes beyond the best prior, self-assessment, cross-assessment, similarity; 0 where absent."""
    base: Array
    """G: the log-odds of each group's best prior."""
    right: Array
    """G: how right each group is, in [0, 1]; NaN where it was not graded."""
    closed: bool
    """At most one group is right."""

    def probabilities(self, weights: Array) -> Array:
        """Return P(right) of each group, for coefficients in the order of `coefficient_vector`."""
        odds = np.exp(np.clip(self.x @ weights + self.base, -30, 30))
        probabilities: Array = odds / (1.0 + (odds.sum() if self.closed else odds))
        return probabilities

    def impute_right(self, p: Array) -> Array:
        """Return `right`, where it is unknown as predicted by `p`, given what was graded."""
        known = ~np.isnan(self.right)
        left = (1 - self.right[known].sum()) / max(1 - p[known].sum(), 1e-9) if self.closed else 1.0
        imputed: Array = np.where(known, self.right, left * p)
        return imputed


class CoefficientFit(NamedTuple):
    """Coefficients, and the loss that they leave."""

    loss: float
    coefficients: Coefficients


def fit_judge_model(
    panels: Sequence[GradedPanel], *, verbalized: bool = True, start: JudgeModel | None = None
) -> JudgeModel:
    """Fit a judge model to graded panels.

    Args:
        panels: what was judged and graded.
        verbalized: self-assessments are scores that models state, not token probabilities.
        start: what is known already, to which coefficients are drawn, and which holds where the panels say nothing.
    """
    known = start or JudgeModel()
    judge_model = replace(
        known,
        correlation=fit_error_correlation(panels) if start is None or _has_pairs(panels) else known.correlation,
        peer_judges=known.peer_judges | _fit_reliabilities(panels, "cross"),
        self_judges=known.self_judges | _fit_reliabilities(panels, "self"),
    )
    judge_model = replace(judge_model, coefficients=_fit_coefficients(panels, judge_model, verbalized))
    lone_leader = fit_lone_leader(panels, judge_model)
    return replace(judge_model, coefficients=replace(judge_model.coefficients, lone_leader=lone_leader))


def coefficient_vector(coefficients: Coefficients, *, verbalized: bool) -> Array:
    """Return the coefficients as numbers, 5, in the order of the columns of `PanelRegression.x`."""
    c = coefficients
    return np.array([c.constant, c.votes, c.verbalized if verbalized else c.logprob, c.cross, c.similarity])


def build_regression(panel: GradedPanel, judge_model: JudgeModel, *, verbalized: bool) -> PanelRegression | None:
    """Return a panel as the regression sees it; None where nothing is graded, or no answer states a result."""
    count = 1 + max((g for g in panel.groups.group_of if g is not None), default=-1)
    if not count or all(y is None for y in panel.right):
        return None
    informed_vote = judge_model.coefficients.informed_vote
    votes = [
        Vote(m, p, g, informed_vote if informed else 1.0)
        for m, p, g, informed in zip(
            panel.models, panel.impute_priors(), panel.groups.group_of, panel.had_context, strict=True
        )
    ]
    correlation = limit_to_options(judge_model.correlation, panel.options)
    posterior = infer(votes, correlation, closed=panel.groups.closed)
    signals = collect_signals(panel.models, panel.groups, panel.assessments, judge_model)
    x, base, right = np.zeros((count, 5)), np.zeros(count), np.zeros(count)
    for g in range(count):
        none_right = sum(posterior.joint[0]) if panel.groups.closed else 1 - posterior.probabilities[g]
        base[g] = prior_log_odds(max(v.prior for v in votes if v.group == g))
        beyond = np.log(max(posterior.probabilities[g], 1e-9) / max(none_right, 1e-9)) - base[g]
        own = credit_self_assessment(signals[g].self_assessment, verbalized=verbalized) or 0.0
        x[g] = (1.0, beyond, own, signals[g].cross_assessment or 0.0, signals[g].similarity or 0.0)
        known = [k for i in panel.groups.members(g) if (k := panel.right[i]) is not None]
        right[g] = sum(known) / len(known) if known else np.nan
    if panel.groups.closed:
        right /= max(1.0, float(np.nansum(right)))
    return PanelRegression(x, base, right, panel.groups.closed)


def _has_pairs(panels: Sequence[GradedPanel]) -> bool:
    """Return whether enough panels have two grades, to say how errors correlate."""
    return sum(sum(right is not None for right in panel.right) > 1 for panel in panels) >= MIN_PAIRS


def _fit_reliabilities(panels: Iterable[GradedPanel], kind: Literal["self", "cross"]) -> dict[str, Reliability]:
    """Return each model's bias and weight as a judge of other models' answers ("cross") or of its own ("self")."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for panel in panels:
        grades = dict(zip(panel.models, panel.right, strict=True))
        for a in panel.assessments:
            grade = grades.get(a.subject)
            if a.kind != kind or a.value is None or grade is None:
                continue
            if kind == "self" or a.judge != a.subject:
                pairs.setdefault(a.judge, []).append((a.value, grade))
    fitted = {m: estimate_reliability(scored) for m, scored in sorted(pairs.items())}
    return {m: Reliability(None if r.bias is None else round(r.bias, 4), round(r.weight, 4)) for m, r in fitted.items()}


def _fit_coefficients(panels: Sequence[GradedPanel], judge_model: JudgeModel, verbalized: bool) -> Coefficients:
    """Fit the conditional logit for each weight of an informed vote, and return the most likely coefficients."""
    default = judge_model.coefficients
    weights = INFORMED_VOTES if any(any(panel.had_context) for panel in panels) else (default.informed_vote,)
    fits: list[CoefficientFit] = []
    for weight in weights:
        start = replace(judge_model, coefficients=replace(default, informed_vote=weight))
        fits.append(_fit_conditional_logit(panels, start, verbalized))
    return min(fits, key=lambda fit: fit.loss).coefficients


def _fit_conditional_logit(panels: Sequence[GradedPanel], judge_model: JudgeModel, verbalized: bool) -> CoefficientFit:
    """Fit the coefficients by Newton's method; a ridge draws each to its default.

    Of a closed question at most one answer is right; of an open one each answer is right or wrong by itself.
    """
    start = judge_model.coefficients
    default = coefficient_vector(start, verbalized=verbalized)
    built = (build_regression(panel, judge_model, verbalized=verbalized) for panel in panels)
    regressions = [regression for regression in built if regression is not None]
    weights = default.copy()
    loss = 0.0
    for _ in range(30):
        gradient, hessian = COEFFICIENT_PENALTIES * (weights - default), np.diag(COEFFICIENT_PENALTIES)
        loss = float(0.5 * COEFFICIENT_PENALTIES @ (weights - default) ** 2)
        for regression in regressions:
            p = regression.probabilities(weights)
            right = regression.impute_right(p)
            gradient += regression.x.T @ (p - right)
            covariance = np.diag(p) - np.outer(p, p) if regression.closed else np.diag(p * (1 - p))
            hessian += regression.x.T @ (covariance @ regression.x)
            loss -= float(right @ np.log(np.maximum(p, 1e-9)))
            rest, wrong = (1 - right.sum(), 1 - p.sum()) if regression.closed else (1 - right, 1 - p)
            loss -= float(np.sum(rest * np.log(np.maximum(wrong, 1e-9))))
        step = np.linalg.solve(hessian, gradient)
        weights -= np.clip(step, -1.0, 1.0)
        if float(np.abs(step).max()) < 1e-6:
            break
    weights[2:] = np.maximum(weights[2:], 0.0)  # a signal in favour of an answer never counts against it
    weights[1] = np.clip(weights[1], 0.0, 1.0)  # votes that seem to claim too little come from mixing different tasks
    constant, votes, own, cross, similarity = (float(w) for w in np.round(weights, 4))
    self_assessment = {"verbalized": own} if verbalized else {"logprob": own}
    fitted = replace(start, constant=constant, votes=votes, cross=cross, similarity=similarity, **self_assessment)
    return CoefficientFit(loss, fitted)
