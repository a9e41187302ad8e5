"""Parameters that only some members know, and thoughts, through the mixture, with OpenAI's SDK over real sockets."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from openai import BadRequestError

from routemoa.core.tables.gateway_table import GatewaySettings
from routemoa.core.types import MAX_THOUGHT
from routemoa.testing.endpoint import FakeEndpoint, Fault
from tests.gateway.harness import serving
from tests.gateway.test_tools import Panel, _as_function

ASK: Any = [{"role": "user", "content": "What is 2 + 2? Answer with a number."}]
OPTIONS: dict[str, Any] = {
    "reasoning_effort": "low",
    "verbosity": "low",
    "top_k": 20,
    "min_p": 0.1,
    "top_a": 0.1,
    "repetition_penalty": 1.1,
    "logit_bias": {"11": -100},
    "service_tier": "flex",
    "prediction": {"type": "content", "content": "4"},
    "chat_template_kwargs": {"enable_thinking": False},
    "logprobs": True,
    "top_logprobs": 2,
}


@asynccontextmanager
async def serve(panel: Panel, gateway: GatewaySettings | None = None) -> AsyncIterator[Any]:
    """Run the panel's endpoints and a server before them."""
    async with AsyncExitStack() as stack:
        for endpoint in panel.endpoints.values():
            await stack.enter_async_context(endpoint)
        pool = dataclasses.replace(panel.pool(), gateway=gateway or GatewaySettings())
        yield await stack.enter_async_context(serving(pool=pool))


def refusing(*names: str, reply: Any = "4", words: str = "Unrecognized request argument supplied: {}") -> Any:
    """Reply, but refuse bodies that hold one of the fields `names`, the first one found."""

    def answer(body: dict[str, Any]) -> Any:
        found = next((n for n in names if n in body), None)
        return reply if found is None else Fault(status=400, message=words.format(found))

    return answer


@pytest.mark.parametrize("name", OPTIONS)
async def test_options_reach_the_members_that_take_them(name: str) -> None:
    """A member that refuses one is not sent it, answers all the same, and the response names it."""
    more = {"logprobs": True, name: OPTIONS[name]} if name == "top_logprobs" else {name: OPTIONS[name]}
    panel = Panel(a="4", b=refusing(name))
    async with serve(panel) as served:
        for _ in range(2):
            reply = await served.sdk.chat.completions.create(
                model="routemoa", messages=ASK, extra_body=more, temperature=0.5
            )
            assert reply.choices[0].message.content == "4"
            assert reply.model_extra["routemoa"]["ignored"] == {name: ["b"]}
    assert panel.endpoints["a"].requests[0][name] == OPTIONS[name]
    sent = panel.endpoints["b"].requests
    assert [name in body for body in sent] == [True, False, False], "it was asked again with what it refuses"
    assert all(body["temperature"] == 0.5 for body in sent)


async def test_a_refused_level_is_not_the_field() -> None:
    """An endpoint that does not know one level of effort is still sent others."""
    known = "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model."

    def answer(body: dict[str, Any]) -> Any:
        return Fault(status=400, message=known) if body.get("reasoning_effort") == "minimal" else "4"

    panel = Panel(a=answer, b=answer)
    async with serve(panel) as served:
        create = served.sdk.chat.completions.create
        reply = await create(model="routemoa", messages=ASK, reasoning_effort="minimal")
        assert reply.model_extra["routemoa"]["ignored"] == {"reasoning_effort": ["a", "b"]}
        reply = await create(model="routemoa", messages=ASK, reasoning_effort="low")
        assert reply.model_extra["routemoa"]["ignored"] == {}
        assert panel.endpoints["a"].requests[-1]["reasoning_effort"] == "low"


async def test_stop_is_never_left_out() -> None:
    panel = Panel(a=refusing("stop"), b=refusing("stop"))
    async with serve(panel) as served:
        with pytest.raises(BadRequestError):
            await served.sdk.chat.completions.create(model="routemoa", messages=ASK, stop=["x"])


async def test_unknown_fields_are_refused_or_passed() -> None:
    panel = Panel(a="4", b=refusing("dry_multiplier"))
    more = {"dry_multiplier": 0.8}
    async with serve(panel) as served:
        with pytest.raises(BadRequestError, match="dry_multiplier"):
            await served.sdk.chat.completions.create(model="routemoa", messages=ASK, extra_body=more)
    async with serve(panel, GatewaySettings("pass")) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, extra_body=more)
        assert reply.model_extra["routemoa"]["ignored"] == {"dry_multiplier": ["b"]}
        assert panel.endpoints["a"].requests[0]["dry_multiplier"] == 0.8
        for name in ("system", "cache_control", "audio", "web_search_options"):
            with pytest.raises(BadRequestError, match=name):
                await served.sdk.chat.completions.create(model="routemoa", messages=ASK, extra_body={name: {"a": 1}})


@pytest.mark.parametrize("more", [{"service_tier": "priority"}, {"prediction": OPTIONS["prediction"]}, {"plugins": []}])
async def test_what_has_no_bound_is_refused_under_a_limit(more: dict[str, Any]) -> None:
    async with serve(Panel(a="4", b="4"), GatewaySettings("pass")) as served:
        create = served.sdk.chat.completions.create
        with pytest.raises(BadRequestError, match=next(iter(more))):
            await create(model="routemoa", messages=ASK, extra_body={**more, "routemoa": {"max_output_tokens": 500}})
        await create(model="routemoa", messages=ASK, extra_body=more)


# --- thoughts


def thinking(thought: str, answer: str) -> dict[str, Any]:
    return {"reasoning_content": thought, "content": answer}


@pytest.mark.parametrize("whole", [False, True], ids=["stream", "one piece"])
@pytest.mark.parametrize(
    "reply", [thinking("Two and two.", "4"), "<think>Two and two.</think>\n\n4"], ids=["field", "tags"]
)
async def test_thoughts_of_the_chosen_answer_are_apart(reply: Any, whole: bool) -> None:
    """Those of the chosen answer come in their own field; no model is shown any, and the answer holds none."""
    panel = Panel(a=reply, b=thinking("Other thoughts.", "5"), c=reply)
    for name, spoken in (("a", reply), ("c", reply)) if whole else ():
        panel.endpoints[name] = FakeEndpoint(_as_function(spoken), Fault(whole=True))
    async with serve(panel) as served:
        answer = await served.sdk.chat.completions.create(model="routemoa", messages=ASK)
        message = answer.choices[0].message
        assert message.content == "4"
        assert message.model_extra["reasoning_content"] == "Two and two."
        asked = [m["content"] for e in panel.endpoints.values() for r in e.requests for m in r["messages"]]
        assert not any("thoughts" in text or "Two and two" in text for text in asked)


@pytest.mark.parametrize("priors", [[0.999, 0.2], [0.62, 0.6]], ids=["alone", "panel"])
@pytest.mark.parametrize(
    "reply", [thinking("Two and two.", "4"), "<think>Two and two.</think>4"], ids=["field", "tags"]
)
async def test_thoughts_stream_before_the_answer(priors: list[float], reply: Any) -> None:
    panel = Panel(a=reply, b="4")
    panel.priors = priors
    async with serve(panel) as served:
        stream = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, stream=True)
        deltas = [c.choices[0].delta async for c in stream if c.choices]
    thoughts = [d.model_extra["reasoning_content"] for d in deltas if "reasoning_content" in (d.model_extra or {})]
    assert "".join(thoughts) == "Two and two."
    assert "".join(d.content or "" for d in deltas) == "4"
    kinds = ["thought" if "reasoning_content" in (d.model_extra or {}) else "text" for d in deltas if d.content != ""]
    assert kinds.index("thought") < kinds.index("text")


async def test_long_thoughts_are_bounded() -> None:
    panel = Panel(a=thinking("x" * 3 * MAX_THOUGHT, "4"), b=f"<think>{'y' * 3 * MAX_THOUGHT}</think>4")
    for name in "ab":
        panel.priors = [0.999, 0.2] if name == "a" else [0.2, 0.999]
        async with serve(panel) as served:
            answer = await served.sdk.chat.completions.create(model="routemoa", messages=ASK)
            assert answer.choices[0].message.content == "4"
            assert 0.99 * MAX_THOUGHT < len(answer.choices[0].message.model_extra["reasoning_content"]) <= MAX_THOUGHT


# --- log-probabilities


async def test_logprobs_are_those_of_the_chosen_answer() -> None:
    panel = Panel(a="It is 4", b="It is 4")
    async with serve(panel) as served:
        create = served.sdk.chat.completions.create
        reply = await create(model="routemoa", messages=ASK, logprobs=True, top_logprobs=1)
        choice = reply.choices[0]
        assert "".join(t.token for t in choice.logprobs.content) == choice.message.content == "It is 4"
        assert choice.logprobs.content[0].logprob == -0.25
        assert panel.endpoints["a"].requests[0]["top_logprobs"] == 1
        async with served.sdk.chat.completions.stream(model="routemoa", messages=ASK, logprobs=True) as stream:
            final = await stream.get_final_completion()
        assert "".join(t.token for t in final.choices[0].logprobs.content) == "It is 4"
        reply = await create(model="routemoa", messages=ASK)
        assert reply.choices[0].logprobs is None


async def test_logprobs_are_null_where_the_member_gives_none() -> None:
    panel = Panel(a=refusing("logprobs"), b=refusing("logprobs"))
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, logprobs=True)
        assert reply.choices[0].logprobs is None
        assert reply.model_extra["routemoa"]["ignored"] == {"logprobs": ["a", "b"]}


# --- the other fields

SAMPLING: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "max_tokens": 50,
    "max_completion_tokens": 50,
    "seed": 3,
    "stop": ["END"],
}


@pytest.mark.parametrize("name", SAMPLING)
async def test_sampling_parameters_reach_every_member(name: str) -> None:
    panel = Panel(a="4", b="4")
    async with serve(panel) as served:
        await served.sdk.chat.completions.create(model="routemoa", messages=ASK, extra_body={name: SAMPLING[name]})
    assert [e.requests[0][name] for e in panel.endpoints.values()] == [SAMPLING[name]] * 2


@pytest.mark.parametrize(
    "name", ["user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"]
)
async def test_ignored_fields_reach_no_member(name: str) -> None:
    panel = Panel(a="4", b="4")
    async with serve(panel) as served:
        reply = await served.sdk.chat.completions.create(model="routemoa", messages=ASK, extra_body={name: "x"})
        assert reply.choices[0].message.content == "4"
    assert all(name not in body for e in panel.endpoints.values() for body in e.requests)


@pytest.mark.parametrize(
    ("name", "value", "harmless"),
    [
        ("functions", [{"name": "f"}], []),
        ("function_call", {"name": "f"}, "none"),
        ("modalities", ["text", "audio"], ["text"]),
        ("audio", {"voice": "alloy", "format": "wav"}, None),
        ("web_search_options", {}, None),
        ("store", True, False),
    ],
)
async def test_refused_fields_are_named(name: str, value: Any, harmless: Any) -> None:
    async with serve(Panel(a="4", b="4"), GatewaySettings("pass")) as served:
        create = served.sdk.chat.completions.create
        with pytest.raises(BadRequestError, match=name):
            await create(model="routemoa", messages=ASK, extra_body={name: value})
        reply = await create(model="routemoa", messages=ASK, extra_body={name: harmless})
        assert reply.choices[0].message.content == "4"


@pytest.mark.parametrize("stream", [False, True])
async def test_spoken_answers_of_a_member_pass(stream: bool) -> None:
    spoken = {"audio": {"id": "audio_1", "data": "UklGRg==", "expires_at": 1, "transcript": "Four."}, "content": None}
    asked = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}, "stream": stream}
    panel = Panel(a=spoken, b="4")
    async with serve(panel) as served:
        said = (await (await served.raw({"model": "a", "messages": ASK, **asked})).whole()).body
        assert b"UklGRg==" in said
        assert panel.endpoints["a"].requests[0]["audio"] == asked["audio"]
        with pytest.raises(BadRequestError, match="answers are text"):
            await served.sdk.chat.completions.create(model="routemoa", messages=ASK, extra_body=asked)


async def test_a_single_member_gets_the_body_as_it_is() -> None:
    """A model of the pool that is named is sent every field, known or not."""
    panel = Panel(a="4", b="4")
    more = {**OPTIONS, **SAMPLING, "unheard_of": {"a": [1]}, "user": "u", "n": 1}
    del more["max_tokens"]
    async with serve(panel) as served:
        await served.sdk.chat.completions.create(model="a", messages=ASK, extra_body=more)
    (body,) = panel.endpoints["a"].requests
    assert {name: body[name] for name in more} == more
