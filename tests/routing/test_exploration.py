"""One further member is asked now and then, and the decision says so."""

from __future__ import annotations

from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.learning_table import LearningSettings
from routemoa.core.trace import RankedModel
from routemoa.core.types import ModelSpec
from routemoa.routing.decision import Decision
from routemoa.routing.exploration import Explorer, explore

FIRST = Decision(
    {},
    tuple(RankedModel(m, 0.5, None, None, "") for m in ("a", "b", "c")),
    models=("a",),
    selection_reason="one model alone",
    alone=True,
)


def asked(draw: float, lowered: frozenset[str] = frozenset(), unavailable: frozenset[str] = frozenset()) -> list[str]:
    return list(explore(FIRST, 0.1, draw, lowered, unavailable).models)


def test_a_share_of_the_queries_asks_one_more_and_says_so() -> None:
    assert asked(0.1) == ["a"]
    assert asked(0.01) == ["a", "b"]
    assert asked(0.09) == ["a", "c"]
    wide = explore(FIRST, 0.1, 0.0, (), ())
    assert not wide.alone
    assert wide.selection_reason.endswith("b too, to see how good it is now ([learning] explore)")


def test_a_member_that_was_lowered_is_asked_more_often_and_one_that_is_away_never() -> None:
    draws = [i / 1000 for i in range(100)]
    picked = [asked(d, lowered=frozenset({"c"}))[1] for d in draws]
    assert 80 <= picked.count("c") <= 85
    assert {asked(d, unavailable=frozenset({"b"}))[1] for d in draws} == {"c"}
    assert asked(0.0, unavailable=frozenset({"b", "c"})) == ["a"]


def test_a_vote_for_an_option_says_nothing_new_of_its_model() -> None:
    models = [ModelSpec(m, "local", vote=2 if m == "b" else 1) for m in ("a", "b", "c")]
    pool = Pool(tuple(models), learning=LearningSettings(explore=0.1))
    assert {Explorer(pool, lambda: draw / 1000).widen(FIRST, ()).models for draw in range(100)} == {("a", "c")}  # noqa: B023


def test_a_member_that_became_worse_has_a_share_of_its_own() -> None:
    def ask(draw: float, fallen: str) -> tuple[str, ...]:
        return explore(FIRST, 0.1, draw, (), (), fallen={fallen}).models

    assert {ask(0.1 + i / 1000, "c") for i in range(100)} == {("a", "c")}
    assert ask(0.2, "c") == ("a",)
    assert ask(0.15, "a") == ("a",), "it is asked already"
