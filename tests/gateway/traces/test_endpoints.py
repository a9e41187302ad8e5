"""Traces, feedback and continued responses over real sockets, with the official SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from routemoa.core.errors import QueryError
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.core.tables.traces_table import TraceSettings
from routemoa.gateway.traces.feedback import parse_feedback
from routemoa.ledger import Store
from routemoa.ledger.trace_store.traces import Feedback, TraceStore, read_traces
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import HI, Serving, serving

MEMBER = '[[model]]\nname = "{}"\nendpoint = "{}"\ninput_price = 1.0\noutput_price = 1.0\nprior = 0.6\n'
TENANTS = '[[tenant]]\nname = "acme"\nkey_env = "A"\n[[tenant]]\nname = "other"\nkey_env = "B"\n'
ACME, OTHER = {"Authorization": "Bearer sk-acme"}, {"Authorization": "Bearer sk-other"}
TOOL: Any = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


CALLS = [("x", '{"city": "Paris"}'), ("y", '{"city": "Rome"}')]


def pool_of(url: str, more: str = "") -> Pool:
    members = "".join(MEMBER.format(name, url) for name in "ab")
    return parse_pool(members + more, "pool.toml", Path("."), {"A": "sk-acme", "B": "sk-other"})


@asynccontextmanager
async def keeping(url: str, folder: Path, more: str = "", **settings: Any) -> AsyncIterator[Serving]:
    pool = pool_of(url, more)
    kept = TraceStore(folder / "traces.db", TraceSettings(**settings))
    async with serving(pool=pool, traces=kept, store=Store(folder / "s.db", pool.tenants)) as served:
        served.traces = kept  # type: ignore[attr-defined]
        yield served


async def call(
    served: Serving, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    url = served.url + path
    async with aiohttp.ClientSession() as session, session.request(method, url, json=body, headers=headers) as got:
        return got.status, await got.json()


async def test_an_answers_trace_is_its_callers_own(tmp_path: Path) -> None:
    async with FakeEndpoint("The answer is 4.") as upstream, keeping(upstream.url, tmp_path, TENANTS) as served:
        reply = (await (await served.raw({"model": "routemoa", "messages": HI}, headers=ACME)).whole()).json
        served.traces.flush()  # type: ignore[attr-defined]
        status, found = await call(served, "GET", f"/traces/{reply['id']}", headers=ACME)
        assert status == 200
        assert found["object"] == "trace"
        assert found["text"] == reply["choices"][0]["message"]["content"]
        assert found["trace"]["query"]["messages"][0]["content"] == HI[0]["content"]
        assert found["trace"]["calls"] == reply["routemoa"]["calls"]
        for path, headers in ((reply["id"], OTHER), ("chatcmpl-none", ACME)):
            status, error = await call(served, "GET", f"/traces/{path}", headers=headers)
            assert (status, error["error"]["code"]) == (404, "trace_not_found")
        assert (await call(served, "GET", f"/traces/{reply['id']}"))[0] == 401


async def test_a_trace_tells_its_caller_nothing_private_of_endpoints(tmp_path: Path) -> None:
    broken = FakeEndpoint("x", [Fault(status=401, message="key sk-internal of account 17 is wrong")])
    async with broken as upstream, keeping(upstream.url, tmp_path) as served:
        reply = (await (await served.raw({"model": "routemoa", "messages": HI})).whole()).json
        served.traces.flush()  # type: ignore[attr-defined]
        status, found = await call(served, "GET", f"/traces/{reply['id']}")
    assert status == 200
    assert "account 17" not in str(found)
    assert found["trace"]["layers"][0]["failures"]


async def test_feedback_is_kept_with_the_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeEndpoint("The answer is 4.") as upstream, keeping(upstream.url, tmp_path, TENANTS) as served:
        reply = (await (await served.raw({"model": "routemoa", "messages": HI}, headers=ACME)).whole()).json
        served.traces.flush()  # type: ignore[attr-defined]
        for said in ({"thumb": "up"}, {"expected": "4", "grader": "numeric"}, {"labels": {"a": 1, "b": 0}}):
            status, _ = await call(served, "POST", "/feedback", {"id": reply["id"], **said}, ACME)
            assert status == 200
        assert (await call(served, "POST", "/feedback", {"id": reply["id"], "thumb": "up"}, OTHER))[0] == 404
        status, error = await call(served, "POST", "/feedback", {"id": reply["id"], "thumb": "sideways"}, ACME)
        assert (status, error["error"]["param"]) == (400, "thumb")
        status, error = await call(served, "POST", "/feedback", {"id": reply["id"], "labels": {"A": 1}}, ACME)
        assert (status, error["error"]["param"]) == (400, "labels"), "a label that would teach nothing"
        gone = await served.connect(b"POST /v1/feedback HTTP/1.1\r\nContent-Length: 99\r\nx-api-key: sk-acme\r\n\r\n{")
        gone.writer.close()
        _, found = await call(served, "GET", f"/traces/{reply['id']}", headers=ACME)
        assert found["feedback"] == [
            {"score": 1.0},
            {"expected": "4", "grader": "numeric"},
            {"labels": {"a": 1, "b": 0}},
        ]
    assert not [r for r in caplog.records if r.exc_info], "a caller's mistake is no defect of the server"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_response_is_continued_by_its_id(tmp_path: Path, streamed: bool) -> None:
    async with FakeEndpoint("The answer is 4.") as upstream, keeping(upstream.url, tmp_path) as served:
        create = served.sdk.responses.create
        if streamed:
            events = [e async for e in await create(model="routemoa", input="2+2?", stream=True)]
            first = events[-1].response  # type: ignore[union-attr]
        else:
            first = await create(model="routemoa", input="2+2?", instructions="Be brief.")
        assert first.model_dump()["store"] is True
        upstream.requests.clear()
        second = await create(model="routemoa", input="And doubled?", previous_response_id=first.id)
        assert second.previous_response_id == first.id
        sent = upstream.requests[0]["messages"]
        assert [m["role"] for m in sent] == ["user", "assistant", "user"], "instructions hold for one response"
        assert sent[1]["content"].startswith("The answer is 4.")
        assert sent[2]["content"].startswith("And doubled?")
        third = await create(model="routemoa", input="Again?", previous_response_id=second.id)
        assert third.id
        assert len(upstream.requests[-1]["messages"]) == 5
        unkept = await create(model="routemoa", input="2+2?", store=False)
        assert unkept.model_dump()["store"] is False
        for id_ in (unkept.id, "resp_none"):
            with pytest.raises(openai.BadRequestError, match="not found") as wrong:
                await create(model="routemoa", input="?", previous_response_id=id_)
            assert wrong.value.param == "previous_response_id"


async def test_a_tool_loop_goes_on_by_the_id_of_the_response_that_called(tmp_path: Path) -> None:
    call_made = {"name": "weather", "arguments": '{"city": "Paris"}'}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "x", "type": "function", "function": call_made}],
    }
    replies: Iterator[Any] = iter([message, message, *["It is 18 degrees."] * 5])
    async with FakeEndpoint(lambda _: next(replies)) as upstream, keeping(upstream.url, tmp_path) as served:
        first = await served.sdk.responses.create(model="routemoa", input="Weather in Paris?", tools=[TOOL])
        made = first.output[0]
        assert made.type == "function_call"
        result: Any = {"type": "function_call_output", "call_id": made.call_id, "output": "18"}
        second = await served.sdk.responses.create(
            model="routemoa", input=[result], tools=[TOOL], previous_response_id=first.id
        )
        assert second.output_text == "It is 18 degrees."
        roles = [m["role"] for m in upstream.requests[-1]["messages"]]
        assert roles == ["user", "assistant", "tool"]


async def test_items_of_kept_responses_are_referred_to(tmp_path: Path) -> None:
    """Vercel's AI SDK sends what the server said before as references, unless it is told otherwise."""
    calls = [{"id": i, "type": "function", "function": {"name": "weather", "arguments": a}} for i, a in CALLS]
    message = {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "Two."}

    def reply(body: dict[str, Any]) -> Any:
        return "18 and 30." if body["messages"][-1]["role"] == "tool" else message

    async with FakeEndpoint(reply) as upstream, keeping(upstream.url, tmp_path, TENANTS) as served:
        ask: Any = {"role": "user", "content": "Weather in Paris and Rome?"}
        sdk = served.sdk.with_options(api_key="sk-acme")
        first = await sdk.responses.create(model="routemoa", input=[ask], tools=[TOOL])
        items: Any = [ask, *({"type": "item_reference", "id": item.id} for item in first.output)]
        made: list[Any] = [item for item in first.output if item.type == "function_call"]
        items += [{"type": "function_call_output", "call_id": c.call_id, "output": "18"} for c in made]
        second = await sdk.responses.create(model="routemoa", input=items, tools=[TOOL])
        sent = upstream.requests[-1]["messages"]
        assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool"]
        assert [c["function"]["arguments"] for c in sent[1]["tool_calls"]] == [a for _, a in CALLS]
        items += [{"type": "item_reference", "id": item.id} for item in second.output] * 2
        await sdk.responses.create(model="routemoa", input=[*items, {"role": "user", "content": "Sure?"}], tools=[TOOL])
        assert [m["content"] for m in upstream.requests[-1]["messages"][4:]] == ["18 and 30.", "Sure?"]
        for id_, key in ((made[0].id, "sk-other"), (f"{made[0].id[:-1]}9", "sk-acme"), ("msg_1", "sk-acme")):
            with pytest.raises(openai.BadRequestError, match="not found") as wrong:
                await served.sdk.with_options(api_key=key).responses.create(
                    model="routemoa", input=[{"type": "item_reference", "id": id_}]
                )
            assert wrong.value.param == "input[0]"


async def test_feedback_has_no_texts_either_where_none_are_kept(tmp_path: Path) -> None:
    async with FakeEndpoint("The answer is 4.") as upstream, keeping(upstream.url, tmp_path, texts=False) as served:
        reply = (await (await served.raw({"model": "routemoa", "messages": HI})).whole()).json
        said = {"id": reply["id"], "expected": "4", "comment": "nice"}
        status, error = await call(served, "POST", "/feedback", said)
        assert (status, error["error"]["param"]) == (400, "expected")
        status, kept = await call(served, "POST", "/feedback", said | {"thumb": "up"})
    assert (status, kept["feedback"]) == (200, {"score": 1.0})


async def test_traces_without_texts_cannot_be_continued(tmp_path: Path) -> None:
    async with FakeEndpoint("The answer is 4.") as upstream, keeping(upstream.url, tmp_path, texts=False) as served:
        first = await served.sdk.responses.create(model="routemoa", input="my-own question")
        assert first.model_dump()["store"] is False
        with pytest.raises(openai.BadRequestError, match="keeps no responses"):
            await served.sdk.responses.create(model="routemoa", input="?", previous_response_id=first.id)
        served.traces.flush()  # type: ignore[attr-defined]
        [kept] = read_traces(tmp_path / "traces.db")
    assert kept.answer.trace.query.question == ""


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "id"),
        ({"id": "x"}, None),
        ({"id": "x", "thumb": "up", "score": 1}, "score"),
        ({"id": "x", "score": 1.1}, "score"),
        ({"id": "x", "score": True}, "score"),
        ({"id": "x", "expected": 4}, "expected"),
        ({"id": "x", "expected": "4", "grader": "code"}, "grader"),
        ({"id": "x", "grader": "math", "score": 1}, "expected"),
        ({"id": "x", "labels": {"a": "good"}}, "labels.a"),
        ({"id": "x", "labels": ["a"]}, "labels"),
        ({"id": "x", "wings": 2}, "wings"),
        ({"id": "x", "comment": "y" * 100_001}, "comment"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_wrong_feedback_is_said(body: dict[str, Any], param: str | None) -> None:
    with pytest.raises(QueryError) as wrong:
        parse_feedback(body)
    assert getattr(wrong.value, "param", None) == param


def test_feedback_is_read() -> None:
    assert parse_feedback({"id": "x", "thumb": "down"}) == ("x", Feedback(0.0))
    assert parse_feedback({"id": "x", "comment": "nice"}) == ("x", Feedback(comment="nice"))
