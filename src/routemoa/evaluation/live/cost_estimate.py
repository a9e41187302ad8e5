"""Estimate the most that a live run can take before it begins: calls, tokens and dollars. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import comb

from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import CHARACTERS_PER_TOKEN, ModelSpec
from routemoa.core.usage import Usage
from routemoa.datasets.collector import Estimate, answer_length
from routemoa.evaluation.live.methods import OPEN_POLICIES, PREFIX
from routemoa.evaluation.live.runner import WorkUnit
from routemoa.judging.answers.question_kind import question_kind
from routemoa.mixture.alternatives import FRAME, VERDICT
from routemoa.mixture.baselines.best_single import choose_best_model
from routemoa.mixture.baselines.call_plan import PlannedCall, Stage, plan_moa, plan_smoa

__all__ = ["estimate_cost"]


def estimate_cost(
    units: Iterable[WorkUnit],
    pool: Pool,
    judge: ModelSpec | None = None,
    *,
    comparisons: Iterable[str] = (),
    shared: bool = False,
) -> Estimate:
    """Return the most that the units can take.

    An answer is as long as the pool file's limit, else `collector.ANSWER` tokens. A method that may stop early
    (routemoa, cascade) is counted as if it did not. A policy for open questions is counted as such where the question
    does not ask for a result.

    Args:
        units: what is to be answered.
        pool: its models answer.
        judge: compares answers.
        comparisons: the texts of further questions to which the judge compares two answers, in both orders.
        shared: methods share their calls (`CallCache`): a model's first answer to a question counts once.
    """
    tokens: list[_Tokens] = []
    counted: set[tuple[tuple[str, str], str]] = set()
    for unit in units:
        question_tokens = len(unit.question.text) / CHARACTERS_PER_TOKEN
        for call in _plan_calls(_kind_of_method(unit), pool):
            key = (unit.question.key, call.model.name)
            if shared and call.kind == "proposal" and not call.shown and key in counted:
                continue
            counted.add(key)
            tokens.append((call.model, *_estimate_tokens(call, question_tokens, pool.mixture)))
        if judge is not None and unit.question.grader == "judge":
            tokens += _comparison_tokens(judge, question_tokens)
    if judge is not None:
        for text in comparisons:
            tokens += _comparison_tokens(judge, len(text) / CHARACTERS_PER_TOKEN)
    return _add_up(tokens)


def _kind_of_method(unit: WorkUnit) -> str:
    """Return the method whose calls a unit makes: variants of RouteMoA make those of the whole."""
    whole = unit.method.partition("-no-")[0]
    is_open = whole.removeprefix(PREFIX) in OPEN_POLICIES and question_kind(unit.question.text) != "result"
    return whole if is_open or not whole.startswith(PREFIX) else "routemoa"


_Tokens = tuple[ModelSpec, float, float]
"""A call: its model, tokens of its prompt, tokens of its reply."""


def _comparison_tokens(judge: ModelSpec, question_tokens: float) -> list[_Tokens]:
    """Return the calls that compare two answers."""
    return [(judge, question_tokens + 2 * answer_length(judge) + FRAME, VERDICT)] * 2


def _add_up(calls: Sequence[_Tokens]) -> Estimate:
    prompt_tokens, completion_tokens, known = 0.0, 0.0, 0.0
    unpriced: dict[str, None] = {}
    for model, prompt, completion in calls:
        prompt_tokens += prompt
        completion_tokens += completion
        cost = model.cost(Usage(round(prompt), round(completion)))
        known += cost or 0.0
        if cost is None:
            unpriced[model.name] = None
    return Estimate(
        len(calls), round(prompt_tokens), round(completion_tokens), None if unpriced else known, known, tuple(unpriced)
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
        case "routemoa-alone":
            stages = [(PlannedCall(expensive_first[0]),)]
        case "routemoa-synthesize":
            samples = expensive_first[:1] * len(panel)  # of whichever model leads by far
            stages = plan_moa(samples, 1, samples, best)
        case "routemoa-select":
            judge = next((m for m in models if m.name == mixture.judge_model), best)
            comparisons = tuple([PlannedCall(judge, panel[:2], "moderation")] * (2 * comb(len(panel), 2)))
            stages = [tuple(PlannedCall(m) for m in panel), comparisons]
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
            if mixture.open == "synthesize" or mixture.prefer == "quality":  # of whichever model leads by far
                members = [*expensive_first[:1] * (len(panel) - 1), *members][: max(len(panel), len(members))]
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
