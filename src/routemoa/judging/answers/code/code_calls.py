"""Find the calls of functions in a text, with the values of their arguments. Pure functions; nothing is executed.

A text is scanned once for assignments of literals (`xs = [1, 2]`) and for calls (`f(xs, 3)`), in code, tests, comments
and prose alike. Only short pieces of it are parsed, and only as literals.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from msgspec import Struct

from routemoa.judging.answers.code.literals import (
    MAX_PIECE,
    NOTHING,
    cut_balanced,
    evaluate,
    format_arguments,
    parse_piece,
    read_value,
)

__all__ = ["Call", "Example", "find_calls", "find_examples", "find_imports"]

MAX_SCANNED = 40_000
"""Characters of a text that are scanned."""
MAX_FOUND = 100
"""Assignments and calls of a text that are looked at, so that the work is bounded."""
MAX_IMPORTS = 20

_NAMES = re.compile(r"(?m)^[ \t]*+(?:async +)?def +(\w+) *(?=\()|^[ \t]*+(\w+) *= *lambda\b")
_ASSIGNMENT_OR_CALL = re.compile(
    r"(?m)(?P<target>^[ \t]*+(?:>>> ?)?\w+(?:, ?\w+){0,4} *(?::[^=\n]{1,40})?=(?!=))|(?<!\w)(?P<name>[A-Za-z_]\w*) ?\("
)
_IMPORT = re.compile(r"(?m)^(?:from [\w.]+ import [\w*, ]+|import [\w., ]+)$")
_ANY_CALL = re.compile(r"(?<!\w)([A-Za-z_]\w*) ?\(")
_INSIDE = (*"([{+-*/%<>=&|", "not", "and", "or", "in")
"""What stands before a call that is a part of something else."""
_EXPECTED = re.compile(
    r"[ \t`]*(?:==>|==|=>|->|→|➞|#[ \t]*(?:=>|->|returns?|Output:)?"
    r"|(?:should |must |will )?(?:returns?|gives?|is|equals?|be)\b)"
    r"[ \t`:]*"
)
_DOCTEST_RESULT = re.compile(r"[ \t]*\n[ \t]*(?!>>>)(?=\S)")
_DEFINING = re.compile(r"\b(?:def|class)[ \t]+$")
_NOT_A_MAIN = frozenset(dir(builtins)) | frozenset(keyword.kwlist) | {"main", "isclose", "assertEqual", "assertTrue"}


class Call(Struct, frozen=True):
    """A call of a function with known arguments."""

    name: str
    arguments: str
    """The text of a tuple of literals, as `repr` writes it."""


class Example(Struct, frozen=True):
    """A call that a question shows, with what it returns."""

    call: Call
    expected: str | None = None
    """The text of a literal, as `repr` writes it; None where the question does not say."""


@lru_cache(maxsize=128)
def find_calls(text: str) -> tuple[Call, ...]:
    """Return the distinct calls of functions that a text defines, in its order, whose arguments are known."""
    text = text[:MAX_SCANNED]
    parameters = _find_parameters(text)
    values: dict[str, Any] = {}
    calls: dict[Call, None] = {}
    wanted = (m for m in _ASSIGNMENT_OR_CALL.finditer(text) if m["name"] is None or m["name"] in parameters)
    for match in islice(wanted, MAX_FOUND):
        name = match["name"]
        if name is None:
            _assign(values, match["target"], text[match.end() : match.end() + MAX_PIECE])
        elif not _DEFINING.search(text, max(0, match.start() - 20), match.start()):
            piece = cut_balanced(text, match.end() - 1)
            if piece and (call := _read_call(name, piece, values, parameters[name])):
                calls[call] = None
    return tuple(calls)


def find_examples(question: str) -> list[Example]:
    """Return the calls that a question gives as examples: assertions, doctests, `f(1) -> 2`, "f(1) returns 2"."""
    question = question[:MAX_SCANNED]
    defined = _find_parameters(question)
    examples: dict[Example, None] = {}
    for match in islice(_ANY_CALL.finditer(question), MAX_FOUND):
        name = match[1]
        lead = question[question.rfind("\n", 0, match.start()) + 1 : match.start()].strip()[-MAX_PIECE:]
        piece = (
            None if name in _NOT_A_MAIN or lead.endswith(("def", "class")) else cut_balanced(question, match.end() - 1)
        )
        call = _read_call(name, piece, {}, defined.get(name, ())) if piece else None
        if call is None or piece is None:
            continue
        is_test, is_doctest = lead.startswith("assert"), lead.startswith(">>>")
        is_whole = lead in ("assert", ">>>") or not (is_test or is_doctest or lead.endswith(_INSIDE))
        end = match.end() - 1 + len(piece)
        expected = _read_expected(question, end, is_doctest=is_doctest) if is_whole else None
        if expected is not None or is_test or is_doctest or name in defined:
            examples[Example(call, expected)] = None
    return list(examples)


def find_imports(question: str) -> str:
    """Return the imports that a question shows, as code that may fail: an answer that continues it leaves them out."""
    found = list(dict.fromkeys(islice(_IMPORT.findall(question[:MAX_SCANNED]), MAX_IMPORTS)))
    return "".join(f"try:\n    {line.strip()}\nexcept Exception:\n    pass\n" for line in found)


def _find_parameters(text: str) -> dict[str, tuple[str, ...]]:
    """Return the parameters of each function that a text defines, without `self`; none where they cannot be read."""
    found: dict[str, tuple[str, ...]] = {}
    for match in islice(_NAMES.finditer(text), MAX_FOUND):
        name = match[1] or match[2]
        if name in _NOT_A_MAIN or name.startswith(("__", "test")):
            continue
        piece = cut_balanced(text, match.end()) if match[1] else None
        node = parse_piece(f"def f{piece}: pass", "exec") if piece else None
        define = node.body[0] if isinstance(node, ast.Module) else None
        arguments = define.args if isinstance(define, ast.FunctionDef) else None
        names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)] if arguments else []
        found[name] = tuple(n for n in names if n not in ("self", "cls"))
    return found


def _assign(values: dict[str, Any], target: str, rest: str) -> None:
    """Note what an assignment gives its names; a name that is given something unknown is unknown from here on."""
    names = [n.strip() for n in target.rstrip(" =").partition(":")[0].replace(">>>", "").split(",")]
    value = read_value(rest)
    if len(names) == 1:
        given = {names[0]: value}
    elif isinstance(value, tuple) and len(value) == len(names):
        given = dict(zip(names, value, strict=True))
    else:
        given = dict.fromkeys(names, NOTHING)
    for name, known in given.items():
        if known is NOTHING:
            values.pop(name, None)
        else:
            values[name] = known


def _read_call(name: str, piece: str, values: Mapping[str, Any], parameters: Sequence[str]) -> Call | None:
    """Return a call whose arguments are all known, keywords in the order of the function's parameters."""
    node = parse_piece(f"f{piece}", "eval")
    call = node.body if isinstance(node, ast.Expression) else None
    if not isinstance(call, ast.Call) or not (call.args or call.keywords):
        return None
    given = [evaluate(argument, values) for argument in call.args]
    named = {k.arg: evaluate(k.value, values) for k in call.keywords if k.arg is not None}
    rest = parameters[len(given) : len(given) + len(named)]
    if len(named) != len(call.keywords) or set(rest) != set(named):
        return None
    arguments = [*given, *(named[parameter] for parameter in rest)]
    text = None if any(a is NOTHING for a in arguments) else format_arguments(arguments)
    return None if text is None else Call(name, text)


def _read_expected(question: str, end: int, *, is_doctest: bool) -> str | None:
    """Return what a question says a call returns, which ends at `end`; None where it does not say."""
    match = _EXPECTED.match(question, end) or (_DOCTEST_RESULT.match(question, end) if is_doctest else None)
    if match is None:
        return None
    value = read_value(question[match.end() : match.end() + MAX_PIECE])
    text = None if value is NOTHING else format_arguments((value,))
    return None if text is None else repr(value)
