"""The fusion of a file names the policy, and the published one is the published loop, step by step."""

from __future__ import annotations

import pytest

from routemoa.core.failure_kind import FailureKind
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Fusion, Mixture
from routemoa.core.trace import Failure, Layer, Proposal, Trace
from routemoa.core.types import ModelSpec, Query, Scores, from_json, to_json
from routemoa.core.usage import Usage
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.published_fusion import fuse_scores, map_prior
from routemoa.mixture.engine import RouteMoA
from routemoa.routing.decision import LayerOptions
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.ranking import rank_models, select_models
from routemoa.routing.planning.stopping import published_stop
from routemoa.routing.policies.adaptive import AdaptivePolicy
from routemoa.routing.policies.published import PublishedPolicy
from routemoa.routing.policy import build_policy
from routemoa.testing import ScriptedClient
from tests.conftest import MakePool

LONG = "This takes more words than a short answer, so that {} is no plain statement of a result, and it goes on and on."
FUSIONS: tuple[Fusion, ...] = ("published-small", "published-large")


def test_the_fusion_names_the_policy() -> None:
    specs = [ModelSpec("a", "local")]
    for fusion in FUSIONS:
        assert isinstance(build_policy(specs, Mixture(fusion=fusion), JudgeModel(), ()), PublishedPolicy)
    assert isinstance(build_policy(specs, Mixture(), JudgeModel(), ["a"]), AdaptivePolicy)


def run_published(fusion: Fusion, priors: Scores) -> tuple[Pool, Trace]:
    """Return a pool and its trace of three layers, in which no answer is sure."""
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
    pool, trace = run_published(fusion, priors)
    trace = from_json(to_json(trace), Trace)
    m = pool.mixture
    policy = build_policy(pool.models, m, JudgeModel(), ())
    scores = prior = map_prior(priors)
    ranking = rank_models(pool.models, scores)
    upcoming = select_models(ranking, m.max_layer_models, m.selection_margin)
    opening = policy.initial(trace.prior, CallEstimates())
    assert (opening.scores, opening.ranking, opening.models) == (prior, ranking, upcoming)
    assert opening.options == LayerOptions(self_assessment=True, cross_assessment=False, quote_answers=False)
    assert len(trace.layers) == 3
    for number, layer in enumerate(trace.layers, 1):
        assert layer.selected == upcoming
        scores = fuse_scores(prior, scores, trace.layers[:number], fusion)
        ranking = rank_models(pool.models, scores)
        upcoming = select_models(ranking, m.max_layer_models, m.selection_margin)
        reason = published_stop(trace.layers[:number], scores, upcoming, threshold=m.confidence_threshold, max_layers=3)
        so_far = Trace(trace.query, "routemoa", trace.prior, trace.ranking, trace.layers[:number])
        decision = policy.update(so_far, CallEstimates())
        assert decision.scores == pytest.approx(scores)
        assert decision.scores == layer.scores
        assert decision.ranking == ranking
        assert [r.model for r in layer.ranking] == [r.model for r in ranking]  # it also knows what it measured
        assert decision.stop == reason
        if reason is None:
            assert decision.models == upcoming
            assert decision.options == LayerOptions(
                self_assessment=number == 1, cross_assessment=number == 1, quote_answers=True
            )
            assert decision.references is None  # all answers of the last layer
    assert str(decision.stop) == trace.stop_reason == "last layer: 3 of 3"
    assert decision.aggregate
    order = {r.model: i for i, r in enumerate(ranking)}
    assert [p.model for p in decision.final_answers] == sorted(
        (p.model for p in trace.layers[2].proposals), key=order.__getitem__
    )
    assert decision.choice == decision.final_answers[0].model == trace.choice


def test_a_failed_model_is_not_called_again(make_pool: MakePool) -> None:
    pool, trace = run_published("published-small", {"a": 0.6, "b": 0.6, "c": 0.6, "d": 0.6})
    first = trace.layers[0]
    failed = Layer(first.selected, first.proposals[:1], failures=failure("b"), assessments=first.assessments[:1])
    decision = build_policy(pool.models, pool.mixture, JudgeModel(), ()).update(
        Trace(trace.query, "routemoa", trace.prior, trace.ranking, (failed,)), CallEstimates()
    )
    assert decision.stop is None
    assert "b" not in decision.models
    assert decision.ranking[-1].model == "b"


def test_when_the_last_layer_gave_nothing_the_answers_before_it_stand() -> None:
    specs = tuple(ModelSpec(n, "local", n) for n in "ab")
    answered = Layer(("a", "b"), tuple(Proposal(n, LONG.format(n), Usage(), None, None) for n in "ab"))
    nothing = Layer(("a", "b"), (), failure("a") + failure("b"))
    trace = Trace(Query.from_text("?"), "routemoa", {"a": 0.4, "b": 0.5}, (), (answered, nothing))
    decision = build_policy(specs, Mixture(fusion="published-small"), JudgeModel(), ()).update(trace, CallEstimates())
    assert str(decision.stop) == "no model left to call"
    assert {p.model for p in decision.final_answers} == {"a", "b"}


def test_measured_seconds_break_ties() -> None:
    specs = tuple(ModelSpec(n, "local", n, latency=1.0) for n in "ab")
    policy = build_policy(specs, Mixture(fusion="published-small", top_k=1), JudgeModel(), ())
    assert policy.initial({"a": 0.5, "b": 0.5}, CallEstimates()).models == ("a",)
    assert policy.initial({"a": 0.5, "b": 0.5}, CallEstimates(seconds={"a": 2.0})).models == ("b",)


def failure(model: str) -> tuple[Failure, ...]:
    return (Failure(model, "down", FailureKind.HTTP_ERROR, Usage(0, 0, 0, 0), 1.0, 0.0),)
