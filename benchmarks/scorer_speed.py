"""How long the scorer takes: one query at a time, in batches, and to load in a fresh process; one thread.

    OMP_NUM_THREADS=1 python benchmarks/scorer_speed.py DIR --out benchmarks/results/scorer_speed.json

Texts of about 512 tokens (2,400 characters) and of 30; each figure over 1,000 calls after ten to warm up.
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
FRESH = """
import sys, time
import routemoa.core.types
def resident(key="VmHWM"):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1024
before = resident()
begun = time.perf_counter()
from routemoa.scoring.trained import load
load(sys.argv[1]).predictor.predict(["a question"])
print(time.perf_counter() - begun, resident() - before)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    predictor = load_trained_scorer(options.folder).predictor
    found: dict[str, float] = {}
    for tokens in (30, 512):
        texts = [_text(tokens, i) for i in range(1010)]
        times = []
        for text in texts:
            begun = perf_counter()
            predictor.predict([text])
            times.append((perf_counter() - begun) * 1e3)
        found[f"p50_ms_{tokens}"], found[f"p99_ms_{tokens}"] = np.quantile(times[10:], [0.5, 0.99]).tolist()
        begun = perf_counter()
        for at in range(0, 1000, 64):
            predictor.predict(texts[at : at + 64])
        found[f"queries_per_second_{tokens}"] = 1000 / (perf_counter() - begun)
    run = [subprocess.run([sys.executable, "-c", FRESH, options.folder], capture_output=True, text=True, check=True)
           for _ in range(5)]  # fmt: skip
    loads = np.median([[float(v) for v in r.stdout.split()] for r in run], axis=0)
    found["load_seconds"], found["load_megabytes"] = loads.tolist()
    for name, value in found.items():
        print(f"{name:26} {value:.2f}")
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def _text(tokens: int, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choices(WORDS, k=tokens * 3 // 4))[: tokens * 5]


if __name__ == "__main__":
    main()
