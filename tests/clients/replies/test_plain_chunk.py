"""The short way to read a chunk takes nothing that the full one would read otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.clients.protocol import wire
from routemoa.clients.protocol.sse import SSEEvent
from routemoa.clients.replies.completion import CompletionBuilder
from routemoa.clients.replies.plain_chunk import MAX_BYTES, read_plain_text
from routemoa.core.errors import ModelError

PLAIN: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}],
}

values = st.sampled_from(
    [None, "", "x", "stop", "error", "null", 0, 1, -1, 0.5, True, False, [], {}, ["x"], {"message": "no"}, {"a": 1}]
)
fields = st.sampled_from(
    [
        *("id", "object", "created", "model", "error", "usage", "x_groq", "base_resp", "success", "detail", "message"),
        *("system_fingerprint", "provider", "type", "status", "errors", "usageMetadata", "service_tier", "other"),
    ]
)
choice_fields = st.sampled_from(["index", "finish_reason", "logprobs", "usage", "error", "text", "delta", "other"])
delta_fields = st.sampled_from(
    ["content", "role", "refusal", "tool_calls", "function_call", "reasoning_content", "thinking", "thought", "other"]
)
changes = st.tuples(
    st.dictionaries(fields, values, max_size=2),
    st.dictionaries(choice_fields, values, max_size=2),
    st.dictionaries(delta_fields, values, max_size=2),
)


def read_in_full(data: str) -> tuple[str, str] | None:
    """Return the text, and all else that a builder knows then; None for an error."""
    builder = CompletionBuilder()
    try:
        text = builder.add(wire.parse_chunk("m", SSEEvent(data)))
    except ModelError:
        return None
    return text, described(builder)


def described(builder: CompletionBuilder) -> str:
    rest = builder.end()
    builder.finish_reason = builder.finish_reason or None
    found = (builder.finish_reason, builder.known_usage, builder.thought_length, builder.text_length, rest)
    return repr((found, None if builder.is_broken_off else builder.completion("m", 1.0, None)))


@given(changes)
def test_what_is_read_the_short_way_says_the_same_in_full(changed: tuple[dict[str, Any], ...]) -> None:
    top, choice, delta = changed
    own = PLAIN["choices"][0]
    chunk = PLAIN | {"choices": [{**own, "delta": own["delta"] | delta, **choice}]} | top
    data = json.dumps(chunk)
    short = read_plain_text(data)
    assert short == read_plain_text(data.encode())
    if short is not None:
        builder = CompletionBuilder()
        assert (builder.add_text(short), described(builder)) == read_in_full(data)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, " word"),
        ({"usage": None, "system_fingerprint": "fp", "provider": "X"}, " word"),
        ({"usage": {"prompt_tokens": 1}}, None),
        ({"error": {"message": "no"}}, None),
        ({"choices": []}, None),
        ({"choices": [*PLAIN["choices"], *PLAIN["choices"]]}, None),
        ({"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}, ""),
        ({"choices": [{"index": 1, "delta": {"content": "x"}}]}, None),
        ({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}, None),
        ({"choices": [{"index": 0, "delta": {"content": ["x"]}}]}, None),
        ({"choices": [{"index": 0, "delta": {"reasoning_content": "x"}}]}, None),
        ({"object": "error"}, None),
        ({"unheard_of": 1}, None),
    ],
)
def test_only_a_chunk_with_text_alone_is_read_the_short_way(change: dict[str, Any], text: str | None) -> None:
    assert read_plain_text(json.dumps(PLAIN | change)) == text


@pytest.mark.parametrize("data", ["", "[DONE]", "{", "[1]", "null", "[" * 100_000, "\ud83d", "x" * (MAX_BYTES + 1)])
def test_what_is_no_chunk_is_left_to_the_full_way(data: str) -> None:
    assert read_plain_text(data) is None
