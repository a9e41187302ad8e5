"""Hit rates of the scorer on a pool of specialists: five models that each lead one task family.

    .venv/bin/python benchmarks/specialists.py [--records DIR] [--seeds 3] [--json benchmarks/results/specialists.json]

A hit, as RouteMoA's paper counts it (arXiv 2601.18130): among the questions that at least one model gets right, one of
the k first predicted models gets it right. Its small pool of specialists has 90.7 (k = 1) and 97.9 (k = 3).

The pool is made from RouterDC's records (five task families, seven models): the five models, one to each family, that
lead their family by the most on the learning half. The scorer (`fast`) and nearest neighbours learn from that half; all
figures are from the other one. Beside them: the best model of the question's true task (task lookup), the best single
model (its k best for k = 3), the scorer's picks given to other questions (shuffled), picks at random.
Intervals: 95 %, bootstrap over questions of the mean over seeds.
"""

from __future__ import annotations

import argparse
import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.datasets.records import read_records
from routemoa.scoring.router_baselines import fit_router_baselines
from routemoa.training.fast_recipe import train_fast
from routemoa.training.table import Table, build_table

RECORDS = Path(__file__).parents[2] / "shared" / "data" / "records" / "routerdc"
RESAMPLES = 2000
PUBLISHED = {"top-1": 90.7, "top-3": 97.9}

Floats = NDArray[np.float32]


def task_means(table: Table, tasks: list[str]) -> Floats:
    """Return each model's mean score on each task, T x M."""
    rows = [np.array([t == task for t in table.tasks]) for task in tasks]
    return np.stack([np.nanmean(table.scores[mask], axis=0) for mask in rows]).astype(np.float32)


def choose_specialists(table: Table, tasks: list[str]) -> tuple[list[int], float]:
    """Return the columns of one model for each task that leads it among the chosen, and the least of their leads."""
    means = task_means(table, tasks)

    def least_lead(chosen: tuple[int, ...]) -> float:
        own = means[:, list(chosen)]
        others = own.copy()
        np.fill_diagonal(others, -1.0)
        return float((np.diag(own) - others.max(axis=1)).min())

    best = max(permutations(range(means.shape[1]), len(tasks)), key=least_lead)
    return list(best), least_lead(best)


def hits(values: Floats, scores: Floats, k: int) -> NDArray[np.float64]:
    """Return whether one of the k models with the highest values is right, for each question."""
    first = np.argsort(-values, axis=1, kind="stable")[:, :k]
    out: NDArray[np.float64] = np.take_along_axis(np.nan_to_num(scores), first, axis=1).max(axis=1).astype(np.float64)
    return out


def run_seed(table: Table, seed: int) -> dict[str, Any]:
    """Return the hits of every row on the test half of the questions that some model gets right."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table.texts))
    train, test = (table.select_rows(half) for half in np.split(order, [len(order) // 2]))
    tasks = sorted(set(train.tasks))
    columns, lead = choose_specialists(train, tasks)
    models = [train.models[c] for c in columns]
    train, test = train.select_models(models), test.select_models(models)
    able = np.nan_to_num(test.scores).max(axis=1) > 0.5
    test, rows = test.select_rows(np.flatnonzero(able)), order[len(order) // 2 :][able]
    predictor = train_fast(train, seed=seed).predictor
    vectors = predictor.embed(list(train.texts))
    neighbors = fit_router_baselines(vectors, train.scores, seed)
    fast = predictor.predict(list(test.texts))
    lookup = task_means(train, tasks)
    n = len(test.texts)
    values: dict[str, Floats] = {
        "scorer (fast)": fast,
        "nearest neighbours": neighbors.average_neighbors(predictor.embed(list(test.texts))),
        "task lookup": np.stack([lookup[tasks.index(t)] for t in test.tasks]),
        "best single": np.tile(np.nanmean(train.scores, axis=0), (n, 1)),
        "shuffled": fast[rng.permutation(n)],
        "random": rng.random((n, len(models)), dtype=np.float32),
    }
    found = {f"top-{k}": {row: hits(v, test.scores, k) for row, v in values.items()} for k in (1, 3)}
    return {"models": dict(zip(tasks, models, strict=True)), "least_lead": lead, "rows": rows, "hits": found}


def summarize_hits(runs: list[dict[str, Any]], level: str, row: str) -> dict[str, Any]:
    """Return the mean in per cent, its interval, and the spread over seeds."""
    of_question: dict[int, list[float]] = {}
    for run in runs:
        for question, hit in zip(run["rows"], run["hits"][level][row], strict=True):
            of_question.setdefault(int(question), []).append(float(hit))
    means = np.array([np.mean(v) for v in of_question.values()])
    rng = np.random.default_rng(0)
    draws = [means[rng.integers(0, len(means), len(means))].mean() for _ in range(RESAMPLES)]
    by_seed = [100 * float(run["hits"][level][row].mean()) for run in runs]
    ci95 = [100 * float(x) for x in np.percentile(draws, (2.5, 97.5))]
    return {"hit_rate": 100 * float(means.mean()), "ci95": ci95, "seeds": by_seed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = build_table(list(read_records(sorted(options.records.glob("*.train.jsonl.gz")))))
    runs = [run_seed(table, seed) for seed in range(options.seeds)]
    figures: dict[str, Any] = {"published": PUBLISHED, "pools": [r["models"] for r in runs]}
    figures["least_lead"] = [r["least_lead"] for r in runs]
    for level, found in runs[0]["hits"].items():
        print(f"{level} (published, on its own pool: {PUBLISHED[level]})")
        figures[level] = {row: summarize_hits(runs, level, row) for row in found}
        for row, f in figures[level].items():
            seeds = ", ".join(f"{x:.1f}" for x in f["seeds"])
            print(f"  {row:20} {f['hit_rate']:5.1f} ({f['ci95'][0]:.1f} to {f['ci95'][1]:.1f})  seeds {seeds}")
    print(json.dumps(figures["pools"][0]), "least lead", figures["least_lead"])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
