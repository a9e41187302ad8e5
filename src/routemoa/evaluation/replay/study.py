"""Replay whole files of records: prepare the questions with a scorer's estimates, run the study, write its notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import suggest_name
from routemoa.core.system.task_engine import LocalEngine, TaskEngine
from routemoa.core.text.plural import counted
from routemoa.core.types import Scores
from routemoa.datasets.records import Record
from routemoa.evaluation.dominance import describe_dominance, find_dominating_model
from routemoa.evaluation.headroom import format_headroom, measure_headroom
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.list_prices import PRICE_DATE, load_list_prices
from routemoa.evaluation.replay.methods import ALWAYS, METHODS, ROUTERS, Replay
from routemoa.evaluation.replay.pool_sizes import simulate_sizes
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import compute_savings, summarize
from routemoa.judging.judge_model import read_policy
from routemoa.scoring.predictor import Predictor
from routemoa.scoring.router_baselines import fit_to_training_questions
from routemoa.scoring.trained import load_trained_scorer, read_manifest, read_training_questions

__all__ = ["PreparedReplay", "compute_figures", "parse_methods", "prepare_replay", "warn_of_dominance"]

DENSE_BASELINES = ("moa", "smoa")
NO_AGGREGATOR = "routemoa-no-aggregator"
"""Left out, since a replay has no aggregator that writes."""


class PreparedReplay(Struct, frozen=True):
    """A replay, and what its records lack."""

    replay: Replay
    skipped: int = 0
    """Records without answers."""
    unpriced: tuple[str, ...] | None = None
    """Members without a price; None where no list prices were requested."""


def parse_methods(methods: str, models: Iterable[str] = ()) -> list[str]:
    """Return the methods of a comma-separated list, followed by the baselines that every study has.

    `models`, where known, are the models that single:NAME may name.

    Raises:
        ConfigError: a method cannot be replayed.
    """
    names = [name for part in methods.split(",") if (name := part.strip()) not in ("", NO_AGGREGATOR)]
    known = [f"single:{model}" for model in models]
    for name in names:
        if name == "self-moa":
            raise ConfigError("--methods: 'self-moa' draws several answers of one model, and records hold one of each")
        if name.startswith("single:"):
            if known and name not in known:
                raise ConfigError(f"--methods: '{name}' names no model here; {suggest_name(name, known)}")
        elif name not in (*METHODS, *ROUTERS):
            hint = suggest_name(name, (*METHODS, *ROUTERS, "single:NAME"))
            raise ConfigError(f"--methods: '{name}' cannot be replayed; {hint}")
    return list(dict.fromkeys([*names, *ROUTERS, *ALWAYS]))


def prepare_replay(
    records: Sequence[Record],
    scorer: str | Path,
    policy: str | None = None,
    *,
    use_list_prices: bool = False,
    judge_auc: float | None = None,
    keep_texts: bool = False,
) -> PreparedReplay:
    """Prepare the records that hold answers of models which a trained scorer knows.

    Args:
        records: those without answers are skipped.
        scorer: the folder of a scorer that was trained on other questions.
        policy: a TOML file with a [mixture] table.
        use_list_prices: take list prices where the records hold no costs.
        judge_auc: simulate judges with this AUC; None simulates none.
        keep_texts: keep questions and answers in the outcomes.

    Raises:
        ConfigError: the scorer or the policy cannot be read, no record holds an answer of a model of the scorer, or
            none has a score.
    """
    if records and all(score is None for record in records for score in record.scores.values()):
        raise ConfigError("every score of the records is null: nothing was measured")
    predictor, chosen = load_trained_scorer(scorer).predictor, read_manifest(scorer)["chosen"]
    usable = [r for r in records if r.responses]
    members = tuple(m for m in predictor.models if any((r.responses or {}).get(m) for r in usable))
    if not members:
        raise ConfigError("no record holds an answer (`responses`) of a model that the scorer knows; nothing to replay")
    rows = predictor.predict([r.query for r in usable])
    column = {m: i for i, m in enumerate(predictor.models)}
    priors: list[Scores] = [{m: float(row[column[m]]) for m in members} for row in rows]
    means = {m: float(rows[:, column[m]].mean(dtype="float64")) for m in members}
    order = tuple(sorted(members, key=lambda m: (m != chosen["best_single"], -means[m])))
    best_three = tuple(m for m in order if m in chosen["best_three"])
    prices = load_list_prices(members) if use_list_prices else {}
    unpriced = tuple(m for m in members if m not in prices and not _has_costs(usable, m)) if use_list_prices else None
    mixture, judge_model = read_policy(policy)
    replay = Replay(
        [ReplayQuestion(r, members, prices) for r in usable],
        members,
        priors,
        order,
        mixture,
        judge_model,
        best_three=best_three if len(best_three) == 3 else (),
        judge_auc=judge_auc,
        routers=_apply_routers(predictor, scorer, usable, chosen["by_task"], order),
        keep_texts=keep_texts,
    )
    return PreparedReplay(replay, len(records) - len(usable), unpriced)


def _apply_routers(
    predictor: Predictor,
    folder: str | Path,
    records: Sequence[Record],
    by_task: Mapping[str, str],
    order: Sequence[str],
) -> dict[str, list[Scores]]:
    """Return what each router but the scorer makes of the questions; those that learn only where scores are kept."""
    routers: dict[str, list[Scores]] = {"task-lookup": [{by_task.get(r.task, order[0]): 1.0} for r in records]}
    fitted = fit_to_training_questions(predictor, read_training_questions(folder))
    if fitted is not None and records:
        values = fitted.average_all(predictor.embed([r.query for r in records]))
        for name, rows in values.items():
            table = [dict(zip(predictor.models, row, strict=True)) for row in rows.tolist()]
            routers[name.replace("_", "-")] = table
    return routers


def _measure_headroom(replay: Replay, outcomes: Sequence[Outcome], seed: int) -> dict[str, Any] | None:
    """Measure 1 - beta among the members, and what each router gains."""
    # in the order of `summarize`, so that the same gain has the same bootstrap interval there and here
    records = sorted((question.record for question in replay.questions), key=lambda r: (r.task, r.id))
    scores: list[Scores] = [{m: r.scores.get(m) for m in replay.members} for r in records]
    measured = [o for o in outcomes if o.method in ("routemoa", *ROUTERS) and o.seed == seed]
    right = {(o.method, o.task, o.id): o.right for o in measured}
    names = dict.fromkeys(o.method for o in measured)
    routed = {name: [right.get((name, r.task, r.id)) for r in records] for name in names}
    return format_headroom(
        measure_headroom(scores, [r.query for r in records], replay.order, routed, seed=seed, mixtures=("routemoa",))
    )


def compute_figures(
    prepared: PreparedReplay,
    methods: Sequence[str],
    seed: int,
    seeds: int,
    sizes: Sequence[int] = (),
    *,
    engine: TaskEngine = LocalEngine(),  # noqa: B008  (it holds nothing)
) -> tuple[dict[str, Any], list[Outcome]]:
    """Return all figures of a study, ready for JSON, and the outcomes they summarize.

    Args:
        prepared: what is replayed.
        methods: to replay.
        seed: the first one.
        seeds: how many there are.
        sizes: of random pools to replay as well.
        engine: works on the parts; the figures are the same wherever it does.
    """
    replay = prepared.replay
    missing = replay.missing_routers(methods)
    methods = [m for m in methods if m not in missing]
    outcomes = replay.run(methods, seed, seeds, engine=engine)
    figures = summarize(outcomes, seed)
    figures["savings"] = _savings(outcomes, methods, seed)
    figures["headroom"] = _measure_headroom(replay, outcomes, seed)
    if sizes:
        figures["scale"] = simulate_sizes(replay, methods, sizes, seed, seeds, engine=engine)
    if prepared.unpriced:
        figures |= {
            "unpriced": list(prepared.unpriced),
            "priced": _priced_figures(replay, prepared.unpriced, methods, (seed, seeds), engine),
        }
    figures["notes"] = _notes(prepared, methods, sizes)
    figures |= {"models": list(replay.members), "skipped": prepared.skipped, "seed": seed, "seeds": seeds}
    return figures, outcomes


def warn_of_dominance(prepared: PreparedReplay, outcomes: Sequence[Outcome], seed: int) -> list[str]:
    """Return a warning where one of the replayed models dominates the others and the mixture."""
    replay = prepared.replay
    records = sorted((question.record for question in replay.questions), key=lambda r: (r.task, r.id))
    scores: list[Scores] = [{m: record.scores.get(m) for m in replay.members} for record in records]
    ours: dict[tuple[str, str], list[float]] = {}
    for outcome in outcomes:
        if outcome.method == "routemoa" and outcome.right is not None:
            ours.setdefault((outcome.task, outcome.id), []).append(outcome.right)
    means = {question: sum(right) / len(right) for question, right in ours.items()}
    mixture = [means.get((record.task, record.id)) for record in records] if means else None
    found = find_dominating_model(scores, [record.task for record in records], mixture, seed)
    return [describe_dominance(found)] if found else []


def _priced_figures(
    replay: Replay,
    unpriced: Sequence[str],
    methods: Sequence[str],
    seeds: tuple[int, int],
    engine: TaskEngine,
) -> dict[str, Any] | None:
    """Return the study among the members with a price; None where fewer than two have one."""
    members = [m for m in replay.members if m not in unpriced]
    if len(members) < 2:
        return None
    names = [m for m in methods if not m.startswith("single:") or m.removeprefix("single:") in members]
    seed, count = seeds
    outcomes = replay.restrict_to(members).run(names, seed, count, engine=engine)
    return {"models": members, **summarize(outcomes, seed), "savings": _savings(outcomes, names, seed)}


def _savings(outcomes: Sequence[Outcome], methods: Sequence[str], seed: int) -> dict[str, Any]:
    """Return what RouteMoA saves against the dense mixtures."""
    names = [name for name in DENSE_BASELINES if name in methods and "routemoa" in methods]
    return {f"routemoa|{name}": compute_savings(outcomes, "routemoa", name, seed) for name in names}


def _has_costs(records: Sequence[Record], model: str) -> bool:
    return all(r.costs is not None and r.costs.get(model) is not None for r in records)


def _notes(prepared: PreparedReplay, methods: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """Return what a reader must know to interpret the figures."""
    missing = prepared.replay.missing_routers(ROUTERS)
    notes = [
        "replayed on recorded answers: no model was called and no aggregator writes (the leading answer stands in for "
        f"it); {NO_AGGREGATOR} would be the same and is left out",
        "tokens: of prompts as rendered, with quoted answers, and of recorded replies; four characters to a token",
        "random: random panels as large as RouteMoA's, in random order; shuffled: RouteMoA's panels, given to other "
        "questions",
        *(
            [f"left out: {', '.join(missing)}; the scorer's folder keeps no training scores, train it again"]
            * bool(missing)
        ),
        "scorer, knn, cluster-lookup, task-lookup: routers, which call one model; what knn and the lookups learn from "
        "is the scorer's training questions",
        "best-single and fixed-best-3 were chosen on the scorer's training questions; oracle uses the recorded scores",
        *_method_notes(prepared.replay, methods),
        *_price_notes(prepared),
    ]
    if sizes:
        notes.append("scale: a random pool for each seed and size; best-single is the best of that pool")
    return notes


def _method_notes(replay: Replay, methods: Sequence[str]) -> list[str]:
    notes = []
    if any(m in methods for m in DENSE_BASELINES):
        notes.append(
            "moa, smoa: the majority of all answers stands in for the aggregator's; a model gives its recorded answer "
            f"in every layer; calls and tokens are counted for {counted(replay.dense_layers, 'layer')} and one "
            "aggregator"
        )
    if "smoa" in methods:
        notes.append(
            "smoa: its moderator keeps the most frequent answers, and ends the debate when more than half agree"
        )
    if "cascade" in methods and replay.judge_auc is None:
        notes.append(
            "cascade: the cheapest model first; an answer is final once a second model gives it, since records hold "
            "no self-scores"
        )
    if replay.judge_auc is not None:
        auc = f"{replay.judge_auc:g}"
        notes.append(f"judges are simulated: their scores of others' answers separate right from wrong with AUC {auc}")
    elif unchanged := [m for m in methods if m in ("routemoa-no-self", "routemoa-no-cross")]:
        notes.append(f"{', '.join(unchanged)}: records hold no judgments, so only tokens change without --judges")
    return notes


def _price_notes(prepared: PreparedReplay) -> list[str]:
    notes = []
    if any(question.record.costs for question in prepared.replay.questions):
        notes.append("dollars: as recorded for each model's plain call, without what quoted answers would add")
    if prepared.unpriced is not None:
        notes.append(
            f"dollars without recorded costs: list prices of {PRICE_DATE:%Y-%m-%d} (genai-prices), by the tokens above"
        )
    if prepared.unpriced:
        notes.append(
            f"no price is known for {counted(len(prepared.unpriced), 'model')}: methods that call one of them "
            "have no dollars; "
            "`priced` is the same study among the others"
        )
    return notes
