"""Read and group answers that are one JSON value. Pure.

bare_json('```json\\n{"a": 1}\\n```')     # '{"a": 1}'
group_json(['{"a": 1, "b": " x"}', '{"b": "x", "a": 1.0}'])     # one group
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from routemoa.judging.answers.grouping import Groups, group_by_form, mean_similarities
from routemoa.judging.answers.tool_calls import normalize_json

__all__ = ["bare_json", "group_json", "without_doubled_keys"]

_FENCED = re.compile(r"\A```[\w-]{0,20}[ \t]*\n(.*)\n[ \t]*```\Z", re.DOTALL)
_LANGUAGE = re.compile(r"\A[\w-]{1,20}(?=[\s{\[])")
PROSE_WORDS = 12
"""From so many words on a text in a value is prose, which no other answer repeats word for word."""
MAX_DEPTH = 32


def bare_json(text: str) -> str:
    """Return the JSON of an answer: without white space, a byte order mark, and what stands around its one fence."""
    text = text.strip().removeprefix("\ufeff").strip()
    if fenced := _FENCED.match(text):
        return fenced[1].strip()
    parts = text.split("```", 3)
    if len(parts) == 3 and not text.startswith(("{", "[")):
        return _LANGUAGE.sub("", parts[1], count=1).strip() or text
    return text


def without_doubled_keys(text: str) -> str:
    """Return valid JSON as it is, unless an object has a key twice: then as it was checked, with the last of them."""
    doubled = False

    def note(pairs: list[tuple[str, Any]]) -> None:
        nonlocal doubled
        doubled = doubled or len(dict(pairs)) < len(pairs)

    try:
        json.loads(text, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return text
    return msgspec.json.encode(msgspec.json.decode(text)).decode() if doubled else text


def group_json(texts: Sequence[str]) -> Groups:
    """Group answers that are the same value; where most hold prose, none can confirm another: they are open."""
    values = [_decode(text) for text in texts]
    groups = group_by_form([msgspec.json.encode(value, order="sorted").decode() for value in values])
    if 2 * sum(map(_holds_prose, values)) <= len(values):
        return groups
    return replace(groups, closed=False, similarity=mean_similarities(texts))


def _decode(text: str) -> Any:
    try:
        return normalize_json(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        return text.strip()


def _holds_prose(value: Any, depth: int = MAX_DEPTH) -> bool:
    if isinstance(value, str):
        return len(value.split(maxsplit=PROSE_WORDS)) >= PROSE_WORDS
    if not depth:
        return False
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_prose(item, depth - 1) for item in items)
