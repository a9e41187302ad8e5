"""`routemoa evaluate`: replay whole methods on recorded answers, without an API key and without calling a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec

from routemoa import __version__
from routemoa.cli.options import duplicates_option, json_file_option, say
from routemoa.cli.ray_cluster import engine_options, open_engine
from routemoa.cli.terminal.files import STDOUT, check_writable, check_writable_folder, write_figures, write_file
from routemoa.cli.terminal.headroom import print_headroom, warn_of_no_gain
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.table import print_table
from routemoa.cli.terminal.warn import print_warnings
from routemoa.cli.terminal.working import show_working
from routemoa.core.errors import ConfigError
from routemoa.core.text.plural import counted
from routemoa.datasets.records import read_records
from routemoa.evaluation.formatting import format_points
from routemoa.evaluation.outcomes import OUTCOMES, Outcome, Run, save_run
from routemoa.evaluation.replay.methods import METHODS, ROUTERS
from routemoa.evaluation.replay.study import compute_figures, parse_methods, prepare_replay, warn_of_dominance
from routemoa.evaluation.trained_questions import warn_of_training

__all__ = ["evaluate"]

SUMMARY_KEYS = ("methods", "paired", "savings", "priced", "unpriced")  # that run.json keeps of the figures
COLUMNS = {
    "failed": ("failed", "g"),
    "calls": ("calls", ".2f"),
    "tokens": ("tokens", ".0f"),
    "path_tokens": ("critical path", ".0f"),
    "cost": ("dollars", ".6f"),
    "latency": ("seconds", ".2f"),
}
"""Key of a method's figures -> its column and format."""
OPTIONAL = ["critical path", "failed", "seconds", "tokens", "95 %", "dollars"]
"""Columns that are left out, the first one first, where the terminal is narrow."""


@dataclass(frozen=True)
class EvaluateOptions:
    """The arguments and options of `routemoa evaluate`."""

    records: tuple[str, ...]
    scorer: str | None
    methods: str
    policy: str | None
    seed: int
    seeds: int
    prices: str
    judges: float | None
    sizes: str | None
    engine: str
    address: str | None
    allow_duplicates: bool
    json_file: str | None
    out: str | None


@click.command(context_settings={"max_content_width": 100})
@click.argument("records", nargs=-1, required=True)
@click.option("--scorer", metavar="DIR", help="A scorer that was trained on other questions.  [required]")
@click.option(
    "--methods",
    default="routemoa",
    show_default=True,
    metavar="LIST",
    help="Of: " + ", ".join((*METHODS, *ROUTERS)) + ", single:NAME.",
)
@click.option("--policy", metavar="FILE", help="TOML with a [mixture] table for routemoa; its `judge` counts, too.")
@click.option("--seed", default=0, show_default=True, help="Seed for random panels, shuffles and resampling.")
@click.option(
    "--seeds", default=5, show_default=True, type=click.IntRange(1), help="How many runs, with seeds from --seed on."
)
@click.option(
    "--prices",
    default="records",
    show_default=True,
    type=click.Choice(["records", "library"]),
    help="Where dollars come from: the records alone, or list prices where these hold none (extra: eval).",
)
@click.option("--judges", type=click.FloatRange(0, 1), metavar="AUC", help="Simulate judges of this reliability.")
@click.option("--sizes", metavar="LIST", help="Also evaluate random pools of these sizes, such as 3,5,8,13,21.")
@engine_options
@duplicates_option
@json_file_option
@click.option("--out", metavar="DIR", help="Write run.json and outcomes.jsonl for  routemoa report DIR.")
def evaluate(**options: Any) -> None:  # click passes a keyword for each option: the fields of EvaluateOptions
    """Replay methods on RECORDS with recorded answers (`responses`), without calling a model.

    The chosen methods are always compared with the best single model and the fixed best three (both chosen on the
    questions that the scorer was trained on), routers that call one model (the scorer, nearest neighbours, the best
    model of each cluster and task), random panels of RouteMoA's sizes, its panels given to other questions
    (shuffled), and the oracle. Intervals are 95 %, by bootstrap over questions. The same seed and records give the same
    bytes.

    --engine ray works on seeds with --judges, and on pool sizes, at the same time; the bytes are the same.

    \b
    Example:
      routemoa evaluate test.jsonl --scorer my-scorer --methods routemoa,moa
    """
    _replay_methods(EvaluateOptions(**options))


def _replay_methods(options: EvaluateOptions) -> None:
    scorer = _require_scorer(options.scorer)
    check_writable(options.json_file)
    check_writable_folder(options.out)
    parse_methods(options.methods)  # a typing error is reported before anything is read
    sizes = _parse_sizes(options.sizes)
    with show_working("reading the records") as working:
        prepared = prepare_replay(
            list(read_records(options.records, allow_duplicates=options.allow_duplicates, say=say)),
            scorer,
            options.policy,
            use_list_prices=options.prices == "library",
            judge_auc=options.judges,
            keep_texts=options.out is not None,
        )
        methods = parse_methods(options.methods, prepared.replay.members)
        working.begin(f"replaying {counted(len(prepared.replay.questions), 'question')}")
        with open_engine(options.engine, options.address) as engine:
            results, outcomes = compute_figures(prepared, methods, options.seed, options.seeds, sizes, engine=engine)
        questions = [(q.record.query, q.record.prompt) for q in prepared.replay.questions]
        overlap = warn_of_training(questions, scorer, prepared.replay.judge_model)
        dominance = warn_of_dominance(prepared, outcomes, options.seed)
    no_gain = warn_of_no_gain(results["headroom"])
    results["warnings"] = [*overlap, *no_gain, *dominance]
    if options.json_file:
        write_figures(options.json_file, (json.dumps(results, indent=1, sort_keys=True) + "\n").encode())
    if options.out:
        name = Path(options.records[0]).name.partition(".")[0]
        _write_run(Path(options.out), results | {"warnings": [*overlap, *no_gain]}, outcomes, name, methods)
    if options.json_file != STDOUT:
        _print_figures(results)
    for note in results["notes"]:
        print_line(f"note: {note}", err=True)
    print_warnings(results["warnings"])


def _require_scorer(folder: str | None) -> str:
    """Return the folder of the scorer. Raises UsageError."""
    if folder is None:
        raise click.UsageError(
            "Missing option '--scorer DIR', a scorer that was trained on other records than these. Make one with\n"
            "  routemoa scorer train OTHER-RECORDS --out my-scorer\nRecords of your models are made with\n"
            "  routemoa collect QUESTIONS --pool pool.toml --out records.jsonl"
        )
    return folder


def _parse_sizes(text: str | None) -> list[int]:
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    if wrong := [part for part in parts if not part.isdecimal() or not int(part)]:
        raise ConfigError(f"--sizes: '{wrong[0]}' is not a number of models; write e.g. 3,5,8")
    return [int(part) for part in parts]


def _write_run(
    folder: Path, results: Mapping[str, Any], outcomes: Sequence[Outcome], name: str, methods: Sequence[str]
) -> None:
    """Write the folder that `routemoa report` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / OUTCOMES, b"".join(msgspec.json.encode(o) + b"\n" for o in outcomes))
    run = Run(
        kind="replay",
        name=name,
        methods=tuple(m for m in methods if m in results["methods"]),
        models=tuple(results["models"]),
        seed=results["seed"],
        seeds=results["seeds"],
        notes=tuple(results["notes"]),
        warnings=tuple(results["warnings"]),  # that one model dominates, the report finds out again
        version=__version__,
        summary={key: results[key] for key in SUMMARY_KEYS if key in results},
        scale=results.get("scale", {}),
    )
    save_run(folder, run)


def _print_figures(results: Mapping[str, Any]) -> None:
    _print_methods(results)
    questions = next(iter(results["methods"].values()))["n"]
    skipped = f", {counted(results['skipped'], 'record')} without answers left out" if results["skipped"] else ""
    print_line(f"{counted(questions, 'question')}, {counted(len(results['models']), 'model')}{skipped}")
    for pair, f in results["paired"].items():
        ours, _, other = pair.partition("|")
        if ours == "routemoa":
            difference, low, high = map(format_points, (f["difference"], *f["ci95"]))
            print_line(f"routemoa over {other}: {difference} points ({low} to {high}), p {f['p']:.3f}")
    _print_savings(results)
    if priced := results.get("priced"):
        print_line(f"\namong the {counted(len(priced['models']), 'model')} whose price is known:")
        _print_methods(priced)
        _print_savings(priced)
    for name, points in results.get("scale", {}).items():
        shown = ", ".join(f"{p['models']} {p['accuracy']:.1%} ({p['calls']:.1f} calls)" for p in points)
        print_line(f"{name}, by models in the pool: {shown}")
    print_headroom(results["headroom"])


def _print_methods(results: Mapping[str, Any]) -> None:
    """Print the table of all methods: accuracy with its interval, and means for a question."""
    heads = ["method", "accuracy", "95 %", *(head for head, _ in COLUMNS.values())]
    rows = []
    for name, f in results["methods"].items():
        accuracy = "-" if f["accuracy"] is None else f"{f['accuracy']:.1%}"
        interval = "-" if f["accuracy"] is None else f"{f['ci95'][0]:.1%} to {f['ci95'][1]:.1%}"
        means = ["-" if f[key] is None else format(f[key], shape) for key, (_, shape) in COLUMNS.items()]
        rows.append([name, accuracy, interval, *means])
    print_table(heads, rows, left={"method", "95 %"}, optional=OPTIONAL)


def _print_savings(results: Mapping[str, Any]) -> None:
    for pair, savings in results["savings"].items():
        ours, _, other = pair.partition("|")
        parts = [
            f"{measure.replace('_', ' ')} {s['saved']:.1%} ({s['ci95'][0]:.1%} to {s['ci95'][1]:.1%})"
            for measure, s in savings.items()
        ]
        print_line(f"{ours} against {other} saves: {', '.join(parts)}")
