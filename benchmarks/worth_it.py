"""When is a mixture worth it? The default beside simpler ways, by kind of task and by what the pool is like.

    .venv/bin/python benchmarks/worth_it.py [--splits 5] [--json FILE] [--markdown FILE]

Recorded answers: ZeroEval's GSM8K and MATH level 5, and both mixed; RouterBench's ARC and WinoGrande (multiple choice;
eleven models with prices of their own). For each, three pools of five models, chosen by their accuracy over all
questions and their price (recorded, else listed by genai-prices), not by what a mixture makes of them:

    towers          the best model, and the four whose accuracy is nearest to 12 points below it
    equals          the five neighbours in rank whose accuracies differ least, among ranks 5 to 30 (2 on, of few models)
    cheap and dear  the most expensive model of the ten best that have a price, and the four cheapest

In each split the priors, the correlation of errors, the worth of agreement and the k of the nearest neighbours are
learned on one half of the questions; all figures are from the other half. Rows: RouteMoA as it is by default
(`balanced`), the best single model (chosen on the learning half), the vote of the best three and of all five, dense MoA
(15 calls and an aggregator, replayed as their vote), a router by nearest neighbours (one call; k by cross-validation),
the oracle. Cost: dollars by list price, as a share of the best single model's; null where a model has none.
Intervals: 95 %, bootstrap over questions of each question's mean over the splits in which it was tested; `over` is the
paired difference to the best single model, in points.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).with_name("replay")))  # the folder beside this script

from splits import learn_judge_model

from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Scores
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.list_prices import ListPrice, load_list_prices
from routemoa.evaluation.replay.methods import Replay
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import summarize
from routemoa.scoring.lexical import count_idf
from routemoa.scoring.predictor import embed_texts
from routemoa.scoring.router_baselines import fit_router_baselines
from routemoa.training.table import build_table

DATA = Path(__file__).parents[2] / "shared" / "data" / "records"
SUITES = {
    "GSM8K": "zeroeval/gsm.jsonl.gz",
    "MATH-L5": "zeroeval/math_l5.jsonl.gz",
    "ARC": "routerbench/arc_challenge.train.jsonl.gz",
    "WinoGrande": "routerbench/winogrande.train.jsonl.gz",
}
MIXED = "mixed"
QUESTIONS = 1000
"""Of a suite at most, so that all of them take minutes."""
BELOW = 0.12
"""How far below the towering model the others are, in accuracy."""
ROWS = {
    "routemoa": "RouteMoA", "best-single": "best single", "fixed-best-3": "vote of 3", "vote-all": "vote of 5",
    "moa": "dense MoA", "knn": "kNN router", "oracle": "oracle",
}  # fmt: skip


def read_suites() -> dict[str, list[Record]]:
    """Return the records of each suite, and some of each together."""
    rng = np.random.default_rng(0)
    suites: dict[str, list[Record]] = {}
    for suite, file in SUITES.items():
        records = [r for r in read_records(DATA / file) if r.responses]
        kept = sorted(rng.permutation(len(records))[:QUESTIONS])
        suites[suite] = [records[i] for i in kept]
    suites[MIXED] = [r for suite in ("GSM8K", "MATH-L5") for r in suites[suite][: QUESTIONS // 2]]
    return suites


def choose_pools(records: Sequence[Record], prices: Mapping[str, ListPrice]) -> dict[str, list[str]]:
    """Return {kind of pool: its five models}."""
    names = set.intersection(*({m for m, s in r.scores.items() if s is not None} for r in records))
    accuracy = {m: float(np.mean([r.scores[m] or 0.0 for r in records])) for m in sorted(names)}
    ranked = sorted(accuracy, key=lambda m: -accuracy[m])
    near = sorted(ranked[1:], key=lambda m: abs(accuracy[ranked[0]] - BELOW - accuracy[m]))[:4]
    first = 4 if len(ranked) > 20 else 1
    start = min(range(first, min(26, len(ranked) - 4)), key=lambda i: accuracy[ranked[i]] - accuracy[ranked[i + 4]])
    dollars = compare_prices(records, prices)
    priced = [m for m in ranked if m in dollars]
    dear = max(priced[:10], key=lambda m: dollars[m])
    cheap = sorted((m for m in priced if m != dear), key=lambda m: dollars[m])[:4]
    return {"towers": [ranked[0], *near], "equals": ranked[start : start + 5], "cheap and dear": [dear, *cheap]}


def compare_prices(records: Sequence[Record], prices: Mapping[str, ListPrice]) -> dict[str, float]:
    """Return what a model takes: its mean cost in the records, or else its list price, where it has one."""
    costs: dict[str, list[float]] = {}
    for record in records:
        for model, cost in (record.costs or {}).items():
            costs.setdefault(model, []).extend([] if cost is None else [cost])
    return {m: float(np.mean(c)) for m, c in costs.items() if c} or {m: p.output for m, p in prices.items()}


def run_split(questions: Sequence[ReplayQuestion], models: Sequence[str], seed: int) -> list[Outcome]:
    """Learn on one half of the questions, measure on the other."""
    order = np.random.default_rng(seed).permutation(len(questions))
    train, test = ([questions[i] for i in half] for half in np.split(order, [len(questions) // 2]))
    right = [sum(q.record.scores[m] or 0.0 for q in train) for m in models]
    prior: Scores = {m: (r + 1) / (len(train) + 2) for m, r in zip(models, right, strict=True)}
    best_first = tuple(sorted(models, key=lambda m: -(prior[m] or 0.0)))
    base = Replay(train, tuple(models), [prior] * len(train), best_first, Mixture())
    judge_model = learn_judge_model(base, prior, seed)
    values = estimate_by_neighbors(train, test, models)
    replay = replace(base, questions=test, priors=[prior] * len(test), judge_model=judge_model, routers={"knn": values})
    return [replace(o, method=ROWS[o.method], seed=seed) for o in replay.run(ROWS, seed)]


def estimate_by_neighbors(
    train: Sequence[ReplayQuestion], test: Sequence[ReplayQuestion], models: Sequence[str]
) -> list[Scores]:
    """Return each model's mean score among the nearest questions of the learning half."""
    table = build_table([q.record for q in train]).select_models(models)
    idf = count_idf(table.texts)
    vectors, queries = embed_texts(table.texts, idf, None), embed_texts([q.record.query for q in test], idf, None)
    means = fit_router_baselines(vectors, table.scores).average_neighbors(queries)
    return [{m: float(v) for m, v in zip(models, row, strict=True)} for row in means]


def study(records: Sequence[Record], models: Sequence[str], prices: Mapping[str, ListPrice], splits: int) -> Any:
    """Return the figures of one pool."""
    questions = [ReplayQuestion(r, models, prices) for r in records]
    outcomes = [o for seed in range(splits) for o in run_split(questions, models, seed)]
    summary = summarize(outcomes, 0)
    single = summary["methods"]["best single"]
    rows = {}
    for row, figures in summary["methods"].items():
        pair = summary["paired"].get(f"{row}|best single") or {}
        back = summary["paired"].get(f"best single|{row}")
        over = pair.get("difference", -back["difference"] if back else None)
        ci95 = pair.get("ci95") or ([-x for x in reversed(back["ci95"])] if back else None)
        cost = figures["cost"] / single["cost"] if figures["cost"] is not None and single["cost"] else None
        rows[row] = {
            "accuracy": 100 * figures["accuracy"], "ci95": [100 * x for x in figures["ci95"]],
            "calls": figures["calls"], "cost": cost,
            "over": None if over is None else 100 * over, "over_ci95": ci95 and [100 * x for x in ci95],
        }  # fmt: skip
    return {"models": list(models), "questions": len(records), "rows": rows}


def format_table(studies: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures as one table in Markdown."""
    names = [name for name in ROWS.values() if name != "RouteMoA"]
    head = f"| task | pool | RouteMoA | over best single | calls | cost | {' | '.join(names)} |"
    lines = [head, "| --- " * (6 + len(names)) + "|"]
    for suite, pools in studies.items():
        for pool, found in pools.items():
            ours = found["rows"]["RouteMoA"]
            cost = "" if ours["cost"] is None else f"{ours['cost']:.2f}"
            low, high = ours["over_ci95"]
            others = [f"{found['rows'][n]['accuracy']:.1f}" for n in names]
            lines.append(
                f"| {suite} | {pool} | **{ours['accuracy']:.1f}** | {ours['over']:+.1f} ({low:+.1f} to {high:+.1f}) "
                f"| {ours['calls']:.2f} | {cost} | {' | '.join(others)} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    studies: dict[str, dict[str, Any]] = {}
    for suite, records in read_suites().items():
        prices = load_list_prices(sorted({m for r in records for m in r.scores}))
        for pool, models in choose_pools(records, prices).items():
            studies.setdefault(suite, {})[pool] = study(records, models, prices, options.splits)
            print(f"{suite}, {pool}: {', '.join(models)}", flush=True)
            for row, f in studies[suite][pool]["rows"].items():
                cost = "" if f["cost"] is None else f"cost {f['cost']:.2f}"
                print(f"  {row:12} {f['accuracy']:5.1f}  {f['calls']:5.2f} calls  {cost}", flush=True)
    table = format_table(studies)
    print(table)
    if options.markdown:
        options.markdown.write_text(table)
    if options.json:
        options.json.write_text(json.dumps({"splits": options.splits, "suites": studies}, indent=1) + "\n")


if __name__ == "__main__":
    main()
