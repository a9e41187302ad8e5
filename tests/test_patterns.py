"""Every regular expression of the package takes time that grows no faster than the text: 600 hostile texts for each.

A pattern at the level of a module is tried as the package uses it: one that is only matched at a place or against a
whole text is matched, every other is searched through the whole text. Patterns in functions must be plain constants,
which are found in the source; the few that are put together there are listed with why that is harmless.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

import pytest

import routemoa

SRC = Path(routemoa.__file__).parent
METHODS = ("search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")
PUT_TOGETHER = {
    "datasets/grading/text_overlap.py": "the escaped text of a reference, which no model wrote",
    "core/price_list.py": "a pattern of genai-prices on a model's name",
}
WHOLE = ("routemoa.judging.answers.sentences.",)
"""Modules that match their patterns against whole short texts, by a variable."""
HARMLESS_SECONDS, MOST_SECONDS = 0.001, 0.05
"""For 2,000 characters: what is never looked at closer, and what no pattern may take."""
GROWTH = 9
"""How much longer four times the text may take: a square would be 16."""
ATOMS = (
    " ",
    "\n",
    "\t",
    "a",
    "A",
    "1",
    "0",
    "é",
    "的",
    "答",
    "٠",
    "\u00a0",
    "\u200b",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "\\",
    '"',
    "'",
    "`",
    "$",
    "*",
    "#",
    "-",
    "–",
    ".",
    ",",
    ":",
    ";",
    "=",
    "/",
    "|",
    "&",
    "%",
    "€",
    "^",
    "_",
    "~",
    "!",
    "?",
    "+",
    "x",
    "R",
    "~~~",
    "```",
    "</",
    "\\text{",
    "\\frac{1}",
    "\\boxed{",
    "answer",
    "Answer: ",
    "answer is ",
    "the ",
    "is B ",
    "not a ",
    "respuesta es ",
    "答案是",
    "답은 ",
    "उत्तर ",
    "Option A ",
    "A, ",
    "{R, G}, ",
    "1,",
    "1.",
    "1, ",
    "1 ",
    "12,345",
    "1.234",
    "=1+",
    "- ",
    "a b ",
    '"a":',
    "<b>",
    "</b>",
    "<think>",
    "</think>",
    "#### ",
    "question: ",
    "**",
    "  \n",
    "http://",
    "data: ",
    "of ",
    "or ",
    " is ",
    "A and ",
    "und ",
    "不是",
    "1/",
    "((",
    "\\(",
    '["',
    "**a",
    "3万",
    "²",
)


def texts(length: int) -> list[str]:
    """600 texts of about `length` characters: one sign, few signs or words again and again, also behind others."""
    draw = Random(0)
    heads = ("<", "answer", "answer is", '"answer": "', "(", "\\frac{", "1", '["', "#### ", "A", "Not ", "```python")
    shapes = [("", atom, "") for atom in ATOMS] + [(head, atom, "") for head in heads for atom in ' \n1a(",.<']
    while len(set(shapes)) < 600:
        piece = "".join(draw.choices(ATOMS, k=draw.choice((1, 2, 2, 3))))
        shapes.append((draw.choice((*ATOMS, *[""] * 60)), piece, draw.choice((*ATOMS, *[""] * 60))))
    return [
        f"{head}{(piece * (length // len(piece) + 1))[:length]}{tail}" for head, piece, tail in dict.fromkeys(shapes)
    ]


HOSTILE = {length: texts(length) for length in (40, 200, 500, 2000)}


def inside(value: Any, depth: int = 0) -> Iterator[re.Pattern[Any]]:
    """Every pattern in a value or in the containers in it."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict | tuple | list | set | frozenset) and depth < 4:
        for one in value.values() if isinstance(value, dict) else value:
            yield from inside(one, depth + 1)


def calls_of_re(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).startswith("re."):
            method = ast.unparse(node.func).removeprefix("re.")
            if method in METHODS:
                yield node, method


def constants() -> Iterator[tuple[str, re.Pattern[Any] | None, str]]:
    """Each pattern that a function passes to `re`: where, the pattern or None where it is put together, the method."""
    for path in sorted(SRC.rglob("*.py")):
        for call, method in calls_of_re(ast.parse(path.read_text())):
            where = f"{path.relative_to(SRC)}:{call.lineno}"
            if not isinstance(call.args[0], ast.Constant):
                yield where, None, method
                continue
            passed = [ast.unparse(one) for one in (*call.args, *(k.value for k in call.keywords))]
            names = [
                name.strip().removeprefix("re.") for one in passed if one.startswith("re.") for name in one.split("|")
            ]
            flags = re.RegexFlag(0)
            for name in names:
                flags |= re.RegexFlag[name]
            yield where, re.compile(call.args[0].value, flags), method


@cache
def patterns() -> dict[str, tuple[re.Pattern[Any], bool]]:
    """Where a pattern is -> the pattern, and whether texts are searched for it."""
    sources = "\n".join(path.read_text() for path in SRC.rglob("*.py"))
    found: dict[str, tuple[re.Pattern[Any], bool]] = {}
    seen: set[tuple[Any, int]] = set()
    for info in pkgutil.walk_packages([str(SRC)], "routemoa."):
        if info.name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError:  # an extra that is not installed
            continue
        for name, value in vars(module).items():
            fields = (
                value._asdict() if isinstance(value, tuple) and hasattr(value, "_asdict") else None
            )  # the patterns of a named tuple are used by their fields
            parts = [(name, value)] if fields is None else [(f".{field}", part) for field, part in fields.items()]
            for called, part in parts:
                used = set(re.findall(rf"{re.escape(called)}\.({'|'.join(METHODS)})\(", sources))
                searched = not used <= {"match", "fullmatch"} if used else not f"{info.name}.".startswith(WHOLE)
                for number, pattern in enumerate(inside(part)):
                    if (pattern.pattern, pattern.flags) not in seen:
                        seen.add((pattern.pattern, pattern.flags))
                        found[f"{info.name}.{name}{called if fields else ''}[{number}]"] = (pattern, searched)
    for where, constant, method in constants():
        if constant is not None:
            found[where] = (constant, method not in ("match", "fullmatch"))
    return found


def seconds(pattern: re.Pattern[Any], text: str, searched: bool, repeats: int = 1) -> float:
    given: Any = text.encode() if isinstance(pattern.pattern, bytes) else text
    best = float("inf")
    for _ in range(repeats):
        begun = process_time()
        if searched:
            for _ in pattern.finditer(given):
                pass
        else:
            pattern.match(given)
            pattern.fullmatch(given)
        best = min(best, process_time() - begun)
    return best


def test_patterns_are_found_and_none_is_put_together_in_a_function() -> None:
    assert len(patterns()) > 150
    odd = {where.rpartition(":")[0] for where, constant, _ in constants() if constant is None}
    assert odd <= PUT_TOGETHER.keys()
    assert len(set(HOSTILE[200])) == len(HOSTILE[200]) == 600


def check_growth(pattern: re.Pattern[Any], searched: bool) -> None:
    """Fail where any text takes a pattern too long, or four times the text much more than four times as long."""
    for length in (40, 200):  # what grows exponentially is found while it is short
        for text in HOSTILE[length]:
            if seconds(pattern, text, searched) > MOST_SECONDS:
                assert seconds(pattern, text, searched, repeats=3) < MOST_SECONDS, text
    for short, long in zip(HOSTILE[500], HOSTILE[2000], strict=True):
        if seconds(pattern, long, searched) < HARMLESS_SECONDS:
            continue
        taken = seconds(pattern, long, searched, repeats=3)
        assert taken < MOST_SECONDS, long[:40]
        assert taken < HARMLESS_SECONDS or taken < GROWTH * seconds(pattern, short, searched, repeats=3), long[:40]


@pytest.mark.parametrize("where", sorted(patterns()))
def test_time_grows_no_faster_than_the_text(where: str) -> None:
    check_growth(*patterns()[where])


@pytest.mark.parametrize("pattern", [r"\s*,\s*x", r"(?:a|a)*b", r"<[^>]*>", r"(?:\d+,?)+;", r"\w*\s*:"])
def test_a_pattern_whose_time_grows_faster_is_found(pattern: str) -> None:
    with pytest.raises(AssertionError):
        check_growth(re.compile(pattern), searched=True)
