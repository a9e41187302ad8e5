"""Checks of the values of a request's fields; what is wrong is one sentence that names the field. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from routemoa.core.chat.messages import raise_wrong_type
from routemoa.core.errors import QueryError

__all__ = ["INT64", "check_tool_name", "integer_from", "number_between"]

INT64 = 2**63
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What OpenAI's API and most endpoints take."""


def number_between(low: float, high: float) -> Callable[[str, Any], float]:
    """Return what checks and returns a number of a range."""

    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise_wrong_type(name, "a number", value)
        if not low <= value <= high:
            raise QueryError(f"'{name}' is {value}; it must be from {low:g} to {high:g}", name)
        return value

    return check


def integer_from(low: int, high: int = INT64 - 1) -> Callable[[str, Any], int]:
    """Return what checks and returns a whole number of a range."""
    most = "fit in 64 bits" if high == INT64 - 1 else f"at most {high}"

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise_wrong_type(name, "an integer", value)
        if not low <= value <= high:
            raise QueryError(f"'{name}' is out of range; it must be at least {low} and {most}", name)
        return value

    return check


def check_tool_name(where: str, name: str, earlier: Collection[str]) -> None:
    """Check the name of a tool, which no `earlier` one may have.

    Raises:
        QueryError: it is no name that endpoints take, or there are two tools of this name.
    """
    if TOOL_NAME.fullmatch(name) is None:
        seen = f"{name[:64]!r}{f' and more, {len(name)} characters' if len(name) > 64 else ''}"
        raise QueryError(f"'{where}' is {seen}; it must match the pattern '^[a-zA-Z0-9_-]{{1,64}}$'", where)
    if name in earlier:
        raise QueryError(f"'{where}' is {name!r}, as is that of a tool before it; no two may be alike", where)
