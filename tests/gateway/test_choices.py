"""Several answers to one request (`n`), with OpenAI's SDK over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from openai import BadRequestError

from routemoa.testing.endpoint import Fault
from tests.gateway.harness import serving
from tests.gateway.test_structured_output import FORMAT, GOOD
from tests.gateway.test_tools import ASK as ASK_TOOLS
from tests.gateway.test_tools import TOOLS, Panel, calls, serve

ASK: Any = [{"role": "user", "content": "What is 17 * 23? Answer with a number."}]


def in_turn(*replies: Any) -> Any:
    """Reply with each of `replies` in turn, the last repeated."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


async def test_different_answers_of_the_panel_best_first() -> None:
    """The panel that was asked anyway gives the answers; no further call is made for them."""
    panel = Panel(a="The answer is 391.", b="The answer is 400.", c="The answer is 391.", d="The answer is 391.")
    async with serve(panel) as served:
        one = await served.sdk.chat.completions.create(model="routemoa", messages=ASK)
        asked = sum(panel.asked().values())
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, n=2)
        assert [c.index for c in reply.choices] == [0, 1]
        assert [c.message.content for c in reply.choices] == ["The answer is 391.", "The answer is 400."]
        assert [c.finish_reason for c in reply.choices] == ["stop", "stop"]
        assert reply.choices[0].message.content == one.choices[0].message.content
        assert sum(panel.asked().values()) == 2 * asked


async def test_further_answers_are_sampled_from_the_best() -> None:
    panel = Panel(a=in_turn("391", "391", "392", "391", "393"), b="391")
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, n=5, temperature=0)
        texts = [c.message.content for c in reply.choices]
        assert len(texts) == 5
        assert texts[0] == "391"
        assert len(set(texts[:3])) == 3, "different answers come first"
        sampled = panel.endpoints["a"].requests[1:]
        assert len(sampled) == 4
        assert all(body["temperature"] == 1.0 and "n" not in body for body in sampled)
        assert reply.usage.completion_tokens == 6


async def test_a_sample_that_fails_is_missed_and_said() -> None:
    panel = Panel(a=in_turn("391", Fault(status=400, message="no")), b="391")
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, n=3)
        assert [c.message.content for c in reply.choices] == ["391"]
        (given_up,) = [g for g in reply.model_extra["routemoa"]["given_up"] if g["what"] == "choices"]
        assert given_up["why"] == "1 of the 3 answers that n asks for could be had"


@pytest.mark.parametrize("model", ["routemoa", "best-single"])
async def test_streams_have_an_index(model: str) -> None:
    panel = Panel(a=in_turn({"content": "391", "reasoning_content": "Well."}, "392"), b="400")
    async with serve_named(panel, model) as served:
        stream = await served.sdk.chat.completions.create(model=model, messages=ASK, n=2, stream=True, logprobs=True)
        chunks = [c async for c in stream]
        texts, endings = {0: "", 1: ""}, {}
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                if choice.finish_reason is not None:
                    assert choice.index not in endings
                    endings[choice.index] = choice.finish_reason
        assert texts[0] == "391"
        assert texts[1] in ("392", "400")
        assert endings == {0: "stop", 1: "stop"}
        async with served.sdk.chat.completions.stream(model=model, messages=ASK, n=2) as helper:
            final = await helper.get_final_completion()
        assert len(final.choices) == 2


@asynccontextmanager
async def serve_named(panel: Panel, model: str) -> AsyncIterator[Any]:
    """Run the panel's endpoints and a server with one method before them."""
    async with AsyncExitStack() as stack:
        for endpoint in panel.endpoints.values():
            await stack.enter_async_context(endpoint)
        yield await stack.enter_async_context(serving(pool=panel.pool(), names=(model,)))


@pytest.mark.parametrize("stream", [False, True])
async def test_sets_of_calls_differ(stream: bool) -> None:
    panel = Panel(a=calls({"city": "Paris"}), b=calls({"city": "Rome"}), c=calls({"city": "Paris"}), d="It rains.")
    async with serve(panel) as served:
        create = served.sdk.chat.completions
        if stream:
            async with create.stream(model="routemoa", messages=ASK_TOOLS, tools=TOOLS, n=2) as helper:
                reply = await helper.get_final_completion()
        else:
            reply = await create.create(model="routemoa", messages=ASK_TOOLS, tools=TOOLS, n=2)
        first, second = reply.choices
        assert json.loads(first.message.tool_calls[0].function.arguments) == {"city": "Paris"}
        assert json.loads(second.message.tool_calls[0].function.arguments) == {"city": "Rome"}
        assert first.finish_reason == second.finish_reason == "tool_calls"
        assert second.message.tool_calls[0].id.startswith("call_")
        assert second.message.tool_calls[0].id != first.message.tool_calls[0].id


async def test_every_answer_fits_the_schema() -> None:
    other = {**GOOD, "city": "Lyon"}
    panel = Panel(a=in_turn(json.dumps(GOOD), "no JSON", json.dumps(other)), b=json.dumps(GOOD))
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, response_format=FORMAT, n=2)
        values = [json.loads(c.message.content) for c in reply.choices]
        assert values == [GOOD, other]


@pytest.mark.parametrize("n", [0, 9, 10**9, -1, 1.5, True])
async def test_out_of_range(n: Any) -> None:
    async with serve(Panel(a="4", b="4")) as served:
        with pytest.raises(BadRequestError, match="'n'"):
            await served.sdk.chat.completions.create(model="routemoa", messages=ASK, n=n)


async def test_baselines_give_one() -> None:
    async with serve_named(Panel(a="4", b="4"), "moa") as served:
        with pytest.raises(BadRequestError, match="moa gives one answer"):
            await served.sdk.chat.completions.create(model="moa", messages=ASK, n=2)


async def test_limits_are_kept() -> None:
    panel = Panel(a=in_turn("391", "392"), b="391")
    async with serve(panel) as served:
        more: Any = {"routemoa": {"max_calls": 2}}
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, n=3, extra_body=more)
        assert sum(panel.asked().values()) <= 2
        assert reply.choices[0].message.content == "391"
