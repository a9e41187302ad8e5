"""Tools of the Responses API that a chat does not have: free text, namespaces, and those of OpenAI's servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routemoa.core.errors import QueryError
from routemoa.core.events import Done
from routemoa.core.tools import ToolCall
from routemoa.gateway.responses_api import ResponsesApi
from routemoa.gateway.responses_api.request import translate_request
from routemoa.gateway.responses_api.tools import FREE_TEXT_SCHEMA, read_tools
from tests.gateway.playback import play, whole
from tests.gateway.test_tools import Panel, calls, serve

FUNCTION = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CUSTOM = {
    "type": "custom",
    "name": "patch",
    "description": "Change a file.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x+/"},
}
SPACE = {"type": "namespace", "name": "agents", "tools": [{**FUNCTION, "name": "close"}]}
SEARCH = {"type": "web_search"}
TOOLS: list[Any] = [FUNCTION, CUSTOM, SPACE, SEARCH]


def test_all_become_functions() -> None:
    tools = read_tools(TOOLS) or {}
    assert list(tools) == ["weather", "patch", "agents__close"]
    described = tools["patch"].function["function"]
    assert described["parameters"] == FREE_TEXT_SCHEMA
    assert described["description"].startswith("Change a file.\n")
    assert described["description"].endswith("lark grammar:\nstart: /x+/")
    assert tools["agents__close"].function["function"]["name"] == "agents__close"


def test_tools_of_other_servers_alone_are_an_error() -> None:
    with pytest.raises(QueryError, match="no tools of its own"):
        read_tools([SEARCH])
    body = {"model": "m", "input": "Hi", "tools": TOOLS}
    answered = whole(ResponsesApi().read(body), (Done(0.1),))
    assert answered["tools"] == [FUNCTION, CUSTOM, SPACE], "the response names those that were offered"


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"type": "custom", "name": "patch"}, "patch"),
        ({"type": "function", "name": "close", "namespace": "agents"}, "agents__close"),
    ],
)
def test_choices(choice: Any, name: str) -> None:
    body = {"model": "m", "input": "Hi", "tools": TOOLS, "tool_choice": choice}
    assert translate_request(body).body["tool_choice"] == {"type": "function", "function": {"name": name}}
    ResponsesApi().read(body)


def test_calls_go_back_under_the_callers_names() -> None:
    made = (
        ToolCall("patch", '{"input": "xx"}', "c1"),
        ToolCall("agents__close", "{}", "c2"),
    )
    request = ResponsesApi().read({"model": "m", "input": "Hi", "tools": TOOLS})
    played = play(request, (Done(0.1, finish_reason="tool_calls", tool_calls=made),))
    assert [e["type"].removeprefix("response.") for e in played][2:] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    patch, close = played[-1]["response"]["output"]
    assert {k: patch[k] for k in ("type", "name", "input", "call_id")} == {
        "type": "custom_tool_call",
        "name": "patch",
        "input": "xx",
        "call_id": "c1",
    }
    assert {k: close[k] for k in ("type", "name", "namespace", "arguments")} == {
        "type": "function_call",
        "name": "close",
        "namespace": "agents",
        "arguments": "{}",
    }
    items = [patch, close, {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"}]
    first, second = translate_request({"model": "m", "input": items}).body["messages"]
    assert [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in first["tool_calls"]] == [
        ("patch", {"input": "xx"}),
        ("agents__close", {}),
    ]
    assert second == {"role": "tool", "tool_call_id": "c1", "content": "done"}


async def test_free_text_through_the_mixture() -> None:
    """With the SDK: the members are asked for a function, the caller reads the text."""
    call = calls({"input": "xx"}, name="patch")
    async with serve(Panel(a=call, b=call)) as served:
        tools: Any = [CUSTOM]
        async with served.sdk.responses.stream(model="routemoa", input="Change it.", tools=tools) as stream:
            final = await stream.get_final_response()
        (item,) = final.output
        assert (item.type, item.name, item.input) == ("custom_tool_call", "patch", "xx")
