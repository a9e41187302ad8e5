"""A member that changes is noticed; one that does not is left alone. The seeds are others than those of the tuning."""

from __future__ import annotations

from random import Random

import pytest

from routemoa.training.drift import WARM_UP, DriftDetector, MemberDrift, Residual, find_drifts, list_fallen


def series(seed: int, rates: list[tuple[int, float]], predicted: float | None = 0.8) -> list[Residual]:
    draw, out = Random(seed), list[Residual]()
    for count, rate in rates:
        out += [Residual(float(len(out) + i), float(draw.random() < rate), predicted) for i in range(count)]
    return out


def drifts(outcomes: list[Residual]) -> list[MemberDrift]:
    return find_drifts(("m", o) for o in outcomes)


@pytest.mark.parametrize("seed", range(10_000, 10_010))
def test_a_fall_is_noticed_within_500_outcomes_with_its_time_and_size(seed: int) -> None:
    (found,) = drifts(series(seed, [(5000, 0.8), (1000, 0.4)]))
    assert 5000 <= found.noticed < 5500
    assert found.noticed < 5200, "as it was tuned"
    assert abs(found.since - 5000) < 100
    assert found.before == pytest.approx(0.8, abs=0.02)
    assert found.after == pytest.approx(0.4, abs=0.06)
    assert found.outcomes == 6000 - found.since


@pytest.mark.parametrize("seed", range(10_000, 10_010))
def test_no_alarm_in_10000_outcomes_without_a_change(seed: int) -> None:
    assert drifts(series(seed, [(10_000, 0.8)])) == []


@pytest.mark.parametrize("predicted", [None, 0.3, 0.99])
def test_a_prediction_that_was_always_wrong_is_no_drift(predicted: float | None) -> None:
    assert drifts(series(20_000, [(10_000, 0.6)], predicted)) == []


def test_a_prediction_that_follows_the_question_makes_hard_questions_no_drift() -> None:
    draw = Random(20_001)
    easy = [Residual(float(i), float(draw.random() < 0.9), 0.9) for i in range(2000)]
    hard = [Residual(2000.0 + i, float(draw.random() < 0.4), 0.4) for i in range(2000)]
    assert drifts(easy + hard) == []
    assert len(drifts([Residual(o.at, o.score, None) for o in easy + hard])) == 1, "without one they are"


def test_a_recovery_is_noticed_too_and_each_change_is_said_once() -> None:
    fall, rise = drifts(series(20_002, [(2000, 0.8), (2000, 0.4), (2000, 0.8)]))
    assert fall.change == pytest.approx(-0.4, abs=0.06)
    assert rise.change == pytest.approx(0.4, abs=0.06)
    assert 4000 <= rise.noticed < 4500


def test_members_are_told_apart() -> None:
    good, bad = series(1, [(3000, 0.8)]), series(2, [(1500, 0.8), (1500, 0.3)])
    mixed = [pair for one, two in zip(good, bad, strict=True) for pair in (("good", one), ("bad", two))]
    assert [d.model for d in find_drifts(mixed)] == ["bad"]


def test_few_outcomes_raise_no_alarm() -> None:
    detector = DriftDetector("m")
    assert all(detector.add(Residual(float(i), float(i % 2), 0.0)) is None for i in range(WARM_UP))


@pytest.mark.parametrize("seed", range(30_000, 30_010))
def test_a_return_to_what_was_before_is_noticed_sooner_than_a_first_change(seed: int) -> None:
    fall, rise = drifts(series(seed, [(2000, 0.8), (120, 0.4), (1000, 0.8)]))
    assert rise.noticed - rise.since < 100
    assert list_fallen([fall]) == ("m",)
    assert list_fallen([fall, rise]) == ()


@pytest.mark.parametrize("seed", range(30_000, 30_010))
def test_a_member_that_stays_fallen_is_said_once(seed: int) -> None:
    assert len(drifts(series(seed, [(1000, 0.8), (3000, 0.4)]))) == 1
