"""Which model is best, where the models were not all asked the same questions?

    .venv/bin/python benchmarks/sparse_records.py [RECORDS ...] [--repeats 40] [--questions 400]

Complete records are made sparse as a mixture's own traffic is: two models answer every question, and up to three more
only where one of the two is wrong. The best model is then chosen by plain means of what is left, and by
`routemoa.scoring.mean_scores`, and its accuracy on questions outside the sample stands beside that of the best one
there. Each repeat draws other questions and other models. RECORDS default to RouterBench, RouterDC and ulab.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from routemoa.datasets.records import read_records
from routemoa.evaluation.statistics import bootstrap_interval
from routemoa.scoring.mean_scores import average_scores
from routemoa.scoring.predictor import Floats
from routemoa.training.table import build_table

DATA = Path(__file__).parents[2] / "shared" / "data" / "records"
MEASURED = 0.98
"""Of the questions: models with fewer scores are left out, and then questions with a score missing."""
FOLDERS = ("routerbench", "routerdc", "ulab")


def read_complete(path: Path) -> Floats:
    """Return scores without gaps, N x M."""
    scores = build_table(list(read_records(path))).scores
    scores = scores[:, (~np.isnan(scores)).mean(0) > MEASURED]
    return scores[~np.isnan(scores).any(1)]


def thin_out(scores: Floats, rng: np.random.Generator) -> Floats:
    """Keep two models' scores, and three others' where one of the two is wrong."""
    order = rng.permutation(scores.shape[1])
    out = np.full_like(scores, np.nan)
    out[:, order[:2]] = scores[:, order[:2]]
    for i in np.flatnonzero((scores[:, order[:2]] < 0.5).any(1)):
        called = rng.permutation(order[2:])[:3]
        out[i, called] = scores[i, called]
    return out


def compare(scores: Floats, repeats: int, questions: int) -> list[tuple[float, float]]:
    """Return what the choice by plain means, and by ours, loses to the best model on other questions."""
    out = []
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(scores))
        size = min(questions, len(scores) // 2)
        sample, truth = thin_out(scores[order[:size]], rng), scores[order[size:]].mean(0)
        counts = (~np.isnan(sample)).sum(0)
        plain = np.nan_to_num(sample).sum(0) / np.maximum(1, counts)
        out.append(
            (float(truth.max() - truth[plain.argmax()]), float(truth.max() - truth[average_scores(sample).argmax()]))
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--questions", type=int, default=400)
    args = parser.parse_args()
    every: list[tuple[float, float]] = []
    for path in args.records or sorted(file for folder in FOLDERS for file in (DATA / folder).glob("*.jsonl.gz")):
        scores = read_complete(path)
        if scores.shape[1] < 3 or len(scores) < 100:
            print(f"{path.parent.name}/{path.name}: too few models or questions without gaps")
            continue
        found = compare(scores, args.repeats, args.questions)
        plain, ours = np.array(found).mean(0)
        every += found
        print(f"{path.parent.name}/{path.name}: points lost by plain means {100 * plain:.1f}, by ours {100 * ours:.1f}")
    gains = [before - after for before, after in every]
    gain = bootstrap_interval(gains, seed=0)
    print(f"all: {100 * gain.mean:+.1f} points for ours ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}), 95 %")


if __name__ == "__main__":
    main()
