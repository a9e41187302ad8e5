"""Questions to ask live models, read from task files: JSON lines, CSV or Parquet, ours or those of GSM8K and ARC."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.files.file_kind import detect_kind
from routemoa.core.files.toml import suggest_name
from routemoa.core.text.plural import counted
from routemoa.core.text.unicode_text import mend_halves
from routemoa.datasets.choice_rows import convert_choices
from routemoa.datasets.columns import rename_fields
from routemoa.datasets.file_heads import find_wrong_kind, read_head
from routemoa.datasets.grading import GraderName, grade, suggest_grader
from routemoa.datasets.jsonl import (
    BadLine,
    ErrorCollector,
    SeenIds,
    explain_json_error,
    read_lines,
)
from routemoa.datasets.question_tables import read_csv_rows, read_parquet_rows

__all__ = ["Question", "name_task", "question_from_json", "read_questions"]

MAX_SAID = 3
"""Lines about names of fields, of one file."""
TABLE_READERS = {"csv": read_csv_rows, "parquet": read_parquet_rows}


class Question(Struct, frozen=True):
    """A question and how to grade an answer to it."""

    id: str
    """Unique within the task."""
    task: str
    query: str
    """The question as a scorer may read it."""
    prompt: str | None = None
    """The full text to send, where it differs from `query`."""
    reference: str | None = None
    """The expected answer; without it answers are not graded."""
    grader: GraderName | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Task and id, which together are unique."""
        return self.task, self.id

    @property
    def text(self) -> str:
        """The text to send."""
        return self.prompt or self.query

    def grade(self, answer: str) -> float | None:
        """Return the answer's score in [0, 1], or None without a reference."""
        return grade(answer, self.reference, self.grader, self.query) if self.reference and self.grader else None


def read_questions(
    path: str | os.PathLike[str], say: Callable[[str], None] = lambda _: None, *, allow_duplicates: bool = False
) -> Iterator[Question]:
    """Yield the questions of a task file: lines of JSON, CSV or Parquet, plain or gzip.

    A line is {"id", "task", "query", "prompt"?, "reference"?, "grader"?}, a GSM8K line {"question", "answer"} with
    "#### N" in it, an ARC line {"question", "choices", "answerKey"}, or the like with a list of `choices` or `options`
    and an `answer` (`choice_rows`). A missing task is the file's name, a missing id the line's number; a missing grader
    follows from the reference: a number, a letter, mathematics, else "contains". A table has the same names as columns,
    or their usual other names (`columns.ALIASES`).

    Args:
        path: the file; what it holds decides how it is read, not its name.
        say: called with a line about columns that stand for others or are ignored, and about allowed duplicates.
        allow_duplicates: keep questions whose task and id came before, as "id#2", "id#3"; else they are bad lines.

    Raises:
        RecordsError: after the last question, when any line cannot be used; it lists the first 20.
        MissingExtra: a Parquet file without the extra [parquet].
    """
    file, task = os.fspath(path), name_task(path)
    errors = ErrorCollector()
    seen = SeenIds()
    for line, question in _read_all(file, task, errors, say):
        if isinstance(question, str):
            errors(BadLine(file, line, question))
        elif allow_duplicates:
            yield replace(question, id=seen.tell_apart(question.key, file, line))
        elif seen.add(question.key, file, line):
            yield question
    if not allow_duplicates:
        seen.report(errors)
    elif seen.repeated:
        say(f"{counted(seen.repeated, 'question repeats', 'questions repeat')} an id; told apart as id#2, id#3, ...")
    errors.raise_if_any()


def name_task(path: str | os.PathLike[str]) -> str:
    """Return the name of a file without its folder and endings: the task of questions that name none."""
    name = mend_halves(Path(path).name)
    return re.sub(r"(\.(jsonl|csv|tsv|parquet))?(\.gz)?$", "", name, count=1) or name


def _read_all(
    file: str, task: str, on_bad: ErrorCollector, say: Callable[[str], None]
) -> Iterator[tuple[int, Question | str]]:
    """Yield each question of a file, or why there is none, with its line."""
    kind = detect_kind(read_head(file), file)
    if kind.kind in TABLE_READERS:
        for row in TABLE_READERS[kind.kind](file, on_bad, say):
            yield row.line, question_from_json(row.fields, task, row.number)
    elif fault := find_wrong_kind(file, "questions", "questions", "records"):
        on_bad(BadLine(file, 0, fault))
    else:
        said = {""}
        for number, line in read_lines(file, on_bad):
            question, renamed = parse_question(line, task, number)
            if renamed not in said and len(said) < MAX_SAID:
                said.add(renamed)
                say(f"{file}: {renamed}")
            yield number, question


def parse_question(line: bytes | str, task: str, number: int) -> tuple[Question | str, str]:
    """Return the question in a line of a task file, or why there is none; and which of its fields stand for ours."""
    try:
        plain = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return explain_json_error(line, e), ""
    fields, renamed = rename_fields(plain) if isinstance(plain, dict) else (plain, "")
    return fields if isinstance(fields, str) else question_from_json(fields, task, number), renamed


def question_from_json(plain: object, task: str, number: int) -> Question | str:
    """Return the question in a decoded line, or why there is none.

    Args:
        plain: a line of our own, or a row of GSM8K or ARC.
        task: the task of a line that names none.
        number: of the line, for the id of a line that has none.
    """
    if not isinstance(plain, dict):
        return "not a JSON object"
    if "query" not in plain and "question" in plain:
        plain = convert_choices(plain) if {"choices", "options"} & plain.keys() else _convert_gsm8k(plain)
        if isinstance(plain, str):
            return plain
    return _make_question({"id": f"{task}-{number}", "task": task} | plain)


def _make_question(fields: Mapping[str, Any]) -> Question | str:
    if fault := _find_fault(fields):
        return fault
    reference, grader = fields.get("reference"), fields.get("grader")
    if reference is not None:
        grader = grader or suggest_grader(reference, fields["query"])
        if grader != "judge" and grade("", reference, cast(GraderName, grader)) is None:
            return f"reference '{reference}' cannot be graded as {grader}"
    return Question(fields["id"], fields["task"], fields["query"], fields.get("prompt"), reference, grader)


def _find_fault(fields: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the fields of a question, or None."""
    for name in ("id", "task", "query", "prompt", "reference", "grader"):
        value = fields.get(name)
        if name in ("id", "task", "query") and (not isinstance(value, str) or not value.strip()):
            return f"{name} is missing, empty or not text"
        if value is not None and not isinstance(value, str):
            return f"{name} must be text"
    grader, reference = fields.get("grader"), fields.get("reference")
    if grader is not None and grader not in get_args(GraderName):
        return f"grader '{grader}' is unknown; {suggest_name(grader, get_args(GraderName))}"
    if reference is not None and not reference.strip():
        return "reference is empty; leave it out where there is none"
    return None


def _convert_gsm8k(row: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return the fields of a GSM8K row, or what it lacks."""
    result = re.search(r"####\s*(.+)\s*$", str(row.get("answer", "")))
    if not isinstance(row["question"], str) or not result:
        return "a question without query needs an answer that ends in '#### number', or choices; else name it query"
    prompt = f"{row['question']}\n\nWork it out, then end with one line: The answer is <number>."
    kept = {k: row[k] for k in ("id", "task") if k in row}
    return kept | {"query": row["question"], "prompt": prompt, "reference": result[1].strip(), "grader": "numeric"}
