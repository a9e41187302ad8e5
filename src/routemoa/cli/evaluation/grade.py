"""`routemoa grade`: recorded answers graded anew against their references."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from routemoa.cli.terminal.progress import Steps
from routemoa.cli.terminal.session import check_writable, write_whole
from routemoa.core.errors import QueryError
from routemoa.core.types import to_plain
from routemoa.datasets.records import read_records
from routemoa.evaluation.regrading import GradedRecord, GradingResult, regrade, select_records

__all__ = ["grade"]

NAMED = 5  # records without a grade that are named, for each reason


@click.command(context_settings={"max_content_width": 100})
@click.argument("records")
@click.option("--task", metavar="NAME", help="Only the records of this task; or, where none has it, what they all are.")
@click.option("--json", "json_file", metavar="FILE", help="Write all verdicts and figures to FILE.")
def grade(*, records: str, task: str | None, json_file: str | None) -> None:
    """Grade what models really answered (`responses` of RECORDS) against `reference`.

    The task's name decides how: gsm8k is numeric; math500 and math-l5 are mathematical equivalence (extra [eval]);
    mbpp and humaneval run tests in a sandbox; arc, mmlu, race and winogrande are multiple choice. Other tasks are
    graded as their reference looks: a number, a letter, mathematics, else whether the answer contains it.

    An empty answer is wrong (0.0), an absent one is not measured (null); both are counted as failed. Records without
    a reference are named and not graded. Where scores were recorded, agreement is the share that says the same.

    FILE is {"items": [{"id", "task", "verdicts": {model: 0 to 1, or null}}], "accuracy": {model: mean, or null},
    "failed": {model: count}, "agreement", "ungraded", "graders"}.

    \b
    Examples:
      routemoa grade records.jsonl.gz
      routemoa grade records.jsonl.gz --task gsm8k --json verdicts.json
    """
    check_writable(json_file)
    found, kind = select_records(list(read_records(records)), task)
    if not found:
        raise QueryError(f"{records}: no record in it")
    with Steps(len(found), "grading", "records graded") as steps:
        result = regrade(found, kind, steps.step)
    if json_file:
        write_whole(json_file, (json.dumps(_plain(result), indent=1) + "\n").encode())
    else:
        _print(result)
    for line in _ungraded(result.items):
        click.echo(line, err=True)


def _plain(result: GradingResult) -> dict[str, Any]:
    return {
        "items": [{"id": i.id, "task": i.task, "verdicts": i.verdicts} for i in result.items],
        "accuracy": {m: s.accuracy for m, s in result.models.items()},
        "graded": {m: s.graded for m, s in result.models.items()},
        "failed": {m: s.failed for m, s in result.models.items()},
        "agreement": {
            "all": result.agreement,
            "compared": result.compared,
            "models": {m: s.agreement for m, s in result.models.items()},
        },
        "ungraded": [{"id": i.id, "task": i.task, "why": i.why} for i in result.items if i.why],
        "graders": to_plain(result.graders),
    }


def _ungraded(items: Sequence[GradedRecord]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for item in items:
        if item.why:
            reasons.setdefault(item.why, []).append(f"{item.task} {item.id}")
    more = {why: len(ids) - NAMED for why, ids in reasons.items()}
    return [
        f"{len(ids):,} not graded, {why}: {', '.join(ids[:NAMED])}" + (f" and {more[why]:,} more" * (more[why] > 0))
        for why, ids in reasons.items()
    ]


def _print(result: GradingResult) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("model", "accuracy", "graded", "failed", "agreement with recorded"):
        table.add_column(head, justify="left" if head == "model" else "right")
    for model, s in sorted(result.models.items(), key=lambda pair: -(pair[1].accuracy or 0.0)):
        accuracy = "-" if s.accuracy is None else f"{s.accuracy:.3f}"
        agreement = "-" if s.agreement is None else f"{s.agreement:.2%} of {s.compared:,}"
        table.add_row(*map(Text, (model, accuracy, f"{s.graded:,}", f"{s.failed:,}", agreement)))  # names are data
    console.print(table)
    for task, graders in result.graders.items():
        how = ", ".join(f"{count:,} {kind}" for kind, count in graders.items())
        console.print(f"{task}: {how}", markup=False, highlight=False)
    if result.agreement is not None:
        said = f"{result.agreement:.2%} of {result.compared:,} recorded scores say the same"
        console.print(said, markup=False, highlight=False)
