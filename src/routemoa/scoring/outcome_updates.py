"""Update a scorer from outcomes in use: they move the models' embeddings within bounds, and can be taken back.

    y - p(q) = f(q) . d + noise,   d ~ N(0, MOVE_VARIANCE)

y is how well a model did on query q, p(q) what was predicted, f(q) what the embedding is multiplied with in the score,
and d the move of the embedding. Only the last MAX_MODEL_OUTCOMES outcomes of a model count, each number of d stays
within MAX_MOVE, and the trained arrays are never written to: without the outcomes the scorer is what it was. A model
whose success leaves the predicted band is reported as drifting.
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

__all__ = [
    "NOISE_VARIANCE",
    "OUTCOMES_FILE",
    "Drift",
    "GradedQuery",
    "UpdateResult",
    "apply_outcomes",
    "fit_bayesian_regression",
    "read_outcomes",
]

OUTCOMES_FILE = "outcomes.jsonl"
MAX_MODEL_OUTCOMES = 400
"""The latest outcomes of a model that count."""
MAX_MOVE = 0.2
"""How far one number of an embedding may move: twenty points of probability."""
MOVE_VARIANCE = 0.01
"""Prior variance of such a move."""
NOISE_VARIANCE = 0.2
"""Variance of a right-or-wrong answer around its probability."""
DRIFT_WINDOW = 50
"""The latest outcomes of a model in which drift is looked for."""
DRIFT_MIN_OUTCOMES = 20
DRIFT_STANDARD_ERRORS = 3.0

Doubles = NDArray[np.float64]


class GradedQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """A query and how well models answered it: a line of the outcomes file."""

    query: str
    scores: Scores
    """In [0, 1]; None is unknown."""
    task: str | None = None
    id: str | None = None
    """Of its record; without one it counts each time that it comes."""

    @property
    def key(self) -> tuple[str | None, str, str] | None:
        """Tell it from others; None without an id."""
        return None if self.id is None else (self.task, self.id, self.query)


@dataclass(frozen=True)
class Drift:
    """A model whose success left the predicted band over its last outcomes."""

    model: str
    outcomes: int
    predicted: float
    """Mean predicted score of these outcomes, in [0, 1]."""
    actual: float
    """Their mean score, in [0, 1]."""

    def __str__(self) -> str:
        return (
            f"{self.model} drifts: {self.actual:.0%} right in its last {self.outcomes} outcomes, "
            f"{self.predicted:.0%} predicted; if it lasts, collect new records and train again"
        )


@dataclass(frozen=True)
class UpdateResult:
    """A predictor after outcomes have been applied."""

    predictor: Predictor
    drifts: tuple[Drift, ...]
    mean_changes: dict[str, float]
    """Model -> the change of its mean score, before calibration."""


def apply_outcomes(predictor: Predictor, outcomes: Sequence[GradedQuery]) -> UpdateResult:
    """Return `predictor` moved by `outcomes`, the oldest first; models that it does not know are skipped.

    An outcome that comes again counts once, with the scores that it has last.
    """
    outcomes = list({i if o.key is None else o.key: o for i, o in enumerate(outcomes)}.values())
    embeddings = predictor.embeddings.copy()
    drifts: list[Drift] = []
    mean_changes: dict[str, float] = {}
    latest = {m: [o for o in outcomes if o.scores.get(m) is not None][-MAX_MODEL_OUTCOMES:] for m in predictor.models}
    texts = list(dict.fromkeys(o.query for graded in latest.values() for o in graded))
    if not texts or predictor.logits:  # in the published recipe an embedding is a direction: it cannot be moved
        return UpdateResult(predictor, (), {})
    row_of = {text: i for i, text in enumerate(texts)}
    vectors = predictor.embed(texts)
    predicted = predictor.calibrate(predictor.score_raw(vectors))
    features = predictor.center + predictor.estimate_familiarity(vectors) * (
        predictor.compute_features(vectors) - predictor.center
    )
    for column, (model, graded) in enumerate(latest.items()):
        if not graded:
            continue
        rows = [row_of[o.query] for o in graded]
        actual = np.array([o.scores[model] for o in graded], np.float64)
        expected = predicted[rows, column].astype(np.float64)
        moves = fit_bayesian_regression(features[rows], actual - expected, MOVE_VARIANCE * np.eye(features.shape[1]))
        embeddings[:, column] += np.clip(moves, -MAX_MOVE, MAX_MOVE).astype(np.float32)
        mean_changes[model] = float(predictor.center @ (embeddings[:, column] - predictor.embeddings[:, column]))
        if drift := _detect_drift(model, actual[-DRIFT_WINDOW:], expected[-DRIFT_WINDOW:]):
            drifts.append(drift)
    return UpdateResult(replace(predictor, embeddings=embeddings), tuple(drifts), mean_changes)


def read_outcomes(path: Path) -> list[GradedQuery]:
    """Read the outcomes of a file, oldest first; none where there is no file. Raises ConfigError."""
    if not path.is_file():
        return []
    try:
        return [msgspec.json.decode(line, type=GradedQuery) for line in path.read_bytes().splitlines() if line.strip()]
    except (OSError, msgspec.DecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}; remove it to go back to what was trained") from e


def fit_bayesian_regression(features: NDArray[Any], targets: Doubles, covariance: Doubles) -> Doubles:
    """Return the posterior mean (D) of weights with prior mean 0, by Bayesian linear regression.

    Args:
        features: N x D.
        targets: N, right-or-wrong answers minus their probabilities, with noise of variance NOISE_VARIANCE.
        covariance: D x D, the weights' prior covariance.

    Source: Bishop, Pattern Recognition and Machine Learning, section 3.3.
    """
    x = features.astype(np.float64)
    gain = covariance @ x.T
    out: Doubles = gain @ np.linalg.solve(x @ gain + NOISE_VARIANCE * np.eye(len(x)), targets)
    return out


def _detect_drift(model: str, actual: Doubles, expected: Doubles) -> Drift | None:
    standard_error = float(np.sqrt((expected * (1 - expected)).sum()))
    gap = abs(float((actual - expected).sum()))
    if len(actual) < DRIFT_MIN_OUTCOMES or gap <= DRIFT_STANDARD_ERRORS * standard_error:
        return None
    return Drift(model, len(actual), float(expected.mean()), float(actual.mean()))
