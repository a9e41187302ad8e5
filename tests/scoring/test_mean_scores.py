"""Means of models that were not all asked the same questions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from routemoa.scoring.mean_scores import average_scores, fit_means

SCORE = st.floats(0.0, 1.0, width=32)


@given(arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=SCORE))
def test_of_a_complete_table_it_is_the_mean(scores: np.ndarray) -> None:
    assert average_scores(scores) == pytest.approx(scores.mean(0), abs=1e-5)
    assert not fit_means(scores).levels.any()


@given(
    arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=SCORE | st.just(np.nan)),
    st.sampled_from((0.0, 1.0)),
)
def test_whatever_is_missing_the_means_are_numbers(scores: np.ndarray, prior: float) -> None:
    fitted = fit_means(scores, prior)
    assert np.isfinite(fitted.means).all()
    assert np.isfinite(fitted.levels).all()
    if not prior:
        assert not fitted.means[np.isnan(scores).all(0)].any()


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_is_asked_the_hard_questions_does_not_look_worse(seed: int) -> None:
    lots = np.random.default_rng(seed)
    level = lots.choice([-0.45, 0.0, 0.45], (600, 1))
    scores = (lots.random((600, 3)) < np.clip(np.array([0.5, 0.55, 0.7]) + level, 0, 1)).astype(np.float32)
    lead = scores[:, 2].mean() - scores[:, 0].mean()
    scores[(scores[:, 0] == 1) & (scores[:, 1] == 1), 2] = np.nan  # asked only where the others are not both right
    plain, means = np.nanmean(scores, axis=0), average_scores(scores)
    assert means.argmax() == 2
    assert abs(means[2] - means[0] - lead) < 0.5 * abs(plain[2] - plain[0] - lead)


def test_questions_that_only_one_model_was_asked_count_like_the_others() -> None:
    scores = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, 1.0], [np.nan, 1.0]], np.float32)
    assert average_scores(scores) == pytest.approx([0.5, 1.0], abs=1e-6)
