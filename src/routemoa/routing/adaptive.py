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
from routemoa.core.types import ModelSpec, Proposal, Ranking, Scores, Trace
from routemoa.judging.evidence import Judging
from routemoa.judging.multiple_choice import among, options
from routemoa.judging.posterior import FARTHEST, Belief, Vote, any_right, believe, gains
from routemoa.routing.decision import Ask, Decision, best_different, failed
from routemoa.routing.latency import Expected
from routemoa.routing.ranking import rank, toll
from routemoa.routing.state import NOISE, Reading, State

__all__ = ["Grown"]

TINY = 1e-9  # of probability: less is no gain, whatever it costs
TOKENS = 300.0  # of an answer, where nothing was measured and the pool file sets no limit


class Further(Struct, frozen=True):
    """What further calls are expected to add to the probability of a right answer.

    `wanted` of them add the most for each call, and `gain` together; more could add up to `most`.
    """

    wanted: int = 0
    gain: float = 0.0
    most: float = 0.0
    pays: bool = False


class Grown(Struct, frozen=True):
    """The policy of `fusion = "learned"`."""

    models: tuple[ModelSpec, ...]
    mixture: Mixture
    judging: Judging
    strangers: frozenset[str]

    def opening(self, predicted: Scores, expected: Expected) -> Decision:
        """One model alone, or the smallest panel whose chance of a right answer reaches `target`."""
        ranking = self._rank(predicted, expected)
        priors = {r.model: r.performance for r in ranking}
        first = ranking[0]
        rest = self._by_promise(ranking, (first.model,), (), expected)
        if self._gate(ranking, rest, expected):
            why = f"one model alone: {first.performance:.2f} likely right, and another call is not expected to pay"
            return Decision(predicted, ranking, call=(first.model,), why=why)
        panel, most = [first.model], min(self.mixture.most_models, self.mixture.calls)
        for name in rest:
            chance = any_right([priors[m] for m in panel], self.judging.correlation)
            if len(panel) >= most or (len(panel) > 1 and chance >= self.mixture.preference.target):
                break
            panel.append(name)
        chance = any_right([priors[m] for m in panel], self.judging.correlation)
        why = f"the smallest promising panel: one of them is right with probability {chance:.2f}"
        return Decision(predicted, ranking, call=tuple(panel), why=why)

    def _gate(self, ranking: Ranking, rest: Sequence[str], expected: Expected) -> bool:
        """Whether the first of a ranking by priors is expected to do as well alone as with `rest`."""
        first = ranking[0]
        alone = believe([Vote(first.model, first.performance, 0)], self.judging.correlation)
        return not self._further(alone, rest, {r.model: r.performance for r in ranking}, expected).pays

    def judged(self, trace: Trace, expected: Expected, over: str | None = None) -> Decision:
        """The posterior of every answer, and whether another one would pay."""
        return self._about(trace)._judged(trace, expected, over)

    def suffices(self, trace: Trace, expected: Expected) -> bool:
        """Whether somebody is sure, or no further answer is expected to pay: not even of those under way."""
        return self._about(trace)._suffices(trace, expected)

    def _about(self, trace: Trace) -> Grown:
        """The policy for this very query: of a multiple choice, wrong answers are as many as it has options."""
        correlation = among(self.judging.correlation, options(trace.query.text))
        return replace(self, judging=replace(self.judging, correlation=correlation))

    def _suffices(self, trace: Trace, expected: Expected) -> bool:
        state = self.state(trace)
        if state.leader is None:
            return False
        if state.belief.right[state.leader] > self.mixture.threshold:
            return True
        spoken = {p.model for p in state.proposals}
        ranking = self._rank(self._reading.scores(trace.prior, state), expected, failed(trace))
        rest = self._by_promise(ranking, spoken, failed(trace), expected)
        return not self._further(state.belief, rest, self._reading.priors(trace.prior), expected).pays

    def _judged(self, trace: Trace, expected: Expected, over: str | None) -> Decision:
        state, priors = self.state(trace), self._reading.priors(trace.prior)
        before = [r.model for r in (trace.layers[-2].ranking if len(trace.layers) > 1 else trace.ranking)]
        scores = self._reading.scores(trace.prior, state)
        out = failed(trace)
        ranking = self._rank(scores, expected, out, before)
        final = self._final(state, ranking)
        choice = final[0].model if final else None
        spoken = {p.model for p in state.proposals}
        rest = self._by_promise(ranking, spoken, out, expected)
        further = self._further(state.belief, rest, priors, expected)
        if self._stands(trace, state, expected):
            further = replace(further, pays=False)  # nothing was heard that the gate did not know
        reason = over or self._reason(trace, state, rest, further)
        if reason is not None:
            return Decision(scores, ranking, stop=reason, choice=choice, final=final, write=self._write(state, final))
        call = self._next(trace, state, rest, further)
        why = f"{further.wanted} more would add {100 * further.gain:.1f} points"
        why += f" to a probability of {state.belief.sure:.2f}"
        fresh = self._fresh(state)
        quoted = () if fresh else self._references(state, ranking)
        return Decision(scores, ranking, call, why, Ask(True, not fresh, not fresh), choice=choice, quoted=quoted)

    def _stands(self, trace: Trace, state: State, expected: Expected) -> bool:
        """Whether the gate's one model has answered, and nothing speaks against it since."""
        first = trace.ranking[0] if trace.ranking else None
        if first is None or len(state.proposals) != 1 or state.proposals[0].model != first.model:
            return False
        if state.belief.sure < first.performance - NOISE:
            return False
        rest = self._by_promise(trace.ranking, (first.model,), (), expected)
        return self._gate(trace.ranking, rest, expected)

    def state(self, trace: Trace) -> State:
        """What the answers and judgments of a trace amount to."""
        return self._reading.state(trace)

    @property
    def _reading(self) -> Reading:
        spoken = self.mixture.self_assessment == "spoken"
        return Reading(tuple(m.name for m in self.models), self.judging, spoken)

    def _rank(
        self, scores: Scores, expected: Expected, out: Collection[str] = (), before: Sequence[str] = ()
    ) -> Ranking:
        want = self.mixture.preference
        return rank(
            self.models,
            scores,
            expected.seconds,
            out,
            tie=want.tie,
            strangers=self.strangers,
            tolls=self._tolls(expected),
            faster_first=want.fast,
            before=before,
        )

    def _tolls(self, expected: Expected) -> dict[str, float]:
        """What a call of each model costs in probability; empty without rates."""
        m = self.mixture
        if m.dollars_per_point is None and m.seconds_per_point is None:
            return {}
        return {spec.name: self._toll(spec, expected) for spec in self.models}

    def _toll(self, spec: ModelSpec, expected: Expected) -> float:
        """What a call of a model costs in probability, at the user's rates."""
        m = self.mixture
        tokens = expected.tokens.get(spec.name, TOKENS)
        dollars = None if spec.output_price is None else tokens * spec.output_price / 1e6
        seconds = expected.seconds.get(spec.name, spec.latency)
        return toll(dollars, seconds, m.dollars_per_point, m.seconds_per_point)

    def _by_promise(
        self, ranking: Ranking, spoken: Collection[str], out: Collection[str], expected: Expected
    ) -> list[str]:
        """Who has not been heard, as they are ranked; kin of one heard or placed before promise only what is new."""
        likely = {r.model: r.performance for r in ranking if r.model not in spoken and r.model not in out}
        if not self.judging.correlation.kinship:
            return list(likely)
        tolls = self._tolls(expected)
        promise: dict[str, float] = {}
        lowest = math.inf
        for name, p in likely.items():  # equals in the ranking's order
            promise[name] = lowest = min(lowest, p - tolls.get(name, 0.0))

        relatives = self.judging.correlation.relatives()

        def hear(other: str) -> None:
            for name, near in relatives.get(other, ()):
                if name in promise:
                    promise[name] = min(promise[name], likely[name] * (1.0 - near) - tolls.get(name, 0.0))

        for other in spoken:
            hear(other)
        placed: list[str] = []
        while promise and len(placed) < max(FARTHEST, self.mixture.most_models):
            placed.append(max(promise, key=promise.__getitem__))
            del promise[placed[-1]]
            hear(placed[-1])
        return [*placed, *sorted(promise, key=promise.__getitem__, reverse=True)]

    def _further(self, belief: Belief, rest: Sequence[str], priors: dict[str, float], expected: Expected) -> Further:
        """What calls of `rest`, in that order, are expected to bring, and whether that pays for them."""
        chances = gains(belief, [priors[m] for m in rest], self.judging.correlation)
        if not chances:
            return Further()
        each = [gain / (i + 1) for i, gain in enumerate(chances)]
        best = max(range(len(each)), key=lambda i: (round(each[i], 12), -i))
        pays = each[best] >= max(self._price(rest[: best + 1], belief, expected), TINY)
        return Further(best + 1, chances[best], chances[-1], pays)

    def _price(self, names: Sequence[str], belief: Belief, expected: Expected) -> float:
        """The gain in probability that one of these calls has to bring."""
        tolls = self._tolls(expected)
        if not tolls:
            return self.mixture.preference.worth * (1.0 - belief.sure)
        return sum(tolls[n] for n in names) / len(names)

    def _reason(self, trace: Trace, state: State, rest: Sequence[str], further: Further) -> str | None:
        """Why no further layer should run, or None to go on."""
        m, leader, count = self.mixture, state.leader, len(state.proposals)
        sure = 0.0 if leader is None else state.belief.right[leader]
        if count and not trace.layers[-1].proposals:
            return "no new answer: every model of the layer failed"
        if sure > m.threshold:
            return f"sure: {self._who(state)} at {sure:.3f} is above {m.threshold:g}"
        if not rest:
            return self._enough(state, rest, further)
        if count >= m.calls:
            return f"panel complete: {count} of at most {m.calls} models have answered"
        if len(trace.layers) >= m.most_layers:
            return f"last layer: {m.most_layers} of {m.most_layers}"
        if count and not further.pays:
            return self._enough(state, rest, further)
        return None

    def _enough(self, state: State, rest: Sequence[str], further: Further) -> str:
        """In words, that nobody is left to call, or that another call is not expected to pay."""
        if len(state.proposals) == 1:
            return self._alone(state) if rest else "no model left to call"
        points = f"further calls would add {100 * further.most:.1f} points to a probability of {state.belief.sure:.2f}"
        if state.leader is not None and len(state.backing(state.leader)) == len(state.proposals):
            return f"agreed: {self._who(state)} gave the same answer; {points}"
        if not rest:
            return "no model left to call"
        return f"no further evidence expected: {points}, which is not worth them"

    def _alone(self, state: State) -> str:
        name, likely = state.proposals[0].model, state.belief.sure
        return f"one model alone: {name} at {likely:.2f} is expected to do as well as a mixture under this policy"

    def _who(self, state: State) -> str:
        return "nobody" if state.leader is None else ", ".join(state.backing(state.leader))

    def _next(self, trace: Trace, state: State, rest: Sequence[str], further: Further) -> tuple[str, ...]:
        """One model after the other, or several at once where few layers are left for those that are wanted."""
        layers = max(1, self.mixture.most_layers - len(trace.layers))
        most = min(self.mixture.calls - len(state.proposals), self.mixture.most_models)
        return tuple(rest[: max(1, min(-(-further.wanted // layers), most))])

    def _fresh(self, state: State) -> bool:
        """Whether the next models answer without seeing the others: so that agreement stays evidence."""
        return self.mixture.later == "fresh" or (self.mixture.later == "auto" and state.groups.closed)

    def _references(self, state: State, ranking: Ranking) -> tuple[Proposal, ...]:
        """The answers that the next layer or the aggregator is shown, best first."""
        order = [r.model for r in ranking]
        if self.mixture.references == "all":
            place = {name: i for i, name in enumerate(order)}
            return tuple(sorted(state.proposals, key=lambda p: place[p.model]))
        return best_different(state.proposals, state.groups.of, order, self.mixture.reference_tokens)

    def _final(self, state: State, ranking: Ranking) -> tuple[Proposal, ...]:
        """The answers to write the final one from, the leading group's best-ranked first."""
        if not state.proposals:
            return ()
        place = {r.model: i for i, r in enumerate(ranking)}
        leading = state.groups.members(state.leader) if state.leader is not None else range(len(state.proposals))
        best = min((state.proposals[i] for i in leading), key=lambda p: place[p.model])
        return (best, *(p for p in self._references(state, ranking) if p.model != best.model))

    def _write(self, state: State, final: Sequence[Proposal]) -> bool:
        """Whether an aggregator is needed: open answers that differ. A closed question's best answer stands."""
        return not state.groups.closed and len(final) > 1
