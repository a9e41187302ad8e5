"""Estimates what other methods would have taken for a query; marked as estimates in the trace. Pure.

A model's answer is as long as in this query where it answered (by its text where tokens were not counted), else as it
usually is, else the mean of those answers. Prompts grow by the answers they quote. An unknown price or latency makes a
sum unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from routemoa.core.pool_file.pool import Pool
from routemoa.core.trace import Alternative, Proposal, Trace
from routemoa.core.types import CHARACTERS_PER_TOKEN, ModelSpec
from routemoa.core.usage import Usage, add_optional
from routemoa.mixture import prompts
from routemoa.mixture.baselines.call_plan import PlannedCall, Stage, plan_moa, plan_smoa
from routemoa.routing.latency import CallEstimates

__all__ = ["FRAME", "VERDICT", "estimate_alternatives"]

FRAME = len(prompts.CANDIDATES + prompts.IMPROVE) / CHARACTERS_PER_TOKEN
"""Tokens around quoted answers."""
VERDICT = 60.0
"""Tokens of a moderator's reply."""


def estimate_alternatives(trace: Trace, pool: Pool, estimates: CallEstimates) -> tuple[Alternative, ...]:
    """Return `best-single` (the highest prior), `moa` and `smoa` for this query; none before the first answer."""
    answers = {p.model: p for layer in trace.layers for p in layer.proposals}
    lengths = {name: _tokens(answer) for name, answer in answers.items()}
    if not lengths:
        return ()
    mean = sum(lengths.values()) / len(lengths)
    tokens = {m.name: lengths.get(m.name, estimates.tokens.get(m.name, mean)) for m in pool}
    known = _Known(
        prompt=sum(len(m.content) for m in trace.query.messages) / CHARACTERS_PER_TOKEN,
        mean=sum(tokens.values()) / len(tokens),
        tokens=tokens,
        seconds={m.name: _seconds(m, answers.get(m.name), estimates) for m in pool},
    )
    best = max(pool, key=lambda m: trace.prior.get(m.name) or 0.0)
    models, layers = pool.models, pool.mixture.dense_layers
    kept = models[: pool.mixture.dense_panel]
    return (
        known.estimate("best-single", [(PlannedCall(best),)]),
        known.estimate("moa", plan_moa(models, layers, models, best)),
        known.estimate("smoa", plan_smoa(models, layers, models, best, kept)),
    )


class _Known(Struct, frozen=True):
    """What is known of the calls of a query: tokens of its prompt, tokens and seconds of each model's answer."""

    prompt: float
    mean: float
    """Tokens of an answer."""
    tokens: Mapping[str, float]
    seconds: Mapping[str, float | None]

    def estimate(self, method: str, stages: Sequence[Stage[ModelSpec]]) -> Alternative:
        """Add up the calls of a method; a stage takes as long as its slowest call."""
        cost: float | None = 0.0
        latency: float | None = 0.0
        costs: dict[tuple[str, int, str], float | None] = {}  # equal calls of all layers are priced once
        for stage in stages:
            for call in stage:
                key = (call.model.name, len(call.shown), call.kind)
                if key not in costs:
                    costs[key] = call.model.cost(self._usage(call))
                cost = add_optional(cost, costs[key])
            latency = add_optional(latency, self._stage_seconds(stage))
        return Alternative(method, sum(len(stage) for stage in stages), cost, latency)

    def _usage(self, call: PlannedCall[ModelSpec]) -> Usage:
        """Return the tokens of a call; quoted answers count as the mean, since it is not known which are kept."""
        shown = len(call.shown) * self.mean
        if call.kind == "moderation":
            return Usage(round(self.prompt + shown), round(VERDICT))
        quoted = FRAME + shown if call.shown else 0.0
        return Usage(round(self.prompt + quoted), round(self.tokens[call.model.name]))

    def _stage_seconds(self, stage: Stage[ModelSpec]) -> float | None:
        """Return the seconds of the slowest call; a moderator's short reply takes none."""
        slowest: float | None = 0.0
        for call in stage:
            seconds = 0.0 if call.kind == "moderation" else self.seconds[call.model.name]
            slowest = None if slowest is None or seconds is None else max(slowest, seconds)
        return slowest


def _tokens(answer: Proposal) -> float:
    counted = answer.usage.completion_tokens
    return len(answer.text) / CHARACTERS_PER_TOKEN if counted is None else float(counted)


def _seconds(spec: ModelSpec, answer: Proposal | None, estimates: CallEstimates) -> float | None:
    if answer is not None and answer.latency is not None:
        return answer.latency
    return estimates.seconds.get(spec.name, spec.latency)
