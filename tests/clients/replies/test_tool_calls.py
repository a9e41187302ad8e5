"""Tool calls as endpoints send them: whole, in pieces, in forms near OpenAI's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routemoa.clients.replies.completion import CompletionBuilder, parse_completion
from routemoa.clients.replies.tool_calls import ToolCallFolder
from routemoa.core.tools import MAX_CALLS, ToolCall


def fold(*entries: list[dict[str, Any]]) -> tuple[ToolCall, ...]:
    folder = ToolCallFolder()
    for calls in entries:
        folder.add({"tool_calls": calls})
    return folder.calls


def piece(index: int | None, id_: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return {k: v for k, v in (("index", index), ("id", id_)) if v is not None} | {"function": function}


A, B = ToolCall("f", '{"a": 1}', "x"), ToolCall("g", '{"b": 2}', "y")


@pytest.mark.parametrize(
    ("entries", "calls"),
    [
        ([[piece(0, "x", "f", '{"a": 1}')], [piece(1, "y", "g", '{"b": 2}')]], (A, B)),
        ([[piece(0, "x", "f", "")], [piece(0, None, None, '{"a"')], [piece(0, None, None, ": 1}")]], (A,)),
        ([[piece(0, "x", "f", '{"a"')], [piece(0, "x", "f", ": 1}")]], (A,)),  # id and name in each piece
        ([[piece(None, "x", "f", '{"a": 1}'), piece(None, "y", "g", '{"b": 2}')]], (A, B)),  # no index, one chunk
        ([[piece(None, "x", "f", '{"a": 1}')], [piece(None, "y", "g", '{"b": 2}')]], (A, B)),  # no index, two chunks
        ([[piece(0, "x", "f", '{"a": 1}')], [piece(0, "y", "g", '{"b": 2}')]], (A, B)),  # always index 0
        ([[piece(None, "x", "f", '{"a"')], [piece(None, None, None, ": 1}")]], (A,)),
        ([[piece(0, "x", "f", {"a": 1})]], (ToolCall("f", '{"a":1}', "x"),)),  # an object, as Ollama's own API has it
        ([[piece(0, "x", "f", None)]], (ToolCall("f", "{}", "x"),)),
        ([[piece(0, "x", None, '{"a": 1}')]], ()),  # a call of nothing
        ([[{"index": 0, "id": 7, "function": {"name": ["f"], "arguments": 3}}, "x", None]], ()),
    ],
)
def test_calls_are_put_together(entries: list[list[dict[str, Any]]], calls: tuple[ToolCall, ...]) -> None:
    assert fold(*entries) == calls


def test_older_function_call() -> None:
    folder = ToolCallFolder()
    folder.add({"function_call": {"name": "f", "arguments": '{"a"'}})
    folder.add({"function_call": {"arguments": ": 1}"}})
    assert folder.calls == (ToolCall("f", '{"a": 1}'),)


def test_calls_are_bounded() -> None:
    """One more than may be is kept, so that too many are seen to be too many."""
    assert len(fold([piece(i, f"id-{i}", "f", "{}") for i in range(10 * MAX_CALLS)])) == MAX_CALLS + 1


def test_completion_has_calls_and_hides_the_key() -> None:
    body = {
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {"content": None, "tool_calls": [piece(None, "x", "f", '{"key": "sk-secret-1234"}')]},
            }
        ]
    }
    completion = parse_completion("m", body, 0.1, "sk-secret-1234")
    assert completion.text == ""
    assert completion.finish_reason == "tool_calls"
    assert json.loads(completion.tool_calls[0].arguments) == {"key": "[key]"}


def test_arguments_count_as_text() -> None:
    builder = CompletionBuilder()
    builder.add({"choices": [{"index": 0, "delta": {"tool_calls": [piece(0, "x", "f", "a" * 100)]}}]})
    assert builder.text_length == 100
