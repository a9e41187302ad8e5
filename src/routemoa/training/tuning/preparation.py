"""Turn records into what tuning needs: scores, costs, groups of equal answers, and a scorer's estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from msgspec.structs import replace as replace_fields
from numpy.typing import NDArray

from routemoa.core.errors import ConfigError
from routemoa.core.text.plural import counted, list_some
from routemoa.core.types import CHARACTERS_PER_TOKEN, USUAL_TOKENS, ModelSpec
from routemoa.datasets.records import Record
from routemoa.judging.answers.grouping import group_answers
from routemoa.scoring.predictor import Floats
from routemoa.training.fast_recipe import train_fast
from routemoa.training.table import Table, build_table, fill_costs
from routemoa.training.tuning.plans import TuningData

__all__ = ["Prepared", "group_recorded_answers", "prepare", "price_by_tokens", "select_measured"]

MIN_QUESTIONS = 100
"""Records with fewer questions say too little."""
MIN_MEASURED = 0.9
"""A model is left out where it was measured on a smaller share of the questions."""
MIN_ANSWERED = 0.5
"""Panels are tried where at least this share of the answers is recorded as text."""
Report = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """Records ready to tune on."""

    table: Table
    """Of the questions and models that are used."""
    answers: NDArray[np.intp] | None
    """N x M, as in `TuningData`."""
    dollars: float
    """What a call of the best single model costs on average, in the unit of the records."""

    def tuning_data(self, estimates: Floats | None) -> TuningData:
        """Return the data, with a scorer's estimates for its questions, N x M, where there are any."""
        costs = (self.table.costs / self.dollars).astype(np.float32)
        return TuningData(self.table.models, self.table.scores, costs, self.answers, estimates)

    def cross_fit(self, seed: int, report: Report = lambda line: None) -> Floats:
        """Train scorers across folds, and return their estimates, each made without the question; N x M."""
        return train_fast(self.table, seed, report).cross_fitted


def prepare(
    records: Sequence[Record], specs: Sequence[ModelSpec] | None = None, report: Report = lambda line: None
) -> Prepared:
    """Select what can be used of records.

    Args:
        records: with scores, and with costs or with the prices of `specs`; panels need responses.
        specs: the models of a pool, by name or by the endpoint's name; others are left out. None takes all.
        report: called with a line about what is left out.

    Raises:
        ConfigError: too little was measured, or no costs are known.
    """
    if not records:
        raise ConfigError("the files hold no records; make some with  routemoa collect QUESTIONS --out records.jsonl")
    if specs is not None:
        records = price_by_tokens(records, specs)
    table = select_measured(build_table(records), report)
    table = replace(table, costs=fill_costs(table.costs))
    dollars = float(table.costs.mean(0)[int(table.scores.mean(0).argmax())])
    if not dollars:
        raise ConfigError("the best single model costs nothing, so there is nothing to save")
    if not table.scores.max() > 0:
        raise ConfigError("no model is right on any of these questions, so there is no quality to keep")
    kept = set(zip(table.tasks, table.ids, strict=True))
    answers = group_recorded_answers([r for r in records if (r.task, r.id) in kept], table.models)
    return Prepared(table, answers, dollars)


def select_measured(table: Table, report: Report) -> Table:
    """Return the models with known costs that were measured nearly everywhere, and the questions that all were.

    Raises:
        ConfigError: too few are left.
    """
    measured, priced = ~np.isnan(table.scores), ~np.isnan(table.costs).all(axis=0)
    if not priced.any():
        raise ConfigError(
            "the records hold no costs; name the pool with --pool, so that its prices count, or record `costs`"
        )
    used = priced & (measured.mean(0) >= MIN_MEASURED)
    if left_out := [m for m, is_used in zip(table.models, used, strict=True) if not is_used]:
        report(f"left out, without a known cost or not measured on most questions: {', '.join(left_out)}")
    rows = np.flatnonzero(measured[:, used].all(axis=1))
    if used.sum() < 2 or len(rows) < MIN_QUESTIONS:
        raise ConfigError(
            f"tuning needs two models with known costs and {MIN_QUESTIONS} questions that all were measured on; this "
            f"has {counted(int(used.sum()), 'model')} and {counted(len(rows) if used.any() else 0, 'question')}; ask "
            "more questions with  routemoa collect"
        )
    if len(rows) < len(table.texts):
        missing = counted(len(table.texts) - len(rows), "question")
        report(f"left out, since not all models were measured on it: {missing}")
    names = [m for m, is_used in zip(table.models, used, strict=True) if is_used]
    return table.select_models(names).select_rows(rows)


def group_recorded_answers(records: Iterable[Record], models: Sequence[str]) -> NDArray[np.intp] | None:
    """Return the group of each answer, N x M, -1 where it states nothing; None where most are not recorded."""
    rows: list[list[int]] = []
    answered = 0
    for record in records:
        texts = {m: text for m in models if (text := (record.responses or {}).get(m) or "").strip()}
        groups = dict(zip(texts, group_answers(list(texts.values())).group_of, strict=True)) if texts else {}
        rows.append([-1 if (g := groups.get(m)) is None else g for m in models])
        answered += len(texts)
    if answered < MIN_ANSWERED * len(rows) * len(models):
        return None
    return np.array(rows, np.intp)


def price_by_tokens(records: Sequence[Record], specs: Sequence[ModelSpec]) -> list[Record]:
    """Return records under the pool's names for its models, with dollars by its prices where none are recorded.

    Four characters are a token, in prompts and answers alike.
    """
    out: list[Record] = []
    for record in records:
        prompt_tokens = len(record.prompt or record.query) / CHARACTERS_PER_TOKEN
        scores: dict[str, float | None] = {}
        costs: dict[str, float | None] = {}
        responses: dict[str, str | None] = {}
        for spec in specs:
            name = next((n for n in (spec.name, spec.model) if n in record.scores), None)
            if name is None:
                continue
            scores[spec.name] = record.scores[name]
            text = (record.responses or {}).get(name)
            responses[spec.name] = text
            known = (record.costs or {}).get(name)
            tokens = USUAL_TOKENS if text is None else len(text) / CHARACTERS_PER_TOKEN
            costs[spec.name] = _price(spec, prompt_tokens, tokens) if known is None else known
        if scores:
            out.append(
                replace_fields(record, scores=scores, costs=costs, responses=responses if record.responses else None)
            )
    if not out:
        recorded, members = list(dict.fromkeys(m for r in records for m in r.scores)), [s.name for s in specs]
        raise ConfigError(
            f"the records hold no answer of a model of this pool: they are of {list_some(recorded)}, and the pool has "
            f"{list_some(members)}; name the pool they were collected with, or make records of this one with  "
            "routemoa collect QUESTIONS --pool POOL --out records.jsonl"
        )
    return out


def _price(spec: ModelSpec, prompt_tokens: float, tokens: float) -> float | None:
    """Return the dollars of a call by the pool file's prices; None where they are unknown."""
    if spec.input_price is None or spec.output_price is None:
        return None
    return (prompt_tokens * spec.input_price + tokens * spec.output_price) / 1e6 + (spec.request_price or 0.0)
