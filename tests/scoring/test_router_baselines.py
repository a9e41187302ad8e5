"""Nearest neighbours and cluster lookup: they find which model is good where, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from routemoa.scoring.lexical import count_idf, embed_lexical
from routemoa.scoring.mean_scores import average_scores
from routemoa.scoring.router_baselines import (
    NEIGHBOR_COUNTS,
    RouterBaselines,
    first_choices,
    fit_router_baselines,
    fit_to_training_questions,
)
from routemoa.scoring.trained import TrainingQuestion
from routemoa.training.artifact import order_training_questions
from routemoa.training.fast_recipe import train_fast
from routemoa.training.table import build_table
from tests.scoring.test_trained import made


def learn(n: int = 240, *, shuffle: bool = False) -> tuple[RouterBaselines, np.ndarray]:
    data = build_table(made(n, shuffle=shuffle))
    idf = count_idf(data.texts)
    return fit_router_baselines(embed_lexical(data.texts, idf), data.scores), idf


def test_they_learn_which_model_is_good_at_what() -> None:
    fitted, idf = learn()
    test = build_table(made(120, seed=5))
    vectors = embed_lexical(test.texts, idf)
    rows = np.arange(len(test.texts))
    single = np.nanmean(test.scores, axis=0).max()
    for values in (fitted.average_neighbors(vectors), fitted.average_clusters(vectors)):
        assert values.shape == test.scores.shape
        assert ((values >= 0) & (values <= 1)).all()
        chosen = first_choices(values, test.scores)
        assert np.nan_to_num(test.scores)[rows, chosen].mean() > single + 0.2
    assert fitted.neighbors in NEIGHBOR_COUNTS
    assert len(fitted.centers) > 1


def test_they_gain_nothing_where_there_is_nothing_to_learn() -> None:
    fitted, idf = learn(400, shuffle=True)
    test = build_table(made(400, seed=5, shuffle=True))
    chosen = first_choices(fitted.average_neighbors(embed_lexical(test.texts, idf)), test.scores)
    right = np.nan_to_num(test.scores)[np.arange(400), chosen].mean()
    assert right == pytest.approx(np.nanmean(test.scores, axis=0).max(), abs=0.1)


def test_a_model_that_was_not_measured_is_not_chosen() -> None:
    scores = np.array([[np.nan, 0.2], [0.1, np.nan]])
    assert first_choices(np.array([[0.9, 0.1], [0.1, 0.9]]), scores).tolist() == [1, 0]


def test_neighbours_are_the_nearest() -> None:
    """Against a plain search: the mean over k neighbours, drawn towards the overall mean by three questions."""
    rng, n = np.random.default_rng(2), 30
    x = rng.normal(size=(n, 6)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    scores = rng.integers(0, 2, (n, 2)).astype(np.float32)
    scores[3, 1] = np.nan
    fitted = RouterBaselines(x, scores, 5, x[:1], scores[:1])
    query, means = x[:4] + 0.01, average_scores(scores)
    found = fitted.average_neighbors(query)
    for i, vector in enumerate(query):
        near = sorted(range(n), key=lambda j: -float(vector @ x[j]))[:5]
        for m in range(2):
            known = [scores[j, m] for j in near if not np.isnan(scores[j, m])]
            assert found[i, m] == pytest.approx((sum(known) + 3 * means[m]) / (len(known) + 3), abs=1e-5)


def test_a_folder_of_before_has_no_scores_to_learn_from() -> None:
    data = build_table(made(120))
    fitted = train_fast(data)
    questions = order_training_questions(data, fitted.predictor, fitted.residual)
    assert all(len(q.scores) == 3 for q in questions)
    assert fit_to_training_questions(fitted.predictor, questions) is not None
    assert fit_to_training_questions(fitted.predictor, [TrainingQuestion("1", "t", "q", 0.0)]) is None


def test_few_questions_suffice() -> None:
    fitted = fit_router_baselines(np.eye(2, dtype=np.float32), np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))
    assert fitted.average_neighbors(np.eye(2, dtype=np.float32)).shape == (2, 2)
