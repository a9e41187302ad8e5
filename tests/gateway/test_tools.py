"""Tools through the mixture, with OpenAI's SDK over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from openai import BadRequestError, InternalServerError

from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import ModelSpec
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import serving

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]
ASK: Any = [{"role": "user", "content": "What will the weather be in Paris?"}]


def calls(*arguments: Any, name: str = "weather", text: str | None = None) -> dict[str, Any]:
    """A message that calls a tool once for each of `arguments`."""
    made = [
        {"id": f"theirs-{i}", "type": "function", "function": {"name": name, "arguments": a}}
        for i, a in enumerate(a if isinstance(a, str) else json.dumps(a) for a in arguments)
    ]
    return {"content": text, "tool_calls": made}


def named_tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    """A choice that allows some tools."""
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def _as_function(reply: Any) -> Any:
    return reply if callable(reply) else lambda _: reply


class Panel:
    """A pool of endpoints, each with its reply, best first."""

    def __init__(self, **replies: Any) -> None:
        self.endpoints = {name: FakeEndpoint(_as_function(reply)) for name, reply in replies.items()}
        self.mixture = Mixture()
        self.tools: dict[str, bool] = {}
        self.names: tuple[str, ...] = ("routemoa",)
        self.priors = [0.62 - 0.02 * i for i in range(len(replies))]

    def pool(self) -> Pool:
        specs = [
            ModelSpec(name, endpoint.url, name, prior=prior, tools=self.tools.get(name))
            for (name, endpoint), prior in zip(self.endpoints.items(), self.priors, strict=True)
        ]
        return Pool(tuple(specs), self.mixture)

    def asked(self) -> dict[str, int]:
        return {name: len(e.requests) for name, e in self.endpoints.items()}


@asynccontextmanager
async def serve(panel: Panel) -> AsyncIterator[Any]:
    """Run the panel's endpoints and a server before them."""
    async with AsyncExitStack() as stack:
        for endpoint in panel.endpoints.values():
            await stack.enter_async_context(endpoint)
        yield await stack.enter_async_context(serving(pool=panel.pool(), names=panel.names))


async def test_calls_that_agree_leave_whole() -> None:
    """Equal calls agree whatever the order of keys and the form of numbers; their ids are ours."""
    panel = Panel(a=calls({"city": "Paris", "days": 1}), b=calls('{"days": 1.0, "city": " Paris "}'), c="I cannot.")
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, tools=TOOLS)
        choice = reply.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        (call,) = choice.message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris", "days": 1})
        assert call.id.startswith("call_")
        assert "theirs" not in call.id
        assert panel.asked() == {"a": 1, "b": 1, "c": 0}
        assert panel.endpoints["a"].requests[0]["tools"] == TOOLS
        assert reply.model_extra["routemoa"]["choice"] == "a"


async def test_panel_grows_until_calls_agree() -> None:
    panel = Panel(a=calls({"city": "Rome"}), b=calls({"city": "Paris"}), c=calls({"city": "Paris"}), d="Sunny.")
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, tools=TOOLS)
        assert json.loads(reply.choices[0].message.tool_calls[0].function.arguments) == {"city": "Paris"}
        assert panel.asked()["c"] == 1
        texts = [json.dumps(e.requests) for e in panel.endpoints.values()]
        assert not any("theirs" in text or "Rome" in text for text in texts), "a proposer was shown another's calls"


async def test_two_of_three_suffice() -> None:
    """A fourth call can only even it; where three differ, it may settle it."""
    rome, paris, oslo = (calls({"city": city}) for city in ("Rome", "Paris", "Oslo"))
    for third, asked in ((paris, 0), (oslo, 1)):
        panel = Panel(a=rome, b=paris, c=third, d=paris)
        panel.priors = [0.85, 0.84, 0.83, 0.82]
        async with serve(panel) as served:
            reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, tools=TOOLS)
            (call,) = reply.choices[0].message.tool_calls
            assert json.loads(call.function.arguments) == {"city": "Paris"}
            assert panel.asked() == {"a": 1, "b": 1, "c": 1, "d": asked}


async def test_no_call_is_an_answer() -> None:
    panel = Panel(a="It will rain.", b="It will be wet.", c=calls({"city": "Paris"}))
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, tools=TOOLS)
        assert reply.choices[0].message.content == "It will rain."
        assert reply.choices[0].message.tool_calls is None
        assert reply.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "wrong",
    [
        calls({"town": "Paris"}),
        calls('{"city": "Par'),
        calls({"city": "Paris"}, name="whether"),
        calls([1]),
        calls({"city": 3}),
        calls(""),
    ],
    ids=["other key", "cut", "other tool", "no object", "other type", "empty"],
)
async def test_wrong_calls_are_failures(wrong: Any) -> None:
    """Arguments that the tool's schema refuses are a failed proposal, and the next model is heard."""
    panel = Panel(a=wrong, b=wrong, c=calls({"city": "Paris"}))
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, tools=TOOLS)
        assert json.loads(reply.choices[0].message.tool_calls[0].function.arguments) == {"city": "Paris"}
        assert reply.model_extra["routemoa"]["choice"] == "c"


async def test_streams_accumulate() -> None:
    """The SDK's streaming helper puts the calls together."""
    panel = Panel(a=calls({"city": "Paris"}, {"city": "Rome"}), b=calls({"city": "Rome"}, {"city": "Paris"}))
    async with serve(panel) as served:
        async with served.sdk.chat.completions.stream(model="routemoa", messages=ASK, tools=TOOLS) as stream:
            final = await stream.get_final_completion()
        message = final.choices[0].message
        assert final.choices[0].finish_reason == "tool_calls"
        assert [json.loads(c.function.arguments)["city"] for c in message.tool_calls] == ["Paris", "Rome"]
        assert len({c.id for c in message.tool_calls}) == 2


WRITTEN = '```json\n{"name": "weather", "arguments": {"city": "Paris"}}\n```'


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN,
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        '[{"name": "weather", "parameters": {"city": "Paris"}}]',
    ],
)
@pytest.mark.parametrize("name", ["routemoa", "best-single"])
async def test_calls_that_are_written_as_text_are_calls(text: str, name: str) -> None:
    """Small models write them so. Nothing of the text reaches the caller, not even where it streams as it comes."""
    panel = Panel(a=text)
    panel.names = ("routemoa", "best-single")
    async with serve(panel) as served:
        async with served.sdk.chat.completions.stream(model=name, messages=ASK, tools=TOOLS) as stream:
            final = await stream.get_final_completion()
        choice = final.choices[0]
        assert not choice.message.content
        assert json.loads(choice.message.tool_calls[0].function.arguments) == {"city": "Paris"}
        assert choice.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "whether", "arguments": {}}',
        '{"city": "Paris"}',
        '{"name": ["weather"], "arguments": {"city": "Paris"}}',
        'Call it: {"name": "weather", "arguments": {"city": "Paris"}}',
        "```python\nprint(1)\n```",
        "<b>no</b>",
        "[1, 2]",
    ],
)
@pytest.mark.parametrize("name", ["routemoa", "best-single"])
async def test_other_texts_stay_texts(text: str, name: str) -> None:
    panel = Panel(a=text)
    panel.names = ("routemoa", "best-single")
    async with serve(panel) as served:
        async with served.sdk.chat.completions.stream(model=name, messages=ASK, tools=TOOLS) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == text
        assert not final.choices[0].message.tool_calls


async def test_choice_is_honoured() -> None:
    panel = Panel(a="It will rain.", b=calls({"city": "Paris"}, {"city": "Rome"}))
    async with serve(panel) as served:
        create = served.sdk.chat.completions.create
        for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
            reply = await create(model="routemoa", messages=ASK, tools=TOOLS, tool_choice=choice)
            assert len(reply.choices[0].message.tool_calls) == 2
            assert panel.endpoints["b"].requests[-1]["tool_choice"] == choice
        reply = await create(
            model="routemoa", messages=ASK, tools=TOOLS, tool_choice="required", parallel_tool_calls=False
        )
        assert len(reply.choices[0].message.tool_calls) == 1
        reply = await create(model="routemoa", messages=ASK, tools=TOOLS, tool_choice="none")
        assert reply.choices[0].message.content == "It will rain."


async def test_the_model_that_called_goes_on_alone() -> None:
    """After a tool's result one model is asked, the one whose call it was, with the caller's messages as they were."""

    def reply(body: dict[str, Any]) -> Any:
        return "It is 18 degrees." if body["messages"][-1]["role"] == "tool" else calls({"city": "Paris"})

    panel = Panel(a=calls({"city": "Rome"}), b=reply, c=reply)
    async with serve(panel) as served:
        create = served.sdk.chat.completions.create
        first = await create(model="routemoa", messages=ASK, tools=TOOLS)
        chosen = first.model_extra["routemoa"]["choice"]
        assert chosen in ("b", "c")
        before = panel.asked()
        message = first.choices[0].message.model_dump(exclude_none=True)
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "18 C"}
        history = [*ASK, message, result]
        second = await create(model="routemoa", messages=history, tools=TOOLS)
        assert second.choices[0].message.content == "It is 18 degrees."
        after = panel.asked()
        assert {m: after[m] - before[m] for m in after} == {m: int(m == chosen) for m in after}
        assert panel.endpoints[chosen].requests[-1]["messages"] == history
        third = await create(
            model="routemoa", messages=[*history, {"role": "user", "content": "And in Rome?"}], tools=TOOLS
        )
        assert third.model_extra["routemoa"]["calls"] > 1


@pytest.mark.parametrize("id_", ["theirs-0", "call_" + "a" * 22, "call_", "", "é" * 9, "x" * 5000])
async def test_foreign_and_forged_ids(id_: str) -> None:
    panel = Panel(a="Fine.", b="Good.")
    async with serve(panel) as served:
        call = {"id": id_, "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
        history = [
            *ASK,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": id_, "content": "18 C"},
        ]
        create = served.sdk.chat.completions.create
        if not id_:
            with pytest.raises(BadRequestError, match="id"):
                await create(model="routemoa", messages=history, tools=TOOLS)
            return
        reply = await create(model="routemoa", messages=history, tools=TOOLS)
        assert reply.choices[0].message.content == "Fine."
        assert panel.asked() == {"a": 1, "b": 0}


async def test_members_without_tools_are_left_out() -> None:
    """By the pool file at once, by a refusal from the second request on."""
    panel = Panel(a="I am a text model.", b=calls({"city": "Paris"}), c=calls({"city": "Paris"}))
    panel.tools = {"a": False}
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, tools=TOOLS)
        assert reply.model_extra["routemoa"]["skipped"] == {"a": "skipped: it cannot call tools"}
        assert panel.asked()["a"] == 0
    panel = Panel(a="text")
    panel.tools = {"a": False}
    async with serve(panel) as served:
        with pytest.raises(BadRequestError, match="no model of the pool can call tools"):
            await served.sdk.chat.completions.create(model="routemoa", messages=ASK, tools=TOOLS)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "weather"}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": TOOLS, "tool_choice": "weather"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"tools": [*TOOLS, *TOOLS]}, "tools[1].function.name"),
        ({"tools": [named_tool("get weather")]}, "tools[0].function.name"),
        ({"tools": [named_tool("wetter.\u00fcber")]}, "tools[0].function.name"),
        ({"tools": [named_tool("a\n")]}, "tools[0].function.name"),
        ({"tools": [*TOOLS, named_tool("a" * 65)]}, "tools[1].function.name"),
        ({"tools": TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice.type"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice.function.name"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"tools": TOOLS, "tool_choice": allowed("none", "weather")}, "tool_choice.allowed_tools.mode"),
        ({"tools": TOOLS, "tool_choice": allowed("auto")}, "tool_choice.allowed_tools.tools"),
        (
            {"tools": TOOLS, "tool_choice": allowed("auto", "weather", "time")},
            "tool_choice.allowed_tools.tools[1].function.name",
        ),
    ],
)
async def test_malformed_tools_are_refused(fields: Any, param: str) -> None:
    async with serve(Panel(a="x")) as served:
        raw = await served.raw({"model": "routemoa", "messages": ASK, **fields})
        response = await raw.whole()
        assert response.status == 400
        assert response.error["param"] == param
        assert param in response.error["message"]


async def test_allowed_tools_are_the_only_ones() -> None:
    """A choice that allows some tools is the request with these alone: not every endpoint knows such a choice."""
    tools = [*TOOLS, named_tool("time"), named_tool("a" * 64)]
    panel = Panel(a=calls({}, name="time"), b=calls({"city": "Paris"}))
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(
            model="routemoa", messages=ASK, tools=tools, tool_choice=allowed("required", "weather")
        )
        assert [c.function.name for c in reply.choices[0].message.tool_calls] == ["weather"]
        sent = panel.endpoints["a"].requests[0]
        assert (sent["tools"], sent["tool_choice"]) == (TOOLS, "required")


async def test_too_many_calls_are_a_failure() -> None:
    """None of 129 calls is dropped without a word: the proposal counts as failed."""
    many = [{"city": f"City {i}"} for i in range(129)]
    panel = Panel(a=calls(*many), b=calls(*many[1:]))
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, tools=TOOLS)
        assert len(reply.choices[0].message.tool_calls) == 128
        assert reply.model_extra["routemoa"]["choice"] == "b"
        panel.endpoints["b"]._reply = panel.endpoints["a"]._reply
        with pytest.raises(InternalServerError, match="it makes more than 128 calls in one turn"):
            await served.sdk.chat.completions.create(model="routemoa", messages=ASK, tools=TOOLS)


@pytest.mark.parametrize(
    ("before", "id_", "status"),
    [([], "x", 400), (["y"], "x", 400), (["x", "y"], "y", 200), (["x"], "x", 200)],
)
async def test_results_of_no_call_are_refused(before: list[str], id_: str, status: int) -> None:
    function = {"name": "weather", "arguments": "{}"}
    made = [{"id": b, "type": "function", "function": function} for b in before]
    turn = [{"role": "assistant", "content": None, "tool_calls": made}] if made else []
    messages = [*ASK, *turn, {"role": "tool", "tool_call_id": id_, "content": "18 C"}]
    async with serve(Panel(a="x")) as served:
        raw = await served.raw({"model": "routemoa", "messages": messages, "tools": TOOLS})
        response = await raw.whole()
        assert response.status == status
        if status == 400:
            assert response.error["param"] == f"messages[{len(messages) - 1}].tool_call_id"


@pytest.mark.parametrize("mode", ["final", "leader"])
async def test_text_is_not_shown_where_a_call_is_required(mode: str) -> None:
    """No text can stand under tool_choice "required", so none streams, not even of a model that is asked alone."""
    panel = Panel(a="I would rather tell you a story.", b=calls({"city": "Paris"}))
    panel.priors = [0.99, 0.2]
    async with serve(panel) as served:
        stream = await served.sdk.chat.completions.create(
            model="routemoa",
            messages=ASK,
            tools=TOOLS,
            tool_choice="required",
            stream=True,
            extra_body={"routemoa": {"stream_mode": mode}},
        )
        deltas = [chunk.choices[0].delta async for chunk in stream]
        assert "".join(d.content or "" for d in deltas) == ""
        assert [c.function.name for d in deltas for c in d.tool_calls or ()] == ["weather"]


async def test_time_limit_lets_no_text_out_where_a_call_is_required() -> None:
    panel = Panel(a="I would rather tell you a story.", b="So would I.")
    for endpoint in panel.endpoints.values():
        endpoint._faults = Fault(between=0.4)
    async with serve(panel) as served:
        with pytest.raises(InternalServerError):
            await served.sdk.chat.completions.create(
                model="routemoa",
                messages=ASK,
                tools=TOOLS,
                tool_choice="required",
                extra_body={"routemoa": {"max_seconds": 1.2}},
            )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (calls({"city": 3}), "a: the arguments of weather are wrong: at city: 3 is not of type"),
        (calls({}, name="whether"), "a: it calls 'whether', which is no tool of the request"),
        ("It will rain.", "a: it calls no tool, as tool_choice asks"),
    ],
    ids=["arguments", "name", "no call"],
)
async def test_error_says_what_is_wrong_with_calls(wrong: Any, told: str) -> None:
    async with serve(Panel(a=wrong)) as served:
        with pytest.raises(InternalServerError) as error:
            await served.sdk.chat.completions.create(
                model="routemoa", messages=ASK, tools=TOOLS, tool_choice="required"
            )
        assert told in str(error.value)


async def test_thoughts_in_the_history_go_to_their_own_model_alone() -> None:
    """SDKs send back what they got. A model may need its own thoughts to go on; others are not shown them."""

    def reply(body: dict[str, Any]) -> Any:
        if body["messages"][-1]["role"] == "tool":
            return "It is 18 degrees."
        return {**calls({"city": "Paris"}), "reasoning_content": "Paris, it says."}

    def thoughts(name: str) -> list[bool]:
        return [any("reasoning_content" in m for m in r["messages"]) for r in panel.endpoints[name].requests]

    panel = Panel(a=reply, b=reply)
    async with serve(panel) as served:
        create = served.sdk.chat.completions.create
        first = await create(model="routemoa", messages=ASK, tools=TOOLS)
        message = first.choices[0].message.model_dump()
        assert message["reasoning_content"] == "Paris, it says."
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "18 C"}
        history = [*ASK, message, result]
        await create(model="routemoa", messages=history, tools=TOOLS)
        assert panel.endpoints["a"].requests[-1]["messages"] == history
        assert (thoughts("a"), thoughts("b")) == ([False, True], [False])
        further = [*history, {"role": "assistant", "content": "18."}, {"role": "user", "content": "And in Rome?"}]
        await create(model="routemoa", messages=further, tools=TOOLS)
        assert (thoughts("a"), thoughts("b")) == ([False, True, False], [False, False])
        panel.endpoints["a"]._faults = Fault(status=500)
        await create(model="routemoa", messages=history, tools=TOOLS)
        assert thoughts("b") == [False, False, False]
        message["tool_calls"][0]["id"] = result["tool_call_id"] = "of another server"
        panel.endpoints["a"]._faults = Fault()
        await create(model="routemoa", messages=history, tools=TOOLS)
        assert thoughts("a")[-1] or thoughts("b")[-1]


TAGGED = f"I look it up.\n<tool_call>\n{WRITTEN[8:-4]}\n</tool_call>"


@pytest.mark.parametrize(
    ("text", "shown", "has_call"),
    [
        (TAGGED, "I look it up.", True),
        ("Write <tool_call> before it, or < 3 words.", "Write <tool_call> before it, or < 3 words.", False),
        ("Is it 3 <", "Is it 3 <", False),
    ],
)
@pytest.mark.parametrize("name", ["routemoa", "best-single"])
@pytest.mark.parametrize("mode", ["final", "leader"])
async def test_words_before_a_call_in_a_tag_stream_and_the_tag_does_not(
    text: str, shown: str, has_call: bool, name: str, mode: str
) -> None:
    panel = Panel(a=text, b=text)
    panel.priors, panel.names = [0.99, 0.2], ("routemoa", "best-single")
    async with serve(panel) as served:
        options: Any = {"routemoa": {"stream_mode": mode}}
        async with served.sdk.chat.completions.stream(
            model=name, messages=ASK, tools=TOOLS, extra_body=options
        ) as stream:
            final = await stream.get_final_completion()
        message = final.choices[0].message
        assert message.content.strip() == shown
        assert [c.function.name for c in message.tool_calls or ()] == (["weather"] if has_call else [])
