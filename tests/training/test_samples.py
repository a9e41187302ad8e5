"""Further samples of a model are drawn alike: what is learned of one is learned of all."""

from __future__ import annotations

import numpy as np
import pytest

from routemoa.datasets.records import Record
from routemoa.training.fast_recipe import train_fast
from routemoa.training.table import average_samples, build_table

NAMES = ("small", "small#2", "small#3", "large")


def test_samples_have_their_mean_and_other_models_keep_their_scores() -> None:
    scores = np.array([[1.0, 1.0, 0.0, 0.2], [0.0, np.nan, 1.0, np.nan]], np.float32)
    found = average_samples(NAMES, scores)
    assert found == pytest.approx(np.array([[1.0, 0.5, 0.5, 0.2], [0.0, 1.0, 1.0, np.nan]]), nan_ok=True)


def test_a_scorer_predicts_the_same_of_a_models_further_samples() -> None:
    lots = np.random.default_rng(0)
    records = [
        Record(
            id=str(i),
            task="sums",
            query=f"What is {lots.integers(99)} plus {lots.integers(99)}?",
            scores={m: float(lots.random() < rate) for m, rate in zip(NAMES, (0.6, 0.5, 0.5, 0.8), strict=True)},
        )
        for i in range(80)
    ]
    predictor = train_fast(build_table(records)).predictor
    predicted = predictor.predict_vectors(predictor.embed(["What is 7 plus 8?", "Why is the sky blue?"]))
    assert predicted[:, 1] == pytest.approx(predicted[:, 2], abs=1e-6)
    assert np.abs(predicted[:, 0] - predicted[:, 1]).max() > 1e-3
