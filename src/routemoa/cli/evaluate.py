"""`routemoa evaluate`: whole methods replayed on recorded answers, without a key and without a call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from routemoa.cli.session import check_writable, write_whole
from routemoa.errors import ConfigError
from routemoa.evaluate.replayed import METHODS, Replay
from routemoa.evaluate.summary import summarise
from routemoa.judging import policy_file
from routemoa.policy import policy_of
from routemoa.records import Record, read
from routemoa.trained import load, manifest
from routemoa.types import ModelSpec, Scores

__all__ = ["evaluate"]

NOTES = (
    "replayed on recorded answers: nobody was called, and no aggregator writes (the leading answer stands in for it)",
    "moa: the majority of all answers stands in for its aggregator's; calls, tokens and dollars are counted for three "
    "layers of all models and one aggregator, without the answers quoted in its prompts",
    "tokens: written ones, told by the recorded texts at four characters to one",
)


@click.command(context_settings={"max_content_width": 100})
@click.argument("records", nargs=-1, required=True)
@click.option("--scorer", required=True, metavar="DIR", help="A scorer that was trained on other questions.")
@click.option("--methods", default="routemoa", show_default=True, metavar="LIST", help="Of: " + ", ".join(METHODS))
@click.option("--policy", metavar="FILE", help="TOML with a [mixture] table for routemoa; its `judge` is taken along.")
@click.option("--seed", default=0, show_default=True, help="Decides random panels, shuffles and resampling.")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), help="Runs, from that seed on.")
@click.option("--json", "json_file", metavar="FILE", help="Write all figures to FILE.")
def evaluate(
    *,
    records: tuple[str, ...],
    scorer: str,
    methods: str,
    policy: str | None,
    seed: int,
    seeds: int,
    json_file: str | None,
) -> None:
    """Replay methods on RECORDS that hold what models really answered (`responses`).

    Beside the chosen methods always stand the best single model and the fixed best three (both chosen where the scorer
    was trained, never here), random panels of RouteMoA's size, its panels given to other questions (shuffled), and the
    oracle. Intervals are 95 %, by bootstrap over questions. Same seed, same records: the same bytes.

    \b
    Example:
      routemoa evaluate test.jsonl --scorer my-scorer --methods routemoa,moa --json figures.json
    """
    check_writable(json_file)
    chosen = _methods(methods)
    found, skipped = _replay(list(read(records)), scorer, policy)
    runs = [found.run(chosen, seed + i) for i in range(seeds)]
    figures = summarise(runs, seed)
    figures |= {"notes": list(NOTES), "models": list(found.members), "skipped": skipped, "seeds": seeds, "seed": seed}
    if json_file:
        write_whole(json_file, (json.dumps(figures, indent=1, sort_keys=True) + "\n").encode())
    _show(figures)


def _methods(given: str) -> list[str]:
    wanted = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in METHODS]:
        raise ConfigError(f"--methods: '{unknown[0]}' cannot be replayed; known: {', '.join(METHODS)}")
    always = ("best-single", "fixed-best-3", "random", "shuffled", "oracle")
    return list(dict.fromkeys([*wanted, *always]))


def _replay(records: Sequence[Record], scorer: str, policy: str | None) -> tuple[Replay, int]:
    """The replay, and how many records hold no answers. Raises ConfigError."""
    predictor, chosen = load(scorer).predictor, manifest(scorer)["chosen"]
    usable = [r for r in records if r.responses]
    members = tuple(m for m in predictor.models if any(r.responses and r.responses.get(m) for r in usable))
    if not members:
        raise ConfigError("no record holds an answer (`responses`) of a model that the scorer knows; nothing to replay")
    rows = predictor.predict([r.query for r in usable])
    place = {m: i for i, m in enumerate(predictor.models)}
    priors: list[Scores] = [{m: float(row[place[m]]) for m in members} for row in rows]
    mixture, judging = policy_file(policy)
    specs = [ModelSpec(m, "local", m) for m in members]
    single = chosen["best_single"] if chosen["best_single"] in members else members[0]
    three = tuple(m for m in chosen["best_three"] if m in members) or (single,)
    found = Replay(usable, members, priors, policy_of(specs, mixture, judging, ()), single, three)
    return found, len(records) - len(usable)


def _show(figures: dict[str, Any]) -> None:
    click.echo(f"{'method':14} {'right':>7}  {'95 %':16} {'calls':>7} {'tokens':>8} {'dollars':>10} {'seconds':>8}")
    for name, f in figures["methods"].items():
        low, high = f["ci95"]
        rest = "".join(
            f" {'-' if f[key] is None else format(f[key], shape):>{width}}"
            for key, shape, width in (
                ("calls", ".2f", 7),
                ("tokens", ".0f", 8),
                ("cost", ".6f", 10),
                ("latency", ".2f", 8),
            )
        )
        click.echo(f"{name:14} {f['accuracy']:7.1%}  {low:.1%} to {high:<8.1%}{rest}")
    n = next(iter(figures["methods"].values()))["n"]
    left = f", {figures['skipped']} records without answers left out" if figures["skipped"] else ""
    click.echo(f"{n} questions, {len(figures['models'])} models{left}")
    for pair, f in figures["paired"].items():
        a, _, b = pair.partition("|")
        if a == "routemoa":
            low, high = f["ci95"]
            click.echo(
                f"routemoa over {b}: {100 * f['difference']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}), "
                f"p {f['p']:.3f}"
            )
    for note in figures["notes"]:
        click.echo(f"note: {note}", err=True)
