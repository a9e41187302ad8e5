"""Compare the published recipe with the fast one on RouterDC's questions, a fifth of every task held out.

    python benchmarks/published_routerdc.py ../shared/data/records/routerdc --encoder DIR \
        [--out benchmarks/results/published_routerdc.json] [--work DIR] [--seed 0] [--cap 128] [--pooling mean]

Needs  pip install '.[train]'  and a Hugging Face encoder in DIR (or its name on the hub). Prints and writes, for
each task and as their mean, the accuracy of the first choice on the held-out questions: published (by probability, and
by cosine alone as in the paper), fast, nearest neighbours, task lookup, best single. An interrupted run continues when
it is started again.
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
from routemoa.scoring.router_baselines import fit_router_baselines
from routemoa.training.fast_recipe import train_fast
from routemoa.training.published.finetune import PublishedSettings, train_published
from routemoa.training.table import Table, build_table

Floats = NDArray[np.float32]


def main() -> None:
    options = parse_options()
    train, test = split_by_task(
        build_table(list(read_records(sorted(options.records.glob("*.train.jsonl.gz"))))), options.seed
    )
    print(f"{len(train.texts)} questions to train on, {len(test.texts)} held out, {len(train.models)} models")
    resumed = (options.work / "last.safetensors").is_file()
    started = perf_counter()
    settings = PublishedSettings(
        encoder=options.encoder,
        seed=options.seed,
        epochs=options.epochs,
        patience=options.patience,
        batch=options.batch,
        cap=options.cap,
        pooling=options.pooling,
        temperature=options.temperature,
        learning_rate=options.learning_rate,
        bf16=options.bf16 or None,
    )
    published = train_published(
        train,
        options.work,
        settings,
        report=lambda line: print(f"{perf_counter() - started:6.0f} s  {line}", flush=True),
    )
    # The time of a resumed run leaves out the epochs before it.
    seconds = {"published": None if resumed else perf_counter() - started}
    encoder = Encoder.load(published.folder)
    vectors = encoder.encode(test.texts)
    one = measure_seconds(lambda: encoder.encode([test.texts[0]]))
    started = perf_counter()
    fast = train_fast(train, seed=options.seed).predictor
    seconds["fast"] = perf_counter() - started
    neighbors = fit_router_baselines(fast.embed(list(train.texts)), train.scores, options.seed)

    means = np.nanmean(train.scores, axis=0)
    by_task = np.stack([np.nanmean(train.scores[task_rows(train, t)], axis=0) for t in test.tasks])
    predictions: dict[str, Floats] = {
        "published": published.predict(vectors),
        "published_by_cosine": vectors @ published.embeddings.T,
        "fast": fast.predict(test.texts),
        "nearest_neighbors": neighbors.average_neighbors(fast.embed(list(test.texts))),
        "task_lookup": by_task,
        "best_single": np.tile(means, (len(test.texts), 1)),
        "oracle": test.scores,
    }
    results: dict[str, Any] = {
        "encoder": Path(options.encoder).name,
        "settings": {k: v for k, v in vars(options).items() if k not in ("records", "encoder", "out", "work")},
        "questions": {"train": len(train.texts), "test": len(test.texts)},
        "accuracy": {name: measure_accuracy(test, values) for name, values in predictions.items()},
        "gain_over_best_single": bootstrap_interval(test, predictions["published"], predictions["best_single"]),
        "gain_over_fast": bootstrap_interval(test, predictions["published"], predictions["fast"]),
        "best_single_model": train.models[int(means.argmax())],
        "seconds": {k: None if v is None else round(v, 1) for k, v in seconds.items()},
        "milliseconds_to_encode_one": round(one * 1e3, 2),
        "validation": dict(published.validation),
        "machine": f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
    }
    print_results(results)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def parse_options() -> argparse.Namespace:
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
    parser.add_argument("--bf16", action="store_true", help="on a CPU, too; CUDA always uses it")
    return parser.parse_args()


def split_by_task(data: Table, seed: int) -> tuple[Table, Table]:
    """Split every task: four fifths to train on, a fifth held out."""
    rng = np.random.default_rng(seed)
    held_out: list[int] = []
    for task in dict.fromkeys(data.tasks):
        shuffled = rng.permutation(task_rows(data, task))
        held_out += [int(i) for i in shuffled[: round(0.2 * len(shuffled))]]
    rest = sorted(set(range(len(data.texts))) - set(held_out))
    return data.select_rows(rest), data.select_rows(sorted(held_out))


def task_rows(data: Table, task: str) -> NDArray[np.intp]:
    return np.flatnonzero(np.array([t == task for t in data.tasks]))


def first_choice_scores(data: Table, predictions: Floats) -> Floats:
    """Return the true score of the first choice, N."""
    scores: Floats = np.take_along_axis(data.scores, predictions.argmax(1)[:, None], axis=1)[:, 0]
    return scores


def measure_accuracy(data: Table, predictions: Floats) -> dict[str, float]:
    """Return the accuracy of the first choice: on each task, their mean ("macro"), on all questions ("micro")."""
    true = first_choice_scores(data, predictions)
    tasks = {task: float(true[task_rows(data, task)].mean()) for task in dict.fromkeys(data.tasks)}
    return {**tasks, "macro": float(np.mean(list(tasks.values()))), "micro": float(true.mean())}


def bootstrap_interval(data: Table, one: Floats, other: Floats, seed: int = 0) -> dict[str, list[float]]:
    """Return 95 % bootstrap intervals of the difference: macro (resampled within each task) and micro."""
    gap, rng = first_choice_scores(data, one) - first_choice_scores(data, other), np.random.default_rng(seed)
    parts = [gap[task_rows(data, task)] for task in dict.fromkeys(data.tasks)]
    drawn = [[float(rng.choice(p, len(p)).mean()) for p in parts] for _ in range(2000)]
    macro, micro = np.mean(drawn, axis=1), np.average(drawn, axis=1, weights=[len(p) for p in parts])
    return {k: [float(q) for q in np.quantile(v, (0.025, 0.975))] for k, v in (("macro", macro), ("micro", micro))}


def measure_seconds(act: Callable[[], object], times: int = 50) -> float:
    """Return the median of the seconds that `act` takes."""
    seconds: list[float] = []
    for _ in range(times):
        started = perf_counter()
        act()
        seconds.append(perf_counter() - started)
    return float(np.median(seconds))


def print_results(results: dict[str, Any]) -> None:
    names = list(results["accuracy"]["fast"])
    print(f"\n{'':22}" + "".join(f"{n:>15}" for n in names))
    for name, values in results["accuracy"].items():
        print(f"{name:22}" + "".join(f"{100 * values[n]:15.2f}" for n in names))
    print({k: v for k, v in results.items() if k not in ("accuracy", "validation")})


if __name__ == "__main__":
    main()
