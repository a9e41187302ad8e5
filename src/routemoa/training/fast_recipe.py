"""The fast recipe: task means, a low-rank correction for the query, and panels, calibrated across folds. Numpy only.

    score of model m on query q = sum over tasks of P(task | q) * mean of m on the task      the prior
                                + what q adds for all models                               a light ridge
                                + what q adds for m in particular                          a heavy ridge, of low rank

Every choice is made by cross-validation within the training records: the penalties of the ridges, the calibration, and
the cost rates that keep 97 and 99 % of the best single model's accuracy. Alternatives that were tried are in
docs/research/scorer.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.core.system.task_engine import LocalEngine, TaskEngine
from routemoa.core.text.plural import counted
from routemoa.scoring.clusters import group_questions
from routemoa.scoring.encoder import Encoder
from routemoa.scoring.lexical import count_idf
from routemoa.scoring.predictor import Floats, Predictor, embed_texts, sigmoid, to_logit
from routemoa.training.cost_tradeoff import choose_cost_rates, weigh_questions_equally, weigh_tasks_equally
from routemoa.training.fold_model import FoldModel
from routemoa.training.linear import Calibration, fit_calibration, fit_span
from routemoa.training.table import Table, average_rows, average_samples

__all__ = ["FittedScorer", "train_fast"]

FOLDS = 5
COMMON_PENALTIES = (3.0, 10.0, 30.0, 100.0)
"""Ridge penalties that are tried for what a query adds for all models."""
OWN_PENALTIES = (30.0, 100.0, 300.0, 1000.0, float("inf"))
"""Ridge penalties that are tried for what it adds for each."""
MAX_RANK = 16
"""Directions in which models differ."""
TASK_MEAN_SD = 0.2
"""Prior standard deviation of a model's means on tasks."""
CLUSTERS = 20
"""Groups of questions, where the records name a single task."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class FittedScorer:
    """A trained scorer, and its predictions across folds: each made without the question that it is for."""

    predictor: Predictor
    cross_fitted: Floats
    """N x M probabilities."""
    panels: NDArray[np.intp]
    """N x K columns of models."""
    costs: Floats
    """N x M, expected dollars of a call; NaN where the records held none."""
    residual: Floats
    """N: how much better the models did than predicted, on average."""
    choices: dict[str, Any]
    """What cross-validation chose, for the manifest."""


def train_fast(
    data: Table,
    seed: int = 0,
    report: Report = lambda line: None,
    encoder: Encoder | None = None,
    engine: TaskEngine = LocalEngine(),  # noqa: B008  (it holds nothing)
) -> FittedScorer:
    """Train on `data`.

    Args:
        data: the records.
        seed: folds and clusters follow from it.
        report: called with lines about the progress.
        encoder: adds its features, and is not trained.
        engine: works on the folds.
    """
    rng = np.random.default_rng(seed)
    idf = count_idf(data.texts)
    x = embed_texts(data.texts, idf, encoder)
    groups = group_questions(data.tasks, lambda: x, CLUSTERS, rng)
    report(
        f"{counted(len(x), 'question')}, {counted(len(data.models), 'model')}, "
        f"{counted(len(groups.names), 'task or cluster', 'tasks or clusters')}"
    )
    folds = rng.permutation(len(x)) % min(FOLDS, len(x))
    crossed = _cross_fit(_FoldData(x, groups.indices, len(groups.names), data, folds), report, engine)
    chosen = _choose_penalties(crossed, average_samples(data.models, data.scores))
    calibration = chosen.calibration
    raw = crossed.score_raw(chosen.own, chosen.common)
    probabilities = sigmoid(calibration.slope * to_logit(raw) + calibration.shift)
    model = FoldModel(x, groups.indices, data, len(groups.names))
    predictor = _fit_predictor(model, x, chosen, models=data.models, tasks=groups.names, idf=idf, encoder=encoder)
    rates, macro_rates = (
        choose_cost_rates(probabilities, crossed.costs, data, model.means, weigh(data.tasks))
        for weigh in (weigh_questions_equally, weigh_tasks_equally)
    )
    choices = {
        "shrink_common": COMMON_PENALTIES[chosen.common],
        "shrink_own": str(OWN_PENALTIES[chosen.own]),
        "rates": rates,
        "macro_rates": macro_rates,
    }
    residual = average_rows(data.scores - raw)
    return FittedScorer(predictor, probabilities, crossed.panels, crossed.costs, residual, choices)


def _fit_predictor(
    model: FoldModel,
    x: Floats,
    chosen: _ChosenPenalties,
    *,
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    idf: Floats,
    encoder: Encoder | None,
) -> Predictor:
    """Return the predictor, fitted on all questions with the chosen penalties."""
    common_penalty = COMMON_PENALTIES[chosen.common]
    common, own = model.fit_ridges((common_penalty,), (OWN_PENALTIES[chosen.own],))
    space, loadings = _factorize(own[0])
    span = fit_span(x, common_penalty)
    return Predictor(
        models=models,
        tasks=tasks,
        idf=idf,
        task_weights=model.task_weights,
        task_bias=model.task_bias,
        space=space,
        embeddings=np.vstack([model.task_means, loadings]).astype(np.float32),
        common=common[0][:, 0],
        center=np.concatenate([model.classify_tasks(x).mean(0), (x @ space).mean(0)]).astype(np.float32),
        spread=_measure_spread(model.task_means, model.means, model.task_shares),
        directions=span.directions,
        strengths=span.strengths,
        familiar=span.familiar,
        slope=chosen.calibration.slope,
        shift=chosen.calibration.shift,
        panels=model.panels.members.astype(np.float32),
        panel_values=model.panels.values,
        task_costs=model.task_costs,
        encoder=encoder,
    )


@dataclass(frozen=True)
class _CrossFit:
    """Predictions across folds for every penalty: each made without the question that it is for."""

    prior: Floats
    """N x M."""
    common: Floats
    """COMMON_PENALTIES x N."""
    own: Floats
    """OWN_PENALTIES x N x M."""
    costs: Floats
    """N x M."""
    panels: NDArray[np.intp]
    """N x K."""

    def score_raw(self, own: int, common: int) -> Floats:
        """Return the scores before calibration, N x M, for penalties given by their places."""
        out: Floats = self.prior + self.own[own] + self.common[common][:, None]
        return out


@dataclass(frozen=True)
class _FoldData:
    """What the folds share."""

    x: Floats
    groups: NDArray[np.intp]
    """N, the group of each question."""
    tasks: int
    """How many groups there are."""
    data: Table
    folds: NDArray[np.intp]
    """N, the fold of each question."""


def _cross_fit(shared: _FoldData, report: Report, engine: TaskEngine) -> _CrossFit:
    n, m = shared.data.scores.shape
    out = _CrossFit(
        prior=np.zeros((n, m), np.float32),
        common=np.zeros((len(COMMON_PENALTIES), n), np.float32),
        own=np.zeros((len(OWN_PENALTIES), n, m), np.float32),
        costs=np.full((n, m), np.nan, np.float32),
        panels=np.zeros((n, min(3, m)), np.intp),
    )
    count = int(shared.folds.max()) + 1
    for fold, part in enumerate(engine.map(_fit_fold, shared, range(count))):
        held_out = shared.folds == fold
        out.prior[held_out], out.costs[held_out], out.panels[held_out] = part.prior, part.costs, part.panels
        out.common[:, held_out], out.own[:, held_out] = part.common, part.own
        report(f"fold {fold + 1} of {count}")
    return out


def _fit_fold(shared: _FoldData, fold: int) -> _CrossFit:
    """Fit on the questions of the other folds and predict those of this one: what an engine works on."""
    x, held_out = shared.x, shared.folds == fold
    training = shared.data.select_rows(np.flatnonzero(~held_out))
    model = FoldModel(x[~held_out], shared.groups[~held_out], training, shared.tasks)
    tasks = model.classify_tasks(x[held_out])
    common, own = model.fit_ridges(COMMON_PENALTIES, OWN_PENALTIES)
    return _CrossFit(
        prior=tasks @ model.task_means,
        common=np.stack([x[held_out] @ w[:, 0] for w in common]),
        own=np.stack([x[held_out] @ w for w in own]),
        costs=tasks @ model.task_costs,
        panels=model.panels.choose_best(tasks),
    )


@dataclass(frozen=True)
class _ChosenPenalties:
    """Places of the chosen penalties in OWN_PENALTIES and COMMON_PENALTIES, and the calibration with them."""

    own: int
    common: int
    calibration: Calibration


def _choose_penalties(crossed: _CrossFit, scores: Floats) -> _ChosenPenalties:
    """Choose the own penalty by the accuracy of the first choice, then the common one by the log-loss.

    Of the own penalties within one standard error of the best accuracy, the largest is taken.
    """
    measured = ~np.isnan(scores)
    filled = np.where(measured, scores, 0.0)
    rows = np.arange(len(scores))
    right = [
        filled[rows, np.where(measured, crossed.score_raw(i, 0), -9.0).argmax(1)] for i in range(len(OWN_PENALTIES))
    ]
    best = max(range(len(OWN_PENALTIES)), key=lambda i: right[i].mean())
    error = [(right[best] - r).std() / np.sqrt(len(scores)) for r in right]
    own = max(i for i in range(len(OWN_PENALTIES)) if right[best].mean() - right[i].mean() <= error[i])
    calibrations = [fit_calibration(crossed.score_raw(own, i), scores) for i in range(len(COMMON_PENALTIES))]
    common = min(range(len(COMMON_PENALTIES)), key=lambda i: calibrations[i].loss)
    return _ChosenPenalties(own, common, calibrations[common])


def _measure_spread(task_means: Floats, means: Floats, shares: Floats) -> Floats:
    """Return the standard deviation of each model's task means around its mean, M; larger where tasks are few."""
    variance = np.average(np.square(task_means - means), axis=0, weights=shares)
    out: Floats = np.sqrt(variance + TASK_MEAN_SD**2 / len(shares)).astype(np.float32)
    return out


def _factorize(weights: Floats) -> tuple[Floats, Floats]:
    """Return weights (D x M) as a product (D x R) @ (R x M) of low rank; R is 0 where all are zero."""
    left, sizes, right = np.linalg.svd(weights, full_matrices=False)
    rank = int(min(MAX_RANK, (sizes > 1e-4 * max(float(sizes[0]), 1e-6)).sum()))
    return left[:, :rank].astype(np.float32), (sizes[:rank, None] * right[:rank]).astype(np.float32)
