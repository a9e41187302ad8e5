"""Requests of the Messages API in the words of chat completions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from routemoa.clients.http import HttpClient
from routemoa.core.content.cache_marks import CacheControl, CacheMark
from routemoa.core.errors import QueryError
from routemoa.core.events import AnswerDelta, Done
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import ModelSpec
from routemoa.gateway import create_app
from routemoa.gateway.messages_api import MessagesApi
from routemoa.gateway.messages_api.request import IGNORED_FIELDS, translate_request
from tests.gateway.harness import Script
from tests.gateway.mutations import encode, mutated, post

HI: Any = [{"role": "user", "content": "Hi"}]
EPHEMERAL = {"type": "ephemeral"}
TOOL: dict[str, Any] = {"name": "weather", "description": "d", "input_schema": {"type": "object"}}
CHAT_TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}},
}
USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris", "days": 1}}
CHAT_CALL = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris","days":1}'}}
CHAT_PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


def text(value: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **fields}


def translate(**fields: Any) -> dict[str, Any]:
    translated = translate_request({"model": "m", "messages": HI, **fields}).body
    return {k: v for k, v in translated.items() if v not in (None, []) or k not in ("stop", "reasoning_effort")}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (HI, HI),
        ([{"role": "user", "content": [text("Hi")]}], [{"role": "user", "content": [text("Hi")]}]),
        (
            [{"role": "user", "content": [text("A", cache_control={**EPHEMERAL, "scope": "x"}), text("B")]}],
            [{"role": "user", "content": [text("A", cache_control=EPHEMERAL), text("\n\nB")]}],
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "Hm", "signature": ""}, text("I look."), USE],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "18", "cache_control": EPHEMERAL},
                        {"type": "tool_result", "tool_use_id": "t2", "content": [text("1"), text("9")]},
                        {"type": "tool_result", "tool_use_id": "t3", "content": "no such city", "is_error": True},
                        {"type": "tool_result", "tool_use_id": "t4"},
                        text("Go on."),
                    ],
                },
            ],
            [
                {"role": "assistant", "content": [text("I look.")], "tool_calls": [CHAT_CALL]},
                {"role": "tool", "tool_call_id": "t1", "content": [text("18", cache_control=EPHEMERAL)]},
                {"role": "tool", "tool_call_id": "t2", "content": "1\n\n9"},
                {"role": "tool", "tool_call_id": "t3", "content": "Error: no such city"},
                {"role": "tool", "tool_call_id": "t4", "content": ""},
                {"role": "user", "content": [text("Go on.")]},
            ],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [PNG, {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}],
                }
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                    ],
                }
            ],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
                        {
                            "type": "document",
                            "title": "a.pdf",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                        },
                    ],
                }
            ],
            [
                {
                    "role": "user",
                    "content": [
                        text("D"),
                        {
                            "type": "file",
                            "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
                        },
                    ],
                }
            ],
        ),
        (
            [
                {"role": "assistant", "content": [USE, {**USE, "id": "t2"}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": [text("A"), PNG]},
                        {"type": "tool_result", "tool_use_id": "t2", "content": [PNG]},
                        text("Go on."),
                    ],
                },
            ],
            [
                {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "t2"}]},
                {"role": "tool", "tool_call_id": "t1", "content": [text("A")]},
                {"role": "tool", "tool_call_id": "t2", "content": "[Shown in the user's message below.]"},
                {
                    "role": "user",
                    "content": [
                        text("[What the tool call t1 returned:]"),
                        CHAT_PNG,
                        text("[What the tool call t2 returned:]"),
                        CHAT_PNG,
                    ],
                },
                {"role": "user", "content": [text("Go on.")]},
            ],
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
                        text("It rains."),
                    ],
                }
            ],
            [{"role": "assistant", "content": [text("It rains.")]}],
        ),
    ],
    ids=["text", "blocks", "marks", "tools", "images", "documents", "images of tools", "of Anthropic's servers"],
)
def test_blocks_become_messages(messages: Any, expected: Any) -> None:
    assert translate(messages=messages)["messages"] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 9}, {"max_tokens": 9}),
        ({"stop_sequences": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"temperature": 0.5, "top_p": 0.9, "stream": True}, {"temperature": 0.5, "top_p": 0.9, "stream": True}),
        ({"tools": [TOOL]}, {"tools": [CHAT_TOOL]}),
        ({"tools": [{**TOOL, "type": "custom", "cache_control": EPHEMERAL}]}, {"tools": [CHAT_TOOL]}),
        ({"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        (
            {"tool_choice": {"type": "tool", "name": "weather"}},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        ({"metadata": {"user_id": "u"}, "service_tier": "auto"}, {}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
    ],
)
def test_fields_are_translated(fields: Any, expected: Any) -> None:
    assert translate(**fields) == {"model": "m", "messages": HI, **expected}


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 32000}}, "high"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "disabled"}}, None),
        ({"output_config": {"effort": "low"}, "thinking": {"type": "enabled", "budget_tokens": 9999}}, "low"),
    ],
)
def test_thinking_is_an_effort(fields: Any, effort: str | None) -> None:
    read = MessagesApi().read({"model": "m", "messages": HI, "max_tokens": 9, **fields}).chat
    assert read.query.parameters.get("reasoning_effort") == effort


def test_marks_become_ours() -> None:
    """Marks of the system text, of a turn and of the whole request."""
    body = {
        "model": "m",
        "max_tokens": 9,
        "system": [text("You are"), text("brief.", cache_control={"type": "ephemeral", "ttl": "1h"})],
        "messages": [{"role": "user", "content": [text("A", cache_control=EPHEMERAL), text("B")]}, *HI],
        "cache_control": EPHEMERAL,
    }
    system, first, last = MessagesApi().read(body).chat.query.messages
    assert (system.role, system.content) == ("system", "You are\n\nbrief.")
    assert system.marks == (CacheMark(len(system.content), CacheControl("ephemeral", "1h")),)
    assert first.marks == (CacheMark(1, CacheControl("ephemeral")),)
    assert last.marks == (CacheMark(2, CacheControl("ephemeral")),)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"max_tokens": None}, "max_tokens", "missing"),
        ({"max_tokens": 0}, "max_tokens", "out of range"),
        ({"messages": "Hi"}, "messages", "an array"),
        ({"messages": []}, "messages", "empty"),
        ({"messages": [{"role": "king", "content": "a"}]}, "messages[0].role", "user or assistant"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "array of blocks"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages[0].content[0].type", "must be"),
        ({"messages": [{"role": "user", "content": [USE]}]}, "messages[0].content[0].type", "as the role allows"),
        (
            {"messages": [{"role": "assistant", "content": [{**USE, "input": "{}"}]}]},
            "messages[0].content[0].input",
            "",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            "messages[0].content[0].source.type",
            "base64 or url",
        ),
        (
            {"messages": [*HI, {"role": "user", "content": [text("A", cache_control={"type": "x"})]}], "system": "S"},
            "messages[1].content[0].cache_control",
            "ephemeral",
        ),
        ({"system": [PNG]}, "system[0].type", "must be text"),
        ({"system": [text("", cache_control=EPHEMERAL)]}, "system[0].cache_control", "empty text"),
        ({"stop_sequences": ["a"] * 5}, "stop_sequences", "'stop_sequences' takes from 1 to 4"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type", "no tools of its own"),
        ({"tools": [{"name": "a"}]}, "tools[0].input_schema", "an object"),
        ({"tool_choice": {"type": "required"}, "tools": [TOOL]}, "tool_choice.type", "auto, any, none or tool"),
        ({"tool_choice": {"type": "any"}}, "tool_choice", "only allowed when"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers", "does not offer"),
        ({"compaction": {"type": "summary"}}, "compaction", "does not offer"),
        ({"container": {"id": "c", "skills": [{"skill_id": "pdf"}]}}, "container.skills", "does not offer"),
        ({"thread": {"type": "continue", "previous_message_id": "msg_1"}}, "thread", "the whole of it"),
        ({"thread": "t"}, "thread", "an object"),
        ({"metadata": {"user_id": 3}}, "metadata.user_id", "a string"),
        ({"tools": [TOOL, TOOL]}, "tools[1].name", "no two may be alike"),
        ({"tools": [{**TOOL, "name": "get weather"}]}, "tools[0].name", "must match the pattern"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "time"}}, "tool_choice", "names 'time'"),
        (
            {"messages": [*HI, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t9"}]}]},
            "messages[1].content",
            "an id that no tool call",
        ),
        ({"output_config": {"effort": "huge"}}, "output_config.effort", "must be one of"),
        ({"wings": 2}, "wings", "Unrecognized"),
        ({"n": 2}, "n", "Unrecognized"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "an integer"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type", "json_schema"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": 1}}}},
            "output_config.format.schema",
            "",
        ),
    ],
)
def test_what_is_wrong_is_named(fields: Any, param: str, words: str) -> None:
    with pytest.raises(QueryError) as error:
        MessagesApi().read({"model": "m", "messages": HI, "max_tokens": 9, **fields})
    assert error.value.param == param
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({}, ()),
        (dict.fromkeys(IGNORED_FIELDS), ()),
        ({"metadata": {}, "fallbacks": [], "speed": "standard", "service_tier": "auto"}, ()),
        (
            {"metadata": {"user_id": "u"}, "betas": ["x"], "thread": {"type": "create"}, "container": "c1"},
            ("betas", "container", "metadata", "thread"),
        ),
        (
            {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}, "container": {"id": "c1"}},
            ("container", "context_management"),
        ),
        (
            {"fallbacks": "default", "speed": "fast", "anthropic_version": "x"},
            ("anthropic_version", "fallbacks", "speed"),
        ),
    ],
)
def test_fields_that_change_nothing_are_ignored(fields: Any, ignored: Any) -> None:
    chat = MessagesApi().read({"model": "m", "messages": HI, "max_tokens": 9, **fields}).chat
    assert chat.ignored == ignored
    assert chat.query.parameters == {"max_tokens": 9}


@pytest.mark.parametrize(
    ("role", "block", "said"),
    [
        ("user", {"type": "search_result", "title": "T", "source": "S", "content": [text("A")]}, "T\nS\nA"),
        ("user", {"type": "compaction", "content": "So far: A"}, "So far: A"),
        ("assistant", {"type": "compaction", "content": "So far: A"}, "So far: A"),
        ("assistant", {"type": "compaction", "content": None}, ""),
        ("assistant", {"type": "fallback", "to": {"model": "x"}}, None),
    ],
)
def test_blocks_of_other_servers(role: str, block: Any, said: str | None) -> None:
    parts = translate_request({"messages": [{"role": role, "content": [block]}]}).body["messages"][0]["content"]
    assert [part["text"] for part in parts] == ([] if said is None else [said])


VALID: dict[str, Any] = {
    "model": "routemoa",
    "max_tokens": 100,
    "system": [text("Be brief.", cache_control=EPHEMERAL)],
    "messages": [
        {"role": "user", "content": [text("Hi"), text("there")]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm", "signature": ""}, text("A"), USE]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [text("18")], "is_error": False},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
                text("Go on.", cache_control={"type": "ephemeral", "ttl": "5m"}),
            ],
        },
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    "stop_sequences": ["x"],
    "metadata": {"user_id": "u"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"effort": "low"},
    "cache_control": EPHEMERAL,
    "temperature": 0.2,
    "top_p": 0.9,
    "top_k": 4,
    "stream": False,
}
POOL = Pool((ModelSpec("a", "http://127.0.0.1:9/v1", "a", prior=0.6),))
APP = create_app({"routemoa": Script(AnswerDelta("{}"), Done(0.1))}, POOL, HttpClient())
KINDS = {400: "invalid_request_error", 404: "not_found_error"}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_full_request_is_taken(path: str) -> None:
    status, body = post(APP, path, encode(VALID))
    assert status == 200, body


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=mutated(VALID))
def test_malformed_requests_are_no_fault_of_the_server(path: str, body: dict[str, Any]) -> None:
    status, data = post(APP, path, encode(body))
    assert status in (200, 400, 404), data
    if status != 200:
        error = msgspec.json.decode(data)
        assert error["type"] == "error"
        assert error["error"]["type"] == KINDS[status]
