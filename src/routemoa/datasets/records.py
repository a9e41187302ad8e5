"""Records: what models answered to a question, and how good each answer was. One JSON object a line.

A line is {"id", "task", "query", "scores": {model: 0 to 1, or null}} and further fields of `Record`; other keys are
ignored. A null score means "not measured" and is never read as 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.text.plural import counted
from routemoa.core.trace import Answer
from routemoa.core.types import Scores
from routemoa.datasets.file_heads import find_wrong_kind
from routemoa.datasets.jsonl import (
    BadLine,
    ErrorCollector,
    RecordsError,
    SeenIds,
    explain_json_error,
    read_lines,
)
from routemoa.judging.answers.language.extraction import unwrap_list

__all__ = ["BadLine", "Record", "RecordsError", "parse_record", "read_records", "record_from_trace"]

TEXTS = ("id", "task", "query")
BOUNDS = {"scores": 1.0, "confidence": 1.0, "costs": 1e9, "seconds": 1e9}
"""Fields with a number for each model -> the largest allowed; the smallest is 0."""


class Record(Struct, frozen=True, omit_defaults=True):
    """One question and what is known of each model's answer; None is unknown."""

    id: str
    """Unique within the task."""
    task: str
    query: str
    """The question as a scorer may read it."""
    scores: Scores
    prompt: str | None = None
    """The full text that was sent, where it differs from `query`."""
    responses: dict[str, str | None] | None = None
    """Model -> the text of its answer."""
    reference: str | None = None
    """The expected answer, in the form its grader reads."""
    costs: dict[str, float | None] | None = None
    """Model -> dollars."""
    confidence: dict[str, float | None] | None = None
    """Model -> its own estimate in [0, 1] of being right."""
    seconds: dict[str, float | None] | None = None
    """Model -> seconds from the call to the end of the answer."""


Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def read_records(
    paths: Paths,
    on_bad: Callable[[BadLine], None] | None = None,
    *,
    allow_duplicates: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Record]:
    """Yield the records of one file or several, plain or gzip, one at a time.

    Args:
        paths: a path or several; gzip is recognised by content, not by name. Empty lines are skipped.
        on_bad: called with each bad line, which is then skipped. Without it all files are read to their end before
            the error is raised, so that all bad lines can be corrected at once.
        allow_duplicates: keep records whose task and id came before, as "id#2", "id#3"; else they are bad lines.
        say: called once with a line about such records, where there are any.

    Raises:
        RecordsError: after the last record, when any line was bad and there is no `on_bad`; it lists the first 20.
    """
    errors = ErrorCollector()
    report = on_bad or errors
    seen = SeenIds()
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        file = os.fspath(path)
        if fault := find_wrong_kind(file, "records", "records"):
            report(BadLine(file, 0, fault))
            continue
        for number, line in read_lines(file, report):
            record = parse_record(line)
            if isinstance(record, str):
                report(BadLine(file, number, record))
            elif allow_duplicates:
                id = seen.tell_apart((record.task, record.id), file, number)
                yield record if id == record.id else replace(record, id=id)
            elif seen.add((record.task, record.id), file, number):
                yield record
    if not allow_duplicates:
        seen.report(report)
    elif seen.repeated:
        say(f"{counted(seen.repeated, 'record repeats', 'records repeat')} an id; told apart as id#2, id#3, ...")
    errors.raise_if_any()


def parse_record(line: bytes | str) -> Record | str:
    """Return the record in a line, or why it cannot be used."""
    try:
        try:
            record = msgspec.json.decode(line, type=Record)
        except msgspec.ValidationError as e:
            return _explain_type_error(line, e)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return explain_json_error(line, e)
    return _find_fault(record) or _unwrap_printed_lists(record)


def record_from_trace(answer: Answer, task: str, id: str) -> Record:
    """Make a record without scores of a trace: of first-layer answers, as later ones had the others' in view.

    Raises:
        RecordsError: no model was called.
    """
    first = answer.trace.layers[0] if answer.trace.layers else None
    proposals = {p.model: p for p in first.proposals} if first else {}
    called = [*proposals, *(f.model for f in (first.failures if first else ()) if f.model not in proposals)]
    record = Record(
        id,
        task,
        answer.trace.query.text,
        dict.fromkeys(called),
        responses={m: p.text for m, p in proposals.items()} or None,
        costs={m: p.cost for m, p in proposals.items() if p.cost is not None} or None,
        seconds={m: p.latency for m, p in proposals.items() if p.latency is not None} or None,
    )
    if fault := _find_fault(record):
        raise RecordsError([BadLine(f"trace of '{task}', id '{id}'", 0, fault)])
    return record


def _unwrap_printed_lists(record: Record) -> Record:
    """Read responses like "['text']" as their text, where all of a record's responses look so.

    Some programs record the printed form of a list of one string. Where only some responses look so, the models wrote
    them that way.
    """
    texts = [text for text in (record.responses or {}).values() if text]
    unwrapped = [unwrap_list(text) for text in texts]
    if len(texts) < 2 or any(a == b for a, b in zip(texts, unwrapped, strict=True)):
        return record
    return replace(record, responses={m: text and unwrap_list(text) for m, text in (record.responses or {}).items()})


def _find_fault(record: Record) -> str | None:
    """Return what is wrong with the values of a record, or None."""
    for name in TEXTS:
        if not getattr(record, name).strip():
            return f"{name} is empty"
    if not record.scores:
        return "scores is empty; name at least one model"
    for name, high in BOUNDS.items():
        for model, value in (getattr(record, name) or {}).items():
            if not model.strip():
                return f"{name} has a model without a name"
            if value is not None and not 0.0 <= value <= high:
                return f"{name} of '{model}' is {value:g}, outside [0, {high:g}]"
    return None


def _explain_type_error(line: bytes | str, error: msgspec.ValidationError) -> str:
    """Return what is wrong with the types of a line, naming the key and the model."""
    plain: Any = msgspec.json.decode(line)
    if not isinstance(plain, dict):
        return f"not a JSON object but {_json_type(plain)}"
    for name in (*TEXTS, "scores"):
        if name not in plain:
            return f"{name} is missing"
    for name in (*TEXTS, "prompt", "reference"):
        value = plain.get(name)
        if not isinstance(value, str) and (value is not None or name in TEXTS):
            return f"{name} must be text, not {_json_type(value)}"
    for name in (*BOUNDS, "responses"):
        is_absent = name != "scores" and plain.get(name) is None
        if not is_absent and (fault := _explain_values(name, plain[name])):
            return fault
    return str(error).replace("`", "'")


def _explain_values(name: str, values: Any) -> str | None:
    """Return what is wrong with the types of a field that has a value for each model, or None."""
    if not isinstance(values, dict):
        return f"{name} must be an object with a key for each model, not {_json_type(values)}"
    wanted: tuple[type, ...] = (str,) if name == "responses" else (int, float)
    for model, value in values.items():
        if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
            return f"{name} of '{model}' must be {'text' if str in wanted else 'a number'}, not {_json_type(value)}"
    return None


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", str: "text", list: "a list", dict: "an object", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
