"""What a call used is believed where it can be, bounded where it cannot, and mended by hand (cases 12 and 14)."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from routemoa.core.access.tenants import SpendingLimits, Tenants
from routemoa.core.types import Limits
from routemoa.ledger import correct_call
from routemoa.mixture.budget import metered_call
from tests.integration.cases.raw_endpoint import USAGE, Raw, delta, say, send, setting, sse

PRICES: dict[str, Any] = {"input_price": 1.0, "output_price": 10.0, "cached_price": 0.1}
PARIS = [sse(delta({"content": "Paris"})), sse(delta({}, "stop"))]


def beside(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


BILLS = [
    (beside(32, 9, total_tokens=135, completion_tokens_details={"reasoning_tokens": 94}), 32 + 10 * 103),  # xAI
    (beside(32, 9, total_tokens=135), 32 + 10 * 103),  # Gemini
    (beside(32, 103, total_tokens=135, completion_tokens_details={"reasoning_tokens": 94}), 32 + 10 * 103),  # OpenAI
    (beside(32, 9, total_tokens=41, reasoning_tokens=94), 32 + 10 * 103),  # Perplexity
    (beside(10, 5, total_tokens=15, cache_read_input_tokens=5000), 10 + 500 + 50),  # Anthropic, handed on
    (beside(5010, 5, total_tokens=5015, prompt_tokens_details={"cached_tokens": 5000}), 10 + 500 + 50),  # OpenAI
    (beside(5010, 5, total_tokens=5015, cache_read_input_tokens=5000), 10 + 500 + 50),  # LiteLLM
    ({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 5000}, 10 + 500 + 50),
    (beside(10, 5, total_tokens=15, cost=0.0123), 12300),  # OpenRouter
    (beside(10, 5, total_tokens=15, cost_in_usd_ticks=123_000_000), 12300),  # xAI
    (beside(10, 5, total_tokens=15, cost={"request_cost": 0.005, "total_cost": 0.0123}), 12300),  # Perplexity
    (beside(10, 5, total_tokens=15, cost=0, is_byok=True, cost_details={"upstream_inference_cost": 0.0123}), 12300),
    (beside(10, 5, total_tokens=15, cost=0), 10 + 50),  # no price of the provider's is no price of zero
]


@pytest.mark.parametrize(("usage", "micros"), BILLS)
@pytest.mark.parametrize("model", ["routemoa", "a"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_bill_is_the_providers(
    tmp_path: Path, usage: dict[str, Any], micros: float, model: str, stream: bool
) -> None:
    async with setting(tmp_path, say("Paris", usage=usage), **PRICES) as s:
        response = await s.ask(model, stream=stream)
        assert response.status == 200
        [call] = await s.calls()
    assert call.cost == pytest.approx(micros / 1e6)
    assert call.charged == pytest.approx(micros / 1e6)
    assert call.note is None


async def test_a_reported_cost_is_said_in_the_trace_and_needs_no_price(tmp_path: Path) -> None:
    async with setting(tmp_path, say("Paris", usage={**USAGE, "cost": 0.0123})) as s:
        explained = (await s.ask()).json["routemoa"]
    assert explained["cost"] == explained["charged"] == 0.0123
    assert explained["prices"] == {"a": "the endpoint's own figure"}


MERGED = [
    [beside(8, 1), beside(0, 16)],
    [beside(8, 16), beside(0, 0)],
    [beside(8, n) for n in range(17)],
    [{"prompt_tokens": 8}, {"completion_tokens": 16}],
    [beside(8, 16), None, {}],
    [beside(8, 16), beside(-1, -1)],
]


@pytest.mark.parametrize("figures", MERGED)
@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_figures_in_several_chunks_are_merged(tmp_path: Path, figures: list[Any], model: str) -> None:
    chunks = [sse({"choices": [], "usage": f}) for f in figures]
    half = len(chunks) // 2
    async with setting(tmp_path, send([*chunks[:half], *PARIS, *chunks[half:], "data: [DONE]\n\n"]), **PRICES) as s:
        await s.ask(model, stream=True)
        [call] = await s.calls()
    assert (call.prompt_tokens, call.completion_tokens) == (8, 16)
    assert call.cost == pytest.approx(168e-6)


ABSURD = [
    beside(10, 10**12),
    beside(10**12, 5),
    beside(10, 5, total_tokens=10**12),
    beside(10, 5, completion_tokens_details={"reasoning_tokens": 10**12}),
    beside(10, 5, cache_read_input_tokens=10**12),
    beside(10, 5, cost=10**6),
    beside(10, 5, cost=1e300),
    beside(10, 5, cost_in_usd_ticks=10**18),
    beside(-10, 5),
    beside(10, -5),
    {"prompt_tokens": "10", "completion_tokens": "5"},
    beside(10, 5, cost="12"),
    beside(10, 5, cost=-12),
    beside(10, 2**70),
]


@pytest.mark.parametrize("usage", ABSURD)
@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_an_absurd_figure_counts_as_the_worst_case_and_is_said(
    tmp_path: Path, usage: dict[str, Any], model: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metered_call, "_warned", set())
    tenants = Tenants(totals=SpendingLimits(max_cost_per_day=1.0))
    async with setting(tmp_path, say("Paris", usage=usage), tenants=tenants, **PRICES) as s:
        with caplog.at_level(logging.WARNING, "routemoa.usage"):
            for _ in range(3):
                response = await s.ask(model)
                assert response.status == 200, "the budget is not emptied"
        calls = await s.calls()
    assert len(calls) == 3
    for call in calls:
        assert call.charged is not None
        assert call.most is not None
        assert 0 < call.charged <= call.most
        assert call.note
    assert [r.levelname for r in caplog.records if r.name == "routemoa.usage"] == ["WARNING"]


@pytest.mark.parametrize("usage", [beside(0, 0), beside(10, 0, total_tokens=10), {}, None])
@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_an_answer_without_figures_is_charged_its_worst_case(tmp_path: Path, usage: Any, model: str) -> None:
    figures = [] if usage is None else [sse({"choices": [], "usage": usage})]
    async with setting(
        tmp_path, send([*PARIS, *figures, "data: [DONE]\n\n"]), limits=Limits(max_cost=0.1), **PRICES
    ) as s:
        await s.ask(model, stream=True)
        [call] = await s.calls()
    assert call.charged == call.most


async def test_a_wrong_entry_is_mended_while_the_server_runs(tmp_path: Path) -> None:
    tenants = Tenants(totals=SpendingLimits(max_cost_per_day=0.05))
    async with setting(tmp_path, say("Paris", usage=beside(10, 10**12)), tenants=tenants, **PRICES) as s:
        assert (await s.ask()).status == 200
        assert (await s.ask()).status == 429
        [call] = await s.calls()
        correct_call(s.path, call.id, 0.00006, "the provider's invoice", time.time())
        assert (await s.ask()).status == 200


@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_what_a_failed_call_used_is_charged_where_the_endpoint_says_so(tmp_path: Path, model: str) -> None:
    dies = [
        *PARIS[:1],
        sse({"choices": [], "usage": beside(10, 5)}),
        sse(delta({}, "abort" if model == "routemoa" else "error")),
    ]
    async with setting(tmp_path, send(dies), **PRICES) as s:
        await s.ask(model, stream=True)
        [call] = await s.calls()
    assert call.outcome != "ok"
    assert call.charged
    assert model == "a" or call.charged == pytest.approx(60e-6)


async def test_thoughts_of_a_stream_that_breaks_off_are_charged(tmp_path: Path) -> None:
    thoughts = [sse(delta({"reasoning_content": "hmm " * 100})) for _ in range(10)]
    async with setting(tmp_path, send(thoughts), **PRICES) as s:
        await s.ask()
        [call] = await s.calls()
    assert call.charged is not None
    assert call.charged >= 1000 * 10e-6, "4,000 characters of thoughts are about 1,000 tokens"


async def test_thoughts_without_an_answer_are_a_failure_that_is_paid(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Raw:
        return say("<think>hmm", "length", usage=beside(10, 500))(body)

    async with setting(tmp_path, reply, say("Paris"), **PRICES) as s:
        explained = (await s.ask()).json["routemoa"]
        assert explained["cost"] == pytest.approx((10 + 5000 + 10 + 50) / 1e6)
