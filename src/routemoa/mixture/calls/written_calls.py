"""Read the calls of tools that a model writes as text, as small models do that leave their chat template. Pure.

    ```json
    {"name": "weather", "arguments": {"city": "Paris"}}
    ```

Text is read as calls where it holds nothing else: between calls stand only space, fences, tags, commas and semicolons.
Words may stand before calls in tags (`<tool_call>`), and are kept. Where the caller requires a call, no text can be the
answer: then words may stand around calls that begin a line, a fence or a tag; a call in the middle of a sentence is
still no call.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import Any

import msgspec

from routemoa.core.tools import ToolCall, ToolUse

__all__ = ["before_tagged_call", "may_be_written_call", "read_written_calls"]

MAX_WRITTEN = 256 * 1024
"""Characters of a text that is read as calls."""
MAX_READ_AGAIN = 4 * MAX_WRITTEN
"""Characters that are read in vain among words, all together."""
_STARTS = ("{", "[", "`", "<")
"""How a text may begin that turns out to be a call."""
_GAP = re.compile(r"(?:[\s,;\ufeff]|`{3,}(?:[\w-]{1,20}(?=[\s{\[]))?|`|</?tool_calls?>)*")
"""What may stand between calls."""
_TAG = "<tool_call"
_AMONG_WORDS = re.compile(r"(?:^[ \t]*(?:`{1,3}[\w-]{0,20}[ \t]*)?|</?tool_calls?>\s*)(?=[{\[])", re.MULTILINE)
"""Where a call may begin among words."""
_decoder = JSONDecoder()


def may_be_written_call(text: str) -> bool:
    """Return whether the beginning of an answer, perhaps white space only, may turn out to be a call as text."""
    text = text.lstrip()
    return not text or text.startswith(_STARTS)


def before_tagged_call(text: str) -> str:
    """Return the beginning of an answer, or of a part of one, that is surely no call in a tag."""
    at = text.find(_TAG)
    if at < 0:
        at = next((len(text) - n for n in range(len(_TAG) - 1, 0, -1) if text.endswith(_TAG[:n])), len(text))
    return text[:at]


def read_written_calls(use: ToolUse, text: str) -> tuple[tuple[ToolCall, ...], str]:
    """Return the calls that an answer consists of, and the words before them; no calls where it says anything else.

    Among words, where a call is required, a call that is written again counts once, and one that cannot be read or
    breaks off makes the whole text none.
    """
    if len(text) > MAX_WRITTEN or use.kind == "none":
        return (), text
    schemas = use.schemas
    words = before_tagged_call(text)
    for before in dict.fromkeys(("", words)):
        calls = _read_nothing_else(text[len(before) :])
        if calls and all(call.name in schemas for call in calls):
            return calls, before.strip()
    return (_find_among_words(text), "") if use.kind in ("required", "named") else ((), text)


def _read_nothing_else(text: str) -> tuple[ToolCall, ...]:
    """Return the calls of a text that holds nothing else; else none."""
    calls: list[ToolCall] = []
    position = _end_of_gap(text, 0)
    while position < len(text):
        found = _read_value(text, position)
        if found is None or not (read := _to_calls(found[0])):
            return ()
        calls += read
        position = _end_of_gap(text, found[1])
    return tuple(calls)


def _find_among_words(text: str) -> tuple[ToolCall, ...]:
    """Return the calls in a text with words around them."""
    calls: list[ToolCall] = []
    position = in_vain = 0
    while (start := _AMONG_WORDS.search(text, position)) is not None:
        at = start.end()
        if (found := _read_value(text, at)) is not None:
            calls += _to_calls(found[0])
            position = found[1]
            continue
        in_vain += len(text) - at
        if in_vain > MAX_READ_AGAIN or (text[at] == "{" and text.find(text[at:], 0, at) < 0):
            return ()
        position = at + 1
    return tuple(dict.fromkeys(calls))


def _end_of_gap(text: str, position: int) -> int:
    gap = _GAP.match(text, position)
    return position if gap is None else gap.end()


def _read_value(text: str, start: int) -> tuple[Any, int] | None:
    """Return the JSON value that begins at a place, and where it ends; None where there is none."""
    try:
        _, end = _decoder.raw_decode(text, start)
        return msgspec.json.decode(text[start:end]), end
    except (ValueError, RecursionError):
        return None


def _to_calls(value: Any) -> list[ToolCall]:
    """Return the call that a value is, or those of a list of nothing else; else none."""
    calls = [_to_call(entry) for entry in (value if isinstance(value, list) else [value])]
    return [] if None in calls else [call for call in calls if call is not None]


def _to_call(entry: Any) -> ToolCall | None:
    if isinstance(entry, dict) and isinstance(entry.get("function"), dict):  # OpenAI's own form
        entry = entry["function"]
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return None
    arguments = entry.get("arguments", entry.get("parameters"))
    if isinstance(arguments, str):
        found = _read_value(arguments, 0)
        arguments = found[0] if found is not None and not arguments[found[1] :].strip() else None
    return ToolCall(entry["name"], msgspec.json.encode(arguments).decode()) if isinstance(arguments, dict) else None
