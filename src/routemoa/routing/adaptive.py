"""Our loop: start with the smallest promising panel, grow it on disagreement, stop when more would not pay. Pure.

prior   -> panel    one model alone where a mixture is not worth it (the gate), else the smallest set for `target`
answers -> belief   votes, self- and cross-assessments as one probability for each answer (belief, evidence)
belief  -> next     who is most likely right and unlike those heard, while the expected gain pays for the calls
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.pool import Mixture
from routemoa.core.trace import Proposal, Ranking, Trace
from routemoa.core.types import ModelSpec, Scores
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.multiple_choice import count_options, limit_to_options
from routemoa.judging.posterior import Posterior, Vote, infer, probability_any_right
from routemoa.judging.expected_gains import MAX_LOOKAHEAD, expected_gains
from routemoa.routing.decision import Decision, LayerOptions, best_distinct_answers, failed_models
from routemoa.routing.latency import CallEstimates
from routemoa.routing.ranking import call_penalty, rank_models
from routemoa.routing.state import HYSTERESIS_MARGIN, PanelState, TraceReader

__all__ = ["AdaptivePolicy"]

TINY = 1e-9  # of probability: less is no gain, whatever it costs
USUAL_TOKENS = 300.0  # of an answer, where nothing was measured and the pool file sets no limit


class ExpectedGain(Struct, frozen=True):
    """What further calls are expected to add to the probability of a right answer.

    `wanted` of them add the most for each call, and `gain` together; more could add up to `most`.
    """

    calls: int = 0
    gain: float = 0.0
    max_gain: float = 0.0
    pays: bool = False


class AdaptivePolicy(Struct, frozen=True):
    """The policy of `fusion = "adaptive"`."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture
    judge_model: JudgeModel
    unscored_models: frozenset[str]

    def initial(self, predicted: Scores, estimates: CallEstimates) -> Decision:
        """One model alone, or the smallest panel whose chance of a right answer reaches `target`."""
        ranking = self._rank(predicted, estimates)
        priors = {r.model: r.performance for r in ranking}
        first = ranking[0]
        rest = self._by_promise(ranking, (first.model,), (), estimates)
        if self._gate(ranking, rest, estimates):
            why = f"one model alone: {first.performance:.2f} likely right, and another call is not expected to pay"
            return Decision(predicted, ranking, models=(first.model,), selection_reason=why)
        panel, most = [first.model], min(self.mixture.max_layer_models, self.mixture.max_models)
        for name in rest:
            chance = probability_any_right([priors[m] for m in panel], self.judge_model.correlation)
            if len(panel) >= most or (len(panel) > 1 and chance >= self.mixture.preference.target):
                break
            panel.append(name)
        chance = probability_any_right([priors[m] for m in panel], self.judge_model.correlation)
        why = f"the smallest promising panel: one of them is right with probability {chance:.2f}"
        return Decision(predicted, ranking, models=tuple(panel), selection_reason=why)

    def _gate(self, ranking: Ranking, rest: Sequence[str], expected: CallEstimates) -> bool:
        """Whether the first of a ranking by priors is expected to do as well alone as with `rest`."""
        first = ranking[0]
        alone = infer([Vote(first.model, first.performance, 0)], self.judge_model.correlation)
        return not self._further(alone, rest, {r.model: r.performance for r in ranking}, expected).pays

    def update(self, trace: Trace, estimates: CallEstimates, forced_stop: str | None = None) -> Decision:
        """The posterior of every answer, and whether another one would pay."""
        return self._about(trace)._judged(trace, estimates, forced_stop)

    def is_sufficient(self, trace: Trace, estimates: CallEstimates) -> bool:
        """Whether somebody is sure, or no further answer is expected to pay: not even of those under way."""
        return self._about(trace)._suffices(trace, estimates)

    def _about(self, trace: Trace) -> AdaptivePolicy:
        """The policy for this very query: of a multiple choice, wrong answers are as many as it has options."""
        correlation = limit_to_options(self.judge_model.correlation, count_options(trace.query.text))
        return replace(self, judge_model=replace(self.judge_model, correlation=correlation))

    def _suffices(self, trace: Trace, expected: CallEstimates) -> bool:
        state = self.read_panel(trace)
        if state.leader is None:
            return False
        if state.posterior.probabilities[state.leader] > self.mixture.confidence_threshold:
            return True
        spoken = {p.model for p in state.proposals}
        ranking = self._rank(self._reading.scores(trace.prior, state), expected, failed_models(trace))
        rest = self._by_promise(ranking, spoken, failed_models(trace), expected)
        return not self._further(state.posterior, rest, self._reading.priors(trace.prior), expected).pays

    def _judged(self, trace: Trace, expected: CallEstimates, over: str | None) -> Decision:
        state, priors = self.read_panel(trace), self._reading.priors(trace.prior)
        before = [r.model for r in (trace.layers[-2].ranking if len(trace.layers) > 1 else trace.ranking)]
        scores = self._reading.scores(trace.prior, state)
        out = failed_models(trace)
        ranking = self._rank(scores, expected, out, before)
        final = self._final(state, ranking)
        choice = final[0].model if final else None
        spoken = {p.model for p in state.proposals}
        rest = self._by_promise(ranking, spoken, out, expected)
        further = self._further(state.posterior, rest, priors, expected)
        if self._stands(trace, state, expected):
            further = replace(further, pays=False)  # nothing was heard that the gate did not know
        reason = over or self._reason(trace, state, rest, further)
        if reason is not None:
            return Decision(
                scores, ranking, stop=reason, choice=choice, final_answers=final, aggregate=self._write(state, final)
            )
        call = self._next(trace, state, rest, further)
        why = f"{further.calls} more would add {100 * further.gain:.1f} points"
        why += f" to a probability of {state.posterior.leader_probability:.2f}"
        fresh = self._fresh(state)
        quoted = () if fresh else self._choose_references(state, ranking)
        return Decision(
            scores, ranking, call, why, LayerOptions(True, not fresh, not fresh), choice=choice, references=quoted
        )

    def _stands(self, trace: Trace, state: PanelState, expected: CallEstimates) -> bool:
        """Whether the gate's one model has answered, and nothing speaks against it since."""
        first = trace.ranking[0] if trace.ranking else None
        if first is None or len(state.proposals) != 1 or state.proposals[0].model != first.model:
            return False
        if state.posterior.leader_probability < first.performance - HYSTERESIS_MARGIN:
            return False
        rest = self._by_promise(trace.ranking, (first.model,), (), expected)
        return self._gate(trace.ranking, rest, expected)

    def read_panel(self, trace: Trace) -> PanelState:
        """What the answers and judgments of a trace amount to."""
        return self._reading.read_panel(trace)

    @property
    def _reading(self) -> TraceReader:
        spoken = self.mixture.self_assessment == "spoken"
        return TraceReader(tuple(m.name for m in self.models), self.judge_model, spoken)

    def _rank(
        self, scores: Scores, expected: CallEstimates, out: Collection[str] = (), before: Sequence[str] = ()
    ) -> Ranking:
        want = self.mixture.preference
        return rank_models(
            self.models,
            scores,
            expected.seconds,
            out,
            tie=want.tie,
            unscored_models=self.unscored_models,
            penalties=self._tolls(expected),
            faster_first=want.latency_first,
            before=before,
        )

    def _tolls(self, expected: CallEstimates) -> dict[str, float]:
        """What a call of each model costs in probability; empty without rates."""
        m = self.mixture
        if m.dollars_per_point is None and m.seconds_per_point is None:
            return {}
        return {spec.name: self._toll(spec, expected) for spec in self.models}

    def _toll(self, spec: ModelSpec, expected: CallEstimates) -> float:
        """What a call of a model costs in probability, at the user's rates."""
        m = self.mixture
        tokens = expected.tokens.get(spec.name, USUAL_TOKENS)
        dollars = None if spec.output_price is None else tokens * spec.output_price / 1e6
        seconds = expected.seconds.get(spec.name, spec.latency)
        return call_penalty(dollars, seconds, m.dollars_per_point, m.seconds_per_point)

    def _by_promise(
        self, ranking: Ranking, spoken: Collection[str], out: Collection[str], expected: CallEstimates
    ) -> list[str]:
        """Who has not been heard, as they are ranked; kin of one heard or placed before promise only what is new."""
        likely = {r.model: r.performance for r in ranking if r.model not in spoken and r.model not in out}
        if not self.judge_model.correlation.pairwise_error_correlation:
            return list(likely)
        tolls = self._tolls(expected)
        promise: dict[str, float] = {}
        lowest = math.inf
        for name, p in likely.items():  # equals in the ranking's order
            promise[name] = lowest = min(lowest, p - tolls.get(name, 0.0))

        relatives = self.judge_model.correlation.related_models()

        def hear(other: str) -> None:
            for name, near in relatives.get(other, ()):
                if name in promise:
                    promise[name] = min(promise[name], likely[name] * (1.0 - near) - tolls.get(name, 0.0))

        for other in spoken:
            hear(other)
        placed: list[str] = []
        while promise and len(placed) < max(MAX_LOOKAHEAD, self.mixture.max_layer_models):
            placed.append(max(promise, key=promise.__getitem__))
            del promise[placed[-1]]
            hear(placed[-1])
        return [*placed, *sorted(promise, key=promise.__getitem__, reverse=True)]

    def _further(
        self, belief: Posterior, rest: Sequence[str], priors: dict[str, float], expected: CallEstimates
    ) -> ExpectedGain:
        """What calls of `rest`, in that order, are expected to bring, and whether that pays for them."""
        chances = expected_gains(belief, [priors[m] for m in rest], self.judge_model.correlation)
        if not chances:
            return ExpectedGain()
        each = [gain / (i + 1) for i, gain in enumerate(chances)]
        best = max(range(len(each)), key=lambda i: (round(each[i], 12), -i))
        pays = each[best] >= max(self._price(rest[: best + 1], belief, expected), TINY)
        return ExpectedGain(best + 1, chances[best], chances[-1], pays)

    def _price(self, names: Sequence[str], belief: Posterior, expected: CallEstimates) -> float:
        """The gain in probability that one of these calls has to bring."""
        tolls = self._tolls(expected)
        if not tolls:
            return self.mixture.preference.min_risk_reduction * (1.0 - belief.leader_probability)
        return sum(tolls[n] for n in names) / len(names)

    def _reason(self, trace: Trace, state: PanelState, rest: Sequence[str], further: ExpectedGain) -> str | None:
        """Why no further layer should run, or None to go on."""
        m, leader, count = self.mixture, state.leader, len(state.proposals)
        sure = 0.0 if leader is None else state.posterior.probabilities[leader]
        if count and not trace.layers[-1].proposals:
            return "no new answer: every model of the layer failed"
        if sure > m.confidence_threshold:
            return f"sure: {self._who(state)} at {sure:.3f} is above {m.confidence_threshold:g}"
        if not rest:
            return self._enough(state, rest, further)
        if count >= m.max_models:
            return f"panel complete: {count} of at most {m.max_models} models have answered"
        if len(trace.layers) >= m.max_layers:
            return f"last layer: {m.max_layers} of {m.max_layers}"
        if count and not further.pays:
            return self._enough(state, rest, further)
        return None

    def _enough(self, state: PanelState, rest: Sequence[str], further: ExpectedGain) -> str:
        """In words, that nobody is left to call, or that another call is not expected to pay."""
        if len(state.proposals) == 1:
            return self._alone(state) if rest else "no model left to call"
        sure = state.posterior.leader_probability
        points = f"further calls would add {100 * further.max_gain:.1f} points to a probability of {sure:.2f}"
        if state.leader is not None and len(state.supporters(state.leader)) == len(state.proposals):
            return f"agreed: {self._who(state)} gave the same answer; {points}"
        if not rest:
            return "no model left to call"
        return f"no further evidence expected: {points}, which is not worth them"

    def _alone(self, state: PanelState) -> str:
        name, likely = state.proposals[0].model, state.posterior.leader_probability
        return f"one model alone: {name} at {likely:.2f} is expected to do as well as a mixture under this policy"

    def _who(self, state: PanelState) -> str:
        return "nobody" if state.leader is None else ", ".join(state.supporters(state.leader))

    def _next(self, trace: Trace, state: PanelState, rest: Sequence[str], further: ExpectedGain) -> tuple[str, ...]:
        """One model after the other, or several at once where few layers are left for those that are wanted."""
        layers = max(1, self.mixture.max_layers - len(trace.layers))
        most = min(self.mixture.max_models - len(state.proposals), self.mixture.max_layer_models)
        return tuple(rest[: max(1, min(-(-further.calls // layers), most))])

    def _fresh(self, state: PanelState) -> bool:
        """Whether the next models answer without seeing the others: so that agreement stays evidence."""
        return self.mixture.later_layers == "fresh" or (self.mixture.later_layers == "auto" and state.groups.closed)

    def _choose_references(self, state: PanelState, ranking: Ranking) -> tuple[Proposal, ...]:
        """The answers that the next layer or the aggregator is shown, best first."""
        order = [r.model for r in ranking]
        if self.mixture.references == "all":
            place = {name: i for i, name in enumerate(order)}
            return tuple(sorted(state.proposals, key=lambda p: place[p.model]))
        return best_distinct_answers(state.proposals, state.groups.group_of, order, self.mixture.reference_tokens)

    def _final(self, state: PanelState, ranking: Ranking) -> tuple[Proposal, ...]:
        """The answers to write the final one from, the leading group's best-ranked first."""
        if not state.proposals:
            return ()
        place = {r.model: i for i, r in enumerate(ranking)}
        leading = state.groups.members(state.leader) if state.leader is not None else range(len(state.proposals))
        best = min((state.proposals[i] for i in leading), key=lambda p: place[p.model])
        return (best, *(p for p in self._choose_references(state, ranking) if p.model != best.model))

    def _write(self, state: PanelState, final: Sequence[Proposal]) -> bool:
        """Whether an aggregator is needed: open answers that differ. A closed question's best answer stands."""
        return not state.groups.closed and len(final) > 1
