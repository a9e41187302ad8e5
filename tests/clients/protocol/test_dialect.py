"""Dialects: refusals as providers write them, what is learned from each, and what reaches a real endpoint then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from routemoa.clients.http import HttpClient
from routemoa.clients.protocol.dialect import Dialect, apply_dialect, describe_dialect, to_dialect
from routemoa.clients.protocol.dialect_learning import learn_dialect, read_refusal
from routemoa.core.errors import ModelHTTPError
from routemoa.core.types import Completion, Message, ModelSpec, Request

SENT: dict[str, Any] = {
    "temperature": 0.7,
    "top_p": 0.9,
    "seed": 1,
    "stop": ["x"],
    "presence_penalty": 0.5,
    "max_tokens": 50,
    "logprobs": True,
    "response_format": {"type": "json_schema"},
    "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi."}],
    "stream": True,
    "stream_options": {"include_usage": True},
    "model": "m",
}
OLD, NEW = "max_tokens", "max_completion_tokens"


@pytest.mark.parametrize(
    ("said", "omit", "rename"),
    [
        # OpenAI and Azure
        (f"Unsupported parameter: '{OLD}' is not supported with this model. Use '{NEW}' instead.", "", {OLD: NEW}),
        ("Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is"
         " supported.", "temperature", {}),
        ("Unsupported parameter: 'top_p' is not supported with this model.", "top_p", {}),
        ("Unrecognized request argument supplied: logprobs", "logprobs", {}),
        ("This model does not support the 'logprobs' parameter.", "logprobs", {}),
        ("Unsupported value: 'messages[0].role' does not support 'system' with this model.", "", {"system": "user"}),
        ("Unsupported value: 'stream' does not support true with this model. Only the default (false) value is"
         " supported.", "stream", {}),
        ("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
         "response_format", {}),
        ("Invalid schema for response_format 'reply': In context=(), 'required' is required", "response_format", {}),
        # vLLM, SGLang, FastAPI
        ("[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted',"
         " 'input': {'include_usage': True}}]", "stream_options", {}),
        ("System role not supported", "", {"system": "user"}),
        ("Conversation roles must alternate user/assistant/user/assistant/...", "", {"system": "user"}),
        ("Only user and assistant roles are supported!", "", {"system": "user"}),
        ("Streaming is not supported for this model", "stream", {}),
        # Fireworks, Databricks, Mistral, Groq
        ("Extra inputs are not permitted, field: 'stream_options'", "stream_options", {}),
        ("Validation error at #/stream_options: Extra inputs are not permitted", "stream_options", {}),
        ("property 'logprobs' is unsupported", "logprobs", {}),
        # Google, Anthropic, Bedrock, xAI, Moonshot, DeepSeek, Cohere, Zhipu
        ("Logprobs is not enabled for models/gemini-2.5-pro", "logprobs", {}),
        ("Developer instruction is not enabled for models/gemma-3-27b-it", "", {"system": "user"}),
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "top_p", {}),
        ("Malformed input request: extraneous key [seed] is not permitted, please reformat", "seed", {}),
        ("Model does not support parameter presencePenalty", "presence_penalty", {}),
        ("invalid temperature: only 1 is allowed for this model", "temperature", {}),
        ("This response_format type is unavailable now", "response_format", {}),
        ("response_format.type `json_schema` is unavailable now at line 1 column 1193", "response_format", {}),
        ("invalid request: unknown field: 'seed'", "seed", {}),
        ("参数temperature不支持", "temperature", {}),
        # proxies
        ('json: unknown field "stream_options"', "stream_options", {}),
        ("Your request contained invalid structure on path logprobs. extra fields not permitted", "logprobs", {}),
        (f"Additional properties are not allowed ('{OLD}' was unexpected)", "", {OLD: NEW}),
    ],
)  # fmt: skip
def test_what_a_refusal_teaches(said: str, omit: str, rename: dict[str, str]) -> None:
    learned = learn_dialect(Dialect(), SENT, said, keep={"stop"})
    assert learned == Dialect(frozenset({omit} if omit else ()), rename)
    assert learned is not None
    if "both" not in said:  # of two fields the other one may be left out next
        again = learn_dialect(learned, apply_dialect(SENT, learned, {"stop"}), said, keep={"stop"})
        assert again in (None, learned), "a refusal that stays the same teaches nothing more"


@pytest.mark.parametrize(
    "said",
    [
        "the model does not support the stopSequences parameter",  # the caller's: it changes what the answer is
        "Unsupported parameter: 'stop' is not supported with this model.",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "max_tokens is too large: 8192. This model supports at most 4096 completion tokens",
        "'max_tokens' or 'max_completion_tokens' is too large: 8000 (8000 > 4096 - 2778)",
        "temperature must be at most 1",
        "The response was filtered due to the prompt triggering our content management policy.",
        "Invalid value for 'messages[1].content': expected a string",
        "Unknown model: m",
        "Missing required parameter: 'messages'",
        "",
        "Bad Request",
    ],
)
def test_what_teaches_nothing(said: str) -> None:
    assert learn_dialect(Dialect(), SENT, said, keep={"stop"}) is None


@pytest.mark.parametrize(
    ("body", "said", "named"),
    [
        (
            {"error": {"message": "no", "param": "seed", "code": "unsupported_parameter"}},
            "unsupported_parameter",
            "seed",
        ),
        ({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "no"}]}, "extra_forbidden", "seed"),
        ({"object": "error", "message": "no such field", "param": "seed"}, "no such field", "seed"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": "unknown seed"}'}}},
            "unknown",
            "",
        ),
        ({"detail": "Unprocessable: seed not implemented"}, "not implemented", ""),
        ({"error": 'unknown field "seed"'}, "unknown field", ""),
        ({"message": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}, "not permitted", "seed"),
        ("plain words: unknown parameter seed", "unknown parameter", ""),
        ([{"error": {"code": 400, "message": "seed is not supported"}}], "not supported", ""),
        ({"errors": ["seed is not supported"]}, "not supported", ""),
    ],
)
def test_refusals_of_every_shape_are_read(body: Any, said: str, named: str) -> None:
    words, names = read_refusal(body.encode() if isinstance(body, str) else msgspec.json.encode(body))
    assert said in words
    assert named in (names or {""})
    learned = learn_dialect(Dialect(), SENT, words, names)
    assert learned == Dialect(frozenset({"seed"}))


def test_a_deep_or_endless_refusal_is_read_in_bounds() -> None:
    deep: Any = "unknown seed"
    for _ in range(500):
        deep = {"error": deep}
    assert len(read_refusal(msgspec.json.encode(deep))[0]) <= 4000
    assert len(read_refusal(b"unsupported " * 10**6)[0]) <= 4000


def test_a_body_is_shaped_by_its_dialect() -> None:
    dialect = Dialect(frozenset({"temperature", "stop", "stream"}), {OLD: NEW, "system": "user"})
    assert apply_dialect(SENT, dialect, keep={"stop"}) == {
        "top_p": 0.9,
        "seed": 1,
        "stop": ["x"],
        "presence_penalty": 0.5,
        NEW: 50,
        "logprobs": True,
        "response_format": {"type": "json_schema"},
        "messages": [{"role": "user", "content": "Be kind.\n\nHi."}],
        "model": "m",
    }
    assert describe_dialect(dialect) == (
        'omit = ["stop", "stream", "temperature"], rename = { max_tokens = "max_completion_tokens", system = "user" }'
    )
    developer = apply_dialect(SENT, Dialect(rename={"system": "developer"}))
    assert [m["role"] for m in developer["messages"]] == ["developer", "user"]


@pytest.mark.parametrize(
    ("body", "omit", "rename", "parameters", "sent"),
    [
        ({"seed": 1}, (), {"seed": "random_seed"}, {}, {"random_seed": 1}),
        ({"seed": 1}, ("seed",), {"seed": "random_seed"}, {}, {"random_seed": 1}),
        ({"seed": 1}, ("seed",), {}, {}, {}),
        ({"seed": 1}, ("seed",), {}, {"seed": 1}, {"seed": 1}),  # the owner wrote it in so many words
        ({OLD: 9, NEW: 5}, (), {OLD: NEW}, {}, {NEW: 5}),
        ({OLD: 5, NEW: 9}, (), {OLD: NEW}, {}, {NEW: 5}),
        ({OLD: 5, NEW: None}, (), {OLD: NEW}, {}, {NEW: None}),
        ({OLD: 1, NEW: 2}, (), {OLD: NEW, NEW: OLD}, {}, {NEW: 1, OLD: 2}),
        ({"stream": True, "stream_options": {}}, ("stream",), {}, {}, {}),
        ({"model": "m"}, ("model",), {}, {}, {"model": "m"}),
    ],
)
def test_the_pool_files_dialect(
    body: dict[str, Any],
    omit: tuple[str, ...],
    rename: dict[str, str],
    parameters: dict[str, Any],
    sent: dict[str, Any],
) -> None:
    spec = ModelSpec("m", "http://x/v1", "m", omit=omit, rename=rename, parameters=parameters)
    assert to_dialect(spec, body) == sent


@pytest.mark.parametrize(
    ("messages", "folded"),
    [
        ([("system", "S"), ("assistant", "A"), ("user", "U")], [("assistant", "A"), ("user", "S\n\nU")]),
        ([("system", "S"), ("system", "T"), ("user", "U")], [("user", "S\n\nT\n\nU")]),
        ([("user", "U"), ("system", "S"), ("user", "V")], [("user", "S\n\nU"), ("user", "V")]),
        ([("system", "S")], [("user", "S")]),
        ([("user", "U")], [("user", "U")]),
        ([("system", ""), ("user", "U")], [("user", "U")]),
    ],
)
def test_a_system_text_goes_before_the_first_question(
    messages: list[tuple[str, str]], folded: list[tuple[str, str]]
) -> None:
    body = {"messages": [{"role": r, "content": c} for r, c in messages]}
    out = apply_dialect(body, Dialect(rename={"system": "user"}))
    assert [(m["role"], m["content"]) for m in out["messages"]] == folded


def test_parts_stay_parts_and_marks_can_be_left_out() -> None:
    part = {"type": "text", "text": "Hi.", "cache_control": {"type": "ephemeral"}}
    body = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": [part]}]}
    folded = apply_dialect(body, Dialect(rename={"system": "user"}))["messages"]
    assert folded == [{"role": "user", "content": [{"type": "text", "text": "S\n\n"}, part]}]
    assert learn_dialect(Dialect(), body, "messages[1].content[0].cache_control: Extra inputs are not permitted") == (
        Dialect(frozenset({"cache_control"}))
    )
    plain = apply_dialect(body, Dialect(frozenset({"cache_control"})))["messages"]
    assert plain[1]["content"] == "Hi."


# --- over a socket


Refuse = Callable[[dict[str, Any]], str | None]


@asynccontextmanager
async def picky(refuse: Refuse, status: int = 400) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """An endpoint that refuses a body for the reason that `refuse` gives, and else answers "Paris" as it is asked."""
    seen: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        seen.append(body)
        if (reason := refuse(body)) is not None:
            return web.json_response({"error": {"message": reason}}, status=status)
        choice = {"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", seen
    finally:
        await runner.cleanup()


def without(*names: str) -> Refuse:
    def refuse(body: dict[str, Any]) -> str | None:
        found = next((n for n in names if n in body), None)
        return f"Unsupported parameter: '{found}' is not supported with this model." if found else None

    return refuse


async def ask(client: HttpClient, model: ModelSpec, **request: Any) -> str:
    pieces = [p async for p in client.stream(model, Request((Message("user", "Hi."),), **request))]
    assert isinstance(pieces[-1], Completion)
    return pieces[-1].text


async def test_what_is_refused_is_learned_at_once_and_remembered() -> None:
    async with picky(without(OLD, "temperature", "logprobs", "stream_options")) as (url, seen):
        client, model = HttpClient(), ModelSpec("m", url, "m")
        for calls in (5, 6):
            assert await ask(client, model, parameters={"temperature": 0.1, OLD: 9}, logprobs=True) == "Paris"
            assert len(seen) == calls
        assert seen[-1][NEW] == 9
        assert not {OLD, "temperature", "logprobs", "stream_options"} & seen[-1].keys()
        assert client.memory.dialect(model).rename == {OLD: NEW}
        await client.close()


async def test_what_changes_the_meaning_of_a_callers_request_is_not_left_out() -> None:
    async with picky(without("stop")) as (url, seen):
        client = HttpClient()
        with pytest.raises(ModelHTTPError, match="'stop' is not supported"):
            await ask(client, ModelSpec("m", url, "m"), parameters={"stop": ["x"]})
        assert len(seen) == 1
        await client.close()


async def test_what_the_pools_owner_wrote_is_left_out_where_it_is_refused() -> None:
    async with picky(without("reasoning_effort", "stop")) as (url, seen):
        client = HttpClient()
        model = ModelSpec("m", url, "m", parameters={"reasoning_effort": "low", "stop": ["x"]})
        assert await ask(client, model) == "Paris"
        assert len(seen) == 3
        await client.close()


async def test_a_refusal_that_does_not_help_is_not_remembered() -> None:
    async with picky(lambda body: "Unsupported parameter: 'temperature' is not supported, nor is anything") as (
        url,
        seen,
    ):
        client, model = HttpClient(), ModelSpec("m", url, "m")
        with pytest.raises(ModelHTTPError):
            await ask(client, model, parameters={"temperature": 0.1})
        assert len(seen) == 2
        assert not client.memory.dialect(model)
        await client.close()


async def test_both_names_of_the_token_limit_refused_is_an_error_not_a_call_without_limit() -> None:
    async with picky(without(OLD, NEW)) as (url, seen):
        client = HttpClient()
        with pytest.raises(ModelHTTPError):
            await ask(client, ModelSpec("m", url, "m"), parameters={OLD: 9})
        assert all(OLD in body or NEW in body for body in seen)
        await client.close()


async def test_omit_and_rename_of_the_pool_file_hold_from_the_first_call_and_for_all_fields() -> None:
    async with picky(without(OLD, "stop", "stream")) as (url, seen):
        client = HttpClient()
        model = ModelSpec(
            "m", url, "m", omit=("stop", "stream"), rename={OLD: NEW, "system": "user"}, system="Be kind."
        )
        assert await ask(client, model, parameters={"stop": ["x"], OLD: 9}) == "Paris"
        assert len(seen) == 1
        assert seen[0] == {"messages": [{"role": "user", "content": "Be kind.\n\nHi."}], "model": "m", NEW: 9}
        await client.close()


async def test_a_422_teaches_as_well_and_other_statuses_do_not() -> None:
    for status, calls in ((422, 2), (403, 1), (404, 1)):
        async with picky(without("stream_options"), status) as (url, seen):
            client, model = HttpClient(), ModelSpec("m", url, "m")
            if status == 422:
                assert await ask(client, model) == "Paris"
            else:
                with pytest.raises(ModelHTTPError):
                    await ask(client, model)
            assert len(seen) == calls
            await client.close()
