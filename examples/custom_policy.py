"""A policy of your own chooses the models and stops, here after the two best:  python examples/custom_policy.py"""

from routemoa import ModelSpec, Pool, Query, RouteMoA, Trace
from routemoa.core.stop_reason import StopKind, StopReason
from routemoa.core.types import Scores
from routemoa.routing.decision import Decision, last_layer_answers
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.ranking import rank_models
from routemoa.testing import ScriptedClient

PRIORS = {"a": 0.5, "b": 0.7, "c": 0.6}
pool = Pool(tuple(ModelSpec(name, "http://unused", prior=prior) for name, prior in PRIORS.items()))


class TwoBest:
    def initial(self, predicted: Scores, estimates: CallEstimates, query: Query | None = None) -> Decision:
        ranking = rank_models(pool, predicted)
        return Decision(predicted, ranking, models=tuple(place.model for place in ranking[:2]))

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: StopReason | None = None) -> Decision:
        stop = forced_stop or StopReason(StopKind.OTHER, "two models were called")
        return Decision(trace.prior, trace.ranking, stop=stop, final_answers=last_layer_answers(trace, trace.ranking))

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        return False


answer = RouteMoA(pool, ScriptedClient({"b": "It is 4.", "c": "It is 5."}), policy=TwoBest()).ask("What is 2 + 2?")
print(answer.text, answer.trace.layers[0].selected, answer.trace.stop_reason)
