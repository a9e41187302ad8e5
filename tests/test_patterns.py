"""Every regular expression of the package takes time that grows no faster than the text: 600 hostile texts for each.

The calls of `re` are found in the source and read with their flags, the patterns that other functions make in the
modules' names. A pattern is tried as the package uses it: one that is only matched at a place or against a whole text
is matched, every other is searched through the whole text. The few that depend on variables are listed with why that
is harmless.
"""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from time import process_time
from typing import Any, NamedTuple

import pytest

import routemoa
from routemoa.core.text.late_pattern import LatePattern

SRC = Path(routemoa.__file__).parent
METHODS = ("search", "match", "fullmatch", "sub", "subn", "split", "findall", "finditer")
MATCHING = {"match", "fullmatch"}
CALLS = {f"re.{method}": method for method in ("compile", *METHODS)} | {"compile_late": "compile"}
FLAGS_PLACE = {"compile": 1, "split": 3, "sub": 4, "subn": 4}
"""The position of the flags in a call of `re`, where it is not the third."""
EXAMPLES: dict[str, dict[str, Any]] = {
    "clients/protocol/dialect_learning.py::_find_mention": {"name": "stop"},
    "clients/replies/redaction.py::_first_characters": {"first": "s"},
    "clients/replies/redaction.py::_character": {"character": "a"},
    "clients/replies/redaction.py::_pattern": {"key": 'aaaa1111aa a/"aaaa'},
    "datasets/grading/text_overlap.py::contains_words": {
        "before": r"(?<!\w)",
        "reference": "a a a b",
        "after": r"(?!\w)",
    },
}
"""Functions that put a pattern together -> variables with which it is tried."""
UNREAD = {
    "cli/dashboard/pool_text.py::_find_key": "a key of the text, escaped",
    "cli/dashboard/pool_text.py::_find_line": "one of two words in the place of a name",
    "cli/init/names.py::parse_name": "a pattern of models.toml, each of which is tried",
    "clients/protocol/dialect_learning.py::_refused_choice": "the value that was sent, escaped",
    "clients/model_lists/reply.py::_is_chat": "a pattern of providers.toml, each of which is tried",
    "core/catalog/price_list.py::_matches_endpoint": "a pattern of genai-prices on the address of a pool's endpoint",
    "core/text/late_pattern.py::__getattr__": "what calls of compile_late give it is read there",
    "judging/answers/language/languages.py::_verbal": "its results are held by the module",
    "judging/answers/language/options.py::_make_reader": "its results are held by the module",
    "judging/answers/language/sentences.py::_compile_statement": "its results are held by the module",
}
"""Functions whose patterns are not read in the source."""
WHOLE = ("judging/answers/language/sentences.py",)
"""Modules that match their patterns against whole short texts, by a variable."""
HARMLESS_SECONDS, MOST_SECONDS = 0.001, 0.05
"""For 2,000 characters: what is never looked at closer, and what no pattern may take."""
GROWTH = 9
"""How much longer four times the text may take: a square would be 16."""
ATOMS = (
    " ", "\n", "\t", "a", "A", "1", "0", "é", "的", "答", "٠", "\u00a0", "\u200b", "(", ")", "[", "]", "{", "}", "<",
    ">", "\\", '"', "'", "`", "$", "*", "#", "-", "–", ".", ",", ":", ";", "=", "/", "|", "&", "%", "€", "^", "_",
    "~", "!", "?", "+", "x", "R", "~~~", "```", "</", "\\text{", "\\frac{1}", "\\boxed{", "answer", "Answer: ",
    "answer is ", "the ", "is B ", "not a ", "respuesta es ", "答案是", "답은 ", "उत्तर ", "Option A ", "A, ",
    "{R, G}, ", "1,", "1.", "1, ", "1 ", "12,345", "1.234", "=1+", "- ", "a b ", '"a":', "<b>", "</b>", "<think>",
    "</think>", "#### ", "question: ", "**", "  \n", "http://", "data: ", "of ", "or ", " is ", "A and ", "und ",
    "不是", "1/", "((", "\\(", '["', "**a", "3万", "²",
)  # fmt: skip


@cache
def shapes() -> list[tuple[str, str, str]]:
    """Return 600 shapes of texts, a head, what is repeated and a tail: one sign, few signs or words."""
    draw = Random(0)
    heads = ("<", "answer", "answer is", '"answer": "', "(", "\\frac{", "1", '["', "#### ", "A", "Not ", "```python")
    listed = [("", atom, "") for atom in ATOMS] + [(head, atom, "") for head in heads for atom in ' \n1a(",.<']
    found = {fill(shape, 200): shape for shape in listed}
    while len(found) < 600:
        piece = "".join(draw.choices(ATOMS, k=draw.choice((1, 2, 2, 3))))
        shape = (draw.choice((*ATOMS, *[""] * 60)), piece, draw.choice((*ATOMS, *[""] * 60)))
        found.setdefault(fill(shape, 200), shape)
    return list(found.values())


def fill(shape: tuple[str, str, str], length: int) -> str:
    """Return a text of a shape, with `length` characters between head and tail."""
    head, piece, tail = shape
    return f"{head}{(piece * (length // len(piece) + 1))[:length]}{tail}"


HOSTILE = {length: [fill(shape, length) for shape in shapes()] for length in (16, 24, 40, 200, 500, 2000)}


def inside(value: Any, depth: int = 0) -> Iterator[re.Pattern[Any]]:
    """Every pattern in a value or in the containers in it."""
    if isinstance(value, re.Pattern | LatePattern):
        yield re.compile(value.pattern, value.flags)
    elif isinstance(value, dict | tuple | list | set | frozenset) and depth < 4 and not hasattr(value, "_asdict"):
        for one in value.values() if isinstance(value, dict) else value:
            yield from inside(one, depth + 1)


class Call(NamedTuple):
    """A call of `re` in the package."""

    where: str
    """File, and function or name that is assigned."""
    line: int
    method: str
    pattern: re.Pattern[Any] | None
    """None where it depends on variables of a function or comprehension."""


def load_module(path: Path) -> dict[str, Any] | None:
    """Return the names of a module of the package; None where it needs an extra that is not installed."""
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    if parts[-1] == "__main__":
        return {}
    try:
        return vars(importlib.import_module(".".join(parts).removesuffix(".__init__")))
    except ModuleNotFoundError:
        return None


def evaluate(call: ast.Call, method: str, names: dict[str, Any]) -> re.Pattern[Any] | None:
    """Return the pattern that a call of `re` uses, read with the names of its module; None where it needs others."""
    place = FLAGS_PLACE.get(method, 2)
    flags = next((k.value for k in call.keywords if k.arg == "flags"), None)
    flags = flags or (call.args[place] if len(call.args) > place else ast.Constant(0))
    try:
        values = [eval(ast.unparse(one), {**names}) for one in (call.args[0], flags)]
    except NameError:
        return None
    if isinstance(pattern := values[0], re.Pattern | LatePattern):
        return re.compile(pattern.pattern, pattern.flags)
    return re.compile(*values)


def find_calls(
    node: ast.AST, file: str, names: dict[str, Any], place: str = "", in_function: bool = False
) -> Iterator[Call]:
    """Yield the calls of `re` below a node of a module."""
    for child in ast.iter_child_nodes(node):
        here, is_function = place, isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            here = child.name
        elif isinstance(child, ast.Assign | ast.AnnAssign) and not in_function:
            here = ast.unparse(child.targets[0] if isinstance(child, ast.Assign) else child.target)
        where = f"{file}::{here}"
        if isinstance(child, ast.Call) and child.args and (method := CALLS.get(ast.unparse(child.func))):
            known = names | EXAMPLES.get(where, {})
            yield Call(where, child.lineno, method, evaluate(child, method, known))
        yield from find_calls(child, file, names, here, in_function or is_function)


@cache
def calls() -> list[Call]:
    """Return every call of `re` in the package."""
    found: list[Call] = []
    for path in sorted(SRC.rglob("*.py")):
        names = load_module(path)
        if names is not None:
            found += find_calls(ast.parse(path.read_text()), str(path.relative_to(SRC)), names)
    return found


def constants() -> Iterator[tuple[str, re.Pattern[Any], bool]]:
    """Yield the patterns that modules hold: where, the pattern, and whether texts are searched for it."""
    used = uses()
    for path in sorted(SRC.rglob("*.py")):
        file = str(path.relative_to(SRC))
        for name, value in (load_module(path) or {}).items():
            is_record = isinstance(value, tuple) and hasattr(value, "_asdict")  # its patterns are used by their fields
            for called, part in (value._asdict() if is_record else {name: value}).items():
                searched = not used[called] <= MATCHING if called in used else file not in WHOLE
                for number, pattern in enumerate(inside(part)):
                    yield f"{file}::{name}{f'.{called}' if is_record else ''}[{number}]", pattern, searched


@cache
def uses() -> dict[str, set[str]]:
    """Return the methods that the package calls on each name."""
    found: dict[str, set[str]] = {}
    for path in SRC.rglob("*.py"):
        for name, method in re.findall(rf"(\w+)\.({'|'.join(METHODS)})\(", path.read_text()):
            found.setdefault(name, set()).add(method)
    return found


def configured() -> Iterator[tuple[str, re.Pattern[str], bool]]:
    """Yield the patterns of the package's TOML files, which are tried on the names of models."""
    for path in sorted(SRC.rglob("*.toml")):
        for key, value in walk_table(tomllib.loads(path.read_text())):
            if key in ("families", "not_chat"):
                for pattern in value.values() if isinstance(value, dict) else value:
                    yield f"{path.relative_to(SRC)}::{key} {pattern}", re.compile(pattern), True


def walk_table(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of nested tables with its value."""
    for key, one in value.items() if isinstance(value, dict) else ():
        yield key, one
        yield from walk_table(one)


@cache
def patterns() -> dict[str, tuple[re.Pattern[Any], bool]]:
    """Where a pattern is -> the pattern, and whether texts are searched for it."""
    found: dict[tuple[Any, int], tuple[str, re.Pattern[Any], bool]] = {}

    def add(where: str, pattern: re.Pattern[Any], searched: bool) -> None:
        first, _, was_searched = found.get((pattern.pattern, pattern.flags), (where, pattern, False))
        found[pattern.pattern, pattern.flags] = (first, pattern, searched or was_searched)

    for where, pattern, searched in (*constants(), *configured()):
        add(where, pattern, searched)
    for call in calls():
        is_constant = call.method == "compile" and call.pattern and (call.pattern.pattern, call.pattern.flags) in found
        if call.pattern and not is_constant:
            add(f"{call.where}:{call.line}", call.pattern, call.method not in MATCHING)
    return {where: (pattern, searched) for where, pattern, searched in found.values()}


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


def test_every_pattern_of_the_package_is_found() -> None:
    assert len(patterns()) > 250
    assert len(set(HOSTILE[200])) == len(HOSTILE[200]) == 600
    held = {where.partition("[")[0] for where, _, _ in constants()}
    unread = {call.where for call in calls() if call.pattern is None}
    odd = {where for where in unread if not held & {f"{where.partition('::')[0]}::{name}" for name in names_of(where)}}
    assert odd == UNREAD.keys()


def names_of(where: str) -> list[str]:
    """Return the names that an assignment gives values: of "_FIRST, _SECOND" both."""
    return where.partition("::")[2].strip("()").split(", ")


def check_growth(pattern: re.Pattern[Any], searched: bool) -> None:
    """Fail where any text takes a pattern too long, or four times the text much more than four times as long."""
    for length in (16, 24, 40, 200):  # what grows exponentially is found while it is short
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
