"""Requests of the Responses API in the words of chat completions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from routemoa.clients.http import HttpClient
from routemoa.core.errors import QueryError
from routemoa.core.events import AnswerDelta, Done
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import ModelSpec
from routemoa.gateway import create_app
from routemoa.gateway.responses_api import ResponsesApi
from routemoa.gateway.responses_api.request import translate_request
from tests.gateway.harness import Script
from tests.gateway.mutations import encode, mutated, post

TOOL = {"type": "function", "name": "weather", "description": "d", "parameters": {"type": "object"}, "strict": True}
CHAT_TOOL = {"type": "function", "function": {k: TOOL[k] for k in ("name", "description", "parameters", "strict")}}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": "{}", "status": "x"}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def translate(**fields: Any) -> dict[str, Any]:
    return {k: v for k, v in translate_request({"model": "m", **fields}).body.items() if v is not None}


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ("Hi", [{"role": "user", "content": "Hi"}]),
        ([{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Hi"}]),
        (
            [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Hi"}]}],
            [{"role": "developer", "content": [{"type": "text", "text": "Hi"}]}],
        ),
        (
            [
                {"role": "user", "content": "Hi"},
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "..."},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
                CALL,
                {**CALL, "call_id": "c2"},
                {"type": "function_call_output", "call_id": "c1", "output": "18"},
                {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "19"}]},
            ],
            [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "I look."}],
                    "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "c2"}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "18"},
                {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "19"}]},
            ],
        ),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y.png", "detail": "low"}]}],
            [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}],
                }
            ],
        ),
        (
            [
                {"role": "user", "content": [{"type": "input_file", "file_url": "https://x/a.pdf"}]},
                {"type": "web_search_call", "id": "ws_1", "status": "completed"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            ],
            [
                {"role": "user", "content": [{"type": "file", "file": {"file_data": "https://x/a.pdf"}}]},
                {"role": "assistant", "content": [{"type": "text", "text": "No."}]},
            ],
        ),
    ],
    ids=["text", "message", "parts", "calls", "image", "of OpenAI's servers"],
)
def test_items_become_messages(items: Any, messages: Any) -> None:
    assert translate(input=items)["messages"] == messages


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 9}, {"max_tokens": 9}),
        ({"temperature": 0.5, "top_p": 0.9, "stream": True}, {"temperature": 0.5, "top_p": 0.9, "stream": True}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tools": [CHAT_TOOL], "tool_choice": "required"}),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}, "parallel_tool_calls": False},
            {
                "tools": [CHAT_TOOL],
                "tool_choice": {"type": "function", "function": {"name": "weather"}},
                "parallel_tool_calls": False,
            },
        ),
        (
            {
                "tools": [TOOL, {**TOOL, "name": "other"}],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "weather"}],
                },
            },
            {"tools": [CHAT_TOOL], "tool_choice": "required"},
        ),
        ({"text": {"format": {"type": "text"}}}, {"response_format": {"type": "text"}}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ({"store": True, "truncation": "auto", "include": [], "background": False, "conversation": None}, {}),
    ],
)
def test_fields_are_translated(fields: Any, expected: Any) -> None:
    translated = translate(input="Hi", **fields)
    assert translated.pop("messages") == [{"role": "user", "content": "Hi"}]
    assert translated == {"model": "m", **expected}


def test_instructions_go_first() -> None:
    messages = translate(input="Hi", instructions="Be brief.")["messages"]
    assert messages[0] == {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({}, "input", "array of items"),
        ({"input": []}, "input", "empty"),
        ({"input": "  "}, "input", "no text"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id", "keeps no responses"),
        ({"input": "x", "conversation": "conv_1"}, "conversation", "does not offer"),
        ({"input": "x", "background": True}, "background", "does not offer"),
        ({"input": "x", "messages": []}, "messages", "Unrecognized"),
        ({"input": "x", "wings": 2}, "wings", "Unrecognized"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens", "'max_output_tokens' is out of range"),
        ({"input": "x", "temperature": 9}, "temperature", "from 0 to 2"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools[0].type", "no tools of its own"),
        ({"input": "x", "tool_choice": "required"}, "tool_choice", "only allowed when"),
        ({"input": "x", "tools": [TOOL], "tool_choice": {"type": "file_search"}}, "tool_choice.type", "function"),
        ({"input": "x", "text": {"format": {"type": "xml"}}}, "text.format.type", "'text.format.type' must be"),
        ({"input": "x", "text": {"format": {"type": "json_schema", "schema": {"type": 1}}}}, "text.format.schema", ""),
        ({"input": [{"type": "item_reference", "id": "a"}]}, "input[0]", "keeps none"),
        ({"input": [{"role": "user", "content": "a"}, {"type": "computer_call"}]}, "input[1].type", "must be"),
        ({"input": [{"role": "king", "content": "a"}], "instructions": "b"}, "input[0].role", "'input[0].role' must"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type", "must be"),
        ({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments", "a string"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id", "a string"),
        ({"input": "x", "reasoning": {"effort": "huge"}}, "reasoning.effort", "must be one of"),
        ({"input": "x", "text": {"verbosity": "huge"}}, "text.verbosity", "must be one of"),
        ({"input": "x", "metadata": 3}, "metadata", "an object"),
    ],
)
def test_what_is_wrong_is_named(fields: Any, param: str, words: str) -> None:
    with pytest.raises(QueryError) as error:
        ResponsesApi().read({"model": "m", **fields})
    assert error.value.param == param
    assert words in str(error.value)


VALID: dict[str, Any] = {
    "model": "routemoa",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A"}]},
        CALL,
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "19"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "B", "cache_control": {"type": "ephemeral"}}]},
    ],
    "instructions": "Be brief.",
    "tools": [
        TOOL,
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "namespace", "name": "n", "tools": [{**TOOL, "name": "inner"}]},
        {"type": "web_search"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
    "reasoning": {"effort": "low"},
    "metadata": {"a": "b"},
    "include": ["message.output_text.logprobs"],
    "top_logprobs": 2,
    "max_output_tokens": 9,
    "temperature": 0.3,
    "stream": False,
    "stream_options": {"include_obfuscation": False},
    "store": True,
}
POOL = Pool((ModelSpec("a", "http://127.0.0.1:9/v1", "a", prior=0.6),))
APP = create_app({"routemoa": Script(AnswerDelta("{}"), Done(0.1))}, POOL, HttpClient())


def test_a_full_request_is_taken() -> None:
    status, body = post(APP, "/v1/responses", encode(VALID))
    assert status == 200, body


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(VALID))
def test_malformed_requests_are_no_fault_of_the_server(body: dict[str, Any]) -> None:
    status, data = post(APP, "/v1/responses", encode(body))
    assert status in (200, 400, 404), data
    if status == 400 and not data.startswith(b'{"error":{"message":'):
        raise AssertionError(data)
