"""`routemoa scorer join, probes, learn, forget`: what changes in a scorer after it was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click

from routemoa.cli.terminal.session import check_writable, write_whole
from routemoa.core.errors import ConfigError
from routemoa.datasets.jsonl import Appender
from routemoa.datasets.records import Record, read_records
from routemoa.scoring.online import OUTCOMES_FILE, GradedQuery, apply_outcomes, read_outcomes
from routemoa.scoring.trained import TrainingQuestion, load_trained_scorer, read_manifest, read_training_questions
from routemoa.training.artifact import save_scorer
from routemoa.training.new_model import add_models as join_models
from routemoa.training.table import build_table

__all__ = ["forget", "join", "join_records", "learn", "probes"]


@click.command()
@click.argument("folder", metavar="DIR")
@click.argument("records", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR2", help="The folder to write; it may be DIR itself.")
def join(folder: str, records: tuple[str, ...], out: str) -> None:
    """Add the models of RECORDS that the scorer in DIR does not know, from 30 to 60 answers of each.

    The others are not retrained. The most telling questions to ask: routemoa scorer probes. All of it for a live model
    of a pool, in one command: routemoa pool join.
    """
    new = join_records(folder, list(read_records(records)), out, records)
    click.echo(f"{out}: joined {', '.join(new)}", err=True)


def join_records(folder: str | Path, records: Sequence[Record], out: str, sources: Sequence[str]) -> list[str]:
    """Write the scorer of `folder`, with the new models of `records`, to `out`. Raises ConfigError."""
    check_writable(out)
    before = load_trained_scorer(folder).predictor
    about = dict(read_manifest(folder))
    seen = read_training_questions(folder)
    after = join_models(before, build_table(records), {(s.task, s.id): s.residual for s in seen})
    new = list(after.models[len(before.models) :])
    for key in ("files", "format", "created", "routemoa", "models", "tasks"):
        about.pop(key, None)
    about["joined"] = [*about.get("joined", []), *new]
    before_and_now = [*about.get("sources", []), *(f"{s} (joined: {', '.join(new)})" for s in sources)]
    kept = (Path(folder) / OUTCOMES_FILE).read_bytes() if (Path(folder) / OUTCOMES_FILE).is_file() else None
    try:
        save_scorer(Path(out), after, about, before_and_now, seen, Path(folder) if after.encoder else None)
        if kept:
            write_whole(str(Path(out) / OUTCOMES_FILE), kept)
    except OSError as e:
        raise ConfigError(f"--out {out}: {e.strerror or e}") from e
    return new


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("-n", "count", type=click.IntRange(1), default=48, show_default=True, help="How many questions.")
@click.option("--graded", is_flag=True, help="Only questions that have a reference, so that `collect` can grade them.")
def probes(folder: str, count: int, graded: bool) -> None:
    """Print the training questions whose answers tell most about a new model, as lines for `routemoa collect`.

    \b
    Example:
      routemoa scorer probes my-scorer -n 48 > probes.jsonl
      routemoa collect probes.jsonl --pool new.toml --out answers.jsonl
      routemoa scorer join my-scorer answers.jsonl --out my-scorer
    """
    for seen in pick(folder, count, graded=graded):
        click.echo(json.dumps(plain(seen), ensure_ascii=False))


def pick(folder: str | Path, count: int, *, graded: bool) -> list[TrainingQuestion]:
    """The most telling questions. Raises ConfigError: none has a reference."""
    load_trained_scorer(folder)  # its files are as they were written
    found = [s for s in read_training_questions(folder) if s.reference or not graded][:count]
    if not found:
        raise ConfigError(
            f"{folder}: none of its questions has a reference; grade the answers to  routemoa scorer probes  yourself "
            "and join them as records"
        )
    return found


def plain(seen: TrainingQuestion) -> dict[str, object]:
    """A question as a line of a task file."""
    fields = {k: getattr(seen, k) for k in ("id", "task", "query", "prompt", "reference")}
    return {k: v for k, v in fields.items() if v is not None}


@click.command()
@click.argument("folder", metavar="DIR")
@click.argument("records", nargs=-1, required=True)
def learn(folder: str, records: tuple[str, ...]) -> None:
    """Let the scorer in DIR learn from outcomes: RECORDS of real traffic, such as traces with feedback.

    The changes are bounded, kept beside the trained arrays, and undone by `routemoa scorer forget`. A model whose
    success leaves the predicted band is named.
    """
    trained = load_trained_scorer(folder).trained
    if trained.logits:
        raise ConfigError(
            f"{folder}: a scorer of the published recipe cannot learn; train it again, or use --recipe fast"
        )
    new = [GradedQuery(r.query, r.scores) for r in read_records(records)]
    if not any(m in trained.models for o in new for m in o.scores):
        raise ConfigError(f"the scorer knows none of these models; it knows {', '.join(trained.models)}")
    path = Path(folder) / OUTCOMES_FILE
    found = apply_outcomes(trained, read_outcomes(path) + new)
    with closing(Appender(path)) as file:
        for outcome in new:
            file.write(outcome)
    for model, change in found.mean_changes.items():
        click.echo(f"{model}: mean {change:+.3f}")
    for drift in found.drifts:
        click.echo(str(drift))


@click.command()
@click.argument("folder", metavar="DIR")
def forget(folder: str) -> None:
    """Undo everything that the scorer in DIR has learned since it was trained."""
    read_manifest(folder)
    path = Path(folder) / OUTCOMES_FILE
    count = len(path.read_bytes().splitlines()) if path.is_file() else 0
    path.unlink(missing_ok=True)
    click.echo(f"{folder}: {count} outcomes forgotten")
