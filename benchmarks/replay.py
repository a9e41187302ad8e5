"""Whole mixtures replayed on recorded answers: RouteMoA beside every simple rule, at its number of calls.

    .venv/bin/python benchmarks/replay.py [RECORDS ...] [--prefer balanced] [--splits 5] [--judges 0.7]
        [--json FILE] [--plot FILE.svg]

Proposals are the recorded texts (routemoa.testing.RecordedClient behind the real engine, prompts and parsing). In
each split the models' priors, the correlation of their errors and the worth of the signals are learned on one half of
the questions; everything shown is measured on the other half. Without --judges the only evidence is agreement; with
it, judges of that AUC score each other's answers in later layers (self-scores: an AUC of 0.6, inflated). RECORDS
default to ../shared/data/records/zeroeval/{gsm,math_l5}. Models with a null score are left out, as in
../shared/mixture-notes.md.

Pools of each file: all its models; without those whose name begins with o1; the fourteen of accuracy ranks 11 to 24.
Rows: best single (chosen on the training half), votes of the best 3 and of all, a random panel of the mean size, a
plain rule (grow until one answer leads by two), the panels of RouteMoA given to other questions (shuffled), any of
three, oracle. Intervals: 95 %, bootstrap over questions of each question's mean over the splits it was tested in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from msgspec.structs import replace

from routemoa.answers import Groups, group
from routemoa.engine import RouteMoA
from routemoa.evidence import Coefficients, Judging
from routemoa.pool import Mixture, Pool
from routemoa.records import Record, read
from routemoa.steps import heard
from routemoa.testing import RecordedClient, SimulatedJudge
from routemoa.train.judging import Graded, correlation, fit, graded_trace, measure, told
from routemoa.types import ModelSpec, Query, Trace

DATA = Path(__file__).parents[2] / "shared" / "data" / "records" / "zeroeval"
ROWS = ("routemoa", "best single", "vote of 3", "vote of all", "grow until two ahead", "random panel", "shuffled",
        "any of 3", "oracle")  # fmt: skip


class Bench:
    """One pool on one file of records."""

    def __init__(self, records: list[Record], models: list[str]) -> None:
        self.records, self.models = records, models
        self.scores = np.array([[r.scores.get(m) or 0.0 for m in models] for r in records])
        self.groups: list[Groups] = [group([(r.responses or {}).get(m) or "" for m in models]) for r in records]
        self.of = [[g if g is not None else -1 for g in found.of] for found in self.groups]

    def vote(self, question: int, members: list[int]) -> float:
        """Majority of the members, ties to the one named first."""
        counts = Counter(self.of[question][m] for m in members if self.of[question][m] >= 0)
        if not counts:
            return float(self.scores[question, members[0]])
        top = max(counts.values())
        return float(self.scores[question, next(m for m in members if counts.get(self.of[question][m]) == top)])

    def grow(self, question: int, order: list[int], lead: int = 2, most: int = 9) -> tuple[float, int]:
        """The plain rule of mixture-notes.md."""
        for k in range(2, min(most, len(order)) + 1):
            counts = sorted(Counter(g for m in order[:k] if (g := self.of[question][m]) >= 0).values(), reverse=True)
            if counts and counts[0] - (counts[1] if len(counts) > 1 else 0) >= lead:
                break
        return self.vote(question, order[:k]), k

    def graded(self, rows: np.ndarray[Any, Any], prior: dict[str, float]) -> list[Graded]:
        """The training half as graded queries without judgments."""
        width = len(self.models)
        return [
            Graded(prior, tuple(self.models), self.groups[i], tuple(self.scores[i]), (), (False,) * width) for i in rows
        ]


async def replay(
    bench: Bench, rows: np.ndarray[Any, Any], pool: Pool, judging: Judging, judge: SimulatedJudge | None
) -> list[Trace]:
    """RouteMoA on questions, one after the other."""
    records = [bench.records[i] for i in rows]
    mixture = RouteMoA(pool, RecordedClient(records, judge.score if judge else None), judging=judging)
    return [(await mixture.answer(Query.of(r.prompt or r.query))).trace for r in records]


def split(bench: Bench, seed: int, mixture: Mixture, auc: float | None) -> dict[str, Any]:
    """Learn on one half, measure on the other: per question, what each rule got and how many it called."""
    rng, n = np.random.default_rng(seed), len(bench.records)
    order = rng.permutation(n)
    train, test = order[: n // 2], order[n // 2 :]
    mean = (bench.scores[train].sum(0) + 1) / (len(train) + 2)
    prior = dict(zip(bench.models, mean.tolist(), strict=True))
    specs = tuple(ModelSpec(m, "local", m, prior=p) for m, p in prior.items())
    pool = Pool(specs, mixture)
    judge = None if auc is None else SimulatedJudge(auc, seed=seed)
    judging = Judging(Coefficients(), correlation(bench.graded(train, prior)))
    if judge is None:
        judging = tempered(bench, train, pool, judging)
    else:
        traces = asyncio.run(replay(bench, train, replace_layers(pool), judging, judge))
        learned = fit([grade(bench, i, t) for i, t in zip(train, traces, strict=True)])
        judging = replace(learned, correlation=judging.correlation)
    traces = asyncio.run(replay(bench, test, pool, judging, judge))
    place = {m: i for i, m in enumerate(bench.models)}
    called = [[place[p.model] for p in heard(t)] for t in traces]
    best = [int(i) for i in np.argsort(-mean, kind="stable")]
    size = max(1, round(sum(map(len, called)) / len(called)))
    lots = Random(seed)
    others = lots.sample(called, len(called))
    got: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for i, trace, mine, other in zip(test, traces, called, others, strict=True):
        truth = bench.scores[i]
        right = float(truth[place[trace.choice]]) if trace.choice else 0.0
        got["routemoa"].append((right, trace.calls))
        got["best single"].append((float(truth[best[0]]), 1))
        got["vote of 3"].append((bench.vote(i, best[:3]), 3))
        got["vote of all"].append((bench.vote(i, best), len(best)))
        got["grow until two ahead"].append(bench.grow(i, best))
        got["random panel"].append((bench.vote(i, lots.sample(best, min(size, len(best)))), size))
        got["shuffled"].append((bench.vote(i, other), len(other)))
        got["any of 3"].append((float(truth[best[:3]].max()), 3))
        got["oracle"].append((float(truth.max()), len(best)))
        del mine
    graded = [grade(bench, i, t) for i, t in zip(test, traces, strict=True)]
    layers = sum(len(t.layers) for t in traces) / len(traces)
    return {"test": test, "got": got, "judging": judging, "layers": layers, "told": told(graded, judging)}


def tempered(bench: Bench, train: np.ndarray[Any, Any], pool: Pool, judging: Judging) -> Judging:
    """Without judges: what the votes' log-odds are worth, from a replay of the training half."""
    traces = asyncio.run(replay(bench, train, pool, judging, None))
    learned = fit([grade(bench, i, t) for i, t in zip(train, traces, strict=True)])
    return replace(learned, correlation=judging.correlation)


def replace_layers(pool: Pool) -> Pool:
    """A pool whose training traces all hold judgments: nothing stops before the second layer."""
    return Pool(pool.models, replace(pool.mixture, stop_above=1.0))


def grade(bench: Bench, question: int, trace: Trace) -> Graded:
    truth = dict(zip(bench.models, bench.scores[question].tolist(), strict=True))
    return graded_trace(trace, truth)


def interval(values: dict[int, list[float]], seed: int = 0) -> tuple[float, float, float]:
    each = np.array([sum(v) / len(v) for v in values.values()])
    rng = np.random.default_rng(seed)
    means = [each[rng.integers(0, len(each), len(each))].mean() for _ in range(2000)]
    return float(each.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def study(bench: Bench, mixture: Mixture, splits: int, auc: float | None) -> dict[str, Any]:
    right: dict[str, dict[int, list[float]]] = {row: defaultdict(list) for row in ROWS}
    calls: dict[str, list[float]] = {row: [] for row in ROWS}
    runs = [split(bench, seed, mixture, auc) for seed in range(splits)]
    for run in runs:
        for row in ROWS:
            for question, (value, count) in zip(run["test"], run["got"][row], strict=True):
                right[row][int(question)].append(value)
                calls[row].append(count)
    by_split = {row: [float(np.mean([v for v, _ in run["got"][row]])) for run in runs] for row in ROWS}
    table = {
        row: {"accuracy": (found := interval(right[row]))[0], "ci95": found[1:], "sd": float(np.std(by_split[row])),
              "calls": float(np.mean(calls[row]))}
        for row in ROWS
    }  # fmt: skip
    gain = {
        row: interval({
            q: [a - b for a, b in zip(right["routemoa"][q], right[row][q], strict=True)] for q in right[row]
        })
        for row in ("best single", "vote of all", "grow until two ahead", "shuffled")
    }  # fmt: skip
    said = measure(*(run["told"] for run in runs))  # all splits together, each judged by its own training half
    learned = [run["judging"] for run in runs]
    return {
        "models": len(bench.models),
        "questions": len(bench.records),
        "layers": float(np.mean([run["layers"] for run in runs])),
        "rows": table,
        "gain_over": {row: {"points": 100 * g[0], "ci95": [100 * g[1], 100 * g[2]]} for row, g in gain.items()},
        "calibration": said,
        "learned": {
            "spread": float(np.mean([j.correlation.spread for j in learned])),
            "scatter": float(np.mean([j.correlation.scatter for j in learned])),
            "votes": float(np.mean([j.coefficients.votes for j in learned])),
            "cross": float(np.mean([j.coefficients.cross for j in learned])),
        },
    }


def pools(records: list[Record]) -> dict[str, list[str]]:
    names = [m for m in records[0].scores if all(r.scores.get(m) is not None for r in records)]
    names.sort(key=lambda m: -sum(r.scores[m] or 0.0 for r in records))
    found = {"all": names, "without o1": [m for m in names if not m.startswith("o1")], "middling": names[10:24]}
    return {k: v for k, v in found.items() if len(v) > 2 and (k == "all" or v != names)}


def show(title: str, found: dict[str, Any]) -> None:
    print(f"\n{title}: {found['models']} models, {found['questions']} questions")
    for row, f in found["rows"].items():
        low, high = f["ci95"]
        print(
            f"  {row:22} {100 * f['accuracy']:5.1f} %  ({100 * low:.1f} to {100 * high:.1f})  {f['calls']:5.2f} calls"
        )
    for row, g in found["gain_over"].items():
        print(f"  gain over {row}: {g['points']:+.1f} points ({g['ci95'][0]:+.1f} to {g['ci95'][1]:+.1f})")
    print("  " + "; ".join(f"{k} ECE {_f(v['ece'])} AUC {_f(v['auc'])}" for k, v in found["calibration"].items()))
    print(
        f"  learned {json.dumps({k: round(v, 2) for k, v in found['learned'].items()})}, layers {found['layers']:.2f}"
    )


def plot(found: dict[str, dict[str, Any]], file: str) -> None:
    """Accuracy against calls, a panel for each pool; bars are 95 % intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(4.6 * columns, 3.6 * rows), squeeze=False)
    names = ", ".join(f"{prefer[0]} {prefer}" for prefer in next(iter(found.values())))
    shown = {"best single": "s", "vote of 3": "^", "vote of all": "D", "grow until two ahead": "o", "shuffled": "x"}
    for axis, (title, by) in zip(axes.flat, found.items(), strict=False):
        first = next(iter(by.values()))["rows"]
        for row, marker in shown.items():
            f = first[row]
            axis.plot(f["calls"], 100 * f["accuracy"], marker, color="0.45", label=row, markersize=6)
        ours = sorted((f["rows"]["routemoa"]["calls"], f["rows"]["routemoa"], prefer) for prefer, f in by.items())
        x, y = [c for c, _, _ in ours], [100 * f["accuracy"] for _, f, _ in ours]
        low = [100 * (f["accuracy"] - f["ci95"][0]) for _, f, _ in ours]
        high = [100 * (f["ci95"][1] - f["accuracy"]) for _, f, _ in ours]
        axis.errorbar(x, y, [low, high], fmt="o-", color="C3", label=f"routemoa: {names}", capsize=3)
        for cx, cy, (_, _, prefer) in zip(x, y, ours, strict=True):
            axis.annotate(prefer[0], (cx, cy), textcoords="offset points", xytext=(4, 5), fontsize=9, color="C3")
        axis.axhline(100 * first["oracle"]["accuracy"], color="0.8", lw=1)
        axis.set(xscale="log", title=title, xlabel="calls a question", ylabel="right, %")
        axis.set_xticks([1, 2, 3, 5, 10, 20, 40], ["1", "2", "3", "5", "10", "20", "40"])
    for axis in list(axes.flat)[len(found) :]:
        axis.axis("off")
    axes.flat[0].legend(fontsize=7, loc="upper right")
    figure.tight_layout()
    figure.savefig(file)


def _f(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="*", default=[str(DATA / "gsm.jsonl.gz"), str(DATA / "math_l5.jsonl.gz")])
    parser.add_argument("--prefer", default="balanced", help="quality, balanced, cheap, fast: several with commas")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--judges", type=float, metavar="AUC", help="simulated judges of this reliability")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", help="accuracy against calls, .svg or .png")
    arguments = parser.parse_args()
    later: Any = "auto" if arguments.judges is None else "refine"
    out: dict[str, dict[str, Any]] = {}
    for path in arguments.records:
        records = list(read(path))
        for name, models in pools(records).items():
            bench = Bench(records, models)
            title = f"{Path(path).name.partition('.')[0]}, {name}"
            for prefer in arguments.prefer.split(","):
                mixture = Mixture(prefer=prefer, later=later)
                found = study(bench, mixture, arguments.splits, arguments.judges)
                out.setdefault(title, {})[prefer] = found
                show(f"{title}, {prefer}", found)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(out, indent=1) + "\n")
    if arguments.plot:
        plot(out, arguments.plot)


if __name__ == "__main__":
    main()
