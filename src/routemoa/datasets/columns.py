"""The columns of a table of questions, by their usual names. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.core.files.file_kind import quote_line

__all__ = ["ALIASES", "ColumnMapping", "convert_row", "count_known", "map_columns", "rename_fields"]

ALIASES = {
    "id": ("question_id", "qid", "uid", "index", "idx"),
    "task": ("dataset", "category", "subject", "topic"),
    "query": ("question", "prompt", "input", "problem", "instruction", "text"),
    "prompt": (),
    "reference": ("answer", "expected", "expected_answer", "target", "solution", "label", "gold", "output"),
    "grader": ("metric", "grading"),
}
"""Field of a question -> other names of its column, which count where the field's own name is absent."""
ORIGINAL = ({"question", "answer"}, {"question", "choices", "answerkey"})
"""Columns of GSM8K and ARC, whose rows are converted as their lines are."""


class ColumnMapping(Struct, frozen=True):
    """Which column holds which field of a question."""

    fields: dict[str, str]
    """Field -> column."""
    ignored: tuple[str, ...]
    """Columns that are not read."""
    fault: str | None = None
    """Why the columns cannot be read."""

    def describe(self) -> str | None:
        """Return which columns stand for which fields and which are ignored; None where all have their own names."""
        renamed = [
            f"{quote_line(column)} as {field}" for field, column in self.fields.items() if _fold(column) != field
        ]
        parts = [f"read {', '.join(renamed)}"] if renamed else []
        parts += [f"ignored {', '.join(map(quote_line, self.ignored))}"] if self.ignored else []
        return "; ".join(parts) or None


def map_columns(columns: Sequence[str]) -> ColumnMapping:
    """Return which columns hold the fields of a question; names count without their case and spaces."""
    by_name: dict[str, str] = {}
    for column in columns:
        if _fold(column) in by_name:
            return ColumnMapping({}, (), f"two columns are called '{quote_line(column)}'; rename one")
        by_name[_fold(column)] = column
    fields: dict[str, str] = {}
    for field, aliases in ALIASES.items():
        found = [name for name in (field, *aliases) if name in by_name]
        if field == "query" and found != ["prompt"]:  # beside a question, `prompt` is the text to send
            found = [name for name in found if name != "prompt"]
        if found and found[0] != field and len(found) > 1:
            names = " or ".join(quote_line(by_name[name]) for name in found)
            return ColumnMapping({}, (), f"{field} may be {names}; call the right column {field}")
        if found and found[0] not in map(_fold, fields.values()):
            fields[field] = by_name[found[0]]
    if "query" not in fields:
        wanted = ", ".join(ALIASES["query"])
        return ColumnMapping({}, (), f"the first line names no column query (or {wanted}), but {_list_names(columns)}")
    if set(by_name) & {"choices", "options"} and "answerkey" not in by_name:
        hint = "write the options into the query and the right letter into reference"
        return ColumnMapping({}, (), f"options in a column of their own are read in ARC's form only; {hint}")
    used = {*fields.values(), *(by_name[name] for name in ORIGINAL[1] if ORIGINAL[1] <= by_name.keys())}
    return ColumnMapping(fields, tuple(c for c in columns if c not in used and c.strip()))


def count_known(columns: Sequence[str]) -> int:
    """Return how many columns have a name that a field of a question may have."""
    known = {name for field, aliases in ALIASES.items() for name in (field, *aliases)}
    return sum(_fold(column) in known for column in columns)


def convert_row(row: Mapping[str, Any], mapping: ColumnMapping) -> dict[str, Any]:
    """Return the fields of a question in a row of a table; an empty cell is absent, a number becomes text.

    A row of GSM8K or ARC is returned as it is, under the names of its columns.
    """
    folded = {_fold(name): value for name, value in row.items()}
    if "query" not in folded and any(names <= folded.keys() for names in ORIGINAL):
        if "choices" in folded:
            kept = {name: folded[name] for name in ("question", "choices")}
            return _add_text(kept, folded, ("id", "task")) | {"answerKey": _to_text(folded["answerkey"])}
        if "####" in str(folded["answer"]):
            return _add_text({name: folded[name] for name in ("question", "answer")}, folded, ("id", "task"))
    texts = {field: _to_text(row.get(column)) for field, column in mapping.fields.items()}
    for field in ("id", "task", "reference", "grader"):
        texts[field] = (texts.get(field) or "").strip() or None
    return {field: text for field, text in texts.items() if text is not None and text != ""}


def rename_fields(line: Mapping[str, Any]) -> tuple[Mapping[str, Any] | str, str]:
    """Return the fields of a question in an object of JSON lines, or why there are none, and which were renamed.

    Names count as those of columns do, and numbers become text. A row of GSM8K or ARC, and what has no question in it,
    are returned as they are.
    """
    names = set(map(_fold, line))
    is_original = names & {"choices", "options"} or "####" in str(line.get("answer"))
    if not names & {"query", *ALIASES["query"]} or (is_original and "query" not in names):
        return line, ""
    mapping = map_columns(list(line))
    if mapping.fault:
        return mapping.fault, ""
    values = {field: line[column] for field, column in mapping.fields.items()}
    fields = {field: _to_text(v) if _is_number(v) else v for field, v in values.items() if v is not None}
    return fields, msgspec.structs.replace(mapping, ignored=()).describe() or ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _add_text(fields: dict[str, Any], row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return fields | {name: text for name in names if (text := _to_text(row.get(name)))}


def _to_text(value: Any) -> str | None:
    """Return a cell as text; None where it is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _fold(column: str) -> str:
    """Return a column's name without its case and spaces around it."""
    return column.strip().lstrip("\ufeff").casefold().replace(" ", "_")


def _list_names(columns: Sequence[str], most: int = 8) -> str:
    """Return the first names of columns, each cut where it is long: without a header they may be whole questions."""
    names = [quote_line(name) or "''" for name in columns[:most]]
    return ", ".join(name if len(name) <= 30 else name[:29] + "…" for name in names) + (
        f" and {len(columns) - most} more" if len(columns) > most else ""
    )
