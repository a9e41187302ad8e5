"""The contract's laws, through the whole engine: random pools, usages, failures, delays and limits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routemoa.clients.retry import Retry, RetryPolicy
from routemoa.core.errors import (
    AllModelsFailed,
    BudgetExceeded,
    ConfigError,
    InvalidResponse,
    ModelError,
    ModelHTTPError,
    Unreachable,
)
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.core.trace import Answer
from routemoa.core.types import Completion, Limits, Message, ModelSpec, Query, Request
from routemoa.core.usage import Usage
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.engine import RouteMoA
from routemoa.mixture.method_registry import build_method
from routemoa.testing import ScriptedClient

FAULTS = ("none", "none", "none", "no usage", "refused", "reset", "never sent", "cut", "slow", "empty")


class Endpoints:
    """A client whose models do whatever the seed says, and which counts what they really did, as a provider would."""

    def __init__(self, seed: int, faults: tuple[str, ...] = FAULTS) -> None:
        self.calls = 0
        self.dollars = 0.0
        self.written = 0
        self._random = random.Random(seed)
        self._faults = faults

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        async for piece in self.attempt(model, request, monotonic() + 10.0):
            yield piece

    async def attempt(
        self, model: ModelSpec, request: Request, deadline: float
    ) -> AsyncGenerator[str | Completion, None]:
        draw, fault = self._random, self._random.choice(self._faults)
        self.calls += fault != "never sent"
        limits = [v for k in ("max_tokens", "max_completion_tokens") if (v := request.parameters.get(k))]
        limits += [v for k in ("max_tokens", "max_completion_tokens") if (v := model.parameters.get(k))]
        cap = min(limits) if limits else 10**6
        asked = sum(len(m.content.encode()) for m in request.messages) + 4 * len(request.messages)
        used = Usage(draw.randint(1, asked), draw.randint(0, cap))
        cost = model.cost(used) or 0.0
        await asyncio.sleep(draw.choice((0.0, 0.0, 0.001, 0.003)))
        if fault == "refused":
            raise ModelHTTPError(model.name, "HTTP 503", status=503)
        if fault == "never sent":
            raise Unreachable(model.name, "refused")
        self.dollars += cost  # whatever happens from here on, the provider may bill it
        self.written += used.completion_tokens or 0
        if fault == "reset":
            raise Unreachable(model.name, "reset", sent=True)
        if fault == "slow":
            await asyncio.sleep(0.03)
        text = "" if fault == "empty" else f"It is hard. The answer is {draw.randint(0, 2)}."
        for piece in text.split(" "):
            yield piece + " "
            await asyncio.sleep(0)
            if fault == "cut":
                raise InvalidResponse(model.name, "cut", produced=True)
        yield Completion(text, Usage() if fault == "no usage" else used, "stop", 0.01, 0.005)

    def new_retry(self, model: ModelSpec) -> Retry:
        return Retry(RetryPolicy(3, base=0.0), monotonic() + 10.0)

    async def close(self) -> None:
        pass


def pool(prices: list[tuple[float, float] | None], mixture: str = "") -> Pool:
    lines: list[str] = []
    for number, price in enumerate(prices):
        lines += ["[[model]]", f'name = "m{number}"', 'endpoint = "http://127.0.0.1:9/v1"']
        lines.append(f"prior = {0.9 - 0.08 * number:.2f}")
        if price is not None:
            lines += [f"input_price = {price[0]}", f"output_price = {price[1]}"]
    return parse_pool("\n".join([*lines, mixture]), "pool.toml", Path("."), {})


def limits() -> st.SearchStrategy[Limits]:
    return st.builds(
        Limits,
        max_cost=st.none() | st.floats(0.0, 0.05),
        max_seconds=st.none() | st.floats(0.005, 0.2),
        max_calls=st.none() | st.integers(1, 9),
        max_output_tokens=st.none() | st.integers(1, 6000),
        stream_mode=st.sampled_from((None, "final", "leader")),
    )


MIXTURES = ("", '[mixture]\nfusion = "published-small"', '[mixture]\nlater_layers = "refine"\nprefer = "quality"')
PRICES = st.lists(st.none() | st.tuples(st.floats(0, 10), st.floats(0, 40)), min_size=1, max_size=6)


async def ask(method: Any, query: Query) -> Answer | Exception:
    try:
        answer = await method.answer(query)
        assert isinstance(answer, Answer)
        return answer
    except (AllModelsFailed, BudgetExceeded, ConfigError) as e:
        return e


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    PRICES, limits(), st.integers(0, 10**6), st.sampled_from(MIXTURES), st.sampled_from(("routemoa", "moa", "cascade"))
)
def test_no_contract_is_overshot_whatever_the_endpoints_do(
    prices: list[tuple[float, float] | None], contract: Limits, seed: int, mixture: str, method: str
) -> None:
    endpoints, chosen = Endpoints(seed), pool(prices, mixture)
    asked = Query((Message("user", "How many? Ünïcode too."),), limits=contract)
    done = asyncio.run(ask(build_method(chosen, method, endpoints), asked))
    if contract.max_cost is not None:
        assert endpoints.dollars <= contract.max_cost * (1 + 1e-9)
    if contract.max_calls is not None:
        assert endpoints.calls <= contract.max_calls
    if contract.max_output_tokens is not None:
        assert endpoints.written <= contract.max_output_tokens
    if isinstance(done, Answer):
        assert done.text.strip()
        if contract.max_cost is not None:
            assert done.trace.charged is not None
            assert endpoints.dollars * (1 - 1e-9) <= done.trace.charged <= contract.max_cost
    elif isinstance(done, BudgetExceeded | ConfigError):
        assert endpoints.calls == 0, "refused for want of means, but only after some were spent"


Steps = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(Steps, limits(), st.integers(0, 10**6))
def test_nothing_is_reserved_after_the_end(steps: list[tuple[int, int, bool]], contract: Limits, seed: int) -> None:
    """Streams of one request at the same time, each read for a while, then left or cancelled."""
    members = list(pool([(1.0, 5.0)] * 6))
    endpoints = Endpoints(seed)

    async def read(desk: MeteredClient, spec: ModelSpec, pieces: int) -> None:
        stream = desk.stream(spec, Request((Message("user", "hello"),)))
        try:
            for _ in range(pieces):
                await anext(stream)
        except (ModelError, StopAsyncIteration):
            pass
        finally:
            account = desk.account
            if contract.max_cost is not None:
                assert account.spent + account.reserved <= contract.max_cost
            await stream.aclose()

    async def run() -> MeteredClient:
        desk = MeteredClient(endpoints, contract)
        tasks = [asyncio.create_task(read(desk, members[m], pieces)) for m, pieces, _ in steps]
        await asyncio.sleep(0.001)
        for task, (_, _, cancelled) in zip(tasks, steps, strict=True):
            if cancelled:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return desk

    account = asyncio.run(run()).account
    assert account.reserved == 0.0
    assert account.reserved_tokens == 0
    if contract.max_cost is not None:
        assert endpoints.dollars * (1 - 1e-9) <= account.spent <= contract.max_cost
    if contract.max_calls is not None:
        assert endpoints.calls <= account.calls <= contract.max_calls


def answers(count: int, *, closed: bool = True) -> dict[str, str]:
    return {f"m{i}": f"The answer is {i}." if closed else f"{chr(97 + i) * 5} essay {i}. " * 9 for i in range(count)}


PRICED: list[tuple[float, float] | None] = [(1.0, 2.0), (2.0, 4.0), (4.0, 8.0)]


def test_fewer_models_then_a_cheaper_one_then_no_aggregator() -> None:
    def given_up(**terms: Any) -> list[str]:
        mixture = RouteMoA(
            pool(PRICED, '[mixture]\ntop_k = 3\nopen = "synthesize"'), ScriptedClient(answers(3, closed=False))
        )
        trace = mixture.ask("Write an essay.", **terms).trace
        return [g.what for g in trace.given_up]

    assert given_up() == []
    assert given_up(max_cost=1.0) == []
    assert given_up(max_cost=0.006)[0] == "models"
    dear = pool([(100.0, 200.0), (1.0, 2.0)])
    trace = RouteMoA(dear, ScriptedClient(answers(2))).ask("How many?", max_cost=0.002).trace
    assert [(g.what, g.models) for g in trace.given_up] == [("model", ("m0",))]
    assert [p.model for p in trace.layers[0].proposals] == ["m1"]


def test_the_aggregator_is_given_up_where_its_time_has_gone() -> None:
    slow = pool(PRICED, '[mixture]\ntop_k = 2\nmax_models = 2\nopen = "synthesize"\naggregator = "m2"')
    slow = replace(slow, models=(*slow.models[:2], msgspec.structs.replace(slow.models[2], latency=30.0)))
    answer = RouteMoA(slow, ScriptedClient(answers(3, closed=False))).ask("Write an essay.", max_seconds=2)
    assert [(g.what, g.models) for g in answer.trace.given_up] == [("model", ("m2",))]
    assert answer.trace.aggregator == "m0"

    # Two answers that take more than half of the time, whoever might write them together.
    slow = replace(slow, mixture=msgspec.structs.replace(slow.mixture, aggregator="best"))
    mixture = RouteMoA(slow, ScriptedClient(answers(3, closed=False), delay=0.55))
    answer = mixture.ask("Write an essay.", max_seconds=1)
    assert answer.trace.given_up[-1].what == "aggregator"
    assert answer.text == answer.trace.layers[0].proposals[0].text
    assert answer.trace.aggregator is None


def test_where_not_even_one_call_fits_nothing_is_spent() -> None:
    client = ScriptedClient(answers(3))
    with pytest.raises(BudgetExceeded, match=r"not even one call fits.*the cheapest call, of m0.*max_cost"):
        RouteMoA(pool(PRICED), client).ask("How many?", max_cost=1e-6)
    assert client.calls == []


def test_without_any_price_the_error_says_how_to_give_one() -> None:
    client = ScriptedClient(answers(2))
    with pytest.raises(ConfigError, match=r"add input_price and output_price"):
        RouteMoA(pool([None, None]), client).ask("How many?", max_cost=1.0)
    assert client.calls == []
    trace = RouteMoA(pool([None, (1.0, 1.0)]), client).ask("How many?", max_cost=1.0).trace
    assert {c.model for c in client.calls} == {"m1"}
    assert "no price" in trace.given_up[0].why


def test_the_pool_files_contract_is_the_default_and_a_request_may_say_otherwise() -> None:
    chosen, client = pool(PRICED, "[limits]\nmax_calls = 1"), ScriptedClient(answers(3))
    mixture = RouteMoA(chosen, client)
    assert mixture.ask("How many?").trace.calls == 1
    assert mixture.ask("How many?", max_calls=3).trace.calls > 1
    assert build_method(chosen, "moa", client).limits.max_calls == 1  # type: ignore[attr-defined]


@pytest.mark.alone
def test_the_time_is_kept_with_what_is_there() -> None:
    class Slow(ScriptedClient):
        async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
            if model.name == "m0":
                yield "The answer "
                await asyncio.sleep(5)
            async for piece in super().stream(model, request):
                yield piece

    begun = perf_counter()
    trace = RouteMoA(pool(PRICED), Slow(answers(3))).ask("How many?", max_seconds=0.4).trace
    assert perf_counter() - begun < 0.42
    assert trace.layers[0].failures[0].kind == "Cut"
    assert trace.layers[0].failures[0].partial == "The answer "
    alone = RouteMoA(pool(PRICED[:1]), Slow(answers(1))).ask("How many?", max_seconds=0.2)
    assert alone.text == "The answer "
    assert alone.trace.given_up[-1].what == "ending"
