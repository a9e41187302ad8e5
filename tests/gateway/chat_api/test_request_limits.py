"""The limits of a request: read from its body and headers, checked, passed to the method, and their errors."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.errors import (
    AllModelsFailed,
    BudgetExceeded,
    CallCancelled,
    ConfigError,
    ModelTimeout,
    QueryError,
    Unaffordable,
)
from routemoa.core.failure_kind import FailureKind
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Failure
from routemoa.core.types import Limits, ModelSpec
from routemoa.core.usage import Usage
from routemoa.gateway.chat_api.request_limits import LIMIT_HEADERS, parse_request_limits, take_stricter
from routemoa.gateway.failures import error_response
from routemoa.ledger import StoreError
from routemoa.testing import FakeEndpoint, Fault
from tests import ROOT
from tests.gateway.harness import ANSWER, HI, Script, serving

BODY = {"model": "routemoa", "messages": HI}
ALL = {"max_cost": 0.5, "max_seconds": 20, "max_calls": 3, "max_output_tokens": 900, "stream_mode": "events"}


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()]


def test_the_field_and_the_headers_have_public_names() -> None:
    assert list(LIMIT_HEADERS.values()) == [
        "X-RouteMoA-Max-Cost",
        "X-RouteMoA-Max-Seconds",
        "X-RouteMoA-Max-Calls",
        "X-RouteMoA-Max-Output-Tokens",
        "X-RouteMoA-Stream-Mode",
    ]
    assert parse_request_limits(ALL, ()) == Limits(0.5, 20, 3, 900, "events")
    assert parse_request_limits(None, raw({LIMIT_HEADERS[k]: str(v) for k, v in ALL.items()})) == parse_request_limits(
        ALL, ()
    )
    assert parse_request_limits(dict.fromkeys(ALL), raw({"X-Other": "1"})) == Limits()


numbers = st.none() | st.floats(0, 1e6, exclude_min=True)
counts = st.none() | st.integers(1, 10**9)
any_limits = st.builds(Limits, numbers, numbers, counts, counts, st.sampled_from([None, "final", "leader", "events"]))


@given(any_limits, any_limits)
def test_of_body_and_header_the_stricter_holds(body: Limits, header: Limits) -> None:
    sent = {k: getattr(body, k) for k in ALL}
    lines = raw({LIMIT_HEADERS[k]: str(v) for k in ALL if (v := getattr(header, k)) is not None})
    both = parse_request_limits(sent, lines)
    for key in ALL:
        given_ = [v for v in (getattr(body, key), getattr(header, key)) if v is not None]
        got = getattr(both, key)
        assert (got is None) == (not given_)
        assert got in (given_[:1] if key == "stream_mode" else [min(given_, default=None)]) or got is None
    assert take_stricter(both, body) == both
    assert take_stricter(take_stricter(body, header), header) == both


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ({"max_price": 1}, "routemoa.max_price"),
        ({"max_cost": "1"}, "routemoa.max_cost"),
        ({"max_cost": True}, "routemoa.max_cost"),
        ({"max_cost": -0.01}, "routemoa.max_cost"),
        ({"max_cost": 10**400}, "routemoa.max_cost"),
        ({"max_seconds": 0}, "routemoa.max_seconds"),
        ({"max_calls": 0}, "routemoa.max_calls"),
        ({"max_calls": 1.5}, "routemoa.max_calls"),
        ({"max_output_tokens": -1}, "routemoa.max_output_tokens"),
        ({"stream_mode": "fast"}, "routemoa.stream_mode"),
        ([], "routemoa"),
        ("x", "routemoa"),
    ],
)
@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_a_wrong_field_is_refused_by_name(field: Any, param: str, model: str) -> None:
    method = Script(*ANSWER)
    async with serving(method) as s:
        response = await (await s.raw({**BODY, "model": model, "routemoa": field})).whole()
        assert (response.status, response.error["param"]) == (400, param)
        assert response.error["type"] == "invalid_request_error"
        assert param in response.error["message"]
        assert not method.begun


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_cost", "NaN"),
        ("max_cost", "-1"),
        ("max_cost", "1e999"),
        ("max_cost", "1,2"),
        ("max_cost", ""),
        ("max_cost", "true"),
        ("max_seconds", "soon"),
        ("max_calls", "2.5"),
        ("max_output_tokens", '"9"'),
        ("stream_mode", "FAST"),
    ],
)
async def test_a_wrong_header_is_refused_by_name(key: str, value: str) -> None:
    async with serving(Script(*ANSWER)) as s:
        response = await (await s.raw(BODY, headers={LIMIT_HEADERS[key]: value})).whole()
        assert (response.status, response.error["param"]) == (400, LIMIT_HEADERS[key])
        assert LIMIT_HEADERS[key] in response.error["message"]


async def test_the_method_gets_the_limits_and_the_stream_mode() -> None:
    method = Script(*ANSWER)
    modes = Pool((), limits=Limits(max_cost=9.0, stream_mode="leader"))
    async with serving(method) as s:
        await (await s.raw({**BODY, "routemoa": {"max_calls": 4}}, headers={"x-routemoa-max-calls": "3"})).whole()
        await (await s.raw({**BODY, "stream": True})).whole()
        await (await s.raw({**BODY, "routemoa": {"stream_mode": "leader"}})).whole()
    async with serving(method, pool=modes) as s:
        await (await s.raw({**BODY, "stream": True})).whole()
        await (await s.raw({**BODY, "stream": True}, headers={"X-RouteMoA-Stream-Mode": "final"})).whole()
    assert [q.limits for q in method.queries] == [
        Limits(max_calls=3, stream_mode="events"),  # in one piece: nothing is shown before the end
        Limits(stream_mode="final"),
        Limits(stream_mode="events"),
        Limits(stream_mode="leader"),  # the methods lay the pool's limits under it
        Limits(stream_mode="final"),
    ]


async def test_no_endpoint_sees_the_limits() -> None:
    async with FakeEndpoint("It is 4.") as e, serving(endpoint=e.url) as s:
        for model in ("routemoa", "a"):
            response = await (await s.raw({**BODY, "model": model, "routemoa": {"max_calls": 9}})).whole()
            assert response.status == 200
        assert e.requests
        assert not any("routemoa" in request for request in e.requests)


def failure(kind: str, reason: str) -> Failure:
    return Failure("m", reason, FailureKind(kind), Usage(0, 0, 0), 0.1, 0.0)


def test_limits_that_end_a_request_have_their_own_errors() -> None:
    small = error_response(
        BudgetExceeded("$0.001 of $0.001 are left, and a call of m ($0.02 at most) could pass the limit")
    )
    assert (small.status, small.code, small.param) == (400, "contract_too_small", "routemoa")
    assert small.body["error"]["type"] == "invalid_request_error"
    assert small.message.startswith("The limits are too small: $0.001 of $0.001 are left")
    assert "$0.02" in small.message
    assert error_response(Unaffordable("m", BudgetExceeded("x"))).code == "contract_too_small"
    priceless = error_response(Unaffordable("m", ConfigError("m has no price; add input_price and output_price")))
    assert (priceless.status, priceless.code) == (400, "price_unknown")
    assert "add input_price" in priceless.message
    broken = error_response(StoreError("/secret/place/store.db: the disk is full"))
    assert (broken.status, broken.code) == (503, "no_ledger")
    assert "secret" not in broken.message
    late = error_response(
        AllModelsFailed(
            [failure("TimedOut", "the limit of 1 s was reached (max_seconds)"), failure("Cut", "time was over")]
        )
    )
    assert (late.status, late.code) == (504, "no_model_left")
    assert "m: the limit of 1 s was reached (max_seconds); m: time was over" in late.message
    assert error_response(AllModelsFailed([failure("Unaffordable", "x")])).code == "contract_too_small"
    assert error_response(AllModelsFailed([failure("TimedOut", "x"), failure("Garbled", "x")])).status == 502
    assert error_response(ModelTimeout("m", "the limit of 1 s was reached (max_seconds)")).status == 504
    assert error_response(CallCancelled("m", "others had answered")).status == 502


def test_a_budget_that_is_used_up_says_until_when() -> None:
    reset = float(int(time.time()) + 3600)
    response = error_response(BudgetExceeded("nothing is left for this day", reset=reset))
    assert (response.status, response.code) == (429, "insufficient_quota")
    assert response.body["error"]["type"] == "insufficient_quota"
    assert 3590 < int(response.headers["retry-after"]) <= 3600
    assert response.headers["x-routemoa-reset"].endswith("Z")
    assert response.headers["x-routemoa-reset"] in response.message
    assert response.headers["x-should-retry"] == "false"
    soon = error_response(BudgetExceeded("calls under way hold the rest", temporary=True, reset=reset))
    assert "x-should-retry" not in soon.headers
    assert int(soon.headers["retry-after"]) < 5


def priced(url: str, price: float | None, *names: str, **more: Any) -> Pool:
    models = tuple(ModelSpec(n, url, n, input_price=price, output_price=price, prior=0.6) for n in names)
    return Pool(models, Mixture(layers=2), **more)


@pytest.mark.parametrize("model", ["routemoa", "moa", "a"])
async def test_limits_too_small_for_any_call_are_refused_before_anything_is_spent(model: str) -> None:
    from routemoa.clients.http import HttpClient
    from routemoa.mixture.baselines import MoA
    from routemoa.mixture.engine import RouteMoA

    async with FakeEndpoint("It is 4.") as e:
        pool = priced(e.url, 10.0, "a", "b")
        methods = (RouteMoA(pool, HttpClient()), MoA(pool, HttpClient()))
        async with serving(*methods, pool=pool) as s:
            with pytest.raises(openai.BadRequestError) as caught:
                await s.sdk.chat.completions.create(
                    model=model, messages=HI, extra_body={"routemoa": {"max_cost": 0.00001}}
                )
            assert caught.value.code == "contract_too_small", caught.value.message
            assert "$" in caught.value.message
            assert not e.requests


@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_a_model_without_a_price_cannot_run_under_max_cost(model: str) -> None:
    async with FakeEndpoint("It is 4.") as e, serving(endpoint=e.url) as s:
        with pytest.raises(openai.BadRequestError) as caught:
            await s.sdk.chat.completions.create(model=model, messages=HI, extra_body={"routemoa": {"max_cost": 1}})
        assert caught.value.code == "price_unknown", caught.value.message
        assert "input_price" in caught.value.message
        assert not e.requests


@pytest.mark.alone
@pytest.mark.parametrize("model", ["routemoa", "a"])
@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_within_max_seconds_is_a_504(model: str, stream: bool) -> None:
    async with FakeEndpoint(faults=Fault(first_byte=20.0)) as e, serving(endpoint=e.url) as s:
        begun = time.perf_counter()
        body = {"model": model, "messages": HI, "stream": stream, "routemoa": {"max_seconds": 0.3}}
        response = await (await s.raw(body)).whole()
        assert response.status == 504, response.body
        assert " s of its layer were over" in response.error["message"] or "0.3 s" in response.error["message"]
        assert time.perf_counter() - begun < 0.8


def test_not_a_number_is_refused() -> None:
    with pytest.raises(QueryError):
        parse_request_limits({"max_cost": float("nan")}, ())


def test_the_servers_page_names_every_key_header_and_code() -> None:
    page = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    codes = re.findall(r'"([a-z]+(?:_[a-z]+)+)"', Path(error_response.__code__.co_filename).read_text())
    ours = {"contract_too_small", "price_unknown", "no_ledger", "insufficient_quota", "no_model_left", "model_failed"}
    assert ours <= set(codes)
    for name in (*LIMIT_HEADERS, *LIMIT_HEADERS.values(), *ours, "invalid_api_key"):
        assert f"`{name}`" in page, name
