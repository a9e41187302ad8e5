"""What a live run can take at most, told before it begins: calls, tokens by rule of thumb, dollars. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from routemoa.core.pool import Pool
from routemoa.core.types import CHARACTERS_PER_TOKEN, ModelSpec, Usage
from routemoa.datasets.collector import Estimate, answer_length
from routemoa.evaluation.live.runner import WorkUnit
from routemoa.mixture.alternatives import FRAME, VERDICT
from routemoa.mixture.baselines.best_single import choose_best_model

__all__ = ["estimate_cost"]

Call = tuple[ModelSpec, float, float]
"""Whom, tokens read, tokens written."""


def estimate_cost(units: Iterable[WorkUnit], pool: Pool, judge: ModelSpec | None = None) -> Estimate:
    """The most that the units can take; answers are taken as long as the pool file lets them be, else 300 tokens.

    A method that may stop early (routemoa, cascade) is counted as if it did not.
    """
    count, read, written, known = 0, 0.0, 0.0, 0.0
    unpriced: dict[str, None] = {}
    for unit in units:
        asked = len(unit.question.text) / CHARACTERS_PER_TOKEN
        calls = _calls(unit.method.partition("-no-")[0], pool, asked)
        if judge is not None and unit.question.grader == "judge":
            calls += [(judge, asked + 2 * answer_length(judge) + FRAME, VERDICT)] * 2
        count += len(calls)
        for spec, prompt, answer in calls:
            read, written = read + prompt, written + answer
            cost = spec.cost(Usage(round(prompt), round(answer)))
            known += cost or 0.0
            if cost is None:
                unpriced[spec.name] = None
    return Estimate(count, round(read), round(written), None if unpriced else known, known, tuple(unpriced))


def _calls(  # noqa: PLR0911  (one for each method)
    method: str, pool: Pool, asked: float
) -> list[Call]:
    mixture, writer, everybody = pool.mixture, choose_best_model(pool).spec, pool.models
    panel = min(mixture.dense_panel, len(pool))
    dear = sorted(everybody, key=lambda m: -((m.output_price or 0.0) * answer_length(m)))
    if method == "best-single":
        return _layer([writer], asked)
    if method.startswith("single:"):
        return _layer([pool[method[7:]]], asked)
    if method == "random":
        return [*_layer(dear[:panel], asked), _write(writer, dear[:panel], asked)]
    if method == "self-moa":
        return [*_layer([writer] * panel, asked), _write(writer, [writer] * panel, asked)]
    if method == "cascade":
        return _layer(everybody, asked)
    if method == "moa":
        later = asked + FRAME + sum(map(answer_length, everybody))
        rest = _layer(everybody, later) * (mixture.dense_layers - 1)
        return [*_layer(everybody, asked), *rest, _write(writer, everybody, asked)]
    if method == "smoa":
        later = asked + FRAME + sum(map(answer_length, dear[:panel]))
        rest = _layer(everybody, later) * (mixture.dense_layers - 1)
        verdicts = [(writer, asked + FRAME + sum(map(answer_length, everybody)), VERDICT)] * mixture.dense_layers
        return [*_layer(everybody, asked), *rest, *verdicts, _write(writer, dear[:panel], asked)]
    if mixture.published:
        few = dear[: min(mixture.max_layer_models, len(pool))]
        later = asked + FRAME + sum(map(answer_length, few))
        return [*_layer(few, asked), *_layer(few, later) * (mixture.max_layers - 1), _write(writer, few, asked)]
    few = dear[: min(mixture.max_models, len(pool))]
    return [*_layer(few, asked + FRAME + mixture.reference_tokens), _write(writer, few, asked)]


def _layer(models: Sequence[ModelSpec], read: float) -> list[Call]:
    return [(m, read, answer_length(m)) for m in models]


def _write(writer: ModelSpec, shown: Sequence[ModelSpec], asked: float) -> Call:
    return writer, asked + FRAME + sum(map(answer_length, shown)), answer_length(writer)
