"""`routemoa evaluate`: whole methods replayed on recorded answers, without a key and without a call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from routemoa import __version__
from routemoa.cli.terminal.session import check_writable, write_whole
from routemoa.core.errors import ConfigError
from routemoa.datasets.records import read_records
from routemoa.evaluation.outcomes import OUTCOMES, Outcome, Run, save_run
from routemoa.evaluation.replay.methods import METHODS
from routemoa.evaluation.replay.study import compute_figures, parse_methods, prepare_replay

__all__ = ["evaluate"]

OWN = ("methods", "paired", "savings", "priced", "unpriced")  # what run.json calls the summary


@click.command(context_settings={"max_content_width": 100})
@click.argument("records", nargs=-1, required=True)
@click.option("--scorer", required=True, metavar="DIR", help="A scorer that was trained on other questions.")
@click.option(
    "--methods",
    default="routemoa",
    show_default=True,
    metavar="LIST",
    help="Of: " + ", ".join(METHODS) + ", single:NAME.",
)
@click.option("--policy", metavar="FILE", help="TOML with a [mixture] table for routemoa; its `judge` is taken along.")
@click.option("--seed", default=0, show_default=True, help="Decides random panels, shuffles and resampling.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), help="Runs, from that seed on.")
@click.option(
    "--prices",
    default="records",
    show_default=True,
    type=click.Choice(["records", "library"]),
    help="Where dollars come from: the records alone, or list prices where these hold none (extra: eval).",
)
@click.option("--judges", type=click.FloatRange(0, 1), metavar="AUC", help="Simulate judges of this reliability.")
@click.option("--sizes", metavar="LIST", help="Also random pools of these sizes, such as 3,5,8,13,21.")
@click.option("--json", "json_file", metavar="FILE", help="Write all figures to FILE.")
@click.option("--out", metavar="DIR", help="Write run.json and outcomes.jsonl for  routemoa report DIR.")
def evaluate(
    *,
    records: tuple[str, ...],
    scorer: str,
    methods: str,
    policy: str | None,
    seed: int,
    seeds: int,
    prices: str,
    judges: float | None,
    sizes: str | None,
    json_file: str | None,
    out: str | None,
) -> None:
    """Replay methods on RECORDS that hold what models really answered (`responses`).

    Beside the chosen methods always stand the best single model and the fixed best three (both chosen where the scorer
    was trained, never here), random panels of RouteMoA's sizes, its panels given to other questions (shuffled), and the
    oracle. Intervals are 95 %, by bootstrap over questions. Same seed, same records: the same bytes.

    \b
    Example:
      routemoa evaluate test.jsonl --scorer my-scorer --methods routemoa,moa --json figures.json
    """
    check_writable(json_file)
    parse_methods(methods)  # a slip of the pen is said before anything is read
    widths = _sizes(sizes)
    prepared = prepare_replay(
        list(read_records(records)),
        scorer,
        policy,
        use_list_prices=prices == "library",
        judge_auc=judges,
        keep_texts=out is not None,
    )
    chosen = parse_methods(methods, prepared.replay.members)
    found, outcomes = compute_figures(prepared, chosen, seed, seeds, widths)
    if json_file:
        write_whole(json_file, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
    if out:
        _keep(Path(out), found, outcomes, Path(records[0]).name.partition(".")[0], chosen)
    _show(found)


def _sizes(given: str | None) -> list[int]:
    parts = [part.strip() for part in (given or "").split(",") if part.strip()]
    if wrong := [part for part in parts if not part.isdecimal() or not int(part)]:
        raise ConfigError(f"--sizes: '{wrong[0]}' is no number of models; write e.g. 3,5,8")
    return [int(part) for part in parts]


def _keep(folder: Path, found: dict[str, Any], outcomes: Sequence[Outcome], name: str, methods: Sequence[str]) -> None:
    """The folder that a report reads."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = b"".join(msgspec.json.encode(o) + b"\n" for o in outcomes)
    write_whole(str(folder / OUTCOMES), lines)
    run = Run(
        kind="replay",
        name=name,
        methods=tuple(methods),
        models=tuple(found["models"]),
        seed=found["seed"],
        seeds=found["seeds"],
        notes=tuple(found["notes"]),
        version=__version__,
        summary={key: found[key] for key in OWN if key in found},
        scale=found.get("scale", {}),
    )
    save_run(folder, run)


def _show(found: dict[str, Any]) -> None:
    _table(found)
    n = next(iter(found["methods"].values()))["n"]
    left = f", {found['skipped']} records without answers left out" if found["skipped"] else ""
    click.echo(f"{n} questions, {len(found['models'])} models{left}")
    for pair, f in found["paired"].items():
        a, _, b = pair.partition("|")
        if a == "routemoa":
            low, high = f["ci95"]
            click.echo(
                f"routemoa over {b}: {100 * f['difference']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}), "
                f"p {f['p']:.3f}"
            )
    _saved(found)
    if priced := found.get("priced"):
        click.echo(f"\namong the {len(priced['models'])} models whose price is known:")
        _table(priced)
        _saved(priced)
    for name, line in found.get("scale", {}).items():
        shown = ", ".join(f"{p['models']} {p['accuracy']:.1%} ({p['calls']:.1f} calls)" for p in line)
        click.echo(f"{name}, by models: {shown}")
    for note in found["notes"]:
        click.echo(f"note: {note}", err=True)


def _table(found: dict[str, Any]) -> None:
    width = max(14, *map(len, found["methods"]))
    click.echo(
        f"{'method':{width}} {'right':>7}  {'95 %':16} {'failed':>6} {'calls':>7} {'tokens':>9} {'on path':>8} "
        f"{'dollars':>10} {'seconds':>8}"
    )
    columns = (("failed", "g", 6), ("calls", ".2f", 7), ("tokens", ".0f", 9), ("path_tokens", ".0f", 8),
               ("cost", ".6f", 10), ("latency", ".2f", 8))  # fmt: skip
    for name, f in found["methods"].items():
        rest = "".join(f" {'-' if f[k] is None else format(f[k], shape):>{room}}" for k, shape, room in columns)
        right = "-" if f["accuracy"] is None else f"{f['accuracy']:.1%}"
        span = "-" if f["accuracy"] is None else f"{f['ci95'][0]:.1%} to {f['ci95'][1]:.1%}"
        click.echo(f"{name:{width}} {right:>7}  {span:16}{rest}")


def _saved(found: dict[str, Any]) -> None:
    for pair, saved in found["savings"].items():
        parts = [
            f"{k.replace('_', ' ')} {s['saved']:.1%} ({s['ci95'][0]:.1%} to {s['ci95'][1]:.1%})"
            for k, s in saved.items()
        ]
        click.echo(f"{pair.replace('|', ' saves beside ')}: {', '.join(parts)}")
