"""OpenAI's SDK over real sockets: create, stream, parse, and a tool loop."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from routemoa.core.events import AnswerDelta, Done
from routemoa.core.usage import Usage
from tests.gateway.harness import Script, serving
from tests.gateway.test_tools import Panel, calls, serve

TOOLS: Any = [
    {
        "type": "function",
        "name": "weather",
        "description": "The weather in a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    }
]
MODELS = pytest.mark.parametrize("model", ["routemoa", "a"])


class City(BaseModel):
    name: str
    people: int


def reply(body: dict[str, Any]) -> Any:
    return "It is 18 degrees." if body["messages"][-1]["role"] == "tool" else calls({"city": "Paris"})


@MODELS
async def test_text(model: str) -> None:
    panel = Panel(a="It is 4.", b="It is 4.")
    async with serve(panel) as served:
        create = served.sdk.responses.create
        response = await create(
            model=model, input="What is 2 + 2?", instructions="Be brief.", max_output_tokens=50, metadata={"k": "v"}
        )
        assert response.output_text == "It is 4."
        assert (response.status, response.model, response.metadata) == ("completed", model, {"k": "v"})
        assert response.model_extra["routemoa"]["calls"] >= 1
        sent = panel.endpoints["a"].requests[0]
        assert (sent["max_tokens"], sent["messages"][0]["role"]) == (50, "system")


@MODELS
async def test_streams_accumulate(model: str) -> None:
    async with serve(Panel(a="It is 4.", b="It is 4.")) as served:
        async with served.sdk.responses.stream(model=model, input="What is 2 + 2?") as stream:
            deltas = [e.delta async for e in stream if e.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        assert "".join(deltas) == final.output_text == "It is 4."
        assert final.usage.total_tokens == final.usage.input_tokens + final.usage.output_tokens


@MODELS
async def test_parse(model: str) -> None:
    text = '{"name": "Paris", "people": 2100000}'
    panel = Panel(a=text, b=text)
    async with serve(panel) as served:
        response = await served.sdk.responses.parse(model=model, input="A city, please.", text_format=City)
        assert response.output_parsed == City(name="Paris", people=2100000)
        assert panel.endpoints["a"].requests[0]["response_format"]["json_schema"]["name"] == "City"
        async with served.sdk.responses.stream(model=model, input="A city, please.", text_format=City) as stream:
            assert (await stream.get_final_response()).output_parsed == City(name="Paris", people=2100000)


async def test_the_model_that_called_goes_on_alone() -> None:
    """The output is sent back as the SDK has it, and one model is asked: the one whose call it was."""
    panel = Panel(a=calls({"city": "Rome"}), b=reply, c=reply)
    async with serve(panel) as served:
        history: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
        async with served.sdk.responses.stream(model="routemoa", input=history, tools=TOOLS) as stream:
            first = await stream.get_final_response()
        (call,) = first.output
        assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", {"city": "Paris"})
        chosen = first.model_extra["routemoa"]["choice"]
        before = panel.asked()
        history += [
            *(item.model_dump(exclude={"parsed_arguments"}) for item in first.output),
            {"type": "function_call_output", "call_id": call.call_id, "output": "18 C"},
        ]
        second = await served.sdk.responses.create(model="routemoa", input=history, tools=TOOLS)
        assert second.output_text == "It is 18 degrees."
        after = panel.asked()
        assert {m: after[m] - before[m] for m in after} == {m: int(m == chosen) for m in after}


async def test_an_answer_that_breaks_off_is_incomplete() -> None:
    script = Script(AnswerDelta("Hel"), Done(0.1, Usage(3, 4), None, "length"))
    async with serving(script) as served:
        response = await served.sdk.responses.create(model="routemoa", input="Hi")
        assert response.status == "incomplete"
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "max_output_tokens"
        assert response.output_text == "Hel"
        events = [e async for e in await served.sdk.responses.create(model="routemoa", input="Hi", stream=True)]
        assert events[-1].type == "response.incomplete"


async def test_errors() -> None:
    async with serving(Script(AnswerDelta("It "), 0.01, RuntimeError("secret"))) as served:
        create = served.sdk.responses.create
        with pytest.raises(openai.BadRequestError, match="keeps no responses") as stored:
            await create(model="routemoa", input="Hi", previous_response_id="resp_1")
        assert stored.value.param == "previous_response_id"
        with pytest.raises(openai.NotFoundError):
            await create(model="none", input="Hi")
        with pytest.raises(openai.InternalServerError):
            await create(model="routemoa", input="Hi")
        seen = []
        with pytest.raises(openai.APIError, match="The server had an error"):  # noqa: PT012
            async for event in await create(model="routemoa", input="Hi", stream=True):
                seen.append(event.type)
        assert seen[-1] == "response.failed"


async def test_a_quiet_stream_is_kept_open() -> None:
    async with serving(Script(0.15, AnswerDelta("Hi"), Done(0.1)), keep_alive=0.04) as served:
        raw = await served.raw({"model": "routemoa", "input": "Hi", "stream": True}, "/responses")
        body = (await raw.whole()).body
        assert body.index(b"response.in_progress") < body.index(b": keep-alive") < body.index(b"response.completed")
        assert body.count(b"event: response.created") == 1


async def test_limits_hold_and_events_are_of_chat() -> None:
    async with serve(Panel(a="It is 4.", b="It is 4.")) as served:
        create = served.sdk.responses.create
        for model in ("routemoa", "a"):
            with pytest.raises(openai.BadRequestError, match="price"):
                await create(model=model, input="Hi", extra_body={"routemoa": {"max_cost": 0.1}})
        headers = {"X-RouteMoA-Stream-Mode": "events"}
        with pytest.raises(openai.BadRequestError, match="events"):
            await create(model="routemoa", input="Hi", stream=True, extra_headers=headers)


@MODELS
async def test_thoughts_are_an_item_of_their_own(model: str) -> None:
    message = {"content": "It is 4.", "reasoning_content": "2 and 2 make 4."}
    panel = Panel(a=message, b=message)
    async with serve(panel) as served:
        create = served.sdk.responses.create
        response = await create(model=model, input="2 + 2?", reasoning={"effort": "low"})
        assert [item.type for item in response.output] == ["reasoning", "message"]
        assert response.output[0].content[0].text == "2 and 2 make 4."
        assert response.output_text == "It is 4."
        assert panel.endpoints["a"].requests[0]["reasoning_effort"] == "low"
        async with served.sdk.responses.stream(model=model, input="2 + 2?") as stream:
            final = await stream.get_final_response()
        assert [item.type for item in final.output] == ["reasoning", "message"]
        history: Any = [{"role": "user", "content": "2 + 2?"}, *(i.model_dump() for i in final.output)]
        await create(model=model, input=[*history, {"role": "user", "content": "And 3?"}])
        sent = panel.endpoints["a"].requests[-1]["messages"]
        assert "make" not in str(sent), "thoughts do not go back to the members"
