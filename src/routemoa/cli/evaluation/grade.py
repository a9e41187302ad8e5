"""`routemoa grade`: grade recorded answers against their references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from routemoa.cli.options import duplicates_option, json_file_option, say
from routemoa.cli.terminal.files import check_writable, write_figures
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.progress import StepProgress
from routemoa.cli.terminal.table import print_table
from routemoa.core.errors import QueryError
from routemoa.core.types import to_plain
from routemoa.datasets.records import read_records
from routemoa.evaluation.regrading import GradedRecord, GradingResult, regrade, select_records

__all__ = ["grade"]

MAX_NAMED = 5  # ungraded records that are named, for each reason


@click.command(context_settings={"max_content_width": 100})
@click.argument("records")
@click.option(
    "--task", metavar="NAME", help="Grade only records of this task; where no record has it, treat all as this task."
)
@duplicates_option
@json_file_option
def grade(*, records: str, task: str | None, allow_duplicates: bool, json_file: str | None) -> None:
    """Grade the recorded answers (`responses`) of RECORDS against their `reference`.

    The name of a task decides how: gsm8k is numeric; math500 and math-l5 are mathematical equivalence (extra [eval]);
    mbpp and humaneval run tests in a sandbox; arc, mmlu, race and winogrande are multiple choice. For other tasks the
    form of the reference decides: a number, a letter, mathematics, else whether the answer contains it.

    An empty answer is wrong (0.0), an absent one is not measured (null); both count as failed. Records without a
    reference are named and not graded. Agreement is the share of recorded scores that the grades confirm.

    FILE is {"items": [{"id", "task", "verdicts": {model: 0 to 1, or null}}], "accuracy": {model: mean, or null},
    "failed": {model: count}, "agreement", "ungraded", "graders"}.

    \b
    Examples:
      routemoa grade records.jsonl.gz
      routemoa grade records.jsonl.gz --task gsm8k --json verdicts.json
    """
    check_writable(json_file)
    read = read_records(records, allow_duplicates=allow_duplicates, say=say)
    selected, grader = select_records(list(read), task)
    if not selected:
        raise QueryError(f"{records}: no record in it")
    with StepProgress(len(selected), "grading", "records graded") as progress:
        result = regrade(selected, grader, progress.advance)
    if json_file:
        write_figures(json_file, (json.dumps(_to_plain(result), indent=1) + "\n").encode())
    else:
        _print_result(result)
    for line in _describe_ungraded(result.items):
        print_line(line, err=True)


def _to_plain(result: GradingResult) -> dict[str, Any]:
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


def _describe_ungraded(items: Sequence[GradedRecord]) -> list[str]:
    """Return a line for each reason why records were not graded, with the first of them."""
    by_reason: dict[str, list[str]] = {}
    for item in items:
        if item.why:
            by_reason.setdefault(item.why, []).append(f"{item.task} {item.id}")
    lines = []
    for reason, names in by_reason.items():
        more = len(names) - MAX_NAMED
        line = f"{len(names):,} not graded, {reason}: {', '.join(names[:MAX_NAMED])}"
        lines.append(line + (f" and {more:,} more" if more > 0 else ""))
    return lines


def _print_result(result: GradingResult) -> None:
    rows = [
        [
            model,
            "-" if s.accuracy is None else f"{s.accuracy:.3f}",
            f"{s.graded:,}",
            f"{s.failed:,}",
            "-" if s.agreement is None else f"{s.agreement:.2%} of {s.compared:,}",
        ]
        for model, s in sorted(result.models.items(), key=lambda pair: -(pair[1].accuracy or 0.0))
    ]
    heads = ["model", "accuracy", "graded", "failed", "agreement with recorded"]
    print_table(heads, rows, left={"model"}, optional=["graded", "agreement with recorded"])
    for task, graders in result.graders.items():
        print_line(f"{task}: {', '.join(f'{count:,} {name}' for name, count in graders.items())}")
    if result.agreement is not None:
        print_line(f"{result.agreement:.2%} of {result.compared:,} recorded scores say the same")
