"""Shifts of priors are small where outcomes are few, right where they are many, and never made up."""

from __future__ import annotations

from random import Random

import pytest

from routemoa.core.errors import ConfigError
from routemoa.core.learned.learned_priors import LearnedPriors, parse_learned_priors
from routemoa.core.types import Scores
from routemoa.scoring.learned import correct_priors, shift_prior
from routemoa.training.prior_shifts import MAX_MEMBER_SCORES, TaughtQuery, fit_priors


def teach(prior: Scores, rates: dict[str, float], count: int, seed: int = 3) -> list[TaughtQuery]:
    """Return outcomes in which each member is right at its rate, and a tenth of what is said is wrong."""
    draw = Random(seed)
    return [
        TaughtQuery(prior, {m: float((draw.random() < rate) != (draw.random() < 0.1)) for m, rate in rates.items()})
        for _ in range(count)
    ]


def corrected(queries: list[TaughtQuery], tasks: dict[str, float] | None = None) -> Scores:
    return correct_priors(fit_priors(queries), queries[0].prior, tasks or {})


def test_few_outcomes_move_a_prior_little_and_many_move_it_all_the_way() -> None:
    prior: Scores = {"a": 0.8, "b": 0.6}
    once = corrected(teach(prior, {"a": 0.0, "b": 0.6}, 1))
    assert 0.6 < (once["a"] or 0.0) < 0.8
    many = corrected(teach(prior, {"a": 0.4, "b": 0.6}, 400))
    assert many["a"] == pytest.approx(0.4, abs=0.08)
    assert many["b"] == pytest.approx(0.6, abs=0.08)


def test_a_scorer_that_is_right_teaches_no_difference_between_members() -> None:
    prior: Scores = {"a": 0.8, "b": 0.6, "c": 0.7}
    learned = fit_priors(teach(prior, {"a": 0.8, "b": 0.6, "c": 0.7}, 300, seed=5))
    assert len(set(learned.shift.values())) == 1
    assert not learned.tasks


def test_a_member_that_is_worse_on_one_task_is_lowered_there_alone() -> None:
    queries: list[TaughtQuery] = []
    for i, each in enumerate(teach({"a": 0.8, "b": 0.6}, {"a": 0.8, "b": 0.6}, 400)):
        odd = {"sums": 1.0} if i % 2 else {"verse": 1.0}
        scores = {**each.scores, "a": 0.0} if "verse" in odd and i % 20 else each.scores
        queries.append(TaughtQuery(each.prior, scores, odd))
    assert (corrected(queries, {"verse": 1.0})["a"] or 1.0) < 0.3
    assert (corrected(queries, {"sums": 1.0})["a"] or 0.0) > 0.7


@pytest.mark.parametrize("prior", [0.0, 0.01, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_extreme_priors_and_scores_give_a_finite_shift_towards_the_scores(prior: float, score: float) -> None:
    shift = fit_priors([TaughtQuery({"a": prior}, {"a": score})] * 200).shift["a"]
    assert abs(shift) <= 10
    assert abs(shift_prior(prior, shift) - score) <= max(abs(prior - score), 0.1) + 1.1e-4


def test_no_outcome_teaches_nothing() -> None:
    assert fit_priors([]) == LearnedPriors()
    assert fit_priors([TaughtQuery({"a": 0.5}, {"a": None})]) == LearnedPriors()


def test_only_the_latest_outcomes_of_a_member_count() -> None:
    latest = [TaughtQuery({"a": 0.8}, {"a": 0.0})] * MAX_MEMBER_SCORES
    assert fit_priors([TaughtQuery({"a": 0.8}, {"a": 1.0})] * 1000 + latest) == fit_priors(latest)


def test_a_member_without_a_prior_gets_one() -> None:
    learned = fit_priors([TaughtQuery({"a": 0.5, "b": None}, {"a": 0.0, "b": 1.0})] * 10)
    assert learned.prior["b"] > 0.8
    assert learned.shift["a"] <= 0
    assert "b" not in learned.shift


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[shift]\na = 99", "log-odds"),
        ("[shift]\na = nan", "log-odds"),
        ("[tasks.a]\nsums = 99", "log-odds"),
        ("[prior]\na = 2", "probability"),
        ("x = 1", "x"),
    ],
)
def test_a_learned_file_that_is_wrong_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_learned_priors(text, "l.toml")
