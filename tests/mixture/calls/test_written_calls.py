"""Calls that are written as text."""

from __future__ import annotations

import time
from typing import Any

import pytest

from routemoa.core.tools import ToolUse
from routemoa.mixture.calls.written_calls import MAX_WRITTEN, before_tagged_call, read_written_calls

TOOLS = tuple(
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("weather", "time")
)
PARIS, ROME = ('{"name": "weather", "arguments": {"city": "%s"}}' % city for city in ("Paris", "Rome"))  # noqa: UP031


def read(text: str, choice: Any = None) -> list[tuple[str, str]]:
    return [(c.name, c.arguments) for c in read_written_calls(ToolUse(TOOLS, choice), text)[0]]


IN_PARIS, IN_ROME = ("weather", '{"city":"Paris"}'), ("weather", '{"city":"Rome"}')


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        (PARIS, [IN_PARIS]),
        (f"\ufeff {PARIS}\n\n\n", [IN_PARIS]),
        (f"```json\n{PARIS}\n```", [IN_PARIS]),
        (f"```tool_call\n{PARIS}\n```\n```\n```", [IN_PARIS]),
        (f"{PARIS}\n```\n```", [IN_PARIS]),
        (f"`{PARIS}`", [IN_PARIS]),
        (f"<tool_call>{PARIS}", [IN_PARIS]),
        (f"<tool_call>\n{PARIS}\n</tool_call>\n<tool_call>\n{ROME}\n</tool_call>", [IN_PARIS, IN_ROME]),
        (f"{PARIS}\n{ROME}", [IN_PARIS, IN_ROME]),
        (f"{PARIS}; {ROME}", [IN_PARIS, IN_ROME]),
        (f"[{PARIS}, {ROME}]", [IN_PARIS, IN_ROME]),
        (f'{{"type": "function", "function": {PARIS}}}', [IN_PARIS]),
        ('{"name": "weather", "arguments": "{\\"city\\": \\"Paris\\"}"}', [IN_PARIS]),
        ('{"name": "weather", "parameters": {"city": "Paris"}}', [IN_PARIS]),
    ],
)
def test_texts_of_nothing_but_calls(text: str, calls: Any) -> None:
    assert read(text) == read(text, "required") == calls
    assert read(text, "none") == []


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        (f"I look it up.\n{PARIS}", [IN_PARIS]),
        (f"I look it up. <tool_call>{PARIS}</tool_call> One moment.", [IN_PARIS]),
        (f"Here is the call:\n\n```json\n{PARIS}\n```\n\nThis looks up the weather in {{city}}.", [IN_PARIS]),
        (f"{PARIS} is the call.", [IN_PARIS]),
        (f"First\n{PARIS}\nthen\n{ROME}", [IN_PARIS, IN_ROME]),
        (f"So:\n{PARIS}\n{PARIS}\n{PARIS[:20]}", [IN_PARIS]),
    ],
)
def test_words_around_calls_that_are_required(text: str, calls: Any) -> None:
    """Where a call is required no text can be the answer; else the words count."""
    named = {"type": "function", "function": {"name": "weather"}}
    assert read(text, "required") == read(text, named) == calls
    assert read(text) == []


@pytest.mark.parametrize(
    "text",
    [
        f"I will not call {PARIS}",
        f"{PARIS}\n{ROME[:-6]}",
        f"First\n{PARIS[:-2]}\n{ROME}",
        '{"city": "Paris"}',
        '{"name": "weather"}',
        '{"name": ["weather"], "arguments": {}}',
        '{"name": "weather", "arguments": NaN}',
        '{"name": "weather", "arguments": "Paris"}',
        "",
        "[]",
        "It rains.",
        "<b>no</b>",
        "[" * 100_000,
        "{" * 100_000,
    ],
    ids=str,
)
def test_no_calls(text: str) -> None:
    assert read(text) == read(text, "required") == []


def test_unknown_names() -> None:
    """An object of the same form is an answer; where a call is required it is the call of a tool that is not there."""
    text = PARIS.replace("weather", "whether")
    assert read(text) == []
    assert [name for name, _ in read(text, "required")] == ["whether"]


@pytest.mark.alone
@pytest.mark.parametrize("piece", ["{\n", "[\n", '{"a":\n', "```\n", "<tool_call>[", '{"a": "\n', "` ", f"{PARIS} x\n"])
def test_time_is_linear(piece: str) -> None:
    text = piece * (MAX_WRITTEN // len(piece))
    began = time.perf_counter()
    read(text, "required")
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("text", "calls", "words"),
    [
        (f"I look it up.\n<tool_call>\n{PARIS}\n</tool_call>", [IN_PARIS], "I look it up."),
        (f"I look. <tool_call>{PARIS}</tool_call><tool_call>{ROME}</tool_call>\n", [IN_PARIS, IN_ROME], "I look."),
        (f"I look it up. <tool_calls>[{PARIS}]</tool_calls>", [IN_PARIS], "I look it up."),
        (f"I look. <tool_call>{PARIS}</tool_call> Done.", [], f"I look. <tool_call>{PARIS}</tool_call> Done."),
        ("Write <tool_call> before it.", [], "Write <tool_call> before it."),
    ],
)
def test_words_before_calls_in_tags(text: str, calls: Any, words: str) -> None:
    read, left = read_written_calls(ToolUse(TOOLS), text)
    assert ([(c.name, c.arguments) for c in read], left) == (calls, words)


@pytest.mark.parametrize(
    ("text", "visible"),
    [("", ""), ("a", "a"), ("a <", "a "), ("a <tool_c", "a "), ("a <tool_call>{", "a "), ("a < b", "a < b")],
)
def test_a_tag_is_not_shown_before_it_is_known(text: str, visible: str) -> None:
    assert before_tagged_call(text) == visible
