"""Questions to ask live models: our own lines, and the raw lines of GSM8K and ARC, read into one shape."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
from msgspec import Struct

from routemoa.datasets.grading import GraderName, grade, suggest_grader
from routemoa.datasets.jsonl import BadLine, ErrorCollector, read_lines, explain_json_error

__all__ = ["Question", "asked", "question_from_json", "read_questions"]


class Question(Struct, frozen=True):
    """What is asked, and how an answer to it is graded; without a `reference` it is not."""

    id: str
    task: str
    query: str  # what a scorer may read
    prompt: str | None = None  # the full text that is sent, where it differs from `query`
    reference: str | None = None
    grader: GraderName | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Task and id, which together are unique."""
        return self.task, self.id

    @property
    def text(self) -> str:
        """The text that is sent."""
        return self.prompt or self.query

    def grade(self, answer: str) -> float | None:
        """The answer's score in [0, 1]; None without a reference."""
        return grade(answer, self.reference, self.grader) if self.reference and self.grader else None


def read_questions(path: str | os.PathLike[str]) -> Iterator[Question]:
    """Yield the questions of a task file, plain or gzip, one JSON object a line.

    A line is {"id", "task", "query", "prompt"?, "reference"?, "grader"?}, a GSM8K line {"question", "answer"} with
    "#### N" in it, or an ARC line {"question", "choices", "answerKey"}. A missing task is the file's name, a missing
    id the line's number; a missing grader follows from the reference: a number, a letter, mathematics, else "contains".

    Raises:
        RecordsError: after the last question, when any line cannot be used; it lists the first 20.
    """
    name = Path(path).name.removesuffix(".gz").removesuffix(".jsonl")
    complaints = ErrorCollector()
    seen: dict[tuple[str, str], int] = {}
    for number, line in read_lines(path, complaints):
        found = parse_question(line, name, number)
        if isinstance(found, Question) and found.key in seen:
            found = f"task '{found.task}', id '{found.id}' is already on line {seen[found.key]}"
        if isinstance(found, str):
            complaints(BadLine(os.fspath(path), number, found))
            continue
        seen[found.key] = number
        yield found
    complaints.raise_if_any()


def asked(id: str, task: str, query: str, prompt: str | None, reference: str | None) -> Question:
    """A question that is known already, graded by what fits its reference."""
    return Question(id, task, query, prompt, reference, suggest_grader(reference) if reference else None)


def parse_question(line: bytes | str, task: str, number: int) -> Question | str:
    """The question in a line, or in words why there is none."""
    try:
        plain = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return explain_json_error(line, e)
    return question_from_json(plain, task, number)


def question_from_json(plain: object, task: str, number: int) -> Question | str:
    """The question in a line's value: ours, or a row of GSM8K or ARC; or in words why there is none."""
    if not isinstance(plain, dict):
        return "not a JSON object"
    if "query" not in plain and "question" in plain:
        plain = _convert_arc(plain) if "choices" in plain else _convert_gsm8k(plain)
        if isinstance(plain, str):
            return plain
    fields = {"id": f"{task}-{number}", "task": task} | plain
    return _check_fields(fields)


def _check_fields(fields: Mapping[str, Any]) -> Question | str:
    for name in ("id", "task", "query", "prompt", "reference", "grader"):
        value = fields.get(name)
        if name in ("id", "task", "query") and (not isinstance(value, str) or not value.strip()):
            return f"{name} is missing, empty or no text"
        if value is not None and not isinstance(value, str):
            return f"{name} must be text"
    reference, grader = fields.get("reference"), fields.get("grader")
    if grader is not None and grader not in get_args(GraderName):
        return f"grader '{grader}' is unknown; known: {', '.join(get_args(GraderName))}"
    if reference is not None and not reference.strip():
        return "reference is empty; leave it out where there is none"
    if reference is not None:
        grader = grader or suggest_grader(reference)
        if grader != "judge" and grade("", reference, cast(GraderName, grader)) is None:
            return f"reference '{reference}' cannot be graded as {grader}"
    return Question(fields["id"], fields["task"], fields["query"], fields.get("prompt"), reference, grader)


def _convert_gsm8k(plain: Mapping[str, Any]) -> dict[str, Any] | str:
    final = re.search(r"####\s*(.+)\s*$", str(plain.get("answer", "")))
    if not isinstance(plain["question"], str) or not final:
        return "a question without query needs an answer that ends in '#### number', or choices"
    ask = f"{plain['question']}\n\nWork it out, then end with one line: The answer is <number>."
    given = {k: plain[k] for k in ("id", "task") if k in plain}
    return given | {"query": plain["question"], "prompt": ask, "reference": final[1].strip(), "grader": "numeric"}


def _convert_arc(plain: Mapping[str, Any]) -> dict[str, Any] | str:
    """Options are lettered anew: some of ARC's are numbered."""
    choices = plain["choices"] if isinstance(plain["choices"], dict) else {}
    texts, labels = choices.get("text"), choices.get("label")
    if not isinstance(texts, list) or not isinstance(labels, list) or not 0 < len(texts) == len(labels) <= 10:
        return "choices must have as many of text as of label, at most ten"
    if not isinstance(plain["question"], str) or plain.get("answerKey") not in labels:
        return "answerKey is none of the choices' labels"
    query = "\n".join([plain["question"], *(f"{chr(65 + i)}. {text}" for i, text in enumerate(texts))])
    ask = f"{query}\n\nEnd with one line: The answer is <letter>."
    given = {k: plain[k] for k in ("id", "task") if k in plain}
    letter = chr(65 + labels.index(plain["answerKey"]))
    return given | {"query": query, "prompt": ask, "reference": letter, "grader": "choice"}
