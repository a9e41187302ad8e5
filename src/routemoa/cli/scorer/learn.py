"""`routemoa scorer learn` and `forget`: update a trained scorer with outcomes of real traffic, and undo it."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from routemoa.cli.options import duplicates_option, json_file_option, say
from routemoa.cli.terminal.files import STDOUT, check_writable, write_figures
from routemoa.cli.terminal.lines import print_line
from routemoa.core.errors import ConfigError
from routemoa.core.text.plural import counted
from routemoa.datasets.appender import Appender
from routemoa.datasets.records import read_records
from routemoa.scoring.outcome_updates import OUTCOMES_FILE, GradedQuery, apply_outcomes, read_outcomes
from routemoa.scoring.trained import load_trained_scorer, read_manifest

__all__ = ["forget", "learn"]


@click.command(short_help="Update a scorer with outcomes of real traffic.")
@click.argument("folder", metavar="DIR")
@click.argument("records", nargs=-1, required=True)
@duplicates_option
@json_file_option
def learn(folder: str, records: tuple[str, ...], allow_duplicates: bool, json_file: str | None) -> None:
    """Update the scorer in DIR with outcomes: RECORDS of real traffic, such as traces with feedback.

    The changes are bounded and kept beside the trained arrays; `routemoa scorer forget` undoes them. A record that was
    learned before counts once, with its latest scores. A model whose success rate leaves the predicted band is named.

    \b
    Example:
      routemoa scorer learn my-scorer feedback.jsonl
    """
    check_writable(json_file)
    trained = load_trained_scorer(folder).trained_predictor
    if trained.logits:
        raise ConfigError(
            f"{folder}: a scorer of the published recipe cannot learn; train it again, or use --recipe fast"
        )
    read = read_records(records, allow_duplicates=allow_duplicates, say=say)
    given = [GradedQuery(r.query, r.scores, r.task, r.id) for r in read]
    if not given:
        raise ConfigError(f"{', '.join(records)}: no record; see docs/how-to/scorer.md for the format")
    if not any(m in trained.models for o in given for m in o.scores):
        raise ConfigError(f"the scorer knows none of these models; it knows {', '.join(trained.models)}")
    path = Path(folder) / OUTCOMES_FILE
    known = read_outcomes(path)
    learned = {o.key: o for o in known}
    new = [o for o in given if learned.get(o.key) != o]
    if repeated := len(given) - len(new):
        say(f"{counted(repeated, 'outcome was', 'outcomes were')} learned before and count once")
    update = apply_outcomes(trained, known + new)
    with closing(Appender(path)) as file:
        for outcome in new:
            file.write(outcome)
    if json_file:
        drifts = [asdict(drift) for drift in update.drifts]
        report = {"scorer": folder, "outcomes": len(new), "mean_changes": update.mean_changes, "drifts": drifts}
        write_figures(json_file, (json.dumps(report, indent=2) + "\n").encode())
    if json_file == STDOUT:
        return
    for model, change in update.mean_changes.items():
        print_line(f"{model}: mean {change:+.3f}")
    for drift in update.drifts:
        print_line(str(drift))


@click.command(short_help="Undo all that a scorer has learned since it was trained.")
@click.argument("folder", metavar="DIR")
def forget(folder: str) -> None:
    """Undo all that the scorer in DIR has learned from outcomes since it was trained.

    \b
    Example:
      routemoa scorer forget my-scorer
    """
    read_manifest(folder)
    path = Path(folder) / OUTCOMES_FILE
    count = len(path.read_bytes().splitlines()) if path.is_file() else 0
    path.unlink(missing_ok=True)
    print_line(f"{folder}: {counted(count, 'outcome')} forgotten")
