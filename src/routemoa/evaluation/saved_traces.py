"""Saved traces with the scores of their answers, to be judged again. Only `read_traces` reads a file; the rest is pure.

A line of a traces file is what `routemoa ask --json` prints. To fit a judge model, it also needs the scores of its
answers: `scores` (model -> 0 to 1, null where unknown, as in records), or a `reference` and, where the grader does not
follow from it, a `grader`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import Struct

from routemoa.core.trace import Trace, upgrade_trace
from routemoa.datasets.file_heads import find_wrong_kind
from routemoa.datasets.grading import GraderName, grade, suggest_grader
from routemoa.datasets.jsonl import BadLine, explain_json_error, read_lines
from routemoa.routing.decision import latest_answers

__all__ = [
    "SavedTrace",
    "parse_trace",
    "read_traces",
    "score_answers",
]


class SavedTrace(Struct, frozen=True):
    """One line of a traces file: an answer, its trace, and the scores of the models' answers."""

    trace: Trace
    text: str = ""
    scores: dict[str, float | None] | None = None
    grades: dict[str, float | None] | None = None
    """Another name for `scores`."""
    reference: str | None = None
    grader: GraderName | None = None


def read_traces(
    path: str | os.PathLike[str], on_bad_line: Callable[[BadLine], None]
) -> Iterator[tuple[int, SavedTrace]]:
    """Yield the traces of a file with their line numbers; call `on_bad_line` for lines that hold none."""
    if fault := find_wrong_kind(path, "traces", "traces"):
        on_bad_line(BadLine(os.fspath(path), 0, fault))
        return
    for number, line in read_lines(path, on_bad_line):
        saved = parse_trace(line)
        if isinstance(saved, str):
            on_bad_line(BadLine(os.fspath(path), number, saved))
        else:
            yield number, saved


def parse_trace(line: bytes) -> SavedTrace | str:
    """Return the trace in a line, of this or an earlier version, or a message that says why there is none."""
    try:
        plain = msgspec.json.decode(line)
        if isinstance(plain, dict) and isinstance(trace := plain.get("trace"), dict):
            plain["trace"] = upgrade_trace(trace)
        if isinstance(plain, dict) and "trace" not in plain:
            return "no `trace` in it; such lines are made by  routemoa ask --json QUESTION  and  routemoa bench"
        saved = msgspec.convert(plain, SavedTrace)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return explain_json_error(line, e)
    return _find_fault(saved) or saved


def _find_fault(saved: SavedTrace) -> str | None:
    """Return a message about scores outside [0, 1] or a reference that cannot be graded, else None."""
    for name, values in (("scores", score_answers(saved) or {}), ("trace.prior", saved.trace.prior)):
        for model, value in values.items():
            if value is not None and not 0.0 <= value <= 1.0:
                return f"{name} of '{model}' is {value:g}, outside [0, 1]"
    if saved.reference is not None and grade("", saved.reference, kind := _find_grader(saved)) is None:
        return f"reference '{saved.reference}' cannot be graded as {kind}"
    return None


def score_answers(saved: SavedTrace) -> Mapping[str, float | None] | None:
    """Return each model's score: as given, else graded by the reference; None where the line has neither."""
    if saved.scores is not None or saved.grades is not None:
        return saved.grades if saved.scores is None else saved.scores
    if saved.reference is None:
        return None
    kind, question = _find_grader(saved), saved.trace.query.text
    return {p.model: grade(p.text, saved.reference, kind, question) for p in latest_answers(saved.trace)}


def _find_grader(saved: SavedTrace) -> GraderName:
    return saved.grader or suggest_grader(saved.reference or "", saved.trace.query.text)
