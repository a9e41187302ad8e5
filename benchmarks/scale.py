"""What a mixture is worth in pools of 3 to 44 models: accuracy and tokens of each method, on recorded answers.

    .venv/bin/python benchmarks/scale.py [RECORDS] [--sizes 3,5,8,13,21,34,44] [--seeds 5]
        [--json benchmarks/results/scale.json] [--plot docs/scale.svg]

For each size and seed a pool is drawn at random (a seed's pools lie in each other); priors, the correlation of errors
and the worth of the votes are learned on one half of the questions, another one for each seed, and the other half is
measured. No scorer looks at the query: priors are each model's mean. Dense mixtures: three layers and an aggregator,
whose answer is the majority's. RECORDS default to ../shared/data/records/zeroeval/gsm.jsonl.gz.
"""

from __future__ import annotations

import argparse
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from routemoa.core.types import Scores
from routemoa.datasets.records import read
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.methods import Replay
from routemoa.evaluation.replay.pool_sizes import sample_pool, summarize_sizes
from routemoa.evaluation.replay.token_counts import ReplayQuestion

HERE = Path(__file__).parent
LEARN = runpy.run_path(str(HERE / "replay.py"))["learn"]
METHODS = ("routemoa", "best-single", "fixed-best-3", "random", "vote-all", "smoa", "moa", "oracle")
MARKERS = dict(zip(METHODS, "os^xDP*.", strict=True))
COLOURS = dict(zip(METHODS, ("C3", "C0", "C1", "C2", "C5", "C4", "C7", "0.7"), strict=True))


def pooled(pages: list[ReplayQuestion], names: list[str], size: int, seed: int) -> list[Outcome]:
    """The methods among `size` models, learned on one half and measured on the other."""
    order = np.random.default_rng(seed).permutation(len(pages))
    train, test = ([pages[i] for i in half] for half in np.split(order, [len(pages) // 2]))
    models = sample_pool(names, size, seed)
    right = {m: sum(p.record.scores[m] or 0.0 for p in train) for m in models}
    prior: Scores = {m: (r + 1) / (len(train) + 2) for m, r in right.items()}
    best = tuple(sorted(models, key=lambda m: -right[m]))
    base = Replay(train, models, [prior] * len(train), best)
    judging = LEARN(base, prior, seed)
    return replace(base, questions=test, priors=[prior] * len(test), judge_model=judging).run(METHODS, seed)


def plot(lines: dict[str, Any], file: str) -> None:
    """Accuracy, and tokens, against the number of models."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "routemoa"
    figure, (above, below) = pyplot.subplots(1, 2, figsize=(10, 4))
    for method, line in lines.items():
        x = [p["models"] for p in line]
        style: dict[str, Any] = {"marker": MARKERS[method], "label": method, "markersize": 5}
        style |= {"color": COLOURS[method], **({"zorder": 3} if method == "routemoa" else {"alpha": 0.8, "lw": 1})}
        right = [100 * p["accuracy"] for p in line]
        above.plot(x, right, **style)
        if method == "routemoa":
            above.fill_between(
                x, [100 * p["ci95"][0] for p in line], [100 * p["ci95"][1] for p in line], color="C3", alpha=0.15, lw=0
            )
        below.plot(x, [p["tokens"] for p in line], **style)
    above.set(xscale="log", xlabel="models in the pool", ylabel="right, %")
    below.set(xscale="log", yscale="log", xlabel="models in the pool", ylabel="tokens a question, prompts and answers")
    for axis in (above, below):
        axis.set_xticks(x, map(str, x))
        axis.minorticks_off()
    above.legend(fontsize=7)
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
    arguments = parser.parse_args()
    records = list(read(arguments.records))
    names = [m for m in records[0].scores if all(r.scores.get(m) is not None for r in records)]
    pages = [ReplayQuestion(r, names) for r in records]
    sizes = sorted({min(int(size), len(names)) for size in arguments.sizes.split(",")})
    by_size = {k: [o for s in range(arguments.seeds) for o in pooled(pages, names, k, s)] for k in sizes}
    lines = summarize_sizes(by_size, 0)
    for method, line in lines.items():
        print(f"{method:14} " + "  ".join(f"{p['models']}: {p['accuracy']:.1%} {p['tokens']:.0f}" for p in line))
    if arguments.json:
        command = f"python benchmarks/scale.py --sizes {arguments.sizes} --seeds {arguments.seeds}"
        found = {"command": command, "records": Path(arguments.records).name, "questions": len(records), "scale": lines}
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n")
    if arguments.plot:
        plot(lines, arguments.plot)


if __name__ == "__main__":
    main()
