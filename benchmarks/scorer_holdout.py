"""Measure the fast recipe on held-out questions, for several seeds, beside its baselines.

    python benchmarks/scorer_holdout.py ../shared/data/records --out benchmarks/results/scorer_holdout.json

For each suite and seed a fifth of the questions of every task is held out; the rest is trained on. Further parts:

    ood     out of distribution: each task of RouterDC in turn is held out whole
    null    every question's scores are given to another question: there is nothing to learn
    join    five of MMLU-Pro's models are left out of training and added from 48 probes, beside the scorer that was
            trained on them
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from routemoa.datasets.records import read_records
from routemoa.training.fast_recipe import FittedScorer, train_fast
from routemoa.training.metrics import Predictions, choose_baselines, evaluate_predictions, measure_calibration
from routemoa.training.new_model import add_models, most_informative
from routemoa.training.table import Table, build_table

SUITES = ("routerdc", "mmlu_pro", "routerbench", "ulab")
NEW_MODELS, PROBES = 5, 48
FIGURES = (
    "accuracy", "best_single", "task_lookup", "random", "shuffled", "oracle", "hit_at_3", "any_correct_at_3",
    "fixed_best_3_any_correct",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="suites, 'ood', 'null', 'join'")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    parts = options.only or [*SUITES, "ood", "null", "join"]
    for name in SUITES:
        if name in parts:
            data = load_table(options.records / name)
            results[name] = summarize_runs(
                [hold_out_fifth(data, seed, macro=name == "routerdc") for seed in range(options.seeds)]
            )
            print_summary(name, results[name])
    if "ood" in parts:
        data = load_table(options.records / "routerdc")
        results["ood"] = summarize_runs([hold_out_tasks(data, seed) for seed in range(options.seeds)])
        print_summary("ood", results["ood"])
    if "null" in parts:
        data = load_table(options.records / "ulab")
        results["null"] = summarize_runs(
            [hold_out_fifth(permute_scores(data, seed), seed) for seed in range(options.seeds)]
        )
        print_summary("null", results["null"])
    if "join" in parts:
        data = load_table(options.records / "mmlu_pro")
        results["join"] = summarize_runs([measure_new_models(data, seed) for seed in range(options.seeds)])
        print_summary("join", results["join"])
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


def load_table(folder: Path) -> Table:
    return build_table(list(read_records(sorted(folder.glob("*.jsonl.gz")))))


def hold_out_fifth(data: Table, seed: int, macro: bool = False) -> dict[str, float]:
    rng = np.random.default_rng(1000 + seed)
    tasks = np.array(data.tasks)
    test = np.zeros(len(tasks), bool)
    for task in dict.fromkeys(data.tasks):
        rows = np.flatnonzero(tasks == task)
        test[rng.permutation(rows)[: len(rows) // 5]] = True
    begun = perf_counter()
    train = data.select_rows(np.flatnonzero(~test))
    fitted = train_fast(train, seed)
    seconds = perf_counter() - begun
    figures = measure(fitted, train, data.select_rows(np.flatnonzero(test)))
    shown = figures["macro"] if macro else figures
    out: dict[str, float] = {k: shown[k] for k in FIGURES} | figures["calibration"]
    low, high = figures["ci95"]["gain_over_best_single"]
    return out | {"gain_low": low, "gain_high": high, "train_seconds": seconds} | flatten_costs(figures)


def flatten_costs(figures: dict[str, Any]) -> dict[str, float]:
    """Return the figures of cost over questions, and as means over tasks."""
    parts = {"": figures.get("cost"), "macro_": figures["macro"].get("cost")}
    return {f"{p}{k}": v for p, cost in parts.items() if cost for k, v in cost.items() if k != "curve"}


def measure(fitted: FittedScorer, train: Table, test: Table) -> dict[str, Any]:
    predictions = Predictions.from_predictor(fitted.predictor, test.texts)
    rates = {key: fitted.choices[key] for key in ("rates", "macro_rates")}
    return evaluate_predictions(predictions, test, choose_baselines(train) | rates)


def hold_out_tasks(data: Table, seed: int) -> dict[str, float]:
    tasks = np.array(data.tasks)
    rows: list[dict[str, float]] = []
    predicted, truth = [], []
    for task in dict.fromkeys(data.tasks):
        train, test = data.select_rows(np.flatnonzero(tasks != task)), data.select_rows(np.flatnonzero(tasks == task))
        fitted = train_fast(train, seed)
        figures = measure(fitted, train, test)
        predicted.append(fitted.predictor.predict(test.texts))
        truth.append(test.scores)
        rows.append({k: figures[k] for k in FIGURES} | figures["calibration"])
        print(f"  without {task}: " + " ".join(f"{k} {v:.3f}" for k, v in rows[-1].items()), file=sys.stderr)
    pooled = measure_calibration(np.concatenate(predicted).ravel(), np.concatenate(truth).ravel())
    return {k: float(np.mean([r[k] for r in rows])) for k in rows[0]} | {
        f"pooled_{k}": v for k, v in pooled.items() if v
    }


def measure_new_models(data: Table, seed: int) -> dict[str, float]:
    """Measure models that were added from probes, beside a scorer that was trained on them."""
    rng = np.random.default_rng(3000 + seed)
    new = [data.models[i] for i in rng.permutation(len(data.models))[:NEW_MODELS]]
    order = rng.permutation(len(data.texts))
    fifth = len(order) // 5
    train, test = data.select_rows(order[fifth:]), data.select_rows(order[:fifth]).select_models(new)
    full = train_fast(train, seed).predictor
    partial = train_fast(train.select_models([m for m in data.models if m not in new]), seed)
    probes = most_informative(partial.predictor, partial.predictor.embed(train.texts), PROBES)
    residual = dict(zip(zip(train.tasks, train.ids, strict=True), partial.residual.tolist(), strict=True))
    joined = add_models(partial.predictor, train.select_rows(probes).select_models(new), residual)
    out: dict[str, float] = {}
    for name, p in (("trained", full), ("joined", joined)):
        predicted = p.predict(test.texts)[:, [p.models.index(m) for m in new]]
        gaps = np.abs(predicted.mean(0) - test.scores.mean(0))
        results = [measure_calibration(predicted[:, j], test.scores[:, j]) for j in range(NEW_MODELS)]
        out[f"mean_gap_{name}"] = float(gaps.mean())
        out |= {f"{k}_{name}": float(np.mean([f[k] or 0.0 for f in results])) for k in ("auc", "ece")}
    return out


def permute_scores(data: Table, seed: int) -> Table:
    order = np.random.default_rng(2000 + seed).permutation(len(data.texts))
    return replace(data, scores=data.scores[order], costs=data.costs[order])


def summarize_runs(runs: list[dict[str, float]]) -> dict[str, Any]:
    return {k: {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1)) if len(v) > 1 else None, "seeds": v}
            for k in runs[0] for v in [[r[k] for r in runs]]}  # fmt: skip


def print_summary(name: str, figures: dict[str, Any]) -> None:
    print(name)
    for k, v in figures.items():
        print(f"  {k:26} {v['mean']:.4f}" + (f" +- {v['sd']:.4f}" if v["sd"] is not None else ""), flush=True)


if __name__ == "__main__":
    main()
