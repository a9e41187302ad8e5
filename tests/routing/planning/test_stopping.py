"""Why the published loop stops, in the words of the trace. The adaptive policy's reasons are tested with the policy."""

from __future__ import annotations

from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.trace import Layer, Proposal
from routemoa.core.usage import Usage
from routemoa.routing.planning.stopping import published_stop


def as_text(reason: StopReason | None) -> str | None:
    return None if reason is None else str(reason)


def layer(**texts: str) -> Layer:
    return Layer(proposals=tuple(Proposal(m, t, Usage(), None, None) for m, t in texts.items()))


def test_published_stop_reasons() -> None:
    two = layer(a="The answer is 4.", b="The answer is 5.")

    def why(
        layers: list[Layer], scores: dict[str, float | None], upcoming: str = "ab", max_layers: int = 3
    ) -> str | None:
        return as_text(published_stop(layers, scores, list(upcoming), threshold=0.805, max_layers=max_layers))

    assert why([two], {"a": 0.8, "b": 0.5}) is None
    assert why([two], {"a": 0.81, "b": 0.5}) == "sure: a at 0.810 is above 0.805"
    assert why([two], {"a": 0.5, "b": 0.5, "c": 0.99}) is None  # c has not answered
    assert why([layer(a="4", b="The answer is 4")], {"a": 0.1, "b": 0.1}) == "agreed: a, b gave the same answer"
    assert why([two, two, two], {"a": 0.1}) == "last layer: 3 of 3"
    assert why([two], {"a": 0.1}, "") == "no model left to call"
    assert why([two, layer()], {"a": 0.1}) == "no new answer: every model of the layer failed"
    assert (why([layer(a="x")], {"a": 0.1}, "a") or "").startswith("no further evidence expected")
    assert why([layer(a="x")], {"a": 0.1}, "b") is None
    assert why([layer(a="x")], {"a": None}, "b") is None


def test_the_kind_of_a_reason_is_known_without_reading_its_text() -> None:
    reason = published_stop([layer(a="4", b="4")], {}, ["a", "b"], threshold=0.9, max_layers=3)
    assert reason == StopReason(StopKind.AGREED, "a, b gave the same answer")
    assert StopReason.parse(str(reason)) == reason
