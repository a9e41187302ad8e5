"""The published numbers, worked by hand, and the laws they obey."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.trace import Assessment, Layer, Proposal
from routemoa.core.types import Token
from routemoa.core.usage import Usage
from routemoa.judging.published_fusion import cross_score, fuse_scores, map_prior, mean_token_probability, weighted_mean

probability = st.floats(0, 1)
maybe = st.none() | probability


def assessment(judge: str, subject: str, value: float | None) -> Assessment:
    return Assessment(judge, subject, "self" if judge == subject else "cross", value)


def layer(models: str, *assessments: Assessment) -> Layer:
    return Layer(proposals=tuple(Proposal(m, "x", Usage(), None, None) for m in models), assessments=assessments)


def test_stretch_by_hand() -> None:
    got = map_prior({"a": 0.25, "b": 0.5, "c": 0.75, "d": 0.0, "e": 1.0, "f": None})
    assert got == pytest.approx({"a": 0.1, "b": 1 - 0.8 * 0.5**1.5, "c": 0.9, "d": 0.0, "e": 1.0, "f": None})


@given(probability, probability)
def test_stretch_keeps_order_and_bounds(x: float, y: float) -> None:
    got = map_prior({"x": x, "y": y})
    assert got["x"] is not None
    assert got["y"] is not None
    assert 0 <= got["x"] <= 1
    assert (x <= y) <= (got["x"] <= got["y"])


def test_confidence_is_the_geometric_mean_probability_of_the_answers_tokens() -> None:
    tokens = [Token("ab", math.log(0.5)), Token("cd", math.log(0.125)), Token("<", math.log(1e-9))]
    assert mean_token_probability(tokens, 4) == pytest.approx(0.25)
    assert mean_token_probability(tokens[:2]) == pytest.approx(0.25)
    assert mean_token_probability([]) is None
    assert mean_token_probability(None) is None


def test_absent_evidence_is_left_out_not_replaced() -> None:
    assert weighted_mean([(2, 0.8), (1, 0.5), (1, None)]) == pytest.approx((2 * 0.8 + 0.5) / 3)
    assert weighted_mean([(2, None), (1, 0.0)]) == 0.0
    assert weighted_mean([(1, None)]) is None


def test_the_surest_judge_is_believed_and_never_about_itself() -> None:
    given_scores = [
        assessment("a", "a", 0.9),
        assessment("b", "b", 0.4),
        assessment("b", "a", 0.1),
        assessment("a", "b", 0.7),
        assessment("c", "b", 0.3),
    ]
    assert cross_score("b", given_scores) == 0.7  # a is surer than b and c
    assert cross_score("a", given_scores) == 0.1  # a is the surest, but it is about itself
    without_self_scores = [assessment("c", "b", 0.3), assessment("d", "b", 0.5)]
    assert cross_score("b", without_self_scores) == pytest.approx(0.4)
    assert cross_score("b", [assessment("a", "a", 0.9), assessment("a", "b", None), assessment("c", "b", 0.2)]) == 0.2
    assert cross_score("z", given_scores) is None


def test_published_small_fusion() -> None:
    prior = {"a": 0.8, "b": 0.6, "c": 0.5}
    first = layer("ab", assessment("a", "a", 0.5), assessment("b", "b", None))
    one = fuse_scores(prior, dict(prior), [first], "published-small")
    assert one == pytest.approx({"a": (2 * 0.8 + 0.5) / 3, "b": 0.6, "c": 0.5})
    second = layer(
        "ac", assessment("a", "a", 0.9), assessment("a", "b", 0.2), assessment("c", "c", 0.1), assessment("c", "a", 0.4)
    )
    two = fuse_scores(prior, one, [first, second], "published-small")
    assert two["a"] == pytest.approx((2 * 0.8 + 0.9 + 0.4) / 4)
    assert two["b"] == pytest.approx((2 * 0.6 + 0.2) / 3)  # left, its self-score was unreadable
    assert two["c"] == pytest.approx((2 * 0.5 + 0.1) / 3)  # joined
    assert fuse_scores(prior, two, [first, second, layer("abc")], "published-small") == two  # answers only


def test_published_large_fusion() -> None:
    prior = {"both": 0.8, "joined": 0.6, "left": 0.5, "idle": 0.4}
    first = Layer(
        proposals=layer("").proposals + tuple(Proposal(m, "x", Usage(), None, None) for m in ("both", "left")),
        assessments=(assessment("both", "both", 0.5), assessment("left", "left", 0.3)),
    )
    one = fuse_scores(prior, dict(prior), [first], "published-large")
    assert one == pytest.approx({"both": 0.9 * 0.8 + 0.05, "left": 0.9 * 0.5 + 0.03, "joined": 0.6, "idle": 0.4})
    second = Layer(
        proposals=tuple(Proposal(m, "x", Usage(), None, None) for m in ("both", "joined")),
        assessments=(
            assessment("both", "both", 0.9),
            assessment("both", "left", 0.2),
            assessment("joined", "joined", 0.7),
            assessment("joined", "both", 0.6),
        ),
    )
    two = fuse_scores(prior, one, [first, second], "published-large")
    assert two["both"] == pytest.approx(0.25 * 0.8 + 0.15 * 0.5 + 0.15 * 0.9 + 0.45 * 0.6)
    assert two["joined"] == pytest.approx(0.9 * 0.6 + 0.1 * 0.7)
    assert two["left"] == pytest.approx(0.7 * 0.5 + 0.1 * 0.3 + 0.2 * 0.2)
    assert two["idle"] == 0.4


@given(
    st.dictionaries(st.sampled_from("abc"), maybe, min_size=1),
    st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), maybe)), min_size=1, max_size=3),
    st.sampled_from(["published-small", "published-large"]),
)
def test_scores_stay_in_bounds(
    prior: dict[str, float | None], scores_of_layers: list[list[tuple[str, str, float | None]]], fusion: str
) -> None:
    layers = [layer("".join({j for j, _, _ in h}), *(assessment(*a) for a in h)) for h in scores_of_layers]
    scores = dict(prior)
    for i in range(len(layers)):
        scores = fuse_scores(prior, scores, layers[: i + 1], fusion)
        assert scores.keys() == prior.keys()
        assert all(s is None or 0 <= s <= 1 for s in scores.values())
