"""Check JSON against a JSON Schema that a caller wrote: nothing is fetched, and the work is bounded.

    check_value({"type": "object", "required": ["city"]}, {})    # '"city" is a required property'

The library reads drafts 4 to 2020-12. Patterns run in linear time where they can, else with a limit on backtracking.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from routemoa.core.errors import QueryError
from routemoa.mixture.schemas.schema_work import MAX_WORK, SchemaIndex, count_work, measure

if TYPE_CHECKING:
    import jsonschema_rs

__all__ = ["SchemaError", "check_json", "check_schema", "check_value"]

MAX_PROBLEMS = 5
"""That are told."""
MAX_PROBLEM = 300
"""Characters of one."""
BACKTRACK_LIMIT = 10_000
BACKTRACK_WORK = 1_000
"""What one application of a schema counts, where its patterns may backtrack so often."""
CACHED_SCHEMAS = 64
MAX_SCHEMA = 256 * 1024
"""Bytes of a schema, twice what OpenAI's API takes: it is compiled, which takes up to 0.2 s."""
MAX_TOLD_WORK = 20_000
"""Applications of a schema to a part of a value up to which it is told in detail what is wrong."""
USUAL_LEVELS = 8
"""Of a value, for which a schema is tried as it comes."""
TOO_MUCH = "a check by it takes too long: it applies schemas to the same part of a value too often"


class SchemaError(ValueError):
    """A schema that is none."""


def check_value(schema: Mapping[str, Any], value: Any) -> str | None:
    """Return what is wrong with a value; None where it is as the schema wants it. Raises SchemaError."""
    encoded = msgspec.json.encode(schema)
    parts, levels = measure(value)
    (validator, weight, _), count = _compile(encoded), _count_work(encoded, levels)
    work = weight * count
    if work * parts > MAX_WORK:
        raise SchemaError(TOO_MUCH)
    if validator.is_valid(value):
        return None
    if count * parts > MAX_TOLD_WORK:  # the library describes every application that fails
        return "it does not fit the schema"
    problems = [
        f"{_place(e.instance_path)}{e.message[:MAX_PROBLEM]}"
        for e in islice(validator.iter_errors(value), MAX_PROBLEMS)
    ]
    return "; ".join(problems) or None


def check_json(schema: Mapping[str, Any], text: str) -> str | None:
    """Return what is wrong with a text that should be JSON of a schema; None where nothing is. Raises SchemaError."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as e:
        return f"it is no JSON: {e}"
    return check_value(schema, value)


def check_schema(schema: Any, where: str) -> None:
    """Raise QueryError for a schema that cannot be read; `where` names its place in the request."""
    if not isinstance(schema, dict):
        raise QueryError(f"'{where}' must be a JSON Schema object", where)
    try:
        encoded = msgspec.json.encode(schema)
        weight = _compile(encoded)[1]
        if weight * _count_work(encoded, USUAL_LEVELS) > MAX_WORK:
            raise SchemaError(TOO_MUCH)
    except SchemaError as e:
        raise QueryError(f"'{where}' is no valid JSON Schema: {e}", where) from e


@lru_cache(maxsize=CACHED_SCHEMAS)
def _compile(schema: bytes) -> tuple[jsonschema_rs.Validator, int, SchemaIndex]:
    """Compile a schema, given as JSON; return it, what one application counts, and its index. Raises SchemaError."""
    import jsonschema_rs as rs

    if len(schema) > MAX_SCHEMA:
        raise SchemaError(f"it has {len(schema)} bytes, and may have {MAX_SCHEMA}")
    decoded = msgspec.json.decode(schema)
    index = SchemaIndex(decoded, has_references=b'Ref"' in schema or b'$ref"' in schema)
    try:
        return rs.validator_for(decoded, offline=True, pattern_options=rs.RegexOptions()), 1, index
    except rs.ValidationError:
        pass  # a pattern with look-around, perhaps
    except (ValueError, rs.ReferencingError) as e:
        raise SchemaError(str(e)[:MAX_PROBLEM]) from e
    try:
        options = rs.FancyRegexOptions(backtrack_limit=BACKTRACK_LIMIT)
        return rs.validator_for(decoded, offline=True, pattern_options=options), BACKTRACK_WORK, index
    except (ValueError, rs.ValidationError, rs.ReferencingError) as e:
        raise SchemaError(getattr(e, "message", str(e))[:MAX_PROBLEM]) from e


@lru_cache(maxsize=CACHED_SCHEMAS)
def _count_work(schema: bytes, levels: int) -> int:
    """Return how often the parts of a schema, given as JSON, apply to one part of a value, at most."""
    return count_work(_compile(schema)[2], levels)


def _place(path: list[str | int]) -> str:
    return f"at {'.'.join(map(str, path))}: " if path else ""
