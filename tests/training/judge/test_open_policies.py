"""Open policies: length is told from quality, shuffled labels say nothing, intervals hold the truth, prices count."""

from __future__ import annotations

import math
from random import Random

import pytest

from routemoa.judging.compared_pair import ComparedPair
from routemoa.judging.judge_model import PairwiseJudge
from routemoa.judging.pairwise import Verdict
from routemoa.training.judge.open_policies import (
    CALL_PRICE,
    MIN_LABELS,
    MIN_PAIRS,
    choose_evidence,
    measure_judge,
    measure_policies,
)

FLIP: dict[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}


def both(verdict: Verdict) -> tuple[Verdict, Verdict]:
    """The orders of a judge that says the same of the pair in both."""
    return verdict, FLIP[verdict]


def draw_pair(
    rng: Random, number: int, policy: str, *, quality: float, length: float, longer: float = 0.4, calls: float = 3.0
) -> ComparedPair:
    """A pair as the model of the module says: log-odds `quality` for the policy, `length` for each e-fold."""
    ratio = rng.gauss(longer, 0.4)
    wins = rng.random() < 1 / (1 + math.exp(-quality - length * ratio))
    verdict: Verdict = "second" if wins else "first"
    return ComparedPair(f"q{number}", policy, ratio, both(verdict), extra_calls=calls)


@pytest.mark.parametrize("seed", range(3))
def test_a_judge_that_always_prefers_the_longer_answer_shows_no_gain(seed: int) -> None:
    rng = Random(seed)
    pairs = []
    for i in range(400):
        for policy, longer in (("synthesize", 0.4), ("select", 0.1)):
            ratio = rng.gauss(longer, 0.4)
            pairs.append(ComparedPair(f"q{i}", policy, ratio, both("second" if ratio > 0 else "first"), extra_calls=3))
    synthesize, select = measure_policies(pairs)
    assert synthesize.raw.low > 0.5  # what a count of wins would have said
    for figures in (synthesize, select):
        assert abs(figures.gain.value) < 0.25
        assert figures.net.low < 0
    assert measure_judge(pairs, "judge").length > 3
    evidence = choose_evidence([synthesize, select], "judge", ["a", "b"])
    assert evidence is not None
    assert evidence.policy == "alone"


def test_shuffled_labels_are_no_evidence() -> None:
    """Of 20 runs at most as many show a gain as a 95 % interval lets pass."""
    shown = 0
    for seed in range(20):
        rng = Random(seed)
        counts: dict[Verdict, int] = {"first": 70, "second": 70, "tie": 60}
        verdicts = [v for v, count in counts.items() for _ in range(count)]
        rng.shuffle(verdicts)
        pairs = [ComparedPair(f"q{i}", "select", rng.gauss(0.2, 0.4), label=v) for i, v in enumerate(verdicts)]
        evidence = choose_evidence(measure_policies(pairs, seed=seed), "labels", ["a"])
        assert evidence is not None
        shown += evidence.policy != "alone"
    assert shown <= 2


def test_intervals_hold_the_truth() -> None:
    held, lengths = 0, 0.0
    for seed in range(20):
        rng = Random(1000 + seed)
        pairs = [draw_pair(rng, i, "synthesize", quality=0.4, length=1.0) for i in range(200)]
        gain = measure_policies(pairs, seed=seed)[0].gain
        held += gain.low <= math.tanh(0.2) <= gain.high
        lengths += measure_judge(pairs, "judge").length / 20
    assert held >= 17
    assert lengths == pytest.approx(1.0, abs=0.15)


def test_a_policy_must_gain_more_than_its_calls_are_worth() -> None:
    rng = Random(5)
    pairs = [draw_pair(rng, i, "synthesize", quality=1.0, length=0.0, calls=3) for i in range(300)]
    cheap = measure_policies(pairs)
    assert cheap[0].price == pytest.approx(3 * CALL_PRICE)
    assert cheap[0].net.value == pytest.approx(cheap[0].gain.value - 3 * CALL_PRICE, abs=1e-3)
    found = choose_evidence(cheap, "judge", ["a"])
    assert found is not None
    assert (found.policy, found.measured, found.questions) == ("synthesize", "", 300)

    dear = [ComparedPair(p.question, p.policy, p.log_length, p.orders, extra_calls=3, extra_cost=0.2) for p in pairs]
    priced = measure_policies(dear, dollars_per_point=0.002)  # 100 points for each question
    assert priced[0].priced_by == "dollars"
    assert priced[0].price == pytest.approx(1.0)
    found = choose_evidence(priced, "judge", ["a"])
    assert found is not None
    assert (found.policy, found.measured) == ("alone", "synthesize")
    assert found.high < 0
    unknown = [*dear[1:], pairs[0]]  # one cost is unknown: calls are counted instead
    assert measure_policies(unknown, dollars_per_point=0.002)[0].priced_by == "calls"


def test_few_pairs_are_no_evidence() -> None:
    pairs = [ComparedPair(f"q{i}", "select", 0.0, both("second")) for i in range(MIN_PAIRS - 1)]
    assert choose_evidence(measure_policies(pairs), "judge", ["a"]) is None
    assert measure_policies(pairs)[0].gain.low < 0.95  # always won, and yet an interval
    assert choose_evidence([], "judge", ["a"]) is None
    assert measure_policies([ComparedPair("q", "select", 0.0)]) == []
    more = [*pairs, ComparedPair("last", "select", 0.0, both("second"))]
    found = choose_evidence(measure_policies(more), "judge", ["a"])
    assert found is not None
    assert found.policy == "select"


def test_a_judge_is_measured_where_its_orders_agree_and_a_label_tells() -> None:
    rng = Random(2)
    pairs = []
    for i in range(3000):
        label: Verdict = rng.choice(["first", "second"])
        if i % 3 == 0:  # its orders differ: the first place wins
            pairs.append(ComparedPair(f"q{i}", "", 0.0, ("first", "first"), label))
            continue
        verdict = label if rng.random() < 0.86 else FLIP[label]
        pairs.append(ComparedPair(f"q{i}", "", rng.gauss(0, 0.5), both(verdict), label))
    judge = measure_judge([*pairs, ComparedPair("unread", "", 0.0, (None, "first"), "first")], "strong")
    assert judge.model == "strong"
    assert judge.pairs == 3000
    assert judge.consistency == pytest.approx(2 / 3, abs=1e-4)
    assert judge.accuracy is not None
    assert judge.accuracy_low is not None
    assert judge.accuracy_high is not None
    assert judge.accuracy_low < 0.86 < judge.accuracy_high
    assert abs(judge.length) < 0.5  # length had no part in it
    assert measure_policies(pairs) == []


def test_what_cannot_be_told_stays_as_it_was_for_the_same_judge_only() -> None:
    before = PairwiseJudge(0.8, 0.7, 2.0, "strong", 0.7, 0.9, 0.6, 500)
    few = [ComparedPair(f"q{i}", "select", 0.0, both("first"), "first") for i in range(MIN_LABELS - 1)]
    kept = measure_judge(few, "strong", before)
    assert (kept.accuracy, kept.length, kept.difficulty_sd) == (0.8, 0.7, 2.0)
    assert (kept.consistency, kept.pairs) == (1.0, MIN_LABELS - 1)
    other = measure_judge(few, "weak", before)
    assert (other.accuracy, other.length, other.difficulty_sd) == (None, 0.0, 2.0)
    assert before.of_model("weak") == PairwiseJudge(difficulty_sd=2.0)
    assert before.of_model("strong") is before
    assert PairwiseJudge(0.8).of_model("any").accuracy == 0.8


def test_a_label_goes_before_the_judge_and_what_is_settled_before_both() -> None:
    pair = ComparedPair("q", "select", 0.0, both("first"), "second")
    assert (pair.judged, pair.result) == ("first", "second")
    assert ComparedPair("q", "select", 0.0, both("first"), "second", "tie").result == "tie"
    assert ComparedPair("q", "select", 0.0, ("first", "first")).result == "tie"


def test_a_few_labels_are_not_outnumbered_by_the_ties_that_need_none() -> None:
    """Half of the answers are equal; of the others one in four is labelled."""
    equal = [ComparedPair(f"e{i}", "select", 0.0, settled="tie") for i in range(200)]
    differ = [
        ComparedPair(f"d{i}", "select", 0.1, label=("second" if i % 16 else "first") if i % 4 == 0 else None)
        for i in range(200)
    ]
    some = measure_policies([*equal, *differ])[0]
    assert some.weight == 100
    assert some.raw.value == pytest.approx(0.5 * (37 - 13) / 50, abs=0.01)
    assert measure_policies([*equal, *(ComparedPair(p.question, "select", 0.1) for p in differ)]) == []
    assert measure_policies(equal)[0].weight == 200
