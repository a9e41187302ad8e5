"""How much the best model is believed where it stands alone."""

from __future__ import annotations

from random import Random

import pytest

from routemoa.judging.answers.grouping import Groups
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.posterior import ErrorCorrelation, Vote, find_lone_leader, infer
from routemoa.training.judge import GradedPanel, fit_judge_model, fit_lone_leader

PRIORS = {"best": 0.9, "b": 0.6, "c": 0.6, "d": 0.6, "e": 0.6}


def panel(groups: tuple[int | None, ...], right: int | None) -> GradedPanel:
    grades = tuple(float(g == right and g is not None) for g in groups)
    models = tuple(PRIORS)[: len(groups)]
    return GradedPanel(PRIORS, models, Groups(groups, True, (None,) * len(groups)), grades, (), (False,) * len(groups))


def panels(share_right: float, count: int = 200) -> list[GradedPanel]:
    """Panels in which four weaker models agree against the best one, which is right in a share of them."""
    return [panel((0, 1, 1, 1, 1), 0 if i < share_right * count else 1) for i in range(count)]


@pytest.mark.parametrize(
    ("groups", "leader"),
    [
        ((0, 1, 1), 0),
        ((0, 0, 1), None),
        ((0, 1, 2), None),
        ((None, 1, 1), None),
        ((1, 0, 0), 1),
    ],
)
def test_a_lone_leader_stands_against_answers_that_agree(groups: tuple[int | None, ...], leader: int | None) -> None:
    votes = [Vote(m, p, g) for (m, p), g in zip(PRIORS.items(), groups, strict=False)]
    assert find_lone_leader(votes) == leader
    assert find_lone_leader([*votes, Vote("equal", 0.9, 1)]) is None
    assert find_lone_leader([]) is None


def test_what_is_added_moves_the_leader_alone() -> None:
    votes = [Vote(m, p, g) for (m, p), g in zip(PRIORS.items(), (0, 1, 1), strict=False)]
    before, after = (infer(votes, ErrorCorrelation(), lone_leader=x).probabilities for x in (0.0, 1.0))
    assert after[0] > before[0]
    assert after[1] < before[1]
    together = [Vote(m, p, 0) for m, p in PRIORS.items()]
    assert infer(together, ErrorCorrelation(), lone_leader=1.0) == infer(together, ErrorCorrelation())


def test_it_is_learned_where_the_leader_is_right_more_often_than_the_votes_say() -> None:
    often, seldom = (fit_lone_leader(panels(share), JudgeModel()) for share in (0.9, 0.1))
    assert often > 1.0
    assert seldom == 0.0
    assert fit_lone_leader(panels(0.9, 4), JudgeModel()) < often  # little was seen
    assert fit_lone_leader([panel((0, 0, 0), 0)] * 50, JudgeModel()) == 0.0
    assert fit_lone_leader([], JudgeModel()) == 0.0
    assert fit_judge_model(panels(0.9)).coefficients.lone_leader > 0.0


def test_panels_are_drawn_from_many_answers() -> None:
    draw = Random(1)
    models = {f"m{i}": 0.9 if i == 0 else 0.5 for i in range(12)}
    many = []
    for _ in range(100):
        groups = (0, *(draw.choice([1, 1, 1, 2]) for _ in range(11)))
        grades = (1.0, *[0.0] * 11)
        found = Groups(groups, True, (None,) * 12)
        many.append(GradedPanel(models, tuple(models), found, grades, (), (False,) * 12))
    assert fit_lone_leader(many, JudgeModel()) > 1.0
