"""Records: what models really answered to a question, and how good each answer was. One JSON object a line.

{"id", "task", "query", "scores": {model: 0 to 1, or null}} and what else is known; a key that is not a field of Record
is ignored. A null score means "not measured" and is never read as 0.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.trace import Answer
from routemoa.core.types import Scores
from routemoa.datasets.jsonl import Appender, BadLine, ErrorCollector, RecordsError, read_lines, explain_json_error
from routemoa.judging.answers.extraction import unwrap_list

__all__ = ["BadLine", "Record", "RecordsError", "record_from_trace", "read_records", "write"]


class Record(Struct, frozen=True, omit_defaults=True):
    """One question and what is known of each model's answer; what is absent is None.

    `scores` and `confidence` are in [0, 1], `costs` in dollars, `seconds` from the call to the answer's end.
    """

    id: str
    task: str
    query: str  # what a scorer may read
    scores: Scores
    prompt: str | None = None  # the full text that was sent, where it differs from `query`
    responses: dict[str, str | None] | None = None
    reference: str | None = None
    costs: dict[str, float | None] | None = None
    confidence: dict[str, float | None] | None = None
    seconds: dict[str, float | None] | None = None


Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def read_records(paths: Paths, on_bad: Callable[[BadLine], None] | None = None) -> Iterator[Record]:
    """Yield the records of one file or several, plain or gzip, one at a time.

    Args:
        paths: a path or several; gzip is recognised by content, not by name. Empty lines are passed over.
        on_bad: called with every bad line, which is then skipped. Without it all files are read to their end
            before the error is raised, so that all bad lines can be mended at once.

    Raises:
        RecordsError: after the last record, when any line was bad and there is no `on_bad`; it lists the first 20.
    """
    complaints = ErrorCollector()
    complain = on_bad or complaints
    seen: dict[tuple[str, str], tuple[str, int]] = {}
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        file = os.fspath(path)
        for number, line in read_lines(file, complain):
            found = parse_record(line)
            if isinstance(found, str):
                complain(BadLine(file, number, found))
                continue
            key = (found.task, found.id)
            if key in seen:
                where = ":".join(map(str, seen[key]))
                complain(BadLine(file, number, f"task '{found.task}', id '{found.id}' is already at {where}"))
                continue
            seen[key] = (file, number)
            yield found
    complaints.raise_if_any()


def parse_record(line: bytes | str) -> Record | str:
    """The record in a line, or in words why there is none."""
    try:
        try:
            record = msgspec.json.decode(line, type=Record)
        except msgspec.ValidationError as e:
            return _explain_type_error(line, e)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return explain_json_error(line, e)
    return _find_fault(record) or _unwrap_printed_lists(record)


def _unwrap_printed_lists(record: Record) -> Record:
    """Responses that were all recorded as printed lists of one string are those strings: a habit of whoever wrote the
    file. Where only some look so, they are what these models said."""
    said = [text for text in (record.responses or {}).values() if text]
    plain = [unwrap_list(text) for text in said]
    if len(said) < 2 or any(a == b for a, b in zip(said, plain, strict=True)):
        return record
    return replace(record, responses={m: text and unwrap_list(text) for m, text in (record.responses or {}).items()})


def _find_fault(record: Record) -> str | None:
    for name in ("id", "task", "query"):
        if not getattr(record, name).strip():
            return f"{name} is empty"
    if not record.scores:
        return "scores is empty; name at least one model"
    for name, high in (("scores", 1.0), ("confidence", 1.0), ("costs", math.inf), ("seconds", math.inf)):
        for model, value in (getattr(record, name) or {}).items():
            if not model.strip():
                return f"{name} has a model without a name"
            if value is not None and not (0.0 <= value <= high and math.isfinite(value)):
                bounds = "outside [0, 1]" if high == 1.0 else "not a number of at least 0"
                return f"{name} of '{model}' is {value:g}, {bounds}"
    return None


def _explain_type_error(line: bytes | str, error: msgspec.ValidationError) -> str:
    """What is wrong with the types of a line, naming key and model."""
    plain: Any = msgspec.json.decode(line)
    if not isinstance(plain, dict):
        return f"not a JSON object but {_json_type(plain)}"
    for name in ("id", "task", "query", "scores"):
        if name not in plain:
            return f"{name} is missing"
    for name in ("id", "task", "query", "prompt", "reference"):
        value = plain.get(name)
        if not isinstance(value, str) and (value is not None or name in ("id", "task", "query")):
            return f"{name} must be text, not {_json_type(value)}"
    for name in ("scores", "confidence", "costs", "seconds", "responses"):
        values = plain.get(name)
        if not isinstance(values, dict):
            if values is not None or name == "scores":
                return f"{name} must be an object with a key for each model, not {_json_type(values)}"
            continue
        wanted: tuple[type, ...] = (str,) if name == "responses" else (int, float)
        for model, value in values.items():
            if value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
                return f"{name} of '{model}' must be {'text' if str in wanted else 'a number'}, not {_json_type(value)}"
    return str(error).replace("`", "'")


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "true or false", str: "text", list: "a list", dict: "an object", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


def record_from_trace(answer: Answer, scores: Mapping[str, float | None], task: str, id: str) -> Record:
    """A record out of a trace and the feedback on its answers.

    Only first-layer answers count: later ones were written with the others' in view. A model that was asked and has
    no score, or failed, is None; one that was not asked is absent.

    Args:
        answer: what a method gave, with its trace.
        scores: model -> how good its first-layer answer was, in [0, 1]; None where nobody judged it.
        task: the record's task.
        id: the record's id within its task.

    Raises:
        RecordsError: no model was asked, a score is outside [0, 1], or a model is scored that did not answer.
    """
    first = answer.trace.layers[0] if answer.trace.layers else None
    given = {p.model: p for p in first.proposals} if first else {}
    asked = [*given, *(f.model for f in (first.failures if first else ()) if f.model not in given)]
    where = f"trace of '{task}', id '{id}'"
    for model, score in scores.items():
        if score is not None and model not in given:
            raise RecordsError([BadLine(where, 0, f"'{model}' is scored but gave no answer in the first layer")])
    record = Record(
        id,
        task,
        answer.trace.query.text,
        {m: scores.get(m) for m in asked},
        responses={m: p.text for m, p in given.items()} or None,
        costs={m: p.cost for m, p in given.items() if p.cost is not None} or None,
        seconds={m: p.latency for m, p in given.items() if p.latency is not None} or None,
    )
    if fault := _find_fault(record):
        raise RecordsError([BadLine(where, 0, fault)])
    return record


def write(path: str | os.PathLike[str]) -> Appender:
    """Open a JSONL file for appending, gzip when its name ends in .gz. Raises RecordsError."""
    return Appender(path)
