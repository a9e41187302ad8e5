"""`routemoa learn`: learn from feedback how far priors are off, and take over what is better on held-out traffic."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from routemoa.cli.learning.learned_files import LearningRuns, hold_lock, undo
from routemoa.cli.options import edited_pool_option, json_option, store_option
from routemoa.cli.terminal.lines import print_line
from routemoa.core.learned.learned_log import describe_drift, find_last_run, read_log
from routemoa.core.text.plural import counted

if TYPE_CHECKING:
    from routemoa.cli.pool.pool_file import PoolFile
    from routemoa.core.learned.learned_log import Step
    from routemoa.evaluation.statistics import MeanInterval

__all__ = ["learn"]

SHOWN_SHIFT = 0.05
"""A shift on one task below which it is not printed."""
DUE_SHARE = 0.9
"""Of `[learning] every`, after which a run is due: the clocks of several servers differ."""


@click.command(context_settings={"max_content_width": 100})
@edited_pool_option
@store_option
@click.option("--dry-run", is_flag=True, help="Show what would be taken over; write nothing.")
@click.option("--undo", "undoes", is_flag=True, help="Go back to what the pool file named before the last step.")
@click.option("--history", "shows_history", is_flag=True, help="Show the steps so far, by hand and of servers.")
@click.option("--due", is_flag=True, help="Do nothing unless `[learning] every` has passed since the last run.")
@json_option
def learn(  # one parameter for each option
    *,
    pool_file: str | None,
    store_file: str | None,
    dry_run: bool,
    undoes: bool,
    shows_history: bool,
    due: bool,
    as_json: bool,
) -> None:
    """Learn from feedback how far each model's prior is off, and take it over where that is better.

    Outcomes are the traces that `routemoa serve` kept and that callers said something of (POST /v1/feedback). They
    teach a shift in log-odds for each model, and for each model on each task of the scorer; the shifts are as small as
    the outcomes let them be. Each outcome is then predicted by what the others teach. What was learned is taken over
    where, on outcomes that did not teach it, the answer is right more often with its whole 95 % interval, or costs less
    and is right as often, or the predictions are better and the answer is no worse. Then they teach the judge model
    what `routemoa judge fit` learns; it is taken over where its probabilities are truer with their whole interval on
    outcomes that did not teach it, and the choice is no worse.

    What is taken over is a file in learned/ beside the pool file, named by `[learning] path`. A running server takes
    it over by itself. Each step is a line of learned/log.jsonl, and so is the latest run without one. Models that drift
    are named. With `[learning] every` in the pool file `routemoa serve` runs this by itself.

    \b
    Examples:
      routemoa learn --pool pool.toml --dry-run
      routemoa learn --pool pool.toml --store store.db
      routemoa learn --pool pool.toml --history
      routemoa learn --pool pool.toml --undo
    """
    from routemoa.cli.pool.pool_file import find_pool_file

    if undoes + dry_run + shows_history > 1:
        raise click.UsageError("--undo, --dry-run and --history exclude each other.")
    file = find_pool_file(pool_file)
    if shows_history:
        _print_history(read_log(file.path), as_json=as_json)
    elif undoes:
        _undo(file, as_json=as_json)
    elif dry_run:
        _print(_learn(file, store_file, writes=False), as_json=as_json)
    else:
        _print(_learn_alone(file, store_file, due=due), as_json=as_json)


def _learn_alone(file: PoolFile, store_file: str | None, *, due: bool) -> dict[str, Any]:
    """Learn while no other process does; with `due`, only where a run is. Raises ConfigError."""
    from routemoa.cli.learning.outcome_reader import find_traces

    not_due = {"action": "not due"}
    if due and not _is_due(file):
        return not_due
    find_traces(store_file)  # without any, nothing is written
    try:
        with hold_lock(file.path):
            return _learn(file, store_file, writes=True) if not due or _is_due(file) else not_due
    except LearningRuns:
        if not due:
            raise
        return not_due  # another worker of the server was first


def _learn(file: PoolFile, store_file: str | None, *, writes: bool) -> dict[str, Any]:
    from routemoa.cli.learning.learning_run import run_learning
    from routemoa.cli.terminal.threads import use_one_thread

    use_one_thread()
    return run_learning(file, store_file, writes=writes)


def _is_due(file: PoolFile) -> bool:
    """Return whether `[learning] every` has passed since the last run; False where the key is missing."""
    from routemoa.core.files.toml import load_toml
    from routemoa.core.tables.learning_table import parse_learning_table

    table = load_toml(file.text, str(file.path)).get("learning", {})
    seconds, last = parse_learning_table(table, f"{file.path}: [learning]").seconds, find_last_run(file.path)
    return seconds is not None and (last is None or not 0 <= time.time() - last < DUE_SHARE * seconds)


def _print(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
    elif report["action"] == "not due":
        print_line("not due: `[learning] every` has not passed since the last run, or is not set")
    else:
        _print_report(report)


def _print_history(steps: list[Step], *, as_json: bool) -> None:
    import msgspec

    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(step) for step in steps], indent=1, ensure_ascii=False))
        return
    if not steps:
        print_line("nothing was learned yet")
    for step in steps:
        why = step.figures.get("why", f"from {step.before} to {step.path or 'the scorer alone'}")
        path = f" as {step.path}" if step.action == "taken over" else ""
        print_line(f"{step.at}  {step.action}{path}: {why}")


def _undo(file: PoolFile, *, as_json: bool) -> None:
    step = undo(file, time.time())
    if as_json:
        click.echo(json.dumps({"action": step.action, "path": step.path, "before": step.before}))
    else:
        now = f"names {step.path} again" if step.path else "names nothing that was learned"
        print_line(f"{file.path}: {now}; the file {step.before} stays")


def _print_report(report: dict[str, Any]) -> None:
    print_line(f"{counted(report['outcomes'], 'outcome')} with feedback")
    learned = report.get("learned", {})
    for name, shift in learned.get("shift", {}).items():
        print_line(f"  {name}: log-odds of its prior {shift:+.2f}")
        for task, more in learned.get("tasks", {}).get(name, {}).items():
            if abs(more) >= SHOWN_SHIFT:
                print_line(f"    on {task} {more:+.2f} more")
    for name, prior in learned.get("prior", {}).items():
        print_line(f"  {name}: prior {prior:.2f}, where it had none")
    if held_out := report.get("held_out"):
        beside = "the scorer alone, as they are no better than those of now"
        beside = beside if report["beside"] == "scorer" else "those of now"
        print_line(f"the new priors beside {beside} ({counted(held_out['queries'], 'outcome')}):")
        for key, name, scale, unit in (
            ("accuracy", "accuracy of the answer", 100.0, "points"),
            ("saved", "saved", 1000.0, "dollars in 1,000 queries"),
            ("prediction", "Brier score, lower by", 1.0, ""),
        ):
            print_line(f"  {name}: {_describe_interval(held_out[key], scale, unit)}")
    if judge := report.get("judge"):
        print_line(f"the judge model beside that of now ({counted(judge['outcomes'], 'outcome')}):")
        print_line(f"  log-loss of P(right), lower by: {_describe_interval(judge['loss'], 1.0, '')}")
        print_line(f"  accuracy of the choice: {_describe_interval(judge['accuracy'], 100.0, 'points')}")
    for note in report.get("notes", ()):
        print_line(f"note: {note}")
    for drift in report["drift"]:
        print_line(describe_drift(drift))
    taken = f" as {report['path']}" if "path" in report else ""
    print_line(f"{report['action']}{taken}: {report['why']}")
    if "path" in report:
        print_line(f"go back with  routemoa learn --pool {report['pool']} --undo", err=True)


def _describe_interval(interval: dict[str, float] | MeanInterval | None, scale: float, unit: str) -> str:
    if not isinstance(interval, dict):
        return "unknown"
    mean, low, high = (interval[key] * scale for key in ("mean", "low", "high"))
    return f"{mean:+.3g} ({low:+.3g} to {high:+.3g}) {unit}".rstrip()
