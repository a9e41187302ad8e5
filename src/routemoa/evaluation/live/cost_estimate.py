"""Estimate the most that a live run can take before it begins: calls, tokens and dollars. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from routemoa.core.pool import Pool
from routemoa.core.types import CHARACTERS_PER_TOKEN, ModelSpec, Usage
from routemoa.datasets.collector import Estimate, answer_length
from routemoa.evaluation.live.runner import WorkUnit
from routemoa.mixture.alternatives import FRAME, VERDICT
from routemoa.mixture.baselines.best_single import choose_best_model

__all__ = ["estimate_cost"]


class EstimatedCall(Struct, frozen=True):
    """A call with its estimated tokens."""

    model: ModelSpec
    prompt_tokens: float
    completion_tokens: float


def estimate_cost(units: Iterable[WorkUnit], pool: Pool, judge: ModelSpec | None = None) -> Estimate:
    """Return the most that the units can take.

    An answer is as long as the pool file's limit, else `collector.ANSWER` tokens. A method that may stop early
    (routemoa, cascade) is counted as if it did not.
    """
    count, prompt_tokens, completion_tokens, known = 0, 0.0, 0.0, 0.0
    unpriced: dict[str, None] = {}
    for unit in units:
        question_tokens = len(unit.question.text) / CHARACTERS_PER_TOKEN
        calls = _estimate_calls(unit.method.partition("-no-")[0], pool, question_tokens)
        if judge is not None and unit.question.grader == "judge":
            calls += [EstimatedCall(judge, question_tokens + 2 * answer_length(judge) + FRAME, VERDICT)] * 2
        count += len(calls)
        for call in calls:
            prompt_tokens += call.prompt_tokens
            completion_tokens += call.completion_tokens
            cost = call.model.cost(Usage(round(call.prompt_tokens), round(call.completion_tokens)))
            known += cost or 0.0
            if cost is None:
                unpriced[call.model.name] = None
    return Estimate(
        count, round(prompt_tokens), round(completion_tokens), None if unpriced else known, known, tuple(unpriced)
    )


def _estimate_calls(method: str, pool: Pool, question_tokens: float) -> list[EstimatedCall]:
    """Return every call that a method can make for a question."""
    mixture, models, best = pool.mixture, pool.models, choose_best_model(pool).spec
    expensive_first = sorted(models, key=lambda m: -((m.output_price or 0.0) * answer_length(m)))
    panel = expensive_first[: min(mixture.dense_panel, len(pool))]

    def layer(members: Sequence[ModelSpec], shown: Sequence[ModelSpec] = ()) -> list[EstimatedCall]:
        prompt_tokens = _with_answers(question_tokens, shown) if shown else question_tokens
        return [EstimatedCall(m, prompt_tokens, answer_length(m)) for m in members]

    def aggregate(shown: Sequence[ModelSpec]) -> list[EstimatedCall]:
        return [EstimatedCall(best, _with_answers(question_tokens, shown), answer_length(best))]

    match method:
        case "best-single":
            calls = layer([best])
        case "random":
            calls = layer(panel) + aggregate(panel)
        case "self-moa":
            samples = [best] * len(panel)
            calls = layer(samples) + aggregate(samples)
        case "cascade":
            calls = layer(models)
        case "moa":
            calls = layer(models) + layer(models, models) * (mixture.dense_layers - 1) + aggregate(models)
        case "smoa":
            moderation = EstimatedCall(best, _with_answers(question_tokens, models), VERDICT)
            later_layers = layer(models, panel) * (mixture.dense_layers - 1)
            calls = layer(models) + later_layers + [moderation] * mixture.dense_layers + aggregate(panel)
        case _ if method.startswith("single:"):
            calls = layer([pool[method.removeprefix("single:")]])
        case _ if mixture.published:
            members = expensive_first[: min(mixture.max_layer_models, len(pool))]
            calls = layer(members) + layer(members, members) * (mixture.max_layers - 1) + aggregate(members)
        case _:
            members = expensive_first[: min(mixture.max_models, len(pool))]
            prompt_tokens = question_tokens + FRAME + mixture.reference_tokens
            calls = [EstimatedCall(m, prompt_tokens, answer_length(m)) for m in members] + aggregate(members)
    return calls


def _with_answers(question_tokens: float, shown: Sequence[ModelSpec]) -> float:
    """Return the tokens of a prompt that quotes an answer of each of these models."""
    return question_tokens + FRAME + sum(map(answer_length, shown))
