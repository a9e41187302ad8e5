"""Estimate the most that a live run can take before it begins: calls, tokens and dollars. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from routemoa.core.mixture_table import Mixture
from routemoa.core.pool import Pool
from routemoa.core.types import CHARACTERS_PER_TOKEN, ModelSpec
from routemoa.core.usage import Usage
from routemoa.datasets.collector import Estimate, answer_length
from routemoa.evaluation.live.runner import WorkUnit
from routemoa.mixture.alternatives import FRAME, VERDICT
from routemoa.mixture.baselines.best_single import choose_best_model
from routemoa.mixture.baselines.call_plan import PlannedCall, Stage, plan_moa, plan_smoa

__all__ = ["estimate_cost"]


def estimate_cost(units: Iterable[WorkUnit], pool: Pool, judge: ModelSpec | None = None) -> Estimate:
    """Return the most that the units can take.

    An answer is as long as the pool file's limit, else `collector.ANSWER` tokens. A method that may stop early
    (routemoa, cascade) is counted as if it did not.
    """
    count, prompt_tokens, completion_tokens, known = 0, 0.0, 0.0, 0.0
    unpriced: dict[str, None] = {}
    for unit in units:
        question_tokens = len(unit.question.text) / CHARACTERS_PER_TOKEN
        calls = _plan_calls(unit.method.partition("-no-")[0], pool)
        tokens = [(call.model, *_estimate_tokens(call, question_tokens, pool.mixture)) for call in calls]
        if judge is not None and unit.question.grader == "judge":
            tokens += [(judge, question_tokens + 2 * answer_length(judge) + FRAME, VERDICT)] * 2
        count += len(tokens)
        for model, prompt, completion in tokens:
            prompt_tokens += prompt
            completion_tokens += completion
            cost = model.cost(Usage(round(prompt), round(completion)))
            known += cost or 0.0
            if cost is None:
                unpriced[model.name] = None
    return Estimate(
        count, round(prompt_tokens), round(completion_tokens), None if unpriced else known, known, tuple(unpriced)
    )


def _plan_calls(method: str, pool: Pool) -> list[PlannedCall[ModelSpec]]:
    """Return every call that a method can make for a question."""
    mixture, models, best = pool.mixture, pool.models, choose_best_model(pool).spec
    expensive_first = sorted(models, key=lambda m: -((m.output_price or 0.0) * answer_length(m)))
    panel = expensive_first[: min(mixture.dense_panel, len(pool))]
    stages: list[Stage[ModelSpec]]
    match method:
        case "best-single":
            stages = [(PlannedCall(best),)]
        case "random":
            stages = plan_moa(panel, 1, panel, best)
        case "self-moa":
            samples = [best] * len(panel)
            stages = plan_moa(samples, 1, samples, best)
        case "cascade":
            stages = [(PlannedCall(m),) for m in models]
        case "moa":
            stages = plan_moa(models, mixture.dense_layers, models, best)
        case "smoa":
            stages = plan_smoa(models, mixture.dense_layers, models, best, panel)
        case _ if method.startswith("single:"):
            stages = [(PlannedCall(pool[method.removeprefix("single:")]),)]
        case _ if mixture.published:
            members = expensive_first[: min(mixture.max_layer_models, len(pool))]
            stages = plan_moa(members, mixture.max_layers, members, best)
        case _:
            members = expensive_first[: min(mixture.max_models, len(pool))]
            stages = [
                tuple(PlannedCall(m, kind="refinement") for m in members),
                (PlannedCall(best, members, "aggregation"),),
            ]
    return [call for stage in stages for call in stage]


def _estimate_tokens(call: PlannedCall[ModelSpec], question_tokens: float, mixture: Mixture) -> tuple[float, float]:
    """Return the tokens of a call's prompt and of its reply."""
    prompt = question_tokens
    if call.kind == "refinement":
        prompt += FRAME + mixture.reference_tokens
    elif call.shown:
        prompt += FRAME + sum(map(answer_length, call.shown))
    return prompt, VERDICT if call.kind == "moderation" else answer_length(call.model)
