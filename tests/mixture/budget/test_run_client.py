"""One limit for many questions: kept whatever the calls come to, in whatever order they end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routemoa.clients.http import HttpClient
from routemoa.clients.retry import Retry, RetryPolicy
from routemoa.core.errors import BudgetExceeded, ConfigError, ModelError, ModelHTTPError, ModelTimeout, Unreachable
from routemoa.core.protocols import CallRecorder
from routemoa.core.types import Completion, Message, ModelSpec, Request
from routemoa.core.usage import Usage
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.budget.run_client import RunClient
from routemoa.testing import FakeEndpoint, Fault, ScriptedClient
from tests.mixture.budget.test_metering import Recorder

MODEL = ModelSpec("m", "http://x", "m", input_price=1.0, output_price=1.0, parameters={"max_tokens": 100})
ASKED = Request((Message("user", "hello"),))
MOST = (5 + 4 + 32 + 100) / 1e6
"""Dollars of a call at most: the bytes of the prompt, what a template adds, and the longest answer."""


class Billed:
    """A client that ends its attempts as told, in a random order, and keeps what a strict provider would charge."""

    def __init__(self, ends: list[str], seed: int) -> None:
        self.ends, self.random = list(ends), random.Random(seed)
        self.bill = 0.0

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        yield ""
        raise AssertionError("made one attempt at a time")

    async def attempt(
        self, model: ModelSpec, request: Request, deadline: float
    ) -> AsyncGenerator[str | Completion, None]:
        end = self.ends.pop() if self.ends else "whole"
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)
        written = 100 if end in ("whole", "uncounted", "lost", "cut") else self.random.randrange(100)
        self.bill += (len("hello") + written) / 1e6
        if end == "lost":
            raise Unreachable("m", "no answer", sent=True)
        yield "word"
        await asyncio.sleep(0)
        if end == "cut":
            raise ModelTimeout("m", "idle", produced=True)
        yield Completion("word", Usage() if end == "uncounted" else Usage(len("hello"), written), "stop")

    def new_retry(self, model: ModelSpec) -> Retry:
        return Retry(RetryPolicy(3, base=0.0), monotonic() + 10.0)

    async def close(self) -> None: ...


async def read(client: RunClient, stop_after: int | None = None) -> str:
    """Return how a call ended; with `stop_after` the caller leaves after so many pieces."""
    try:
        async with aclosing(client.stream(MODEL, ASKED)) as pieces:
            async for _ in pieces:
                if stop_after is not None:
                    stop_after -= 1
                    if stop_after < 0:
                        return "left"
    except BudgetExceeded:
        return "exceeded"
    except ModelError:
        return "failed"
    return "answered"


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from(["whole", "short", "uncounted", "lost", "cut"]), max_size=30),
    st.integers(1, 25),
    st.lists(st.none() | st.integers(0, 2), min_size=1, max_size=20),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_the_limit_holds_whatever_becomes_of_the_calls(
    ends: list[str], calls: int, leaving: list[int | None], spent: float, seed: int
) -> None:
    limit = calls * MOST
    provider = Billed(ends, seed)

    async def run_all() -> list[str]:
        client = RunClient(provider, limit, spent=spent * limit)
        results = await asyncio.wait_for(asyncio.gather(*(read(client, stop) for stop in leaving)), 10)
        assert client.account.reserved == pytest.approx(0.0, abs=1e-15)
        assert client.account.spent <= limit * (1 + 1e-9)
        return results

    results = asyncio.run(run_all())
    assert provider.bill <= (1 - spent) * limit * (1 + 1e-9)
    assert len(results) == len(leaving)


async def test_a_call_waits_for_what_running_calls_give_back() -> None:
    """Room for one call at its most: eight short ones follow one another, and none is refused."""
    client = RunClient(ScriptedClient({"m": Completion("x", Usage(1, 1))}, delay=0.001), 1.5 * MOST)
    assert await asyncio.gather(*(read(client) for _ in range(8))) == ["answered"] * 8


async def test_what_is_refused_ends_the_run_and_is_no_failure_of_a_model() -> None:
    client = RunClient(ScriptedClient({"m": "x"}), 0.5 * MOST)
    with pytest.raises(BudgetExceeded, match="could pass the limit"):
        await anext(client.stream(MODEL, ASKED))
    unpriced = RunClient(ScriptedClient({"m": "x"}), 1.0)
    with pytest.raises(ConfigError, match="has no price"):
        await anext(unpriced.stream(ModelSpec("m", "http://x"), ASKED))


async def test_an_answer_is_not_shortened_to_fit() -> None:
    scripted = ScriptedClient({"m": Completion("x", Usage(5, 50))})
    client = RunClient(scripted, 1.3 * MOST)
    await read(client)
    assert scripted.calls[0].request.parameters.get("max_tokens", 100) == 100
    assert await read(client) == "exceeded"


async def test_calls_of_unknown_cost_are_told_and_each_call_has_its_recorder() -> None:
    told: list[float] = []
    recorders: list[Recorder] = []

    def new_recorder(_: ModelSpec) -> CallRecorder:
        recorders.append(Recorder())
        return recorders[-1]

    client = RunClient(
        Billed(["whole", "uncounted", "lost"], 0), 1.0, new_recorder=new_recorder, on_unknown_cost=told.append
    )
    first, second = client.open_call(MODEL), client.open_call(MODEL)
    for call in (first, second):
        async with aclosing(call.stream(MODEL, ASKED)) as pieces:
            assert [type(p) async for p in pieces] == [str, Completion]
    assert told == pytest.approx([MOST, MOST])  # lost, then the uncounted one
    assert first.dollars == pytest.approx(2 * MOST)
    assert second.dollars == pytest.approx((5 + 100) / 1e6)
    assert [r.outcomes for r in recorders] == [["Unreachable", "ok"], ["ok"]]


async def test_a_run_waits_for_its_model_longer_than_a_query_that_has_others() -> None:
    async def sleep(seconds: float) -> None:
        pass

    async with FakeEndpoint("4", [Fault(status=503, retry_after="60")] * 4) as endpoint:
        client, model = HttpClient(sleep=sleep), ModelSpec("m", endpoint.url, "m")
        with pytest.raises(ModelHTTPError):
            assert [p async for p in MeteredClient(client).stream(model, ASKED)]
        assert len(endpoint.requests) == 1
        assert [p async for p in RunClient(client).stream(model, ASKED)]
        assert len(endpoint.requests) == 5
        await client.close()
