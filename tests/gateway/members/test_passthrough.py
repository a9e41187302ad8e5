"""A member named as the model: its bytes are unchanged; its calls are reserved, settled, retried and recorded."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.errors import QueryError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import Limits, ModelSpec
from routemoa.core.usage import Usage
from routemoa.gateway.chat_api.bounds import check_bounded
from routemoa.gateway.members.body_tap import BodyTap
from routemoa.gateway.members.usage_tap import EventTap
from routemoa.ledger import LedgerEntry, Store, read_calls
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import ANSWER, HI, Script, Serving, serving, until

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
BODY: dict[str, Any] = {"model": "a", "messages": HI}


def block(data: Any, eol: str, comment: bool = False) -> bytes:
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    return ((f": working{eol}" if comment else "") + f"data: {text}{eol}{eol}").encode()


chunks = st.one_of(
    st.builds(lambda t: {"choices": [{"delta": {"content": t}}], "usage": None}, st.text(max_size=5)),
    st.builds(lambda t: {"choices": [{"delta": {"content": t}}], "usage": USAGE}, st.text(max_size=5)),
    st.just({"choices": [], "prompt_filter_results": []}),
    st.just({"choices": [], "usage": {}}),
    st.sampled_from(["[DONE]", "[1]", ""]),
)
eols = st.sampled_from(["\n", "\r\n", "\r"])
blocks = st.lists(st.builds(block, chunks, eols, st.booleans()), max_size=5)


@given(st.data(), blocks, blocks, eols, st.booleans())
def test_the_filter_is_the_identity_on_everything_but_the_usage_chunk(
    data: st.DataObject, before: list[bytes], after: list[bytes], eol: str, drop: bool
) -> None:
    usage = block({"choices": [], "usage": USAGE}, eol)
    whole = b"".join([*before, usage, *after])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    texts: list[str] = []
    tap = EventTap("m", texts.append, drop_usage=drop)
    out, fed = b"", 0
    ends = [sum(map(len, before[:i])) for i in range(len(before) + 1)]
    for cut in [*cuts, len(whole)]:
        out += tap.feed(whole[fed:cut])
        fed = cut
        complete = max(e for e in ends if e <= cut)
        assert len(out) >= complete, "an event that is complete is not kept back"
    out += tap.end()
    assert out == b"".join([*before, *([] if drop else [usage]), *after])
    assert tap.is_complete
    assert tap.reader.usage == Usage(7, 3)


def test_text_is_counted_in_every_part_of_the_answer() -> None:
    texts: list[str] = []
    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    delta = {"role": "assistant", "content": "a", "reasoning_content": "b", "tool_calls": [call]}
    EventTap("m", texts.append, drop_usage=False).feed(block({"choices": [{"delta": delta}]}, "\n"))
    assert "".join(texts) == "abf{}"


@pytest.mark.alone
def test_a_long_event_in_small_pieces_takes_linear_time() -> None:
    def seconds(length: int) -> float:
        data = block({"choices": [{"delta": {"content": "x" * length}}]}, "\n")
        tap, started = EventTap("m", len, drop_usage=False), time.perf_counter()
        out = b"".join(tap.feed(data[i : i + 1000]) for i in range(0, len(data), 1000))
        assert out == data
        return time.perf_counter() - started

    short = min(seconds(250_000) for _ in range(3))
    assert min(seconds(2_000_000) for _ in range(3)) < 8 * 3 * short + 0.05


def test_an_event_without_an_end_is_bounded() -> None:
    tap = EventTap("m", len, drop_usage=False, limit=10_000)
    for _ in range(20):
        tap.feed(b"data: " + b"x" * 1000)
    assert tap.error is not None


def test_a_whole_response_has_its_usage_and_a_broken_one_is_an_error() -> None:
    whole = BodyTap("m")
    data = msgspec.json.encode({"choices": [{"message": {"content": "x"}}], "usage": USAGE})
    assert whole.feed(data[:9]) + whole.feed(data[9:]) + whole.end() == data
    assert whole.is_complete
    assert whole.reader.usage == Usage(7, 3)
    for broken in (b"<html>", b"[]", b'{"usage": 3}', b"", b'{"choices": []}', b'{"choices": [{"mess'):
        other = BodyTap("m")
        assert other.feed(broken) + other.end() == b""
        assert other.error is not None


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"models": ["expensive"]}, "models"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "audio": {"id": "x"}}]}, "messages[0].audio"),
    ],
)
def test_what_cannot_be_bounded_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    with pytest.raises(QueryError) as caught:
        check_bounded({**BODY, **more})
    assert caught.value.param == param


def test_text_and_functions_can_be_bounded() -> None:
    parts = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    check_bounded({**BODY, "messages": [{"role": "user", "content": parts}], "tools": tools, "n": 1, "top_k": 5})


def pool(url: str, *, limits: Limits | None = None, **more: Any) -> Pool:
    """One member whose tokens are a dollar each, near enough: a million dollars a million."""
    spec = ModelSpec("a", url, "upstream", **({"input_price": 1.0, "output_price": 1.0} | more))
    return Pool((spec,), limits=limits or Limits())


class Ledger:
    """A store in a test's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.store = Store(self.path)

    @property
    def rows(self) -> list[LedgerEntry]:
        return [c for c in read_calls(self.path) if c.outcome != "open"]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


async def ask(s: Serving, **more: Any) -> Any:
    return await (await s.raw({**BODY, **more})).whole()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("sliced", [False, True])
async def test_the_caller_sees_the_same_bytes_with_and_without_a_ledger(
    ledger: Ledger, stream: bool, include_usage: bool, sliced: bool
) -> None:
    more: dict[str, Any] = {"stream": stream}
    if stream and include_usage:
        more["stream_options"] = {"include_usage": True}
    async with FakeEndpoint("Grüße, 世界", Fault(sliced=sliced)) as e:
        async with serving(pool=pool(e.url)) as s:
            plain = await ask(s, **more)
        async with serving(pool=pool(e.url), store=ledger.store) as s:
            metered = await ask(s, **more)
        assert _undated(metered.body) == _undated(plain.body)
        assert metered.headers["content-type"] == plain.headers["content-type"]
        assert (b"total_tokens" in metered.body) == (include_usage or not stream)
        assert e.requests[0] == {**BODY, **more, "model": "upstream"}
        assert e.requests[1].pop("stream_options", None) == ({"include_usage": True} if stream else None)
    [row] = ledger.rows
    assert (row.key, row.method, row.model, row.purpose, row.outcome) == ("-", "a", "a", "direct", "ok")
    assert (row.prompt_tokens, row.completion_tokens) == (1, 2)
    assert row.cost == pytest.approx(3e-6)


def _undated(data: bytes) -> bytes:
    return re.sub(rb'"created": ?\d+', b"", data)


async def test_the_body_is_sent_as_it_is_where_nothing_limits_it(ledger: Ledger) -> None:
    odd = {"n": 3, "future": {"k": [1.5, None]}, "max_tokens": None, "max_completion_tokens": 7, "stream": False}
    async with FakeEndpoint("x") as e, serving(pool=pool(e.url), store=ledger.store) as s:
        assert (await ask(s, **odd)).status == 200
        assert e.requests == [{**BODY, **odd, "model": "upstream"}]


async def test_the_answer_is_capped_at_what_is_affordable() -> None:
    async with FakeEndpoint("x") as e, serving(pool=pool(e.url)) as s:
        assert (await ask(s, routemoa={"max_cost": 0.0005}, max_completion_tokens=900)).status == 200
        sent = e.requests[0]
        assert 64 <= sent["max_completion_tokens"] < 500
        assert "max_tokens" not in sent
        assert (await ask(s, routemoa={"max_output_tokens": 80})).status == 200
        assert e.requests[1]["max_tokens"] == 80
        # two limits, or a value that is not a number, leave nothing that an endpoint could follow instead
        mixed = {"max_tokens": 70, "max_completion_tokens": 100_000}
        assert (await ask(s, routemoa={"max_output_tokens": 80}, **mixed)).status == 200
        assert {k: e.requests[2].get(k) for k in mixed} == {"max_tokens": 70, "max_completion_tokens": None}
        assert (await ask(s, routemoa={"max_output_tokens": 80}, max_tokens="many")).status == 200
        assert e.requests[3]["max_tokens"] == 80


async def test_the_pools_limits_hold_for_members_too() -> None:
    async with FakeEndpoint("x") as e, serving(pool=pool(e.url, limits=Limits(max_output_tokens=77))) as s:
        assert (await ask(s)).status == 200
        assert e.requests[0]["max_tokens"] == 77
        assert (await ask(s, routemoa={"max_output_tokens": 90})).status == 200
        assert e.requests[1]["max_tokens"] == 90


@pytest.mark.parametrize("more", [{"n": 2}, {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}])
async def test_what_has_no_bound_is_refused_under_a_limit_and_only_then(more: dict[str, Any]) -> None:
    async with FakeEndpoint("x") as e, serving(pool=pool(e.url)) as s:
        response = await ask(s, routemoa={"max_cost": 1}, **more)
        assert response.status == 400
        assert not e.requests
        assert (await ask(s, routemoa={"max_seconds": 9}, **more)).status == 200
    async with FakeEndpoint("x") as e, serving(pool=pool(e.url, input_price=0.0, output_price=0.0)) as s:
        assert (await ask(s, routemoa={"max_cost": 1}, **more)).status == 200, "nothing costs nothing"


async def test_each_attempt_is_a_call_of_its_own(ledger: Ledger) -> None:
    faults = [Fault(status=503)]
    async with FakeEndpoint("x", faults) as e, serving(pool=pool(e.url), store=ledger.store, attempts=4) as s:
        assert (await ask(s)).status == 200
    assert [(r.purpose, r.outcome) for r in ledger.rows] == [
        ("direct", "Refused"),
        ("retry", "ok"),
    ]
    assert ledger.rows[0].cost == 0.0


async def test_a_retry_that_is_not_allowed_leaves_the_members_own_error() -> None:
    async with FakeEndpoint("x", Fault(status=503)) as e, serving(pool=pool(e.url), attempts=4) as s:
        response = await ask(s, routemoa={"max_calls": 1})
        assert (response.status, response.error["type"]) == (503, "injected")
        assert len(e.requests) == 1


async def test_a_disconnect_in_the_middle_of_a_stream_is_charged_for_what_came(ledger: Ledger) -> None:
    slow = FakeEndpoint("word " * 500, Fault(between=0.01))
    async with slow as e, serving(pool=pool(e.url), store=ledger.store) as s:
        caller = await s.raw({**BODY, "stream": True, "max_tokens": 2000})
        got = b""
        while got.count(b"word") < 10:
            got += await caller.reader.read(4096)
        await caller.leave()
        await until(lambda: e.open_requests == 0)
        await settled(ledger)
        [row] = ledger.rows
        assert row.outcome == "cut"
        assert row.cost is None
        assert row.charged is not None
        assert 10e-6 < row.charged < 500e-6, "neither nothing nor the most that it can have cost"


async def settled(ledger: Ledger) -> None:
    await asyncio.sleep(0.05)
    await ledger.store.flush()


@pytest.mark.alone
async def test_max_seconds_ends_a_stream_between_two_events_with_a_reason(ledger: Ledger) -> None:
    slow = FakeEndpoint("word " * 500, Fault(between=0.02, sliced=True))
    async with slow as e, serving(pool=pool(e.url), store=ledger.store) as s:
        begun = time.perf_counter()
        with pytest.raises(openai.APIError, match=r"the limit of 0\.4 s was reached \(max_seconds\)"):
            await read_all(s)
        assert time.perf_counter() - begun < 0.7
        await until(lambda: e.open_requests == 0)
        await settled(ledger)
        assert [r.outcome for r in ledger.rows] == ["TimedOut"]


async def read_all(s: Serving) -> None:
    stream = await s.sdk.chat.completions.create(
        model="a", messages=HI, stream=True, extra_body={"routemoa": {"max_seconds": 0.4}}
    )
    seen = [c async for c in stream]
    assert not seen


@pytest.mark.parametrize("sliced", [False, True])
async def test_a_stream_that_breaks_off_there_ends_here_with_a_reason(ledger: Ledger, sliced: bool) -> None:
    async with (
        FakeEndpoint("one two three", Fault(cut_after=2, sliced=sliced)) as e,
        serving(pool=pool(e.url), store=ledger.store) as s,
    ):
        response = await ask(s, stream=True)
        assert b"one" in response.body
        assert response.events[-1]["error"]["code"] == "answer_interrupted"
        assert e.url not in response.body.decode()
        await settled(ledger)
        assert [r.outcome for r in ledger.rows] == ["Unreachable"]


async def test_an_event_that_is_not_json_ends_the_stream_with_a_reason(ledger: Ledger) -> None:
    async with FakeEndpoint("one two", Fault(garbage=True)) as e, serving(pool=pool(e.url), store=ledger.store) as s:
        response = await ask(s, stream=True)
        assert response.events[-1]["error"]["code"] == "answer_interrupted"
        assert b'{"del\n' not in response.body
        await settled(ledger)
        assert [r.outcome for r in ledger.rows] == ["Garbled"]


class Halting:
    """An endpoint that closes its first connection in the middle of a whole answer, and gives the second all of it."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        data = msgspec.json.encode({"choices": [{"message": {"content": "It is 4."}}], "usage": USAGE})
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n" % len(data) + (data[:9] if self.requests == 1 else data))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()


@pytest.mark.parametrize(("attempts", "status"), [(1, 502), (2, 200)])
async def test_a_whole_answer_that_breaks_off_has_a_status_or_another_try(
    ledger: Ledger, attempts: int, status: int
) -> None:
    halting = Halting()
    async with await asyncio.start_server(halting.handle, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with serving(pool=pool(url), store=ledger.store, attempts=attempts) as s:
            assert (await ask(s)).status == status
            await settled(ledger)
            assert [r.outcome for r in ledger.rows] == ["Unreachable", "ok"][:attempts]


async def test_the_time_begins_when_the_request_comes() -> None:
    method = Script(*ANSWER)
    async with serving(method) as s:
        data = msgspec.json.encode({"model": "routemoa", "messages": HI, "routemoa": {"max_seconds": 2}})
        host, port = s.url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data[:5])
        await asyncio.sleep(0.3)
        writer.write(data[5:])
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        assert 1.5 < (method.queries[0].limits.max_seconds or 0) < 1.75


async def test_figures_that_a_provider_leaves_out_are_unknown_and_cost_the_most(ledger: Ledger) -> None:
    async with FakeEndpoint("x", Fault(no_usage=True)) as e, serving(pool=pool(e.url), store=ledger.store) as s:
        for stream in (False, True):
            assert (await ask(s, stream=stream, max_tokens=100)).status == 200
    for row in ledger.rows:
        assert (row.outcome, row.cost, row.completion_tokens) == ("ok", None, None)
        assert row.charged == row.most
