"""The published recipe beside the fast one on RouterDC's questions, a fifth of every task kept back.

    python benchmarks/published_routerdc.py ../shared/data/records/routerdc --encoder DIR \
        [--out benchmarks/results/published_routerdc.json] [--work DIR] [--seed 0] [--cap 128] [--pooling mean]

Needs  pip install "routemoa[train]"  and a Hugging Face encoder in DIR (or its name on the hub). Prints and writes, for
each task and as their mean, the accuracy of the first choice on the kept questions: published (by probability, and by
cosine alone as in the paper), fast, task lookup, best single. An interrupted run goes on when it is started again.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routemoa.datasets.records import read_records
from routemoa.scoring.encoder import Encoder
from routemoa.training.fast import train_fast
from routemoa.training.published.finetune import train_published
from routemoa.training.table import Table, build_table

Floats = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/published_routerdc.json"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "published_routerdc")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--patience", type=int, default=4)
    parser.add_argument("--cap", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pooling", choices=("cls", "mean"), default="cls")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--bf16", action="store_true", help="on a CPU; on CUDA it is always so")
    options = parser.parse_args()

    train, test = split(build_table(list(read_records(sorted(options.records.glob("*.train.jsonl.gz"))))), options.seed)
    print(f"{len(train.texts)} questions to train on, {len(test.texts)} kept back, {len(train.models)} models")
    resumed = (options.work / "last.safetensors").is_file()
    begun = perf_counter()
    published = train_published(
        train,
        encoder=options.encoder,
        out=options.work,
        seed=options.seed,
        epochs=options.epochs,
        patience=options.patience,
        batch=options.batch,
        cap=options.cap,
        pooling=options.pooling,
        temperature=options.temperature,
        learning_rate=options.learning_rate,
        bf16=options.bf16 or None,
        say=lambda line: print(f"{perf_counter() - begun:6.0f} s  {line}", flush=True),
    )
    # This run's clock knows nothing of the epochs before it.
    seconds = {"published": None if resumed else perf_counter() - begun}
    encoder = Encoder.load(published.folder)
    vectors = encoder.encode(test.texts)
    one = timed(lambda: encoder.encode([test.texts[0]]))
    begun = perf_counter()
    fast = train_fast(train, seed=options.seed).predictor
    seconds["fast"] = perf_counter() - begun

    means = np.nanmean(train.scores, axis=0)
    by_task = np.stack([np.nanmean(train.scores[rows(train, t)], axis=0) for t in test.tasks])
    said: dict[str, Floats] = {
        "published": published.predict(vectors),
        "published_by_cosine": vectors @ published.embeddings.T,
        "fast": fast.predict(test.texts),
        "task_lookup": by_task,
        "best_single": np.tile(means, (len(test.texts), 1)),
        "oracle": test.scores,
    }
    found: dict[str, Any] = {
        "encoder": Path(options.encoder).name,
        "settings": {k: v for k, v in vars(options).items() if k not in ("records", "encoder", "out", "work")},
        "questions": {"train": len(train.texts), "test": len(test.texts)},
        "accuracy": {name: figures(test, values) for name, values in said.items()},
        "gain_over_best_single": interval(test, said["published"], said["best_single"]),
        "gain_over_fast": interval(test, said["published"], said["fast"]),
        "best_single_model": train.models[int(means.argmax())],
        "seconds": {k: None if v is None else round(v, 1) for k, v in seconds.items()},
        "milliseconds_to_encode_one": round(one * 1e3, 2),
        "validation": dict(published.validation),
        "machine": f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
    }
    show(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def split(data: Table, seed: int) -> tuple[Table, Table]:
    """Four fifths of every task, and the fifth that is kept back."""
    rng = np.random.default_rng(seed)
    kept: list[int] = []
    for task in dict.fromkeys(data.tasks):
        mine = rng.permutation(rows(data, task))
        kept += [int(i) for i in mine[: round(0.2 * len(mine))]]
    rest = sorted(set(range(len(data.texts))) - set(kept))
    return data.select_rows(rest), data.select_rows(sorted(kept))


def rows(data: Table, task: str) -> NDArray[np.intp]:
    return np.flatnonzero(np.array([t == task for t in data.tasks]))


def chosen(data: Table, said: Floats) -> Floats:
    """The true score of the first choice, N."""
    scores: Floats = np.take_along_axis(data.scores, said.argmax(1)[:, None], axis=1)[:, 0]
    return scores


def figures(data: Table, said: Floats) -> dict[str, float]:
    """Accuracy of the first choice: each task, their mean ("macro"), and over all questions ("micro")."""
    true = chosen(data, said)
    tasks = {task: float(true[rows(data, task)].mean()) for task in dict.fromkeys(data.tasks)}
    return {**tasks, "macro": float(np.mean(list(tasks.values()))), "micro": float(true.mean())}


def interval(data: Table, one: Floats, other: Floats, seed: int = 0) -> dict[str, list[float]]:
    """95 % bootstrap intervals of the difference: macro (questions redrawn within each task) and micro."""
    gap, rng = chosen(data, one) - chosen(data, other), np.random.default_rng(seed)
    parts = [gap[rows(data, task)] for task in dict.fromkeys(data.tasks)]
    drawn = [[float(rng.choice(p, len(p)).mean()) for p in parts] for _ in range(2000)]
    macro, micro = np.mean(drawn, axis=1), np.average(drawn, axis=1, weights=[len(p) for p in parts])
    return {k: [float(q) for q in np.quantile(v, (0.025, 0.975))] for k, v in (("macro", macro), ("micro", micro))}


def timed(act: Callable[[], object], times: int = 50) -> float:
    """The median of its seconds."""
    taken: list[float] = []
    for _ in range(times):
        begun = perf_counter()
        act()
        taken.append(perf_counter() - begun)
    return float(np.median(taken))


def show(found: dict[str, Any]) -> None:
    names = list(found["accuracy"]["fast"])
    print(f"\n{'':22}" + "".join(f"{n:>15}" for n in names))
    for name, values in found["accuracy"].items():
        print(f"{name:22}" + "".join(f"{100 * values[n]:15.2f}" for n in names))
    print({k: v for k, v in found.items() if k not in ("accuracy", "validation")})


if __name__ == "__main__":
    main()
