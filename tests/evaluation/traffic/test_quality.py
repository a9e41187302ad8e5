"""What feedback says, and what it cannot say: gains with unknown scores, weeks, kinds of questions."""

from __future__ import annotations

import random

import pytest

from routemoa.evaluation.calibration import calibrate_pairs
from routemoa.evaluation.traffic.gain import measure_gains
from routemoa.evaluation.traffic.judged_answer import JudgedAnswer
from routemoa.evaluation.traffic.members import (
    WEEK,
    MemberChange,
    MemberRate,
    compare_weeks,
    find_shared_fall,
    list_weekly_rates,
)
from routemoa.evaluation.traffic.quality import measure_quality
from routemoa.evaluation.traffic.question_kinds import find_kinds

NOW = 100 * WEEK


def judged(given: float | None, own: float | None, at: float = NOW - 1, *, called: bool = True, prior: float = 0.6,
           question: str = "q", cost: float | None = 0.003) -> JudgedAnswer:  # fmt: skip
    """An answer of the mixture beside the member "a"."""
    own_scores = {"a": own}
    return JudgedAnswer(
        "id", at, question, True, "a", given, {"a": prior}, {"a": prior}, own_scores, own_scores, False,
        ("a",) if called else (), {"a": 0.001}, {"a": 1.0}, cost, 3.0,
    )  # fmt: skip


def test_a_gain_that_both_scores_show() -> None:
    rows = [judged(1.0, 0.0)] * 20 + [judged(1.0, 1.0)] * 60 + [judged(0.0, 0.0)] * 20
    (gain,) = measure_gains(rows, ["a"])
    assert (gain.verdict, gain.why, gain.known) == ("adds", "interval", 100)
    assert gain.gain is not None
    assert gain.gain.mean == pytest.approx(0.2)
    assert 0.1 < gain.gain.low < 0.2 < gain.gain.high < 0.3
    assert gain.extra_cost == pytest.approx(0.002)
    assert gain.extra_seconds == pytest.approx(2.0)


def test_thumbs_on_agreeing_answers_show_no_gain_and_cannot() -> None:
    """A thumb says nothing of a member that disagrees: on the others the difference is always 0."""
    rows = [judged(1.0, 1.0)] * 70 + [judged(1.0, None)] * 25 + [judged(0.0, None, called=False)] * 5
    (gain,) = measure_gains(rows, ["a"])
    assert gain.gain is not None
    assert gain.gain.mean == 0.0
    assert (gain.verdict, gain.why) == ("unknown", "not judged")
    assert (gain.not_judged, gain.not_called) == (25, 5)
    assert gain.low is not None
    assert gain.high is not None
    assert gain.low < 0.0 < 0.25 < gain.high


def test_few_unknown_answers_do_not_hide_a_large_loss() -> None:
    rows = [judged(0.0, 1.0)] * 50 + [judged(1.0, 1.0)] * 45 + [judged(1.0, None)] * 5
    assert [(g.verdict, g.why) for g in measure_gains(rows, ["a"])] == [("loses", "bounds")]


def test_nothing_is_said_of_few_answers_or_none() -> None:
    assert measure_gains([judged(1.0, 0.0)] * 29, ["a"])[0].verdict == "unknown"
    (gain,) = measure_gains([judged(None, 1.0)] * 50, ["a"])
    assert (gain.verdict, gain.answers, gain.gain, gain.low, gain.mixture) == ("unknown", 0, None, None, None)
    assert measure_gains([judged(1.0, 0.0, cost=None)] * 50, ["a"])[0].extra_cost is None


def test_a_member_that_fell_is_worse_and_one_with_harder_questions_is_not() -> None:
    def weeks(recent: float, before: float, prior_now: float) -> str:
        rows = [judged(None, float(i % 10 < 10 * before), NOW - 2 * WEEK) for i in range(100)]
        rows += [judged(None, float(i % 10 < 10 * recent), NOW - 1, prior=prior_now) for i in range(60)]
        return compare_weeks(rows, ["a"], NOW)[0].verdict

    assert weeks(0.2, 0.7, 0.6) == "worse"
    assert weeks(0.9, 0.5, 0.6) == "better"
    assert weeks(0.2, 0.7, 0.1) == "no change seen"
    few = [judged(None, 1.0, NOW - 2 * WEEK)] * 50 + [judged(None, 0.0)] * 9
    assert compare_weeks(few, ["a", "b"], NOW)[0].verdict == "unknown"


@pytest.mark.parametrize(
    ("fell", "shared"),
    [
        ((-0.27, -0.25, -0.25, -0.18), True),
        ((-0.40, -0.02, -0.03, -0.01), False),
        ((-0.27, -0.02, -0.03, -0.01), False),
        ((-0.30, -0.30, 0.02), False),
        ((-0.30,), False),
    ],
)
def test_harder_questions_are_told_from_one_member_that_fell(fell: tuple[float, ...], shared: bool) -> None:
    rate = MemberRate("m", 60, 0.5, 0.4, 0.6)
    changes = [
        MemberChange("m", rate, rate, c, c - 0.2, c + 0.2, "worse" if c < -0.2 else "no change seen") for c in fell
    ]
    found = find_shared_fall(changes)
    assert (found is not None) is shared
    assert found is None or min(fell) < found < max(fell)
    unknown = [MemberChange("m", rate, rate, None, None, None, "unknown")]
    assert (find_shared_fall(changes + unknown) is not None) is shared


def test_equal_members_are_seldom_said_to_change() -> None:
    rng, wrong = random.Random(1), 0
    for _ in range(200):
        rows = [judged(None, float(rng.random() < 0.9), NOW - 2 * WEEK) for _ in range(40)]
        rows += [judged(None, float(rng.random() < 0.9)) for _ in range(12)]
        wrong += compare_weeks(rows, ["a"], NOW)[0].verdict in ("worse", "better")
    assert wrong <= 16, "5 % are allowed, with some luck"


def test_weeks_end_now_and_stand_in_order() -> None:
    rows = [judged(None, 1.0, NOW - 1), judged(None, 0.0, NOW - WEEK - 1), judged(None, 1.0, NOW - 5 * WEEK - 1)]
    found = list_weekly_rates(rows, ["a"], NOW)
    assert [start for start, _ in found] == [NOW - 6 * WEEK, NOW - 2 * WEEK, NOW - WEEK]
    assert [rates[0].mean for _, rates in found] == [1.0, 0.0, 1.0]


def test_kinds_of_questions_are_told_apart_by_their_words() -> None:
    sums = [judged(1.0, 1.0, question=f"Please add the numbers {i} and {i + 1}") for i in range(60)]
    poems = [judged(1.0, 0.0, question=f"Write a poem on spring number {i}") for i in range(40)]
    kinds = find_kinds([*sums, *poems], ["a"])
    assert {rate.mean for kind in kinds for rate in kind.members} == {0.0, 1.0}
    assert sum(kind.questions for kind in kinds) == 100
    assert any("add" in kind.words for kind in kinds)
    assert any("poem" in kind.words for kind in kinds)
    assert [kind.words for kind in find_kinds([judged(1.0, 1.0, question="")] * 80, ["a"])] == [()]


def test_all_figures_hold_without_any_answer() -> None:
    empty = measure_quality([], ["a", "b"], "b", NOW)
    assert [gain.member for gain in empty.gains] == ["b", "a"], "the best single model first"
    assert (empty.prior, empty.posterior, empty.kinds, empty.weeks) == (None, None, [], [])
    assert calibrate_pairs([]) is None
    found = calibrate_pairs([(1.0, 1.0), (0.0, 0.0), (0.55, 1.0), (0.55, 0.0)])
    assert found is not None
    assert [b.n for b in found.bins] == [1, 2, 1]
    assert found.ece == pytest.approx(0.025)
