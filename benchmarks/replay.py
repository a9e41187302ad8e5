"""Whole mixtures on recorded answers: RouteMoA beside simple baselines, and what it saves against dense MoA.

    .venv/bin/python benchmarks/replay.py [RECORDS ...] [--prefer balanced] [--splits 5] [--judges 0.7]
        [--json FILE] [--plot FILE.svg] [--savings FILE.json]

Proposals are the recorded texts (routemoa.evaluation replays the policy; tests compare its simulator with the engine).
In each split the models' priors, the correlation of their errors and the weights of the signals are learned on one half
of the questions; all figures are measured on the other half. Without --judges the only evidence is agreement; with it,
judges of that AUC score each other's answers in later layers (self-scores: an AUC of 0.6, inflated). RECORDS default to
../shared/data/records/zeroeval/{gsm,math_l5}. Models with a null score are left out, as in ../shared/mixture-notes.md.

Pools of each file: all its models; without those whose name begins with o1; the fourteen of accuracy ranks 11 to 24.
Rows: best single (chosen on the training half), votes of the best 3 and of all, random panels of RouteMoA's sizes, a
simple rule (grow until one answer leads by two), the panels of RouteMoA given to other questions (shuffled), any of
three, oracle. Intervals: 95 %, bootstrap over questions of each question's mean over the splits it was tested in.

`--prefer wide` is balanced with five models at once in the first of at most two layers: more calls, fewer steps.

Savings: the share of dense MoA's tokens and critical path (every model in three layers, an aggregator) that RouteMoA
saves. Dollars are among the pool's models with a list price in genai-prices, replayed as a pool of their own with the
first of the preferences. --savings also writes the table beside the JSON, as Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).with_suffix("")))  # the folder beside this script

from splits import run_study

from routemoa.core.tables.mixture_table import Mixture
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.replay.list_prices import load_list_prices
from routemoa.evaluation.replay.token_counts import ReplayQuestion

DATA = Path(__file__).parents[2] / "shared" / "data" / "records" / "zeroeval"
WIDE = Mixture(top_k=5, target=0.999, layers=2)

HEAD = """\
# What RouteMoA saves against dense MoA, on recorded answers

`python benchmarks/replay.py --prefer balanced,quality,cheap,wide --savings benchmarks/results/savings.json`

Dense MoA: every model in three layers and one aggregator, prompts counted as rendered with all answers quoted, four
characters to a token. Path: tokens written one after the other (the longest reply of each layer, the aggregator's).
Dollars: among the models with a list price, replayed as a pool of their own, for the first preference only. Wide: five
models at once in the first of at most two layers. 95 % intervals in brackets, by bootstrap over questions. A replay has
no aggregator that writes: the best model's answer stands in for its length, the majority for its result. The hidden
reasoning of o1 models is not in the records: docs/research/evaluation.md says what follows.

| records, pool | prefer | models | right | best single | vote of all | points over best single | over vote of all \
| calls | tokens saved | path saved | dollars saved (models) |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def select_pools(records: list[Record]) -> dict[str, list[str]]:
    """Return {name: models, best first} of all pools of a file."""
    names = [m for m in records[0].scores if all(r.scores.get(m) is not None for r in records)]
    names.sort(key=lambda m: -sum(r.scores[m] or 0.0 for r in records))
    pools = {"all": names, "without o1": [m for m in names if not m.startswith("o1")], "middling": names[10:24]}
    return {name: models for name, models in pools.items() if len(models) > 2 and (name == "all" or models != names)}


def run_file(path: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return {file and pool: {preference: figures}}, and print them."""
    records = list(read_records(path))
    pools = select_pools(records)
    prices = load_list_prices(pools["all"]) if options.savings else {}
    questions = [ReplayQuestion(r, pools["all"], prices) for r in records]
    preferences = options.prefer.split(",")
    studies: dict[str, dict[str, Any]] = {}
    for name, models in pools.items():
        title = f"{path.name.partition('.')[0]}, {name}"
        for prefer in preferences:
            base = WIDE if prefer == "wide" else Mixture(prefer=prefer)
            mixture = replace(base, later_layers="auto" if options.judges is None else "refine")
            study = run_study(questions, models, mixture, options.splits, options.judges)
            priced = [m for m in models if m in prices]
            if len(priced) > 2 and prefer == preferences[0]:
                study["priced"] = run_study(questions, priced, mixture, options.splits, options.judges)
                study["priced"]["names"] = priced
            studies.setdefault(title, {})[prefer] = study
            show_study(f"{title}, {prefer}", study)
    return studies


def show_study(title: str, study: dict[str, Any]) -> None:
    print(f"\n{title}: {study['models']} models, {study['questions']} questions")
    for row, figures in study["rows"].items():
        low, high = (f"{100 * x:.1f}" for x in figures["ci95"])
        print(f"  {row:22} {100 * figures['accuracy']:5.1f} %  ({low} to {high})  {figures['calls']:6.2f} calls")
    for row, gain in study["gain_over"].items():
        print(f"  gain over {row}: {format_gain(gain)}")
    for row, savings in study["savings"].items():
        print(f"  saved against {row}: {format_savings(savings)}")
    if priced := study.get("priced"):
        savings = format_savings(priced["savings"]["dense MoA"])
        print(f"  saved among {priced['models']} models with a price: {savings}")
    calibration = (
        f"{name} ECE {format_number(f['ece'])} AUC {format_number(f['auc'])}"
        for name, f in study["calibration"].items()
    )
    print("  " + "; ".join(calibration))
    learned = json.dumps({name: round(value, 2) for name, value in study["learned"].items()})
    print(f"  learned {learned}, layers {study['layers']:.2f}")


def format_gain(gain: Mapping[str, Any]) -> str:
    return f"{gain['points']:+.1f} points ({gain['ci95'][0]:+.1f} to {gain['ci95'][1]:+.1f})"


def format_savings(savings: Mapping[str, Any]) -> str:
    return ", ".join(f"{measure} {format_saving(saving)}" for measure, saving in savings.items())


def format_saving(saving: Mapping[str, Any]) -> str:
    low, high = saving["ci95"]
    return f"{100 * saving['saved']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def format_number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"


def savings_table(studies: dict[str, dict[str, Any]]) -> str:
    """Return the savings as Markdown."""
    lines = [HEAD]
    for title, by_preference in studies.items():
        for prefer, study in by_preference.items():
            rows, savings, priced = study["rows"], study["savings"]["dense MoA"], study.get("priced")
            gains = [study["gain_over"][row] for row in ("best single", "vote of all")]
            dollars = f"{format_saving(priced['savings']['dense MoA']['cost'])} ({priced['models']})" if priced else "-"
            cells = [
                title, prefer, study["models"],
                *(f"{100 * rows[row]['accuracy']:.1f}" for row in ("routemoa", "best single", "vote of all")),
                *(format_gain(gain).replace(" points", "") for gain in gains),
                f"{rows['routemoa']['calls']:.1f} of {rows['dense MoA']['calls']:.0f}",
                format_saving(savings["tokens"]), format_saving(savings["path_tokens"]), dollars,
            ]  # fmt: skip
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def plot_studies(studies: dict[str, dict[str, Any]], file: str) -> None:
    """Plot accuracy against calls, a panel for each pool; bars are 95 % intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(3, len(studies))
    rows = -(-len(studies) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(4.6 * columns, 3.6 * rows), squeeze=False)
    for axis, (title, by_preference) in zip(axes.flat, studies.items(), strict=False):
        _plot_pool(axis, by_preference)
        axis.set(xscale="log", title=title, xlabel="calls per question", ylabel="right, %")
        axis.set_xticks([1, 2, 3, 5, 10, 20, 40], ["1", "2", "3", "5", "10", "20", "40"])
    for axis in list(axes.flat)[len(studies) :]:
        axis.axis("off")
    axes.flat[0].legend(fontsize=7, loc="upper right")
    figure.tight_layout()
    figure.savefig(file)


def _plot_pool(axis: Any, by_preference: dict[str, Any]) -> None:
    markers = {"best single": "s", "vote of 3": "^", "vote of all": "D", "grow until two ahead": "o", "shuffled": "x"}
    baselines = next(iter(by_preference.values()))["rows"]
    for row, marker in markers.items():
        figures = baselines[row]
        axis.plot(figures["calls"], 100 * figures["accuracy"], marker, color="0.45", label=row, markersize=6)
    ours: Sequence[Any] = sorted(
        ((study["rows"]["routemoa"], prefer) for prefer, study in by_preference.items()), key=lambda o: o[0]["calls"]
    )
    x, y = [f["calls"] for f, _ in ours], [100 * f["accuracy"] for f, _ in ours]
    low = [100 * (f["accuracy"] - f["ci95"][0]) for f, _ in ours]
    high = [100 * (f["ci95"][1] - f["accuracy"]) for f, _ in ours]
    label = "routemoa: " + ", ".join(f"{prefer[0]} {prefer}" for prefer in by_preference)
    axis.errorbar(x, y, [low, high], fmt="o-", color="C3", label=label, capsize=3)
    for calls, accuracy, (_, prefer) in zip(x, y, ours, strict=True):
        place = {"textcoords": "offset points", "xytext": (4, 5)}
        axis.annotate(prefer[0], (calls, accuracy), fontsize=9, color="C3", **place)
    axis.axhline(100 * baselines["oracle"]["accuracy"], color="0.8", lw=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="*", default=[str(DATA / "gsm.jsonl.gz"), str(DATA / "math_l5.jsonl.gz")])
    parser.add_argument(
        "--prefer", default="balanced", help="quality, balanced, cheap, fast, wide: several with commas"
    )
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--judges", type=float, metavar="AUC", help="simulate judges with this AUC")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", help="accuracy against calls, .svg or .png")
    parser.add_argument("--savings", metavar="FILE", help="savings against dense MoA, as JSON and Markdown")
    options = parser.parse_args()
    studies: dict[str, dict[str, Any]] = {}
    for path in options.records:
        studies |= run_file(Path(path), options)
    if options.json:
        without_prices = {
            title: {
                prefer: {k: v for k, v in study.items() if k != "priced"} for prefer, study in by_preference.items()
            }
            for title, by_preference in studies.items()
        }
        Path(options.json).write_text(json.dumps(without_prices, indent=1) + "\n")
    if options.savings:
        Path(options.savings).write_text(json.dumps(studies, indent=1) + "\n")
        Path(options.savings).with_suffix(".md").write_text(savings_table(studies))
    if options.plot:
        plot_studies(studies, options.plot)


if __name__ == "__main__":
    main()
