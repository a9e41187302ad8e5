"""Measure how long a scorer takes: for one query, in batches, and to load in a fresh process; on one thread.

    OMP_NUM_THREADS=1 python benchmarks/scorer_speed.py DIR --out benchmarks/results/scorer_speed.json

Texts of about 512 tokens (2,400 characters) and of 30. Each figure is over 1,000 calls, after ten to warm up.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from routemoa.scoring.trained import load_trained_scorer

WORDS = (Path(__file__).parent.parent / "docs" / "how-it-works.md").read_text().split()
FRESH_PROCESS = """
import sys, time
import routemoa.core.types
def resident(key="VmHWM"):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1024
before = resident()
started = time.perf_counter()
from routemoa.scoring.trained import load_trained_scorer
load_trained_scorer(sys.argv[1]).predictor.predict(["a question"])
print(time.perf_counter() - started, resident() - before)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    predictor = load_trained_scorer(options.folder).predictor
    results: dict[str, float] = {}
    for tokens in (30, 512):
        texts = [make_text(tokens, i) for i in range(1010)]
        times = []
        for text in texts:
            started = perf_counter()
            predictor.predict([text])
            times.append((perf_counter() - started) * 1e3)
        results[f"p50_ms_{tokens}"], results[f"p99_ms_{tokens}"] = np.quantile(times[10:], [0.5, 0.99]).tolist()
        started = perf_counter()
        for at in range(0, 1000, 64):
            predictor.predict(texts[at : at + 64])
        results[f"queries_per_second_{tokens}"] = 1000 / (perf_counter() - started)
    command = [sys.executable, "-c", FRESH_PROCESS, options.folder]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(5)]
    loads = np.median([[float(v) for v in run.stdout.split()] for run in runs], axis=0)
    results["load_seconds"], results["load_megabytes"] = loads.tolist()
    for name, value in results.items():
        print(f"{name:26} {value:.2f}")
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


def make_text(tokens: int, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choices(WORDS, k=tokens * 3 // 4))[: tokens * 5]


if __name__ == "__main__":
    main()
