"""Read literals in texts that others wrote: numbers, strings, lists. Pure functions; nothing is executed.

Pieces of a text are parsed only where they are short and not deeply nested, so that the work is bounded.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "MAX_PIECE",
    "NOTHING",
    "cut_balanced",
    "evaluate",
    "format_arguments",
    "parse_literal",
    "parse_piece",
    "read_value",
]

MAX_PIECE = 1000
"""Characters of a call, an assignment or an expected value."""
MAX_NESTING = 30
"""Brackets inside each other in such a piece."""
MAX_ARGUMENTS_LENGTH = 500
"""Characters of the arguments of a call, as literals."""
NOTHING = object()
"""Stands for what is no literal, as None is one."""

_OPEN, _CLOSE = "([{", ")]}"
_OPERATOR = re.compile(r"[ \t]*(?:[-+*/%=<>&|^@?]|(?:if|else|for|and|or|in|not)\b)")


def format_arguments(values: Sequence[Any]) -> str | None:
    """Return the text of arguments, as `repr` writes their tuple; None where it is too long or no literal."""
    try:
        text = repr(tuple(values))
    except (ValueError, RecursionError):  # an integer of thousands of digits
        return None
    return text if len(text) <= MAX_ARGUMENTS_LENGTH and parse_literal(text) is not NOTHING else None


def parse_literal(text: str) -> Any:
    """Return the value of a literal; `NOTHING` where the text is none, or too long or nested to be looked at."""
    node = parse_piece(text.strip(), "eval")
    return evaluate(node.body, {}) if isinstance(node, ast.Expression) else NOTHING


def parse_piece(text: str, mode: str) -> ast.AST | None:
    """Return the syntax tree of a short piece of text; None where it is no Python."""
    if len(text) > MAX_PIECE or _nesting(text) > MAX_NESTING:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "invalid escape sequence", of a text that is not ours
            return ast.parse(text, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _nesting(text: str) -> int:
    """Return how deep brackets and signs stand inside each other, counted on the safe side."""
    depth = deepest = signs = 0
    for character in text:
        depth += (character in _OPEN) - (character in _CLOSE)
        signs = signs + 1 if character in "+-~" else 0
        deepest = max(deepest, depth + signs)
    return deepest


def evaluate(node: ast.AST, values: Mapping[str, Any]) -> Any:
    """Return the value of a literal or of a name with a known value; `NOTHING` for anything else."""
    if isinstance(node, ast.Name):
        return values.get(node.id, NOTHING)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return NOTHING


def cut_balanced(text: str, start: int) -> str | None:
    """Return the piece from an opening bracket to its closing one; None where it is too long or broken.

    Brackets in strings do not count.
    """
    depth, quote, at, end = 0, "", start, min(len(text), start + MAX_PIECE)
    while at < end:
        character = text[at]
        if quote:
            at += character == "\\"
            quote = "" if character in {quote, "\n"} else quote
        elif character in "\"'":
            quote = character
        elif character in _OPEN:
            depth += 1
        elif character in _CLOSE:
            depth -= 1
            if depth == 0:
                return text[start : at + 1]
        at += 1
    return None


def read_value(rest: str) -> Any:
    """Return the literal at the beginning of a text: to the end of its line, or of its bracket; else `NOTHING`."""
    rest = rest.lstrip(" \t`")
    line = rest.partition("\n")[0]
    if rest[:1] and rest[0] in _OPEN:
        piece = cut_balanced(rest, 0)
        after = rest[len(piece) :].partition("\n")[0] if piece else ""
        if piece and (not after.strip(" \t`.,;") or after.lstrip(" \t`.,;")[:1] in "#(" or after[:2] in (". ", " f")):
            return parse_literal(piece)
    ends = (len(line), line.find("#"), line.find("`"), line.rfind("."), line.find(", "), line.find(" "))
    for end in ends:
        is_part = _OPERATOR.match(line, max(0, end)) is not None and line[end : end + 1] != "#"
        if end > 0 and not is_part and (value := parse_literal(line[:end].strip(" \t.,;`"))) is not NOTHING:
            return value
    return NOTHING
