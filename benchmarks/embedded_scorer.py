"""Measure the embedded pool's own scorer on held-out questions, then train it on all of them into the package.

    python benchmarks/short_questions.py --each 40 --seed 0 > short.jsonl
    routemoa collect short.jsonl --out benchmarks/results/short_questions.records.jsonl.gz --concurrency 1
    python benchmarks/embedded_scorer.py --out src/routemoa/scoring/embedded

A third of the questions of every kind is held out, five times. The first choice is that of the engine's own ranking
with the embedded pool's settings; seconds are those that the recorded calls took. "by the second" is the same where a
second has a price: the highest that was not shown, in training, to lose more than 1 % of the best single model's
accuracy (by one standard error).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from routemoa.cli.scorer.train import train
from routemoa.core.pool_file.pool import Pool
from routemoa.datasets.records import read_records
from routemoa.routing.planning.ranking import RankingOptions, rank_models
from routemoa.training.cost_tradeoff import choose_at_mix
from routemoa.training.fast_recipe import train_fast
from routemoa.training.metrics import Predictions
from routemoa.training.table import build_table

RESULTS = Path(__file__).parent / "results"
RECORDS = RESULTS / "short_questions.records.jsonl.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="train on everything, too, into this folder")
    options = parser.parse_args()
    runs = [run(seed) for seed in range(5)]
    results = {name: {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1))} for name in runs[0]
             for v in [[r[name] for r in runs]]}  # fmt: skip
    for name, value in results.items():
        print(f"{name:24} {value['mean']:.3f} +- {value['sd']:.3f}")
    (RESULTS / "embedded_scorer.json").write_text(json.dumps(results, indent=2) + "\n")
    if options.out:
        train([str(RECORDS), "--out", options.out], standalone_mode=False)


def run(seed: int) -> dict[str, float]:
    records = list(read_records(RECORDS))
    data, pool = build_table(records), Pool.embedded()
    rng = np.random.default_rng(seed)
    tasks, test = np.array(data.tasks), np.zeros(len(records), bool)
    for task in dict.fromkeys(data.tasks):
        rows = np.flatnonzero(tasks == task)
        test[rng.permutation(rows)[: len(rows) // 3]] = True
    seconds_taken = [[(r.seconds or {}).get(m) or np.nan for m in data.models] for r in records]
    data = replace(data, costs=np.array(seconds_taken, np.float32))  # the price of a call is its seconds
    training = data.select_rows(np.flatnonzero(~test))
    single = data.models[int(np.nanmean(training.scores, axis=0).argmax())]
    held_out = [r for r, is_test in zip(records, test, strict=True) if is_test]
    fitted = train_fast(training, seed)
    texts = [r.query for r in held_out]
    predictions = Predictions.from_predictor(fitted.predictor, texts)
    predicted = predictions.scores
    quick = choose_at_mix(predicted, predictions.costs, fitted.choices["rates"]["at_99"], texts)
    rows = np.flatnonzero(test)
    quick_right, quick_seconds = data.scores[rows, quick], data.costs[rows, quick]
    right, seconds, single_right, single_seconds, oracle = [], [], [], [], []
    for record, row in zip(held_out, predicted, strict=True):
        scores = dict(zip(data.models, map(float, row), strict=True))
        first = rank_models(pool, scores, RankingOptions(tie=pool.mixture.preference.tie))[0].model
        right.append(record.scores[first] or 0.0)
        single_right.append(record.scores[single] or 0.0)
        oracle.append(max(s or 0.0 for s in record.scores.values()))
        seconds.append((record.seconds or {})[first] or 0.0)
        single_seconds.append((record.seconds or {})[single] or 0.0)
    gain = np.array(right) - np.array(single_right)
    return {
        "first choice": float(np.mean(right)),
        "best single": float(np.mean(single_right)),
        "oracle": float(np.mean(oracle)),
        "gain": float(gain.mean()),
        "standard error of gain": float(gain.std() / np.sqrt(len(gain))),
        "share of its seconds": float(np.sum(seconds) / np.sum(single_seconds)),
        "gain, by the second": float(quick_right.mean() - np.mean(single_right)),
        "share, by the second": float(quick_seconds.sum() / np.sum(single_seconds)),
    }


if __name__ == "__main__":
    main()
