"""Measure `routemoa tune` by nested cross-validation: asked for 97 and 99 %, what is kept, at what cost?

    python benchmarks/tune.py ../shared/data/records --json benchmarks/results/tune.json

The questions are split into five parts, three times over with other splits. A scorer is trained and a policy is tuned
on four parts, and the policy answers the fifth, which neither has seen; sums over the five parts are one seed's
figures.
RouterBench has recorded answers and costs. `ulab` has neither: a call's price is the model's size in billions of
parameters, and one model answers each query. The scorer's own trade-off of cost is measured on the same parts.

Finished parts are kept beside the JSON file (FILE.parts.jsonl), so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace as replace_fields

from routemoa.core.learned.cost_dial import Dial, draw_from_text
from routemoa.datasets.records import Record, read_records
from routemoa.scoring.predictor import Floats
from routemoa.training.cost_tradeoff import choose_at_mix
from routemoa.training.fast_recipe import FittedScorer, train_fast
from routemoa.training.metrics import Predictions
from routemoa.training.tuning.curve import Curve, find_curve
from routemoa.training.tuning.plans import TuningData, run_plan
from routemoa.training.tuning.preparation import Prepared, prepare

FOLDS = 5
LEVELS = (0.97, 0.99)
TARGETS = {"routerbench": {0.97: 0.35, 0.99: 0.65}, "ulab": {0.97: 0.21, 0.99: 0.36}}
"""Suite -> share of the accuracy -> the largest share of the cost that was hoped for."""
TOLERANCE = 0.003


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    options = parser.parse_args()
    finished = options.json.with_suffix(".parts.jsonl") if options.json else None
    parts = [json.loads(line) for line in finished.read_text().splitlines()] if finished and finished.exists() else []
    done = {(p["suite"], p["seed"], p["fold"]) for p in parts}
    for suite in options.only:
        prepared = prepare(load_records(options.records / suite))
        for seed in range(options.seeds):
            for fold in range(FOLDS):
                if (suite, seed, fold) in done:
                    continue
                part = {"suite": suite, "seed": seed, "fold": fold, **run_fold(prepared, seed, fold)}
                parts.append(part)
                print(json.dumps(part), flush=True)
                if finished:
                    with finished.open("a") as file:
                        file.write(json.dumps(part) + "\n")
    results = {suite: summarize(suite, [p for p in parts if p["suite"] == suite]) for suite in options.only}
    print_results(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


def load_records(folder: Path) -> list[Record]:
    """Read the records of a suite; where they hold no costs, a call costs what the model's name says of its size."""
    records = list(read_records(sorted(folder.glob("*.jsonl.gz"))))
    if any(r.costs for r in records):
        return records
    sizes: dict[str, float | None] = {}
    for model in records[0].scores:
        found = re.search(r"(\d+)b\b", model)
        sizes[model] = float(found[1]) if found else None
    return [replace_fields(r, costs=sizes) for r in records]


def run_fold(prepared: Prepared, seed: int, fold: int) -> dict[str, Any]:
    """Train and tune on four parts, answer the fifth; sums of scores and costs over its questions."""
    table = prepared.table
    folds = np.random.default_rng(seed).permutation(len(table.texts)) % FOLDS
    training, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    texts = [table.texts[i] for i in test]
    fitted = train_fast(table.select_rows(training), seed)
    predictions = Predictions.from_predictor(fitted.predictor, texts)
    data = prepared.tuning_data(None).select_rows(training)
    data = replace(data, estimates=fitted.cross_fitted)
    held_out = replace(prepared.tuning_data(None).select_rows(test), estimates=predictions.scores)
    single = data.best_single
    out: dict[str, Any] = {
        "single": [float(held_out.scores[:, single].sum()), float(held_out.costs[:, single].sum())],
        "best_single": data.models[single],
    }
    for level in LEVELS:
        curve = find_curve(data, Dial(quality=level), seed)
        out[f"tune {level}"] = answer_part(curve, data, held_out, texts, Dial(quality=level))
        out[f"scorer {level}"] = route_part(fitted, predictions, held_out, texts, level)
        reached = curve.mix(Dial(quality=level)).average(curve.hull)
        out[f"expected {level}"] = [reached.quality, reached.cost, len(curve.grouping.centers)]
    return out


def answer_part(curve: Curve, data: TuningData, held_out: TuningData, texts: Sequence[str], dial: Dial) -> list[float]:
    """Answer questions by a tuned policy: the sums of scores and of costs. The hash of each text draws its point."""
    groups = curve.grouping.find_groups(held_out.estimates, len(texts))
    mix = curve.mix(dial)
    points = np.array([mix.choose(draw_from_text(text)) for text in texts])
    scores: Floats = np.zeros(len(texts), np.float32)
    costs: Floats = np.zeros(len(texts), np.float32)
    for place in (mix.low, mix.high):
        for group, plan in enumerate(curve.hull[place].plans):
            rows = (groups == group) & (points == place)
            right, spent = run_plan(curve.plans[plan], held_out, data.costs.mean(0))
            scores[rows], costs[rows] = right[rows], spent[rows]
    return [float(scores.sum()), float(costs.sum())]


def route_part(
    fitted: FittedScorer, predictions: Predictions, held_out: TuningData, texts: Sequence[str], level: float
) -> list[float]:
    """Route by the scorer's own trade-off."""
    mix = fitted.choices["rates"][f"at_{round(100 * level)}"]
    chosen = choose_at_mix(predictions.scores, predictions.costs, mix, texts)
    rows = np.arange(len(texts))
    return [float(held_out.scores[rows, chosen].sum()), float(held_out.costs[rows, chosen].sum())]


def summarize(suite: str, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return shares of the best single model's accuracy and cost: each seed's, their mean and standard deviation."""
    out: dict[str, Any] = {"seeds": sorted({p["seed"] for p in parts}), "levels": {}}
    for level in LEVELS:
        for method in ("tune", "scorer"):
            rows = [
                np.sum([np.array(p[f"{method} {level}"]) for p in own], axis=0)
                / np.sum([np.array(p["single"]) for p in own], axis=0)
                for seed in out["seeds"]
                if len(own := [p for p in parts if p["seed"] == seed]) == FOLDS
            ]
            if not rows:
                continue
            kept, cost = np.array(rows).T
            figures: dict[str, Any] = {
                name: {"mean": float(v.mean()), "sd": float(v.std(ddof=1)) if len(v) > 1 else None, "seeds": v.tolist()}
                for name, v in (("accuracy_kept", kept), ("cost", cost))
            }
            if method == "tune":
                hoped = TARGETS[suite][level]
                figures |= {
                    "cost_hoped_for": hoped,
                    "is_accuracy_kept": bool(kept.mean() >= level - TOLERANCE),
                    "is_cost_reached": bool(cost.mean() <= hoped),
                }
            out["levels"].setdefault(str(level), {})[method] = figures
    return out


def print_results(results: dict[str, Any]) -> None:
    for suite, found in results.items():
        for level, methods in found["levels"].items():
            for method, f in methods.items():
                kept, cost = f["accuracy_kept"], f["cost"]
                spread = "" if kept["sd"] is None else f" +- {kept['sd']:.4f}"
                line = f"{suite:12} {level} {method:7} kept {kept['mean']:.4f}{spread}, cost {cost['mean']:.3f}"
                if method == "tune":
                    line += f" (hoped for: {f['cost_hoped_for']})"
                print(line)


if __name__ == "__main__":
    main()
