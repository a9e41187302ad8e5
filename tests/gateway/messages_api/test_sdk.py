"""Anthropic's SDK over real sockets: create, stream, tools, structured output, counting, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from routemoa.core.events import AnswerDelta, Done
from routemoa.core.usage import Usage
from tests.gateway.harness import Script, Serving, serving
from tests.gateway.test_tools import Panel, calls, serve

anthropic: Any = pytest.importorskip("anthropic")

TOOLS: Any = [
    {
        "name": "weather",
        "description": "The weather in a city.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    }
]
ASK: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
MODELS = pytest.mark.parametrize("model", ["routemoa", "a"])


@asynccontextmanager
async def connect(served: Serving) -> AsyncIterator[Any]:
    """Anthropic's client of a server."""
    url = served.url.removesuffix("/v1")
    async with anthropic.AsyncAnthropic(base_url=url, api_key="unused", max_retries=0) as client:
        yield client


def reply(body: dict[str, Any]) -> Any:
    return "It is 18 degrees." if body["messages"][-1]["role"] == "tool" else calls({"city": "Paris"})


@MODELS
async def test_text(model: str) -> None:
    panel = Panel(a="It is 4.", b="It is 4.")
    async with serve(panel) as served, connect(served) as client:
        message = await client.messages.create(
            model=model, max_tokens=50, system="Be brief.", messages=[{"role": "user", "content": "What is 2 + 2?"}]
        )
        (block,) = message.content
        assert (block.type, block.text, message.stop_reason, message.model) == ("text", "It is 4.", "end_turn", model)
        assert message.usage.input_tokens > 0
        sent = panel.endpoints["a"].requests[0]
        assert (sent["max_tokens"], sent["messages"][0]["role"]) == (50, "system")


@MODELS
async def test_streams_accumulate(model: str) -> None:
    async with serve(Panel(a="It is 4.", b="It is 4.")) as served, connect(served) as client:
        ask: Any = [{"role": "user", "content": "What is 2 + 2?"}]
        async with client.messages.stream(model=model, max_tokens=50, messages=ask) as stream:
            texts = [text async for text in stream.text_stream]
            message = await stream.get_final_message()
        assert "".join(texts) == message.content[0].text == "It is 4."
        assert message.stop_reason == "end_turn"


async def test_the_model_that_called_goes_on_alone() -> None:
    """The content is sent back as the SDK has it, and one model is asked: the one whose call it was."""
    panel = Panel(a=calls({"city": "Rome"}), b=reply, c=reply)
    async with serve(panel) as served, connect(served) as client:
        fields = {"model": "routemoa", "max_tokens": 99, "tools": TOOLS}
        async with client.messages.stream(**fields, messages=ASK) as stream:
            first = await stream.get_final_message()
        (use,) = first.content
        assert (use.type, use.name, use.input, first.stop_reason) == (
            "tool_use",
            "weather",
            {"city": "Paris"},
            "tool_use",
        )
        before = panel.asked()
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "18 C"}
        history = [*ASK, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        second = await client.messages.create(**fields, messages=history)
        assert second.content[0].text == "It is 18 degrees."
        after = panel.asked()
        made = {m: after[m] - before[m] for m in after}
        assert sum(made.values()) == 1
        assert made["a"] == 0


@MODELS
async def test_choices_of_tools(model: str) -> None:
    panel = Panel(a=calls({"city": "Paris"}, {"city": "Rome"}), b=calls({"city": "Paris"}, {"city": "Rome"}))
    async with serve(panel) as served, connect(served) as client:
        fields: Any = {"model": model, "max_tokens": 99, "tools": TOOLS, "messages": ASK}
        both = await client.messages.create(**fields, tool_choice={"type": "any"})
        assert [b.input["city"] for b in both.content] == ["Paris", "Rome"]
        assert panel.endpoints["a"].requests[0]["tool_choice"] == "required"
        named = {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}
        await client.messages.create(**fields, tool_choice=named)
        assert panel.endpoints["a"].requests[1]["parallel_tool_calls"] is False


async def test_structured_output() -> None:
    text = '{"name": "Paris"}'
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    panel = Panel(a=text, b=text)
    async with serve(panel) as served, connect(served) as client:
        config = {"format": {"type": "json_schema", "schema": schema}}
        message = await client.messages.create(model="routemoa", max_tokens=99, messages=ASK, output_config=config)
        assert message.content[0].text == text
        assert panel.endpoints["a"].requests[0]["response_format"]["json_schema"]["schema"] == schema


async def test_counting() -> None:
    async with serve(Panel(a="x")) as served, connect(served) as client:
        short = await client.messages.count_tokens(model="routemoa", messages=ASK)
        long = await client.messages.count_tokens(model="a", messages=ASK, tools=TOOLS, system="Be brief. " * 100)
        assert 0 < short.input_tokens < 40
        assert 250 < long.input_tokens < 500
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.count_tokens(model="none", messages=ASK)


async def test_errors() -> None:
    async with serving(Script(AnswerDelta("It "), 0.01, RuntimeError("secret"))) as served, connect(served) as client:
        fields: Any = {"model": "routemoa", "max_tokens": 9, "messages": ASK}
        with pytest.raises(anthropic.BadRequestError, match="no tools of its own") as wrong:
            await client.messages.create(**fields, tools=[{"type": "web_search_20250305", "name": "web_search"}])
        assert wrong.value.body["error"]["type"] == "invalid_request_error"
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.create(**{**fields, "model": "none"})
        with pytest.raises(anthropic.InternalServerError, match="api_error"):
            await client.messages.create(**fields)
        with pytest.raises(anthropic.APIStatusError, match="The server had an error"):
            async with client.messages.stream(**fields) as stream:
                await stream.get_final_message()


async def test_a_quiet_stream_is_kept_open() -> None:
    script = Script(0.15, AnswerDelta("Hi"), Done(0.1, Usage(3, 4), None, "stop"))
    async with serving(script, keep_alive=0.04) as served, connect(served) as client:
        fields: Any = {"model": "routemoa", "max_tokens": 9, "messages": ASK}
        raw = await (await served.raw({**fields, "stream": True}, "/messages")).whole()
        assert raw.body.index(b"event: message_start") < raw.body.index(b"event: ping") < raw.body.index(b"text_delta")
        async with client.messages.stream(**fields) as stream:
            assert await stream.get_final_text() == "Hi"


@MODELS
async def test_thoughts_are_blocks_of_their_own(model: str) -> None:
    thought = {"content": "It is 4.", "reasoning_content": "2 and 2 make 4."}
    panel = Panel(a=thought, b=thought)
    async with serve(panel) as served, connect(served) as client:
        fields: Any = {"model": model, "max_tokens": 4000, "messages": ASK}
        message = await client.messages.create(**fields, thinking={"type": "enabled", "budget_tokens": 2000})
        assert [b.type for b in message.content] == ["thinking", "text"]
        assert message.content[0].thinking == "2 and 2 make 4."
        assert panel.endpoints["a"].requests[0]["reasoning_effort"] == "low"
        async with client.messages.stream(**fields) as stream:
            final = await stream.get_final_message()
        assert [b.type for b in final.content] == ["thinking", "text"]
        history = [*ASK, {"role": "assistant", "content": final.content}, *ASK]
        await client.messages.create(**{**fields, "messages": history})
        assert "make" not in str(panel.endpoints["a"].requests[-1]["messages"])


@MODELS
async def test_images_reach_the_members(model: str) -> None:
    panel = Panel(a="A cat.", b="A cat.")
    async with serve(panel) as served, connect(served) as client:
        source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
        content = [{"type": "image", "source": source}, {"type": "text", "text": "What is it?"}]
        message = await client.messages.create(
            model=model, max_tokens=99, messages=[{"role": "user", "content": content}]
        )
        assert message.content[0].text == "A cat."
        sent = panel.endpoints["a"].requests[0]["messages"][0]["content"]
        assert sent == [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            {"type": "text", "text": "What is it?"},
        ]


async def test_what_is_ignored_is_named() -> None:
    """What newer clients send without an effect here is taken, whole and streamed, and named in `routemoa.ignored`."""
    async with serve(Panel(a="It is 4.", b="It is 4.")) as served, connect(served) as client:
        fields: Any = {
            "model": "routemoa",
            "max_tokens": 50,
            "messages": [{"role": "user", "content": "What is 2 + 2?"}],
            "metadata": {"user_id": "u"},
            "betas": ["context-management-2025-06-27"],
            "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
            "container": "container_1",
            "extra_body": {"thread": {"type": "create"}},
        }
        message = await client.beta.messages.create(**fields)
        ignored = message.model_extra["routemoa"]["ignored"]
        assert ignored.keys() == {"metadata", "context_management", "container", "thread"}
        assert ignored["thread"] == message.model_extra["routemoa"]["proposers"]
        async with client.beta.messages.stream(**fields) as stream:
            notes = [event.model_extra["routemoa"] async for event in stream if event.type == "message_delta"]
        assert notes[0]["ignored"].keys() == ignored.keys()
