"""Whole mixtures on recorded answers: RouteMoA beside every simple rule, and what it saves beside dense MoA.

    .venv/bin/python benchmarks/replay.py [RECORDS ...] [--prefer balanced] [--splits 5] [--judges 0.7]
        [--json FILE] [--plot FILE.svg] [--savings FILE.json]

Proposals are the recorded texts (routemoa.evaluation replays the policy; tests hold its walk against the engine's). In
each split the models' priors, the correlation of their errors and the worth of the signals are learned on one half
of the questions; everything shown is measured on the other half. Without --judges the only evidence is agreement; with
it, judges of that AUC score each other's answers in later layers (self-scores: an AUC of 0.6, inflated). RECORDS
default to ../shared/data/records/zeroeval/{gsm,math_l5}. Models with a null score are left out, as in
../shared/mixture-notes.md.

Pools of each file: all its models; without those whose name begins with o1; the fourteen of accuracy ranks 11 to 24.
Rows: best single (chosen on the training half), votes of the best 3 and of all, random panels of RouteMoA's sizes, a
plain rule (grow until one answer leads by two), the panels of RouteMoA given to other questions (shuffled), any of
three, oracle. Intervals: 95 %, bootstrap over questions of each question's mean over the splits it was tested in.

`--prefer wide` is balanced with five models at once in the first of at most two layers: more calls, fewer steps.

Savings: the share of dense MoA's tokens and critical path (every model in three layers, an aggregator) that RouteMoA
does without; in dollars among the pool's models of which genai-prices knows a list price, replayed as a pool of their
own with the first of the preferences. --savings also writes the table beside the JSON, as Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from routemoa.core.pool import Mixture
from routemoa.core.types import Scores
from routemoa.datasets.records import Record, read
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.baselines import majority_vote
from routemoa.evaluation.replay.list_prices import load_list_prices
from routemoa.evaluation.replay.methods import Replay
from routemoa.evaluation.replay.simulator import SimulatedRun
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import compute_savings, summarize
from routemoa.judging.answers.grouping import Groups
from routemoa.judging.evidence import Coefficients, JudgeModel
from routemoa.training.judge import Graded, correlation, fit, graded_trace, measure, told

DATA = Path(__file__).parents[2] / "shared" / "data" / "records" / "zeroeval"
REPLAYED = {
    "routemoa": "routemoa", "best-single": "best single", "fixed-best-3": "vote of 3", "vote-all": "vote of all",
    "random": "random panel", "shuffled": "shuffled", "oracle": "oracle", "moa": "dense MoA",
}  # fmt: skip
WIDE = Mixture(top_k=5, target=0.999, layers=2)
RIVALS = ("best single", "vote of all", "grow until two ahead", "shuffled")
FIGURES = ("tokens", "path_tokens", "cost")

HEAD = """\
# What RouteMoA saves beside dense MoA, on recorded answers

`python benchmarks/replay.py --prefer balanced,quality,cheap,wide --savings benchmarks/results/savings.json`

Dense MoA: every model in three layers and one aggregator, prompts counted as rendered with all answers quoted, four
characters to a token. Path: tokens written one after the other (the longest reply of each layer, the aggregator's).
Dollars: among the models that have a list price, replayed as a pool of their own, with the first preference alone.
Wide: five models at once in the first of at most two layers. In brackets 95 %, by bootstrap over questions. A replay
has no aggregator that writes: the best model's answer stands in for its length, the majority for what it says. What o1
models think unseen is not in the records: docs/evaluation.md says what follows.

| records, pool | prefer | models | right | best single | vote of all | points over best single | over vote of all \
| calls | tokens saved | path saved | dollars saved (models) |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def grow(page: ReplayQuestion, order: tuple[str, ...], lead: int = 2, most: int = 9) -> tuple[str, ...]:
    """The panel of the plain rule of mixture-notes.md."""
    for k in range(2, min(most, len(order)) + 1):
        counts = sorted(Counter(g for m in order[:k] if (g := page.group_of.get(m)) is not None).values(), reverse=True)
        if counts and counts[0] - (counts[1] if len(counts) > 1 else 0) >= lead:
            break
    return order[:k]


def learn(train: Replay, prior: Scores, seed: int) -> JudgeModel:
    """Everything that is learned about judging, on the training half."""
    plain = [graded(page, train.members, prior) for page in train.questions]
    judging = JudgeModel(Coefficients(), correlation(plain))
    if train.judge_auc is not None:  # judgments of every query: nothing stops before the second layer
        train = replace(train, mixture=replace(train.mixture, stop_confidence=1.0))
    walked = replace(train, judge_model=judging).simulate_policy("routemoa", seed)
    learned = fit([grade(page, done) for page, done in zip(train.questions, walked, strict=True)])
    return replace(learned, correlation=judging.correlation)


def graded(page: ReplayQuestion, members: tuple[str, ...], prior: Scores) -> Graded:
    """A record as a graded query without judgments."""
    groups = Groups(tuple(page.group_of.get(m) for m in members), page.groups.closed, (None,) * len(members))
    right = tuple(page.record.scores[m] for m in members)
    return Graded(prior, members, groups, right, (), (False,) * len(members))


def grade(page: ReplayQuestion, done: SimulatedRun) -> Graded:
    return graded_trace(done.trace, page.record.scores)


def split(
    pages: list[ReplayQuestion], models: list[str], seed: int, mixture: Mixture, auc: float | None
) -> dict[str, Any]:
    """Learn on one half, measure on the other."""
    order = np.random.default_rng(seed).permutation(len(pages))
    train, test = ([pages[i] for i in half] for half in np.split(order, [len(pages) // 2]))
    right = [sum(p.record.scores[m] or 0.0 for p in train) for m in models]
    prior: Scores = {m: (r + 1) / (len(train) + 2) for m, r in zip(models, right, strict=True)}
    best = tuple(sorted(models, key=lambda m: -(prior[m] or 0.0)))
    base = Replay(train, tuple(models), [prior] * len(train), best, mixture, judge_auc=auc)
    judging = learn(base, prior, seed)
    replay = replace(base, questions=test, priors=[prior] * len(test), judge_model=judging)
    walked = replay.simulate_policy("routemoa", seed)
    outcomes = [replace(o, method=REPLAYED[o.method]) for o in replay.run(REPLAYED, seed, runs=walked)]
    for page in test:
        panel = grow(page, best)
        any_right = max(page.record.scores[m] or 0.0 for m in best[:3])
        for row, value, calls in (
            ("grow until two ahead", page.record.scores[majority_vote(page, panel) or panel[0]], len(panel)),
            ("any of 3", any_right, 3),
        ):
            outcomes.append(Outcome(row, page.record.task, page.record.id, value, calls=calls, seed=seed))
    said = told([grade(page, done) for page, done in zip(test, walked, strict=True)], judging)
    layers = sum(len(done.trace.layers) for done in walked) / len(walked)
    return {"outcomes": outcomes, "judging": judging, "layers": layers, "told": said}


def study(
    pages: list[ReplayQuestion], models: list[str], mixture: Mixture, splits: int, auc: float | None
) -> dict[str, Any]:
    runs = [split(pages, models, seed, mixture, auc) for seed in range(splits)]
    outcomes: list[Outcome] = [o for run in runs for o in run["outcomes"]]
    found = summarize(outcomes, 0)
    by_split = [summarize(run["outcomes"], 0)["methods"] for run in runs] if splits > 1 else [found["methods"]]
    learned = [run["judging"] for run in runs]
    return {
        "models": len(models),
        "questions": len(pages),
        "layers": float(np.mean([run["layers"] for run in runs])),
        "rows": {
            row: {key: f[key] for key in ("accuracy", "ci95", "calls", *FIGURES)}
            | {"sd": float(np.std([methods[row]["accuracy"] for methods in by_split]))}
            for row, f in found["methods"].items()
        },
        "gain_over": {row: gain(found["paired"][f"routemoa|{row}"]) for row in RIVALS},
        "savings": {row: compute_savings(outcomes, "routemoa", row, 0) for row in ("dense MoA", "vote of all")},
        "calibration": measure(*(run["told"] for run in runs)),  # each split judged by its own training half
        "learned": {
            "spread": float(np.mean([j.correlation.spread for j in learned])),
            "scatter": float(np.mean([j.correlation.scatter for j in learned])),
            "votes": float(np.mean([j.coefficients.votes for j in learned])),
            "cross": float(np.mean([j.coefficients.cross for j in learned])),
        },
    }


def gain(pair: dict[str, Any]) -> dict[str, Any]:
    return {"points": 100 * pair["difference"], "ci95": [100 * x for x in pair["ci95"]], "p": pair["p"]}


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
            f"  {row:22} {100 * f['accuracy']:5.1f} %  ({100 * low:.1f} to {100 * high:.1f})  {f['calls']:6.2f} calls"
        )
    for row, g in found["gain_over"].items():
        print(f"  gain over {row}: {g['points']:+.1f} points ({g['ci95'][0]:+.1f} to {g['ci95'][1]:+.1f})")
    for row, saved in found["savings"].items():
        print(f"  saved beside {row}: " + ", ".join(f"{k} {percent(s)}" for k, s in saved.items()))
    if priced := found.get("priced"):
        print(f"  saved among {priced['models']} models with a price: " + ", ".join(
            f"{k} {percent(s)}" for k, s in priced["savings"]["dense MoA"].items()
        ))  # fmt: skip
    print("  " + "; ".join(f"{k} ECE {_f(v['ece'])} AUC {_f(v['auc'])}" for k, v in found["calibration"].items()))
    print(
        f"  learned {json.dumps({k: round(v, 2) for k, v in found['learned'].items()})}, layers {found['layers']:.2f}"
    )


def percent(saved: dict[str, Any]) -> str:
    low, high = saved["ci95"]
    return f"{100 * saved['saved']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def table(found: dict[str, dict[str, Any]]) -> str:
    """The savings as Markdown."""
    lines = [HEAD]
    for title, by in found.items():
        for prefer, f in by.items():
            rows, saved, priced = f["rows"], f["savings"]["dense MoA"], f.get("priced")
            over = [f["gain_over"][row] for row in ("best single", "vote of all")]
            dollars = "-" if not priced else f"{percent(priced['savings']['dense MoA']['cost'])} ({priced['models']})"
            cells = [
                title, prefer, f["models"],
                *(f"{100 * rows[row]['accuracy']:.1f}" for row in ("routemoa", "best single", "vote of all")),
                *(f"{g['points']:+.1f} ({g['ci95'][0]:+.1f} to {g['ci95'][1]:+.1f})" for g in over),
                f"{rows['routemoa']['calls']:.1f} of {rows['dense MoA']['calls']:.0f}",
                percent(saved["tokens"]), percent(saved["path_tokens"]), dollars,
            ]  # fmt: skip
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


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
    parser.add_argument(
        "--prefer", default="balanced", help="quality, balanced, cheap, fast, wide: several with commas"
    )
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--judges", type=float, metavar="AUC", help="simulated judges of this reliability")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", help="accuracy against calls, .svg or .png")
    parser.add_argument("--savings", metavar="FILE", help="what is saved beside dense MoA, as JSON and Markdown")
    arguments = parser.parse_args()
    later: Any = "auto" if arguments.judges is None else "refine"
    out: dict[str, dict[str, Any]] = {}
    for path in arguments.records:
        records = list(read(path))
        found_pools = pools(records)
        prices = load_list_prices(found_pools["all"]) if arguments.savings else {}
        pages = [ReplayQuestion(r, found_pools["all"], prices) for r in records]
        for name, models in found_pools.items():
            title = f"{Path(path).name.partition('.')[0]}, {name}"
            for prefer in arguments.prefer.split(","):
                mixture = (
                    replace(WIDE, later_layers=later)
                    if prefer == "wide"
                    else Mixture(prefer=prefer, later_layers=later)
                )
                found = study(pages, models, mixture, arguments.splits, arguments.judges)
                known = [m for m in models if m in prices]
                if len(known) > 2 and prefer == arguments.prefer.split(",")[0]:
                    found["priced"] = study(pages, known, mixture, arguments.splits, arguments.judges)
                    found["priced"]["names"] = known
                out.setdefault(title, {})[prefer] = found
                show(f"{title}, {prefer}", found)
    if arguments.json:
        slim = {t: {p: {k: v for k, v in f.items() if k != "priced"} for p, f in by.items()} for t, by in out.items()}
        Path(arguments.json).write_text(json.dumps(slim, indent=1) + "\n")
    if arguments.savings:
        Path(arguments.savings).write_text(json.dumps(out, indent=1) + "\n")
        Path(arguments.savings).with_suffix(".md").write_text(table(out))
    if arguments.plot:
        plot(out, arguments.plot)


if __name__ == "__main__":
    main()
