"""Which policy a file's fusion names, and that the published one is the published loop, step by step."""

from __future__ import annotations

import pytest

from routemoa.core.pool import Fusion, Mixture, Pool
from routemoa.core.types import Failure, Layer, ModelSpec, Proposal, Query, Scores, Trace, Usage, from_json, to_json
from routemoa.judging.evidence import Judging
from routemoa.judging.fusion import posterior, stretch
from routemoa.mixture.engine import RouteMoA
from routemoa.routing.adaptive import Grown
from routemoa.routing.decision import Ask
from routemoa.routing.latency import Expected
from routemoa.routing.published import Published, policy_of
from routemoa.routing.ranking import rank, select, stop_reason
from routemoa.testing import ScriptedClient
from tests.conftest import MakePool

LONG = "This takes more words than a short answer, so that {} is no plain statement of a result, and it goes on and on."
FUSIONS: tuple[Fusion, ...] = ("published-small", "published-large")


def test_the_fusion_names_the_policy() -> None:
    specs = [ModelSpec("a", "local")]
    for fusion in FUSIONS:
        assert isinstance(policy_of(specs, Mixture(fusion=fusion), Judging(), ()), Published)
    assert isinstance(policy_of(specs, Mixture(), Judging(), ["a"]), Grown)


def published(fusion: Fusion, priors: Scores) -> tuple[Pool, Trace]:
    """A trace of three layers: nobody is sure, and one model fails in the second."""
    specs = tuple(ModelSpec(n, "local", n, prior=p, output_price=1.0) for n, p in priors.items())
    pool = Pool(specs, Mixture(fusion=fusion))
    script = {
        n: LONG.format(n)
        + f'\n<assessment>{{"self": {0.1 + 0.02 * i}, "scores": {{"A": 0.2, "B": 0.{i + 1}, "C": 0.3}}}}</assessment>'
        for i, n in enumerate(priors)
    }
    return pool, RouteMoA(pool, ScriptedClient(script)).ask("why?").trace


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_published_policy_is_the_published_loop_on_a_recorded_trace(fusion: Fusion) -> None:
    """The loop written out from its functions, beside what the engine did and what the policy says of the trace."""
    priors: Scores = {"a": 0.6, "b": 0.58, "c": 0.62, "d": 0.61, "e": 0.59}
    pool, trace = published(fusion, priors)
    trace = from_json(to_json(trace), Trace)
    m = pool.mixture
    policy = policy_of(pool.models, m, Judging(), ())
    scores = prior = stretch(priors)
    ranking = rank(pool.models, scores)
    upcoming = select(ranking, m.most_models, m.width)
    opening = policy.opening(trace.prior, Expected())
    assert (opening.scores, opening.ranking, opening.call) == (prior, ranking, upcoming)
    assert opening.ask == Ask(judging=True, cross=False, quote=False)
    assert len(trace.layers) == 3
    for number, layer in enumerate(trace.layers, 1):
        assert layer.selected == upcoming
        scores = posterior(prior, scores, trace.layers[:number], fusion)
        ranking = rank(pool.models, scores)
        upcoming = select(ranking, m.most_models, m.width)
        reason = stop_reason(trace.layers[:number], scores, upcoming, threshold=m.threshold, limit=3)
        so_far = Trace(trace.query, "routemoa", trace.prior, trace.ranking, trace.layers[:number])
        decision = policy.judged(so_far, Expected())
        assert decision.scores == pytest.approx(scores)
        assert decision.scores == layer.scores
        assert decision.ranking == ranking
        assert [r.model for r in layer.ranking] == [r.model for r in ranking]  # it also knows what it measured
        assert decision.stop == reason
        if reason is None:
            assert decision.call == upcoming
            assert decision.ask == Ask(judging=number == 1, cross=number == 1, quote=True)
            assert decision.quoted is None  # all answers of the last layer
    assert decision.stop == trace.stop_reason == "last layer: 3 of 3"
    assert decision.write
    order = {r.model: i for i, r in enumerate(ranking)}
    assert [p.model for p in decision.final] == sorted(
        (p.model for p in trace.layers[2].proposals), key=order.__getitem__
    )
    assert decision.choice == decision.final[0].model == trace.choice


def test_a_failed_model_is_not_called_again(make_pool: MakePool) -> None:
    pool, trace = published("published-small", {"a": 0.6, "b": 0.6, "c": 0.6, "d": 0.6})
    first = trace.layers[0]
    failed = Layer(first.selected, first.proposals[:1], failures=_down("b"), assessments=first.assessments[:1])
    decision = policy_of(pool.models, pool.mixture, Judging(), ()).judged(
        Trace(trace.query, "routemoa", trace.prior, trace.ranking, (failed,)), Expected()
    )
    assert decision.stop is None
    assert "b" not in decision.call
    assert decision.ranking[-1].model == "b"


def test_when_the_last_layer_gave_nothing_the_answers_before_it_stand() -> None:
    specs = tuple(ModelSpec(n, "local", n) for n in "ab")
    said = Layer(("a", "b"), tuple(Proposal(n, LONG.format(n), Usage(), None, None) for n in "ab"))
    nothing = Layer(("a", "b"), (), _down("a") + _down("b"))
    trace = Trace(Query.of("?"), "routemoa", {"a": 0.4, "b": 0.5}, (), (said, nothing))
    decision = policy_of(specs, Mixture(fusion="published-small"), Judging(), ()).judged(trace, Expected())
    assert decision.stop == "no model left to call"
    assert {p.model for p in decision.final} == {"a", "b"}


def test_measured_seconds_break_ties() -> None:
    specs = tuple(ModelSpec(n, "local", n, latency=1.0) for n in "ab")
    policy = policy_of(specs, Mixture(fusion="published-small", top_k=1), Judging(), ())
    assert policy.opening({"a": 0.5, "b": 0.5}, Expected()).call == ("a",)
    assert policy.opening({"a": 0.5, "b": 0.5}, Expected(seconds={"a": 2.0})).call == ("b",)


def _down(model: str) -> tuple[Failure, ...]:
    return (Failure(model, "down", "Refused", Usage(0, 0, 0, 0), 1.0, 0.0),)
