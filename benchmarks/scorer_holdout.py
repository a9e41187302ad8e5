"""The fast recipe on questions kept back, seed by seed, beside what it must beat.

    python benchmarks/scorer_holdout.py ../shared/data/records --out benchmarks/results/scorer_holdout.json

For each suite and seed a fifth of the questions of every task is held out; the rest is trained on. Out of distribution:
each task of RouterDC in turn is held out whole. Null: every question's scores are given to another question. Joined:
five of MMLU-Pro's models are left out of training and join from 48 probes, beside the scorer that was trained on them.
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
from routemoa.training.fast import FittedScorer, train_fast
from routemoa.training.metrics import Predictions, evaluate_predictions, measure_calibration, choose_baselines
from routemoa.training.new_model import add_models, most_informative
from routemoa.training.table import Table, build_table

SUITES = ("routerdc", "mmlu_pro", "routerbench", "ulab")
JOINING, PROBES = 5, 48
KEPT = (
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
    found: dict[str, Any] = {}
    wanted = options.only or [*SUITES, "ood", "null", "join"]
    for name in SUITES:
        if name in wanted:
            data = _load(options.records / name)
            found[name] = _over([_held_out(data, seed, macro=name == "routerdc") for seed in range(options.seeds)])
            _say(name, found[name])
    if "ood" in wanted:
        data = _load(options.records / "routerdc")
        found["ood"] = _over([_without_task(data, seed) for seed in range(options.seeds)])
        _say("ood", found["ood"])
    if "null" in wanted:
        data = _load(options.records / "ulab")
        found["null"] = _over([_held_out(_permuted(data, seed), seed) for seed in range(options.seeds)])
        _say("null", found["null"])
    if "join" in wanted:
        data = _load(options.records / "mmlu_pro")
        found["join"] = _over([_joined(data, seed) for seed in range(options.seeds)])
        _say("join", found["join"])
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def _load(folder: Path) -> Table:
    return build_table(list(read_records(sorted(folder.glob("*.jsonl.gz")))))


def _held_out(data: Table, seed: int, macro: bool = False) -> dict[str, float]:
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
    figures = _measure(fitted, train, data.select_rows(np.flatnonzero(test)))
    shown = figures["macro"] if macro else figures
    out: dict[str, float] = {k: shown[k] for k in KEPT} | figures["calibration"]
    low, high = figures["ci95"]["gain_over_best_single"]
    return out | {"gain_low": low, "gain_high": high, "train_seconds": seconds} | _cost(figures)


def _cost(figures: dict[str, Any]) -> dict[str, float]:
    """Over questions, and as means over tasks."""
    parts = {"": figures.get("cost"), "macro_": figures["macro"].get("cost")}
    return {f"{p}{k}": v for p, cost in parts.items() if cost for k, v in cost.items() if k != "curve"}


def _measure(fitted: FittedScorer, train: Table, test: Table) -> dict[str, Any]:
    return evaluate_predictions(Predictions.from_predictor(fitted.predictor, test.texts), test, choose_baselines(train) | {"rates": fitted.choices["rates"]})


def _without_task(data: Table, seed: int) -> dict[str, float]:
    tasks = np.array(data.tasks)
    rows: list[dict[str, float]] = []
    told, truth = [], []
    for task in dict.fromkeys(data.tasks):
        train, test = data.select_rows(np.flatnonzero(tasks != task)), data.select_rows(np.flatnonzero(tasks == task))
        fitted = train_fast(train, seed)
        figures = _measure(fitted, train, test)
        told.append(fitted.predictor.predict(test.texts))
        truth.append(test.scores)
        rows.append({k: figures[k] for k in KEPT} | figures["calibration"])
        print(f"  without {task}: " + " ".join(f"{k} {v:.3f}" for k, v in rows[-1].items()), file=sys.stderr)
    pooled = measure_calibration(np.concatenate(told).ravel(), np.concatenate(truth).ravel())
    return {k: float(np.mean([r[k] for r in rows])) for k in rows[0]} | {
        f"pooled_{k}": v for k, v in pooled.items() if v
    }


def _joined(data: Table, seed: int) -> dict[str, float]:
    """Gaps of models that joined from probes to the truth, and to a scorer that was trained on them."""
    rng = np.random.default_rng(3000 + seed)
    late = [data.models[i] for i in rng.permutation(len(data.models))[:JOINING]]
    order = rng.permutation(len(data.texts))
    train, test = data.select_rows(order[len(order) // 5 :]), data.select_rows(order[: len(order) // 5]).select_models(late)
    whole = train_fast(train, seed).predictor
    early = train_fast(train.select_models([m for m in data.models if m not in late]), seed)
    probes = most_informative(early.predictor, early.predictor.embed(train.texts), PROBES)
    surprise = dict(zip(zip(train.tasks, train.ids, strict=True), early.residual.tolist(), strict=True))
    joined = add_models(early.predictor, train.select_rows(probes).select_models(late), surprise)
    out: dict[str, float] = {}
    for name, p in (("trained", whole), ("joined", joined)):
        said = p.predict(test.texts)[:, [p.models.index(m) for m in late]]
        gaps = np.abs(said.mean(0) - test.scores.mean(0))
        found = [measure_calibration(said[:, j], test.scores[:, j]) for j in range(JOINING)]
        out[f"mean_gap_{name}"] = float(gaps.mean())
        out |= {f"{k}_{name}": float(np.mean([f[k] or 0.0 for f in found])) for k in ("auc", "ece")}
    return out


def _permuted(data: Table, seed: int) -> Table:
    moved = np.random.default_rng(2000 + seed).permutation(len(data.texts))
    return replace(data, scores=data.scores[moved], costs=data.costs[moved])


def _over(runs: list[dict[str, float]]) -> dict[str, Any]:
    return {k: {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1)) if len(v) > 1 else None, "seeds": v}
            for k in runs[0] for v in [[r[k] for r in runs]]}  # fmt: skip


def _say(name: str, figures: dict[str, Any]) -> None:
    print(name)
    for k, v in figures.items():
        print(f"  {k:26} {v['mean']:.4f}" + (f" +- {v['sd']:.4f}" if v["sd"] is not None else ""), flush=True)


if __name__ == "__main__":
    main()
