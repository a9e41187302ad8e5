"""A new judge model is better only where held-out outcomes show it, and never where its choice is worse."""

from __future__ import annotations

from random import Random

from routemoa.core.trace import Layer, Proposal, Trace
from routemoa.core.types import Query, Scores
from routemoa.core.usage import Usage
from routemoa.evaluation.shadow_judge import JudgeShadow, ShadowedPanel, compare_judges
from routemoa.judging.judge_model import JudgeModel
from routemoa.training.judge.outcome_fit import RecordedPanel, fit_on_outcomes
from routemoa.training.prior_shifts import NOISE


def record(number: int, draw: Random, *, says: float) -> RecordedPanel:
    """Return two answers that agree, of models that claim 70 %, and feedback that is right of them at a rate."""
    right = float(draw.random() < says)
    proposals = tuple(Proposal(m, "The answer is 4.", Usage(3, 4), 0.5, 0.001) for m in "ab")
    trace = Trace(
        Query.from_text(f"What is 2+2, {number}?"),
        "routemoa",
        {"a": 0.7, "b": 0.7},
        layers=(Layer(("a", "b"), proposals),),
        choice="a",
        calls=2,
    )
    return RecordedPanel(trace, {"a": right, "b": right})


def compare(recorded: list[RecordedPanel]) -> JudgeShadow:
    fit = fit_on_outcomes(recorded, JudgeModel(), JudgeModel(), (), verbalized=True)
    return compare_judges(
        [
            ShadowedPanel(r.scores, b.probabilities, a.probabilities, b.choice, a.choice)
            for r, b, a in zip(recorded, fit.before, fit.after, strict=True)
        ],
        NOISE,
    )


def test_a_judge_model_that_trusts_agreement_too_much_is_mended() -> None:
    draw = Random(1)
    found = compare([record(i, draw, says=0.4) for i in range(150)])
    assert found.better
    assert found.outcomes == 150


def test_a_choice_that_is_worse_or_unknown_is_never_taken() -> None:
    known: list[Scores] = [{"a": 1.0, "b": 0.0}, {"a": 1.0}]
    for scores in known:
        panel = ShadowedPanel(scores, {"a": 0.1, "b": 0.9}, {"a": 0.9, "b": 0.1}, "a", "b")
        found = compare_judges([panel] * 60, NOISE)
        assert found.loss is not None
        assert found.loss.low > 0
        assert not found.better, "the probabilities are truer, and the choice is lost"


def test_too_few_outcomes_take_nothing_over() -> None:
    assert not compare([record(i, Random(i), says=0.0) for i in range(10)]).better
