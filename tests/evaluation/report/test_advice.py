"""What to do after a run: which method, which pool, how many more questions; nothing that the figures do not say."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from routemoa.evaluation.outcomes import Outcome, Run
from routemoa.evaluation.report.advice import Advice
from tests.evaluation.report.test_figures import RUN, make_outcomes, report_of


def outcome(method: str, number: int, right: float, **more: object) -> Outcome:
    return Outcome(method, "t", str(number), right, calls=1, cost=1.0, **more)  # type: ignore[arg-type]


def advise(outcomes: list[Outcome], run: Run = RUN) -> Advice:
    return report_of(run, outcomes).advice


def compare(ours: list[float], theirs: list[float], our_cost: float = 1.0) -> Advice:
    outcomes = [replace(outcome("routemoa", i, right), cost=our_cost) for i, right in enumerate(ours)]
    outcomes += [outcome("best-single", i, right, choice="b") for i, right in enumerate(theirs)]
    return advise(outcomes)


def test_a_better_mixture_is_to_be_used_and_the_questions_are_enough() -> None:
    found = compare([1.0] * 90 + [0.0] * 10, [1.0] * 50 + [0.0] * 50, our_cost=1.5)
    assert (
        found.method
        == "Use `routemoa`: it is more accurate than `single:b`, by more than chance, at 1.50 times the dollars."
    )
    assert found.questions == "100 questions are enough: the difference is significant."


def test_a_worse_mixture_is_not() -> None:
    found = compare([1.0] * 50 + [0.0] * 50, [1.0] * 90 + [0.0] * 10)
    assert (
        found.method == "Use `single:b`: on these questions it is more accurate than `routemoa`, by more than chance."
    )


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (2.0, "Use `single:b` until more questions show a difference: `routemoa` takes 2.00 times the dollars"),
        (0.5, "Use `routemoa` until more questions show a difference: `single:b` takes 2.00 times the dollars"),
        (
            1.02,
            "Use `single:b` or `routemoa`: these questions show no difference, and both take about the same doll",
        ),
    ],
)
def test_without_a_difference_the_cheaper_method_is_to_be_used(cost: float, words: str) -> None:
    found = compare([1.0] * 12 + [0.0] * 88, [0.0] * 10 + [1.0] * 10 + [0.0] * 80, cost)
    assert found.method.startswith(words)


def test_more_questions_are_estimated_from_the_paired_differences() -> None:
    found = compare([1.0] * 12 + [0.0] * 88, [0.0] * 12 + [1.0] * 6 + [0.0] * 82)
    assert found.sample is not None
    assert found.sample.needed == 391
    assert found.questions == (
        "About 300 more questions would make a difference as large as this one (+6.0 points) significant, with a "
        "chance of 80 %; 100 were asked."
    )
    few = compare([1.0] * 3 + [0.0] * 37, [0.0] * 3 + [1.0] * 2 + [0.0] * 35)
    assert few.questions is not None
    assert (
        "cannot be estimated, because their results differ on 5 of 40 questions only; about 780 more" in few.questions
    )


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ([("moa", 0.5)], "Run routemoa, too"),
        ([("routemoa", 0.5)], "Run best-single, too"),
        ([("routemoa", None), ("best-single", None)], "Give the questions a reference"),
    ],
)
def test_what_a_run_lacks_is_to_be_done(of: list[tuple[str, float | None]], words: str) -> None:
    found = advise(make_outcomes(of))
    assert found.method.startswith(words)
    assert found.sentences[0] == found.method


def test_another_method_that_beats_ours_is_to_be_used() -> None:
    found = advise(make_outcomes([("routemoa", 0.5), ("best-single", 0.5), ("cascade", 0.9), ("oracle", 1.0)]))
    assert found.method.startswith("Use `cascade`: on these questions it is more accurate")


def routed(models: tuple[str, ...], layers: list[tuple[tuple[str, ...], ...]]) -> Advice:
    outcomes = [outcome("routemoa", i, 1.0, layers=called) for i, called in enumerate(layers)]
    return advise(outcomes + make_outcomes([("best-single", 1.0)], len(layers)), replace(RUN, models=models))


def test_the_pool_is_advised_on() -> None:
    two, three = (("x",), ("y",)), ("x", "y", "z")
    assert routed(three, [two] * 30).pool == "Leave z out of the pool: routemoa called it for no question."
    assert routed(three, [two] * 10).pool is None  # too few questions to say
    assert routed(("x", "y"), [two] * 30).pool is None
    assert "Add models that are better than x" in str(routed(("x", "y"), [(("x",),)] * 30).pool)
    assert "all are qwen" in str(routed(("qwen2-7b", "qwen3-8b"), [two] * 30).pool)
    room = advise(make_outcomes([("routemoa", 0.9), ("best-single", 0.9), ("oracle", 0.9)]))
    assert "even a perfect choice among these answers would gain only +0.0 points" in str(room.pool)


def test_a_dominating_model_is_to_be_used_and_warned_of() -> None:
    def right(method: str, i: int) -> float:
        return float(i < {"single:weak": 60, "routemoa": 180}.get(method, 180))

    methods = ("routemoa", "best-single", "single:strong", "single:weak")
    outcomes = [outcome(m, i, right(m, i), choice="strong") for m in methods for i in range(200)]
    report = report_of(RUN, outcomes)
    assert report.advice.method == "Use `single:strong`: it dominates this pool, and a mixture will not help."
    assert len(report.warnings) == 1
    assert "strong dominates this pool" in report.warnings[0]
    assert "On 200 questions" in report.warnings[0]
    spoilt = [replace(o, right=None) if o.method == "single:weak" else o for o in outcomes]
    assert report_of(RUN, spoilt).warnings == ()


def test_the_warnings_of_a_run_are_in_its_report() -> None:
    run = replace(RUN, warnings=("all 40 questions are known",))
    assert report_of(run, make_outcomes([("routemoa", 0.5)])).warnings == ("all 40 questions are known",)
