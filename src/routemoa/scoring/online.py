"""Learning on the job: outcomes move a model's embedding, within bounds, and can be taken back.

    y - p(q) = f(q) . d + noise,   d ~ N(0, CAUTION)      f: what the embedding is multiplied with in the score

p is what was predicted before. Only the last WINDOW outcomes of a model count, d is kept within BOUND, and the trained
arrays are never written to: without the outcomes the scorer is what it was. A model whose success leaves the predicted
band is said to drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from routemoa.core.errors import ConfigError
from routemoa.core.types import Scores
from routemoa.scoring.predictor import Predictor

__all__ = ["OUTCOMES_FILE", "Drift", "GradedQuery", "UpdateResult", "apply_outcomes", "read_outcomes", "fit_bayesian_regression"]

OUTCOMES_FILE = "outcomes.jsonl"
MAX_OUTCOMES = 400  # outcomes of a model that count
MAX_MOVE = 0.2  # how far one number of an embedding may move: twenty points of probability
MOVE_VARIANCE = 0.01  # variance of such a move that is expected beforehand
NOISE_VARIANCE = 0.2  # variance of a right-or-wrong answer around its probability
DRIFT_WINDOW, DRIFT_MIN_OUTCOMES, DRIFT_STANDARD_ERRORS = 50, 20, 3.0  # drift: the last outcomes, at least so many, beyond so many standard errors

Doubles = NDArray[np.float64]


class GradedQuery(msgspec.Struct, frozen=True):
    """How models really did on a query, in [0, 1]; None is not known."""

    query: str
    scores: Scores


@dataclass(frozen=True)
class Drift:
    """A model whose success left the predicted band over its last outcomes."""

    model: str
    outcomes: int
    predicted: float
    actual: float

    def __str__(self) -> str:
        return (
            f"{self.model} drifts: {self.actual:.0%} right in its last {self.outcomes} outcomes, "
            f"{self.predicted:.0%} predicted; if it lasts, collect new records and train again"
        )


@dataclass(frozen=True)
class UpdateResult:
    """A predictor with the outcomes taken into account; `moved` is how much each model's mean changed."""

    predictor: Predictor
    drifts: tuple[Drift, ...]
    mean_changes: dict[str, float]


def apply_outcomes(predictor: Predictor, outcomes: Sequence[GradedQuery]) -> UpdateResult:
    """What `predictor` becomes by `outcomes`, the oldest first; models that it does not know are passed over."""
    embeddings = predictor.embeddings.copy()
    drifts: list[Drift] = []
    moved: dict[str, float] = {}
    latest = {m: [o for o in outcomes if o.scores.get(m) is not None][-MAX_OUTCOMES:] for m in predictor.models}
    texts = list(dict.fromkeys(o.query for mine in latest.values() for o in mine))
    if not texts or predictor.logits:  # in the published recipe an embedding is a direction: nothing to add to
        return UpdateResult(predictor, (), {})
    place = {text: i for i, text in enumerate(texts)}
    vectors = predictor.embed(texts)
    before = predictor.calibrate(predictor.score_raw(vectors))
    features = predictor.center + predictor.estimate_familiarity(vectors) * (predictor.compute_features(vectors) - predictor.center)
    for column, (model, mine) in enumerate(latest.items()):
        if not mine:
            continue
        rows = [place[o.query] for o in mine]
        truth = np.array([o.scores[model] for o in mine], np.float64)
        expected = before[rows, column].astype(np.float64)
        moves = fit_bayesian_regression(features[rows], truth - expected, MOVE_VARIANCE * np.eye(features.shape[1]))
        embeddings[:, column] += np.clip(moves, -MAX_MOVE, MAX_MOVE).astype(np.float32)
        moved[model] = float(predictor.center @ (embeddings[:, column] - predictor.embeddings[:, column]))
        if drift := _detect_drift(model, truth[-DRIFT_WINDOW:], expected[-DRIFT_WINDOW:]):
            drifts.append(drift)
    return UpdateResult(replace(predictor, embeddings=embeddings), tuple(drifts), moved)


def read_outcomes(path: Path) -> list[GradedQuery]:
    """The outcomes in a file, oldest first; none where there is no file. Raises ConfigError."""
    if not path.is_file():
        return []
    try:
        return [msgspec.json.decode(line, type=GradedQuery) for line in path.read_bytes().splitlines() if line.strip()]
    except (OSError, msgspec.DecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}; take it away to go back to what was trained") from e


def fit_bayesian_regression(features: NDArray[Any], targets: Doubles, covariance: Doubles) -> Doubles:
    """Bayesian linear regression: the posterior mean of weights (D) that are expected to be 0.

    Args:
        features: N x D.
        targets: N, right-or-wrong answers around their probability: the noise has the variance NOISE.
        covariance: D x D, of the weights, beforehand.

    Source: Bishop, Pattern Recognition and Machine Learning, section 3.3.
    """
    known = features.astype(np.float64)
    gain = covariance @ known.T
    out: Doubles = gain @ np.linalg.solve(known @ gain + NOISE_VARIANCE * np.eye(len(known)), targets)
    return out


def _detect_drift(model: str, truth: Doubles, expected: Doubles) -> Drift | None:
    error = float(np.sqrt((expected * (1 - expected)).sum()))
    if len(truth) < DRIFT_MIN_OUTCOMES or abs(float((truth - expected).sum())) <= DRIFT_STANDARD_ERRORS * error:
        return None
    return Drift(model, len(truth), float(expected.mean()), float(truth.mean()))
