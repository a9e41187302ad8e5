"""Find the Python code in an answer, however models write it. Pure functions on texts; nothing is parsed or run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from routemoa.judging.answers.language.extraction import THOUGHT_END, bound_text
from routemoa.judging.answers.results import extract_result

__all__ = ["extract_candidates", "find_blocks", "holds_code", "is_code_panel", "unwrap_code"]

FENCE = re.compile(
    r"""(?ms)^(?P<indent>[ \t]*+(?:[-*+>]\s++|\d++[.)]\s++)?)(?P<fence>```++|~~~++)[ \t]*+(?P<tag>[^\s`{]*+)[^\n`]*+\n
    (?P<code>.*?)(?:(?:^[ \t>]*|(?<=[^\n]))(?P<close>(?P=fence))|\Z)""",
    re.VERBOSE,
)
PYTHON_TAGS = re.compile(r"(?s)\[PYTHON\]\n?(.*?)(?:\[/PYTHON\]|\Z)")  # Code Llama's own fence
CODE_START = re.compile(r"(?m)^[ \t]*(?:(?:async +)?def \w|class \w|import \w|from \w[\w.]* import\b|@\w)")
DEFINITION = re.compile(r"(?m)^[ \t]*+(?:(?:async +)?def|class) \w|\blambda\b")
PYTHON_DEFINITION = re.compile(r"(?m)^[ \t]*+(?:(?:async +)?def +\w+ *\(|class \w+[^\n{]*:|\w+ *= *lambda\b)")
BARE_CODE = re.compile(r"\s*+(?:def \w+ *\(|import \w|from \w[\w.]* import\b|class \w+[^\n{]*:|@\w)")
PYTHON_FENCE_TAG = re.compile(r"(?i)(?:python|py)[\d.]*|ipython|pycon|")
JSON_FIELDS = ("code", "answer", "solution", "completion", "program")


def extract_candidates(answer: str) -> list[dict[str, object]]:
    """Return the ways to read an answer as code, the likeliest first; the first that loads is tested.

    A candidate has "pieces" (texts to execute in turn), "cut" (whether prose may follow the code) and "strict" (whether
    every statement must run). All fenced blocks together come first: later ones correct earlier ones or need them.
    Single blocks are for answers whose examples fail. Last, each again without "strict", where a statement that is
    neither an import nor a definition may fail, such as an example that reads input.
    """
    text = unwrap_code(THOUGHT_END.split(answer)[-1])
    blocks = find_blocks(text)
    if blocks:
        may_trail = not blocks[-1].is_closed  # prose may follow the last block, or the answer was cut off
        codes = [block.code for block in blocks]
        defining = [code for code in codes if DEFINITION.search(code)]
        orders = [(pieces, cut) for cut in (False, may_trail) for pieces in (codes, defining[-1:], defining[:1])]
    else:
        start = CODE_START.search(text)
        orders = [([text], False), ([text[start.start() :]] if start else [], True), ([text], True)]
    distinct = [order for i, order in enumerate(orders) if order[0] and order not in orders[:i]]
    candidates = [{"pieces": pieces, "cut": cut, "strict": True} for pieces, cut in distinct]
    return [*candidates, *({**candidate, "strict": False} for candidate in candidates)]


class _Block(NamedTuple):
    """A fenced block of an answer."""

    tag: str
    code: str
    is_closed: bool


def find_blocks(text: str) -> list[_Block]:
    """Return the blocks of Python in a text; where none is tagged as Python, all blocks."""
    blocks = [_Block(m["tag"], m["code"], bool(m["close"])) for m in FENCE.finditer(text)]
    blocks = [block for block in blocks if PYTHON_FENCE_TAG.fullmatch(block.tag)] or blocks
    return blocks or [_Block("", m[1], True) for m in PYTHON_TAGS.finditer(text)]


def unwrap_code(text: str) -> str:
    """Return the code of an answer that is a JSON object, fenced or not; any other text unchanged."""
    bare = re.sub(r"^```(?:json)?\s*\n|\n```$", "", text.strip())
    if bare.startswith("{"):
        try:
            plain = json.loads(bare, strict=False)
        except ValueError:
            return text
        for name in JSON_FIELDS:
            if isinstance(plain, dict) and isinstance(plain.get(name), str):
                return str(plain[name])
    return text


def is_code_panel(texts: Sequence[str]) -> bool:
    """Return whether at least half of the answers define a Python function, and at most half of these state a result.

    Prose with code that calculates its result is no code answer: "The answer is 18" is what counts there.
    """
    codes = [text for text in texts if holds_code(text)]
    return 0 < len(texts) <= 2 * len(codes) and 2 * sum(map(_states_result, codes)) <= len(codes)


@lru_cache(maxsize=256)
def holds_code(text: str) -> bool:
    """Return whether an answer defines a Python function or class in a block, or is nothing but such code."""
    if "def " not in text and "class " not in text and "lambda" not in text:
        return False
    text = unwrap_code(THOUGHT_END.split(text)[-1])
    if blocks := find_blocks(text):
        return any(PYTHON_DEFINITION.search(block.code) for block in blocks)
    return bool(BARE_CODE.match(text) and PYTHON_DEFINITION.search(text))


@lru_cache(maxsize=256)
def _states_result(text: str) -> bool:
    """Return whether the prose of an answer, without its blocks of code, states a result."""
    result = extract_result(bound_text(PYTHON_TAGS.sub("\n", FENCE.sub("\n", text))))
    return result.is_stated and bool(result.form)
