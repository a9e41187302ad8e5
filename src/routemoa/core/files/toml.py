"""Reads tables of a TOML file as structs; an error is one line with the place, the fault and the fix."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec

from routemoa.core.errors import ConfigError
from routemoa.core.files.file_kind import HEAD_BYTES, detect_kind, explain_wrong_file

__all__ = ["check_range", "load_toml", "parse_table", "suggest_key", "suggest_name"]

S = TypeVar("S", bound=msgspec.Struct)

RENAMED_KEYS = {
    "contract": "limits",
    "calls": "max_models",
    "stop_above": "stop_confidence",
    "later": "later_layers",
    "written_price": "cache_write_price",
    "structured": "json_schema",
}
"""Keys of earlier pool files -> their names now."""
TABLE_OF_KEY = {
    **dict.fromkeys(
        ("samples", "efforts", "orders", "code_samples", "prior", "endpoint", "input_price", "output_price"),
        "[[model]]",
    ),
    **dict.fromkeys(("max_cost", "max_calls", "max_seconds", "max_output_tokens", "stream_mode"), "[limits]"),
    **dict.fromkeys(("prefer", "policy", "judge", "judge_model", "open", "run_code", "aggregator"), "[mixture]"),
}
"""Keys that are easily written into a wrong table -> their table."""
MESSAGES = {"Object missing required field": "missing key", "Object contains unknown field": "unknown key"}
"""What msgspec says -> what is said of a TOML file."""


def check_range(where: str, value: float | None, low: float, high: float | None, unit: str) -> None:
    """Check that a value is within its bounds; None passes. `where` ends in the key; infinity is never within.

    Raises:
        ConfigError: it is not.
    """
    if value is not None and not (low <= value < float("inf") and (high is None or value <= high)):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{where} = {value} is out of range; it is {unit}, {bounds}, or left out")


def parse_table(value: Any, type_: type[S], where: str) -> S:
    """Read a table as a `type_`. Raises ConfigError."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a table of key = value lines")
    # A field that is encoded under another name is filled in by us: it is not a key of the table.
    known = [f.name for f in msgspec.structs.fields(type_) if f.encode_name == f.name]
    if unknown := [k for k in value if k not in known]:
        raise ConfigError(f"{where}: unknown key '{unknown[0]}'; {suggest_key(unknown[0], known)}")
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as e:
        message = str(e).replace("`", "'")
        for said, meant in MESSAGES.items():
            message = message.replace(said, meant)
        key = message.rpartition(" - at '$.")[2].rstrip("'") if " - at '$." in message else ""
        hint = message.partition(" - at ")[0]
        allowed = _list_allowed(type_, key.partition("[")[0])
        hint = f"{hint}; it is {allowed}" if allowed else hint
        raise ConfigError(f"{where}: {key + ': ' if key else ''}{hint}; see docs/reference/configuration.md") from e


def _list_allowed(type_: type[msgspec.Struct], key: str) -> str:
    """Return the words that a key of a table takes, as `"leader" or "panel"`; empty where it takes others, too."""
    import msgspec.inspect

    table = msgspec.inspect.type_info(type_)
    fields = table.fields if isinstance(table, msgspec.inspect.StructType) else ()
    types = [field.type for field in fields if field.name == key]
    words: list[str] = []
    tables: list[str] = []
    while types:
        kind = types.pop()
        match kind:
            case msgspec.inspect.LiteralType():
                words += [f'"{value}"' for value in kind.values]
            case msgspec.inspect.UnionType():
                types += kind.types
            case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType() | msgspec.inspect.CollectionType():
                types.append(kind.item_type)
            case msgspec.inspect.StructType():
                tables.append("a table with " + " or ".join(field.encode_name for field in kind.fields))
            case _:
                pass
    listed = " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
    return ", or ".join([listed, *tables]) if listed else ""


def suggest_key(wrong: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown key: a similar one, else the table it belongs to, else all known."""
    known = list(known)
    hint = suggest_name(wrong, known)
    return f"it belongs to {TABLE_OF_KEY[wrong]}" if wrong in TABLE_OF_KEY and hint.startswith("known") else hint


def suggest_name(wrong: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: the name that was probably meant, else all known names."""
    known = list(known)
    if RENAMED_KEYS.get(wrong) in known:
        return f"it is called '{RENAMED_KEYS[wrong]}' now"
    close = get_close_matches(wrong, known, 1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def load_toml(text: str, source: str) -> dict[str, Any]:
    """Parse the text of a TOML file. Raises ConfigError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as e:  # also a number of 5,000 digits, and a list of lists of lists ...
        found = detect_kind(text[:HEAD_BYTES].encode("utf-8", "replace"))
        if found.kind in ("toml", "text", "empty"):
            seen = f"; the file looks like {found}" if found.kind == "text" else ""
            fix = "write 0 before the point, as in 0.97" if _has_bare_point(text, e) else "correct that line"
            raise ConfigError(f"{source}: not valid TOML: {e}; {fix}{seen}") from e
        raise ConfigError(f"{source}: {explain_wrong_file(found, 'pool file', source)}") from e


def _has_bare_point(text: str, error: Exception) -> bool:
    """Tell whether the line of an error holds a number such as .97, which is none in TOML."""
    found = re.search(r"at line (\d+)", str(error))
    number = int(found[1]) if found else 0
    return any(re.search(r"[=,\[]\s*[+-]?\.\d", line) for line in text.splitlines()[number - 1 : number])
