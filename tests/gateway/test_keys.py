"""Keys of the store at a running server: what they may name, their rates, and how changes are taken over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from routemoa.core.access.tenants import Tenant
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.ledger import Store, read_calls
from routemoa.ledger.keys import create_key, revoke_key, rotate_key
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import HI, Response, Serving, connect, serving

MEMBER = '[[model]]\nname = "{}"\nendpoint = "{}"\ninput_price = 10.0\noutput_price = 10.0\nprior = 0.6\n'


def make_pool(url: str, more: str = "", env: dict[str, str] | None = None) -> Pool:
    return parse_pool("".join(MEMBER.format(n, url) for n in ("a", "b")) + more, "pool.toml", Path("."), env or {})


@asynccontextmanager
async def serving_keys(folder: Path, url: str, pool: Pool | None = None, **options: Any) -> AsyncIterator[Serving]:
    pool = pool or make_pool(url)
    async with serving(pool=pool, store=Store(folder / "s.db", pool.tenants), **options) as s:
        yield s


def make(folder: Path, name: str = "k", *, expires: float | None = None, **terms: Any) -> str:
    return create_key(folder / "s.db", Tenant(name, "", **terms), time.time(), expires).secret


async def ask(s: Serving, key: str | None, model: str = "routemoa", header: str = "Bearer", **more: Any) -> Response:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"} if header == "Bearer" else {header: key}
    path = more.pop("path", "/chat/completions")
    return await (await s.raw({"model": model, "messages": HI, **more}, path, headers)).whole()


async def get(s: Serving, path: str, headers: dict[str, str]) -> Response:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return await (
        await s.connect(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode())
    ).whole()


async def until_status(s: Serving, key: str | None, status: int) -> float:
    """Ask until the status is this one; return the seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(5):
        while (await ask(s, key, "a")).status != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return time.monotonic() - began


# --- keys


@pytest.mark.parametrize("header", ["Bearer", "x-api-key", "api-key", "X-API-Key", "Api-Key"])
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/chat/completions", {}),
        ("/messages", {"max_tokens": 9}),
        ("/messages/count_tokens", {}),
        ("/responses", {"input": "Hi", "messages": None}),
        ("/models", None),
    ],
)
async def test_every_header_is_heard_on_every_route(tmp_path: Path, path: str, more: Any, header: str) -> None:
    key = make(tmp_path)
    value = {"Authorization": f"Bearer {key}"} if header == "Bearer" else {header: key}
    async with FakeEndpoint("It is 4.") as e, serving_keys(tmp_path, e.url) as s:
        if more is None:
            response = await get(s, f"/v1{path}", value)
        else:
            body = {"model": "a", "messages": HI, **more}
            body = {k: v for k, v in body.items() if v is not None}
            response = await (await s.raw(body, path, value)).whole()
            assert (await (await s.raw(body, path, dict.fromkeys(value, "rmk_wrong"))).whole()).status == 401
        assert response.status == 200, response.body
        assert not any(key in str(h) for h in e.headers), "a key reaches no endpoint"


async def test_the_official_sdk_with_a_key_and_its_budget_in_the_ledger(tmp_path: Path) -> None:
    key = make(tmp_path, "app", max_cost_per_day=1.0)
    async with FakeEndpoint("It is 4.") as e, serving_keys(tmp_path, e.url) as s:
        async with connect(s.url, key) as sdk:
            raw = await sdk.chat.completions.with_raw_response.create(model="routemoa", messages=HI)
            assert raw.parse().choices[0].message.content == "It is 4."
            assert 0.99 < float(raw.headers["x-routemoa-remaining-day"]) < 1.0
            stream = await sdk.chat.completions.create(model="a", messages=HI, stream=True)
            text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
            assert text == "It is 4."
        with pytest.raises(openai.AuthenticationError):
            await s.sdk.models.list()
    assert {c.key for c in read_calls(tmp_path / "s.db")} == {"app"}


async def test_a_used_up_budget_of_a_key_is_a_429(tmp_path: Path) -> None:
    key = make(tmp_path, "poor", max_cost_per_month=0.0)
    async with FakeEndpoint("x") as e, serving_keys(tmp_path, e.url) as s:
        refused = await ask(s, key)
        assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
        assert not e.requests


@pytest.mark.alone
async def test_a_running_server_takes_changes_over_within_two_seconds_and_never_opens_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "s.db"
    async with FakeEndpoint("x") as e, serving_keys(tmp_path, e.url) as s:
        assert (await ask(s, None, "a")).status == 200
        first = make(tmp_path, "one")
        assert await until_status(s, None, 401) < 2.0
        assert "from here on no request is let in without one" in caplog.text
        assert (await ask(s, first, "a")).status == 200
        second = rotate_key(path, "one", time.time(), grace=60.0).secret
        assert await until_status(s, second, 200) < 2.0
        assert (await ask(s, first, "a")).status == 200, "within the grace"
        third = rotate_key(path, "one", time.time()).secret
        assert await until_status(s, third, 200) < 2.0
        assert [(await ask(s, k, "a")).status for k in (first, second)] == [401, 401]
        revoke_key(path, "one", time.time())
        assert await until_status(s, third, 401) < 2.0
        assert (await ask(s, None, "a")).status == 401
        assert "no key is valid any more" in caplog.text


@pytest.mark.alone
async def test_a_key_ends_at_its_expiry_without_any_change_in_the_store(tmp_path: Path) -> None:
    key = make(tmp_path, expires=time.time() + 1.0)
    async with FakeEndpoint("x") as e, serving_keys(tmp_path, e.url) as s:
        assert (await ask(s, key, "a")).status == 200
        assert await until_status(s, key, 401) < 2.0


async def test_a_stream_that_runs_when_its_key_is_revoked_is_completed(tmp_path: Path) -> None:
    key = make(tmp_path)
    slow = Fault(first_byte=1.5)
    async with FakeEndpoint("It is 4.", slow) as e, serving_keys(tmp_path, e.url) as s:
        running = asyncio.create_task(ask(s, key, "a", stream=True))
        while not e.open_requests:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        revoke_key(tmp_path / "s.db", "k", time.time())
        assert (await asyncio.wait_for(asyncio.create_task(_refused(s, key)), 3)) == 401
        assert (await running).events[-1] == "[DONE]"


async def _refused(s: Serving, key: str) -> int:
    while True:
        response = await get(s, "/v1/models", {"api-key": key})
        if response.status != 200:
            return response.status
        await asyncio.sleep(0.02)


async def test_tenants_of_the_file_and_keys_of_the_store_are_let_in_beside_each_other(tmp_path: Path) -> None:
    pool = make_pool(
        "http://127.0.0.1:9", '[[tenant]]\nname = "acme"\nkey_env = "ACME"\nmodels = ["a"]', {"ACME": "sk"}
    )
    key, namesake = make(tmp_path), make(tmp_path, "acme")
    async with serving_keys(tmp_path, "", pool) as s:
        listed = {k: (await get(s, "/v1/models", {"api-key": k})) for k in ("sk", key, namesake)}
        assert [r.status for r in listed.values()] == [200, 200, 401], "a [[tenant]] goes before a key of its name"
        assert [m["id"] for m in listed["sk"].json["data"]] == ["a"]
        assert [m["id"] for m in listed[key].json["data"]] == ["routemoa", "a", "b"]


# --- what a key may name


@pytest.mark.parametrize(
    ("terms", "allowed"),
    [
        ({"models": ("a",)}, ["a"]),
        ({"methods": ("routemoa",)}, ["routemoa"]),
        ({"methods": ("moa",), "models": ("b",)}, ["b"]),
        ({"models": ("gone",)}, []),
    ],
)
async def test_what_a_key_may_not_name_does_not_exist_for_it(
    tmp_path: Path, terms: dict[str, Any], allowed: list[str]
) -> None:
    key = make(tmp_path, **terms)
    auth = {"x-api-key": key}
    async with FakeEndpoint("It is 4.") as e, serving_keys(tmp_path, e.url) as s:
        assert [m["id"] for m in (await get(s, "/v1/models", auth)).json["data"]] == allowed
        for name in ("routemoa", "a", "b"):
            expected = 200 if name in allowed else 404
            answers = [
                await get(s, f"/v1/models/{name}", auth),
                await ask(s, key, name),
                await ask(s, key, name, stream=True),
                await ask(s, key, name, path="/messages", max_tokens=9),
                await ask(s, key, name, path="/messages/count_tokens"),
                await ask(s, key, name, path="/responses", input="Hi"),
            ]
            if name == "routemoa" or expected == 404:
                answers = [r for r in answers if r.status != 400]  # `messages` is no field of a response
            assert {r.status for r in answers if r.status != 400} == {expected}, name
            if expected == 404:
                assert all(r.error["code"] == "model_not_found" for r in answers[:2])
                hidden = {"a", "b"} - set(allowed) - {name}
                assert not any(f"'{h}'" in answers[1].error["message"] for h in hidden)
                assert answers[1].error["message"].endswith(f"Available models: {', '.join(allowed)}.")
        shown = await get(s, "/healthz?verbose", auth)
        assert set(shown.json["members"]) == set(allowed) & {"a", "b"}


async def test_a_key_may_not_embed_with_another_model(tmp_path: Path) -> None:
    key = make(tmp_path, models=("a",))
    async with FakeEndpoint("x") as e, serving_keys(tmp_path, e.url) as s:
        refused = await (await s.raw({"model": "b", "input": "x"}, "/embeddings", {"api-key": key})).whole()
        assert (refused.status, refused.error["code"]) == (404, "model_not_found")
        assert not e.requests


# --- rates


async def test_every_response_of_a_key_with_rates_shows_them(tmp_path: Path) -> None:
    key = make(tmp_path, requests_per_minute=10, tokens_per_minute=10_000)
    async with FakeEndpoint("It is 4.") as e, serving_keys(tmp_path, e.url) as s:
        responses = [
            await get(s, "/v1/models", {"api-key": key}),
            await get(s, "/nothing", {"api-key": key}),
            await ask(s, key),
            await ask(s, key, "a"),
            await ask(s, key, "a", stream=True),
            await ask(s, key, "nix"),
            await ask(s, key, "routemoa", temperature="hot"),
        ]
        for r in responses:
            assert (r.headers["x-ratelimit-limit-requests"], r.headers["x-ratelimit-limit-tokens"]) == ("10", "10000")
            assert r.headers["x-ratelimit-reset-tokens"].endswith("s")
        left = [int(r.headers["x-ratelimit-remaining-requests"]) for r in responses]
        assert left == [10, 10, 9, 8, 7, 6, 5], "looking at the models is no request"


async def test_more_requests_than_the_rate_are_a_429_with_the_time_to_wait(tmp_path: Path) -> None:
    key, other = make(tmp_path, requests_per_minute=2), make(tmp_path, "other", requests_per_minute=2)
    async with FakeEndpoint("x") as e, serving_keys(tmp_path, e.url) as s:
        responses = await asyncio.gather(*(ask(s, key, "a") for _ in range(5)))
        assert sorted(r.status for r in responses) == [200, 200, 429, 429, 429]
        assert len(e.requests) == 2
        refused = next(r for r in responses if r.status == 429)
        assert (refused.error["code"], refused.error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
        assert 25 <= int(refused.headers["retry-after"]) <= 30
        assert "x-should-retry" not in refused.headers
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert refused.headers["x-ratelimit-reset-requests"].endswith("s")
        assert (await ask(s, other, "a")).status == 200
        shaped = await ask(s, key, "a", path="/messages", max_tokens=9)
        assert (shaped.status, shaped.error["type"]) == (429, "rate_limit_error")


@pytest.mark.parametrize("model", ["routemoa", "a"])
@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_are_counted_as_the_endpoints_do(tmp_path: Path, model: str, stream: bool) -> None:
    key = make(tmp_path, tokens_per_minute=1_000_000)
    async with FakeEndpoint("word " * 50) as e, serving_keys(tmp_path, e.url) as s:
        assert (await ask(s, key, model, stream=stream)).status == 200
        shown = await get(s, "/v1/models", {"api-key": key})
    calls = list(read_calls(tmp_path / "s.db"))
    used = sum((c.prompt_tokens or 0) + (c.completion_tokens or 0) for c in calls)
    assert used > 50
    left = int(shown.headers["x-ratelimit-remaining-tokens"])
    refilled = 1_000_000 / 60 * 1.0  # in a second
    assert 1_000_000 - used <= left <= min(1_000_000, 1_000_000 - used + refilled)


async def test_tokens_of_an_answer_count_in_full_though_the_prompt_was_small(tmp_path: Path) -> None:
    key = make(tmp_path, tokens_per_minute=40)
    async with FakeEndpoint("word " * 60) as e, serving_keys(tmp_path, e.url) as s:
        assert (await ask(s, key, "a")).status == 200
        refused = await ask(s, key, "a")
        assert (refused.status, refused.headers["x-ratelimit-remaining-tokens"]) == (429, "0")
        assert "40 tokens a minute" in refused.error["message"]
        assert int(refused.headers["retry-after"]) > 20
        long = await ask(s, key, "a", messages=[{"role": "user", "content": "x" * 4000}])
        assert long.status == 429
        assert len(e.requests) == 1


@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_tokens_of_a_stream_count_though_its_endpoint_counts_none(tmp_path: Path, model: str) -> None:
    key = make(tmp_path, tokens_per_minute=60)
    async with FakeEndpoint("word " * 80, Fault(no_usage=True)) as e, serving_keys(tmp_path, e.url) as s:
        assert (await ask(s, key, model, stream=True)).status == 200
        refused = await ask(s, key, model, stream=True)
        assert (refused.status, refused.headers["x-ratelimit-remaining-tokens"]) == (429, "0")
        assert "about 0" not in refused.error["message"]


async def test_a_prompt_beyond_the_rate_is_refused_for_good(tmp_path: Path) -> None:
    key = make(tmp_path, tokens_per_minute=100)
    async with FakeEndpoint("x") as e, serving_keys(tmp_path, e.url) as s:
        refused = await ask(s, key, "a", messages=[{"role": "user", "content": "x" * 4000}])
        assert (refused.status, refused.headers["x-should-retry"]) == (429, "false")
        assert "retry-after" not in refused.headers
        assert (await ask(s, key, "a")).status == 200


async def test_what_a_failed_request_had_reserved_is_given_back(tmp_path: Path) -> None:
    key = make(tmp_path, tokens_per_minute=600)
    async with FakeEndpoint("x") as e, serving_keys(tmp_path, e.url) as s:
        for _ in range(5):
            wrong = [{"role": "user", "content": "x" * 2000}]
            assert (await ask(s, key, temperature="hot", messages=wrong)).status == 400
        assert not e.requests


async def test_streams_beyond_the_cap_wait_and_the_sdk_comes_back(tmp_path: Path) -> None:
    key = make(tmp_path, concurrent_streams=1)
    slow = Fault(first_byte=0.7)
    async with FakeEndpoint("It is 4.", [slow, Fault()]) as e, serving_keys(tmp_path, e.url) as s:
        running = asyncio.create_task(ask(s, key, "a", stream=True))
        while not e.open_requests:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        refused = await ask(s, key, "a", stream=True)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "1 stream" in refused.error["message"]
        async with connect(s.url, key, retries=2) as sdk:
            stream = await sdk.chat.completions.create(model="a", messages=HI, stream=True)
            assert "".join([c.choices[0].delta.content or "" async for c in stream if c.choices]) == "It is 4."
        assert (await running).status == 200


async def test_a_stream_that_its_caller_leaves_is_no_longer_counted(tmp_path: Path) -> None:
    key = make(tmp_path, concurrent_streams=1)
    async with FakeEndpoint("x", Fault(first_byte=20.0)) as e, serving_keys(tmp_path, e.url) as s:
        for _ in range(3):
            caller = await s.raw(
                {"model": "a", "messages": HI, "stream": True}, headers={"Authorization": f"Bearer {key}"}
            )
            while not e.open_requests:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await caller.leave()
            while e.open_requests:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
        assert len(e.requests) == 3


async def test_rates_of_a_tenant_in_the_file_hold_without_a_store(tmp_path: Path) -> None:
    more = '[[tenant]]\nname = "acme"\nkey_env = "ACME"\nrequests_per_minute = 1\ntokens_per_minute = 500'
    async with FakeEndpoint("It is 4.") as e, serving(pool=make_pool(e.url, more, {"ACME": "sk"})) as s:
        first, second = await ask(s, "sk"), await ask(s, "sk")
    assert [first.status, second.status] == [200, 429]
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 500


# --- what all tenants share


async def test_metrics_are_for_keys_without_restrictions_and_count_keys(tmp_path: Path) -> None:
    full = make(tmp_path, "full", max_cost_per_day=3.0)
    some = make(tmp_path, "some", models=("a",))
    make(tmp_path, "gone", max_cost_per_day=3.0)
    revoke_key(tmp_path / "s.db", "gone", time.time())
    async with serving_keys(tmp_path, "http://127.0.0.1:9") as s:
        shown = await get(s, "/metrics", {"api-key": full})
        assert shown.status == 200
        assert b'routemoa_budget_left_dollars{span="day",tenant="full"} 3.0' in shown.body
        assert b"gone" not in shown.body
        hidden = await get(s, "/metrics", {"api-key": some})
        assert hidden.status == 404
        assert b"full" not in hidden.body


# --- texts


@pytest.mark.parametrize("fault", [Fault(), Fault(status=500), Fault(status=400), Fault(garbage=True)])
async def test_no_text_of_a_prompt_or_an_answer_is_in_the_store_or_in_a_log(
    tmp_path: Path, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    key = make(tmp_path, tokens_per_minute=10**6)
    caplog.set_level("DEBUG", "routemoa")
    hidden = [{"role": "user", "content": "PROMPTMARK is a secret"}]
    async with FakeEndpoint("ANSWERMARK it is", fault) as e, serving_keys(tmp_path, e.url) as s:
        for model in ("routemoa", "a", "nix"):
            for more in ({}, {"stream": True}, {"temperature": "hot"}):
                await ask(s, key, model, messages=hidden, **more)
        assert e.requests
    files = [f for f in tmp_path.rglob("*") if f.is_file()]  # noqa: ASYNC240
    assert files
    for place in (*(f.read_bytes() for f in files), caplog.text.encode()):
        assert b"MARK" not in place
        assert key.encode() not in place
