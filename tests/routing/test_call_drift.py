"""Members whose calls change are noticed; those whose calls do not are left alone."""

from __future__ import annotations

from random import Random

import pytest

from routemoa.core.failure_kind import FailureKind
from routemoa.core.models.pricing import Price, Rate
from routemoa.core.trace import Failure, Layer, Proposal, Trace
from routemoa.core.types import Query
from routemoa.core.usage import Usage
from routemoa.routing.call_drift import CallDrift, CallDriftDetector, MeasuredCall, list_calls

START = 3000


def watch(seed: int, count: int, *, slow: float = 1.0, refused: float = 0.02, ratio: float = 1.0) -> list[CallDrift]:
    """Return what is noticed in calls that change after START of them."""
    draw, detector, found = Random(seed), CallDriftDetector(), list[CallDrift]()
    for i in range(START + count):
        changed = i >= START
        pace = draw.lognormvariate(-4.0, 0.6) * (slow if changed else 1.0)
        is_refused = draw.random() < (refused if changed else 0.02)
        found += detector.add(MeasuredCall("m", float(i), is_refused, pace, ratio if changed else 1.0))
    return found


@pytest.mark.parametrize("seed", [101, 102, 103])
def test_no_alarm_without_a_change(seed: int) -> None:
    assert watch(seed, 7000) == []


@pytest.mark.parametrize(
    ("kind", "change", "within", "words"),
    [
        ("slower", {"slow": 2.0}, 300, "m is slower: "),
        ("faster", {"slow": 0.5}, 300, "m is faster: "),
        ("refusals", {"refused": 0.25}, 300, "m refuses or fails "),
        ("price", {"ratio": 1.3}, 20, "m is billed 1.30 times the pool's price, 1.00 before"),
    ],
)
def test_a_change_is_noticed_soon_with_its_size(kind: str, change: dict[str, float], within: int, words: str) -> None:
    found = watch(7, within, **change)
    assert [d.kind for d in found] == [kind]
    assert START <= found[0].noticed < START + within
    assert abs(found[0].since - START) < 60
    assert str(found[0]).startswith(words)


def test_after_a_change_what_is_new_becomes_usual() -> None:
    assert [d.kind for d in watch(11, 4000, slow=2.0)] == ["slower"]


def test_a_trace_tells_pace_price_and_refusals_and_no_call_that_we_gave_up() -> None:
    usage = Usage(1000, 150, reported_cost=0.003)
    layer = Layer(
        proposals=(Proposal("a", "4", usage, 2.0, 0.003), Proposal("b", "no", Usage(), None, None, refusal=True)),
        failures=(
            Failure("c", "HTTP 500", FailureKind.HTTP_ERROR, Usage(0, 0), 0.1, 0.0),
            Failure("d", "enough", FailureKind.CANCELLED, Usage(), 0.1, None),
        ),
    )
    trace = Trace(Query.from_text("2+2?"), "routemoa", layers=(layer,))
    price = Price(Rate(1.0), Rate(10.0))
    a, b, c = list_calls(trace, 5.0, {"a": price})
    assert (a.pace, a.refused) == (0.01, False)
    assert a.price_ratio == pytest.approx(0.003 / 0.0025)
    assert (b.refused, b.pace, b.price_ratio) == (True, None, None)
    assert (c.model, c.refused) == ("c", True)
