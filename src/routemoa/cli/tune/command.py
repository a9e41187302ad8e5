"""`routemoa tune`: choose on records the cheapest way to keep a quality, or the best one within a cost."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from routemoa.cli.options import duplicates_option, json_file_option, say
from routemoa.cli.scorer.plots import check_plot
from routemoa.cli.terminal.files import STDOUT, check_writable, write_figures, write_file
from routemoa.cli.terminal.lines import print_line, terminal_width
from routemoa.cli.terminal.table import print_table
from routemoa.cli.terminal.working import show_working
from routemoa.cli.tune.plot import draw_curve, draw_text_curve
from routemoa.core.errors import ConfigError
from routemoa.core.learned.cost_dial import Dial
from routemoa.core.learned.tuned_policy import TunedPolicy, encode_tuned_policy
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.dollars import format_dollars
from routemoa.datasets.records import read_records
from routemoa.training.tuning.curve import find_curve
from routemoa.training.tuning.policy import build_policy_file, summarize_curve
from routemoa.training.tuning.preparation import prepare

__all__ = ["tune"]

DEFAULT_QUALITY = 0.97
TERMINAL = "-"


@dataclass(frozen=True)
class TuneOptions:
    """The arguments and options of `routemoa tune`."""

    records: tuple[str, ...]
    out: str | None
    quality: float | None
    cost: float | None
    pool: str | None
    no_scorer: bool
    seed: int
    allow_duplicates: bool
    json_file: str | None
    plot: str | None


@click.command(context_settings={"max_content_width": 100})
@click.argument("records", nargs=-1, required=True)
@click.option("--out", metavar="FILE", help="The policy file to write, for `[mixture] policy`.")
@click.option("--quality", type=float, metavar="SHARE", help="Keep this share of the best single model's accuracy.")
@click.option("--cost", type=float, metavar="SHARE", help="Spend this share of the best single model's cost.")
@click.option("--pool", metavar="FILE", help="A pool file: its models alone, and its prices where none are recorded.")
@click.option("--no-scorer", is_flag=True, help="Treat all queries alike: for a pool without a trained scorer.")
@click.option("--seed", default=0, show_default=True, help="Seed for folds and groups.")
@duplicates_option
@json_file_option
@click.option(
    "--plot",
    is_flag=False,
    flag_value=TERMINAL,
    metavar="[FILE]",
    help="Draw the curve: on the terminal, or to FILE (.png or .svg; extra: plot).",
)
def tune(**options: Any) -> None:  # click passes a keyword for each option: the fields of TuneOptions
    """Choose on RECORDS how to answer, as cheap as possible, and write a policy file.

    Asked for a share of the best single model's accuracy (--quality, 0.97 unless you say otherwise) or of its cost
    (--cost), it chooses for each group of similar queries a model, a choice by estimates and price, or a panel that is
    asked from cheap to dear while answers differ. Every figure is cross-validated: measured on questions that the
    choice did not see. Costs are the records', or the prices of --pool; panels need recorded answers (`responses`).

    \b
    Examples:
      routemoa tune records.jsonl --quality 0.97 --out policy.toml --plot
      routemoa tune records.jsonl --cost 0.3 --json curve.json --plot curve.svg
    """
    _tune(TuneOptions(**options))


def _tune(options: TuneOptions) -> None:
    dial = _parse_dial(options)
    check_writable(options.out)
    check_writable(options.json_file)
    if options.plot and options.plot != TERMINAL:
        check_writable(options.plot)
        check_plot(options.plot)
    specs = Pool.from_toml(options.pool, needs_learned=False).models if options.pool else None
    with show_working("reading the records") as working:
        records = list(read_records(options.records, allow_duplicates=options.allow_duplicates, say=say))
        prepared = prepare(records, specs, say)
        if prepared.answers is None:
            say("most answers are not recorded (`responses`), so panels are not tried: one model answers each query")
        working.begin("training scorers, to cross-validate")
        estimates = None if options.no_scorer else prepared.cross_fit(options.seed, say)
        data = prepared.tuning_data(estimates)
        working.begin("trying ways to answer")
        curve = find_curve(data, dial, options.seed)
        policy = build_policy_file(curve, data, prepared.table.tasks, dial, ", ".join(options.records))
        accuracy = float(data.scores[:, data.best_single].mean())
        figures = summarize_curve(curve, policy, accuracy, prepared.dollars)
    if options.out:
        write_file(options.out, encode_tuned_policy(policy, _comment(figures)).encode())
    if options.json_file:
        write_figures(options.json_file, (json.dumps(figures, indent=1) + "\n").encode())
    if options.json_file != STDOUT:
        _print_figures(figures)
        if options.plot == TERMINAL:
            click.echo("\n" + draw_text_curve(figures, terminal_width(sys.stdout)))
            print_line(f"X chosen, o points of the curve, * {figures['best_single_model']}")
    if options.plot and options.plot != TERMINAL:
        draw_curve(options.plot, figures)
    _print_next(options, policy)


def _parse_dial(options: TuneOptions) -> Dial:
    if options.quality is not None and options.cost is not None:
        raise ConfigError("--quality and --cost exclude each other: give one, and the other is what is reached")
    quality = DEFAULT_QUALITY if options.quality is None and options.cost is None else options.quality
    dial = Dial(quality=quality, cost=options.cost)
    dial.check("--quality" if options.cost is None else "--cost")
    return dial


def _comment(figures: dict[str, Any]) -> str:
    """Return the comment at the beginning of the file."""
    chosen = figures["chosen"]
    return (
        f"Written by: routemoa {shlex.join(sys.argv[1:])}\n"
        f"Cross-validated on {figures['questions']} questions: {chosen['quality']:.3f} of the accuracy of "
        f"{figures['best_single_model']} at {chosen['cost']:.3f} of its cost.\n"
        'In the pool file: [mixture] policy = "<this file>"; prefer = {quality = 0.99} or {cost = 0.3} turns the dial.'
    )


def _print_figures(figures: dict[str, Any]) -> None:
    name, chosen = figures["best_single_model"], figures["chosen"]
    print_line(
        f"best single model on {figures['questions']} questions: {name}, {figures['best_single']:.1%} right, "
        f"{format_dollars(figures['best_single_cost'])} a call"
    )
    rows = [
        [f"{p['cost']:.3f}", _ends(p["cost_ci95"]), f"{p['quality']:.3f}", _ends(p["quality_ci95"])]
        for p in figures["curve"]
    ]
    print_line("the curve, as shares of its cost and accuracy:")
    print_table(["cost", "95 %", "quality", "95 % "], rows, left={"95 %", "95 % "}, optional=[])
    ((measure, wanted),) = figures["asked"].items()
    print_line("")
    print_line(
        f"asked for {measure} {wanted:g}: quality {chosen['quality']:.3f} ({_ends(chosen['quality_ci95'])}) at cost "
        f"{chosen['cost']:.3f} ({_ends(chosen['cost_ci95'])}), as shares of {name}'s"
    )
    if measure == "quality" and wanted > (most := figures["curve"][-1]["quality"]) + 1e-9:
        print_line(f"more than {most:g} is not reached on these records, so this is the most accurate way", err=True)
    low, *high = chosen["plans"]
    shares = [1 - chosen["share_of_dearer"], chosen["share_of_dearer"]] if high else [1.0]
    for share, plans in zip(shares, [low, *high], strict=True):
        print_line(f"{share:.0%} of the queries, by a hash of their text:")
        for group, plan in zip(figures["groups"], plans, strict=True):
            print_line(f"  {group['questions']} questions ({group['mostly']}): {plan}", indent="    ")


def _print_next(options: TuneOptions, policy: TunedPolicy) -> None:
    """Say how the file is used."""
    if not options.out:
        click.echo("\nnothing written; --out policy.toml writes the policy", err=True)
        return
    lines = [f"\n{options.out}: written; in the pool file:"]
    if policy.uses_estimates:
        records = shlex.join(options.records)
        lines += ["  [scorer]", f'  path = "my-scorer"      # routemoa scorer train {records} --out my-scorer']
    lines += ["  [mixture]", f'  policy = "{Path(options.out).name}"']
    click.echo("\n".join(lines), err=True)


def _ends(interval: list[float]) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"
