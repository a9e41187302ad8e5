"""Methods in pools of 3 to 44 models: accuracy and tokens of each, on recorded answers.

    .venv/bin/python benchmarks/scale.py [RECORDS] [--sizes 3,5,8,13,21,34,44] [--seeds 5]
        [--json benchmarks/results/scale.json] [--plot docs/scale.svg]

For each size and seed a pool is sampled (a seed's larger pools contain its smaller ones). Priors, the correlation of
errors and the weights of the votes are learned on one half of the questions, another one for each seed, and all figures
are measured on the other half. No scorer reads the query: priors are each model's mean. Dense mixtures: three layers
and an aggregator, whose answer is the majority's. RECORDS default to ../shared/data/records/zeroeval/gsm.jsonl.gz.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).with_name("replay")))  # shares its learning

from splits import learn_judge_model

from routemoa.core.types import Scores
from routemoa.datasets.records import read_records
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.methods import Replay
from routemoa.evaluation.replay.pool_sizes import sample_pool, summarize_sizes
from routemoa.evaluation.replay.token_counts import ReplayQuestion

HERE = Path(__file__).parent
METHODS = ("routemoa", "best-single", "fixed-best-3", "random", "vote-all", "smoa", "moa", "oracle")
MARKERS = dict(zip(METHODS, "os^xDP*.", strict=True))
COLOURS = dict(zip(METHODS, ("C3", "C0", "C1", "C2", "C5", "C4", "C7", "0.7"), strict=True))


def run_pool(questions: list[ReplayQuestion], names: list[str], size: int, seed: int) -> list[Outcome]:
    """Run the methods among `size` random models: learn on one half of the questions, measure on the other."""
    order = np.random.default_rng(seed).permutation(len(questions))
    train, test = ([questions[i] for i in half] for half in np.split(order, [len(questions) // 2]))
    models = sample_pool(names, size, seed)
    right = {m: sum(q.record.scores[m] or 0.0 for q in train) for m in models}
    prior: Scores = {m: (r + 1) / (len(train) + 2) for m, r in right.items()}
    best_first = tuple(sorted(models, key=lambda m: -right[m]))
    base = Replay(train, models, [prior] * len(train), best_first)
    judge_model = learn_judge_model(base, prior, seed)
    replay = replace(base, questions=test, priors=[prior] * len(test), judge_model=judge_model)
    return replay.run(METHODS, seed)


def plot_curves(curves: dict[str, Any], file: str) -> None:
    """Plot accuracy, and tokens, against the number of models."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "routemoa"
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for method, points in curves.items():
        x = [p["models"] for p in points]
        style: dict[str, Any] = {"marker": MARKERS[method], "label": method, "markersize": 5}
        style |= {"color": COLOURS[method], **({"zorder": 3} if method == "routemoa" else {"alpha": 0.8, "lw": 1})}
        left.plot(x, [100 * p["accuracy"] for p in points], **style)
        if method == "routemoa":
            low, high = [100 * p["ci95"][0] for p in points], [100 * p["ci95"][1] for p in points]
            left.fill_between(x, low, high, color="C3", alpha=0.15, lw=0)
        right.plot(x, [p["tokens"] for p in points], **style)
    label = "models in the pool"
    left.set(xscale="log", xlabel=label, ylabel="right, %")
    right.set(xscale="log", yscale="log", xlabel=label, ylabel="tokens per question, prompts and answers")
    for axis in (left, right):
        axis.set_xticks(x, map(str, x))
        axis.minorticks_off()
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.endswith(".svg") else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = HERE.parents[1] / "shared" / "data" / "records" / "zeroeval" / "gsm.jsonl.gz"
    parser.add_argument("records", nargs="?", default=str(default))
    parser.add_argument("--sizes", default="3,5,8,13,21,34,44")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()
    records = list(read_records(options.records))
    names = [m for m in records[0].scores if all(r.scores.get(m) is not None for r in records)]
    questions = [ReplayQuestion(r, names) for r in records]
    sizes = sorted({min(int(size), len(names)) for size in options.sizes.split(",")})
    by_size = {k: [o for seed in range(options.seeds) for o in run_pool(questions, names, k, seed)] for k in sizes}
    curves = summarize_sizes(by_size, 0)
    for method, points in curves.items():
        print(f"{method:14} " + "  ".join(f"{p['models']}: {p['accuracy']:.1%} {p['tokens']:.0f}" for p in points))
    if options.json:
        command = f"python benchmarks/scale.py --sizes {options.sizes} --seeds {options.seeds}"
        result = {"command": command, "records": Path(options.records).name, "questions": len(records), "scale": curves}
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    if options.plot:
        plot_curves(curves, options.plot)


if __name__ == "__main__":
    main()
