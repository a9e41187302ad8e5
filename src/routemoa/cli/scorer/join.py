"""`routemoa scorer join` and `probes`: add models to a trained scorer from a few answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from routemoa.cli.options import duplicates_option, json_file_option, say
from routemoa.cli.terminal.files import check_writable, check_writable_folder, write_figures, write_file
from routemoa.cli.terminal.lines import print_line
from routemoa.core.errors import ConfigError
from routemoa.datasets.records import Record, read_records
from routemoa.scoring.outcome_updates import OUTCOMES_FILE
from routemoa.scoring.trained import TrainingQuestion, load_trained_scorer, read_manifest, read_training_questions
from routemoa.training.artifact import save_scorer
from routemoa.training.new_model import add_models as join_models
from routemoa.training.table import build_table

__all__ = ["choose_probes", "join", "join_records", "probes"]

OWN_FACTS = ("files", "format", "created", "routemoa", "models", "tasks")  # of a manifest, that saving writes again


@click.command(short_help="Add models to a scorer from a few of their answers.")
@click.argument("folder", metavar="DIR")
@click.argument("records", nargs=-1, required=True)
@click.option("--out", required=True, metavar="DIR2", help="The folder to write; it may be DIR itself.")
@duplicates_option
@json_file_option
def join(folder: str, records: tuple[str, ...], out: str, allow_duplicates: bool, json_file: str | None) -> None:
    """Add the models of RECORDS that the scorer in DIR does not know, from 30 to 60 answers of each.

    The models that it knows are not retrained. `routemoa scorer probes` prints the most informative questions to ask.
    For a live model of a pool, `routemoa pool join` does both.

    \b
    Example:
      routemoa scorer join my-scorer answers.jsonl --out my-scorer
    """
    check_writable(json_file)
    read = read_records(records, allow_duplicates=allow_duplicates, say=say)
    new = join_records(folder, list(read), out, records)
    if json_file:
        write_figures(json_file, (json.dumps({"scorer": out, "joined": new}, indent=2) + "\n").encode())
    print_line(f"{out}: joined {', '.join(new)}", err=True)


def join_records(folder: str | Path, records: Sequence[Record], out: str, sources: Sequence[str]) -> list[str]:
    """Write the scorer of `folder` and the new models of `records` to `out`; return the names of these models.

    Args:
        folder: of a trained scorer.
        records: answers of the new models.
        out: the folder to write.
        sources: the files of the records, for the scorer's card.

    Raises:
        ConfigError: no new model has enough answers, or `out` cannot be written.
    """
    check_writable_folder(out)
    before = load_trained_scorer(folder).predictor
    facts = dict(read_manifest(folder))
    seen = read_training_questions(folder)
    after = join_models(before, build_table(records), {(s.task, s.id): s.residual for s in seen})
    new = list(after.models[len(before.models) :])
    for key in OWN_FACTS:
        facts.pop(key, None)
    facts["joined"] = [*facts.get("joined", []), *new]
    all_sources = [*facts.get("sources", []), *(f"{s} (joined: {', '.join(new)})" for s in sources)]
    outcomes = Path(folder) / OUTCOMES_FILE
    learned = outcomes.read_bytes() if outcomes.is_file() else None
    try:
        save_scorer(Path(out), after, facts, all_sources, seen, encoder=Path(folder) if after.encoder else None)
        if learned:
            write_file(Path(out) / OUTCOMES_FILE, learned)
    except OSError as e:
        raise ConfigError(f"--out {out}: {e.strerror or e}") from e
    return new


@click.command(short_help="Print the questions that reveal most about a new model.")
@click.argument("folder", metavar="DIR")
@click.option("-n", "count", type=click.IntRange(1), default=48, show_default=True, help="How many questions to print.")
@click.option("--graded", is_flag=True, help="Only questions with a reference, which `collect` can grade.")
def probes(folder: str, count: int, graded: bool) -> None:
    """Print the training questions that reveal most about a new model, as lines for `routemoa collect`.

    \b
    Example:
      routemoa scorer probes my-scorer -n 48 > probes.jsonl
      routemoa collect probes.jsonl --pool new.toml --out answers.jsonl
      routemoa scorer join my-scorer answers.jsonl --out my-scorer
    """
    for seen in choose_probes(folder, count, graded=graded):
        fields = {k: getattr(seen, k) for k in ("id", "task", "query", "prompt", "reference")}
        click.echo(json.dumps({k: v for k, v in fields.items() if v is not None}, ensure_ascii=False))


def choose_probes(folder: str | Path, count: int, *, graded: bool) -> list[TrainingQuestion]:
    """Return the most informative training questions of a scorer; with `graded`, only those with a reference.

    Raises:
        ConfigError: none has a reference.
    """
    load_trained_scorer(folder)  # checks that its files are as they were written
    chosen = [s for s in read_training_questions(folder) if s.reference or not graded][:count]
    if not chosen:
        raise ConfigError(
            f"{folder}: none of its questions has a reference; grade the answers to  routemoa scorer probes  yourself "
            "and join them as records"
        )
    return chosen
