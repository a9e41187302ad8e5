"""A member at several endpoints, over real sockets: spread, kept with its prompt cache, failed over, hedged."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest

from routemoa.clients.http import HttpClient
from routemoa.clients.retry import RetryPolicy
from routemoa.core.errors import BudgetExceeded, ModelHTTPError, Unreachable
from routemoa.core.models.endpoint import Endpoint
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Completion, Limits, Message, ModelSpec, Query, Request
from routemoa.ledger import Store, read_calls
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import Serving, serving

SLOW = Fault(first_byte=0.05)
HANGS = Fault(first_byte=30.0)
WEATHER: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


@dataclass
class Fleet:
    """A server whose one member is at several endpoints."""

    served: Serving
    places: list[FakeEndpoint]
    spec: ModelSpec
    store: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def asked(self) -> list[int]:
        return [len(p.requests) for p in self.places]

    async def ask(self, text: str = "Hi", model: str = "m", **extra: Any) -> Any:
        messages: Any = extra.pop("messages", [{"role": "user", "content": text}])
        return await self.served.sdk.chat.completions.create(model=model, messages=messages, **extra)

    async def health(self) -> dict[str, Any]:
        reply: Any = await self.served.sdk.get("../healthz?verbose=1", cast_to=object)
        found: dict[str, Any] = reply["members"]["m"]
        return found

    def ledger(self) -> list[tuple[str | None, str, str]]:
        return [(c.endpoint, c.purpose, c.outcome) for c in read_calls(self.store)]


@asynccontextmanager
async def fleet(
    path: Path, *places: FakeEndpoint, settings: Sequence[dict[str, Any]] = (), dead: Sequence[int] = (), **spec: Any
) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        for place in places:
            await stack.enter_async_context(place)
        urls = [closed_port() if i in dead else place.url for i, place in enumerate(places)]
        own = settings or [{}] * len(places)
        endpoints = tuple(Endpoint(url, **table) for url, table in zip(urls, own, strict=True))
        member = ModelSpec("m", urls[0], "upstream", prior=0.6, endpoints=endpoints, **spec)
        store = Store(path / "store.db")
        served = await stack.enter_async_context(serving(pool=Pool((member,), Mixture()), store=store, attempts=2))
        yield Fleet(served, list(places), member, path / "store.db")


def closed_port() -> str:
    """Return the URL of a port on which nothing listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}/v1"


@pytest.mark.parametrize("model", ["m", "routemoa"])
async def test_calls_at_once_spread_evenly_whatever_they_ask(tmp_path: Path, model: str) -> None:
    async with fleet(tmp_path, *(FakeEndpoint(faults=Fault(first_byte=0.4)) for _ in range(3))) as f:
        await asyncio.gather(*(f.ask("the same for all", model) for _ in range(30)))
        assert sum(f.asked) == 30
        assert min(f.asked) >= 7
        assert (await f.health())["endpoints"][0]["running"] == 0


async def test_weights_share_the_calls(tmp_path: Path) -> None:
    places = [FakeEndpoint(faults=Fault(first_byte=0.4)) for _ in range(2)]
    async with fleet(tmp_path, *places, settings=[{"weight": 3}, {}]) as f:
        await asyncio.gather(*(f.ask(f"question {i}") for i in range(40)))
        assert f.asked[0] == pytest.approx(30, abs=5)


@pytest.mark.parametrize("model", ["m", "routemoa"])
async def test_a_conversation_stays_where_its_prompt_is_cached(tmp_path: Path, model: str) -> None:
    async with fleet(tmp_path, FakeEndpoint(), FakeEndpoint(), FakeEndpoint()) as f:
        homes = Counter[int]()
        for number in range(8):
            messages: list[Any] = [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"Topic {number}"},
            ]
            before = f.asked
            for turn in range(2):
                answer = await f.ask(model=model, messages=messages)
                messages += [{"role": "assistant", "content": answer.choices[0].message.content}]
                messages += [{"role": "user", "content": f"And {turn}?"}]
            took = [b - a for a, b in zip(before, f.asked, strict=True)]
            assert sorted(took) == [0, 0, 2]
            homes[took.index(2)] += 1
        assert len(homes) > 1


FAULTS = {
    "refused": None,
    "503": Fault(status=503),
    "429": Fault(status=429, retry_after="60"),
    "a wrong key": Fault(status=401),
    "an unknown model": Fault(status=404),
    "reset": Fault(reset=True),
    "no JSON": Fault(garbage=True, whole=True),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("model", ["m", "routemoa"])
async def test_a_call_that_fails_goes_on_at_the_next_endpoint_at_once(tmp_path: Path, model: str, name: str) -> None:
    fault = FAULTS[name]
    places = [FakeEndpoint(faults=() if fault is None else fault), FakeEndpoint("Fine.")]
    priorities = [{"priority": 1, "name": "near"}, {"priority": 2, "name": "spare"}]
    dead = [0] if fault is None else []
    async with fleet(tmp_path, *places, settings=priorities, dead=dead, input_price=1.0, output_price=1.0) as f:
        reply = await f.ask(model=model)
        assert reply.choices[0].message.content == "Fine."
        assert f.asked == [len(places[0].requests), 1]
        for _ in range(3):
            assert (await f.ask(model=model)).choices[0].message.content == "Fine."
        health = await f.health()
        assert [e["name"] for e in health["endpoints"]] == ["near", "spare"]
        assert [e["state"] for e in health["endpoints"]] == ["open", "closed"]
        assert health["state"] == "closed"
        if name == "429":
            assert f.asked == [1, 4]
            assert health["endpoints"][0]["retry_in"] > 50
    (first, second, *_) = f.ledger()  # the server has written it
    assert first[:2] == ("near", "direct" if model == "m" else "proposal")
    assert first[2] != "ok"
    assert second == ("spare", "retry", "ok")


async def test_a_fault_of_the_request_goes_no_further(tmp_path: Path) -> None:
    async with fleet(tmp_path, *(FakeEndpoint(faults=Fault(status=400)) for _ in range(2))) as f:
        with pytest.raises(openai.BadRequestError):
            await f.ask()
        assert sum(f.asked) == 1
        assert [e["state"] for e in (await f.health())["endpoints"]] == ["closed", "closed"]


async def test_a_member_cools_down_once_all_its_endpoints_do(tmp_path: Path) -> None:
    limited = [FakeEndpoint(faults=[Fault(status=429, retry_after=str(s))]) for s in (40, 20)]
    async with fleet(tmp_path, *limited) as f:
        with pytest.raises(openai.RateLimitError):
            await f.ask()
        assert f.asked == [1, 1]
        with pytest.raises(openai.APIStatusError) as error:
            await f.ask()
        assert f.asked == [1, 1]
        assert 10 <= int(error.value.response.headers["retry-after"]) <= 20
        health = await f.health()
        assert health["state"] == "open"
        assert health["retry_in"] <= 20


async def test_a_lower_priority_is_called_only_while_no_other_can(tmp_path: Path) -> None:
    places = [FakeEndpoint(faults=SLOW), FakeEndpoint(faults=SLOW), FakeEndpoint("Spare.")]
    async with fleet(tmp_path, *places, settings=[{}, {}, {"priority": 2}]) as f:
        await asyncio.gather(*(f.ask(f"question {i}") for i in range(20)))
        assert f.asked[2] == 0
        assert min(f.asked[:2]) > 0


async def test_the_key_of_an_endpoint_goes_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for variable in ("KEY_A", "KEY_B"):
        monkeypatch.setenv(variable, f"secret-{variable}")
    leaks = Fault(status=503, message="you sent secret-KEY_A")
    places = [FakeEndpoint(faults=leaks), FakeEndpoint(faults=Fault(status=503)), FakeEndpoint("Fine.")]
    own = [
        {"api_key_env": "KEY_A", "priority": 1, "headers": {"x-site": "a"}},
        {"api_key_env": "KEY_B", "priority": 2},
        {"api_key_env": "", "priority": 3},
    ]
    async with fleet(tmp_path, *places, settings=own, api_key_env="KEY_B") as f:
        reply = await f.ask()
        assert "secret" not in reply.model_dump_json()
    sent = [p.headers[0] for p in places]
    assert [h.get("Authorization") for h in sent] == ["Bearer secret-KEY_A", "Bearer secret-KEY_B", None]
    assert "secret-KEY_A" not in str(sent[1:])
    assert [h.get("x-site") for h in sent] == ["a", None, None]
    assert "secret" not in caplog.text


async def test_a_tool_loop_goes_on_at_another_endpoint(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Any:
        if body["messages"][-1]["role"] == "tool":
            return "18 degrees."
        return {"tool_calls": [{"id": "theirs", "function": {"name": "weather", "arguments": "{}"}}]}

    places = [FakeEndpoint(reply), FakeEndpoint(reply)]
    async with fleet(tmp_path, *places) as f:
        ask: Any = [{"role": "user", "content": "How warm is it?"}]
        first = await f.ask(model="routemoa", messages=ask, tools=WEATHER)
        message = first.choices[0].message.model_dump(exclude_none=True)
        home = f.asked.index(1)
        places[home]._faults = Fault(status=503)
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "18"}
        second = await f.ask(model="routemoa", messages=[*ask, message, result], tools=WEATHER)
        assert second.choices[0].message.content == "18 degrees."
        assert f.asked[1 - home] == 1


REQUEST = Request((Message("user", "Hi"),))


@asynccontextmanager
async def pair(first: Fault, second: Fault = Fault(), **spec: Any) -> AsyncIterator[tuple[Any, ModelSpec, HttpClient]]:  # noqa: B008
    """Two endpoints, the first of which goes first, and a client that calls them."""
    async with FakeEndpoint("First.", first) as a, FakeEndpoint("Second.", second) as b:
        endpoints = (
            Endpoint(a.url, "a", priority=0, input_price=1.0, output_price=1.0),
            Endpoint(b.url, "b", priority=1, input_price=3.0, output_price=3.0),
        )
        client = HttpClient(retries=RetryPolicy(base=0.01))
        try:
            yield (a, b), ModelSpec("m", a.url, endpoints=endpoints, **spec), client
        finally:
            await client.close()


async def collect(stream: Any) -> Completion:
    async with aclosing(stream) as pieces:
        found = [piece async for piece in pieces]
    assert isinstance(found[-1], Completion)
    return found[-1]


async def test_one_endpoint_hangs_and_the_other_answers() -> None:
    async with pair(HANGS) as ((a, b), spec, client):
        metered = MeteredClient(client, Limits())
        completion = await collect(metered.stream(spec, REQUEST, hedge_after=0.1))
        assert (completion.text, completion.endpoint) == ("Second.", "b")
        assert metered.account.calls == 2
        assert not metered.account.reserved
        assert not metered.awaited
        await asyncio.sleep(0.05)
        assert (a.gone, a.open_requests, b.open_requests) == (1, 0, 0)
        for _ in range(2):  # an endpoint that is overtaken again and again is skipped for a while
            await collect(MeteredClient(client, Limits()).stream(spec, REQUEST, hedge_after=0.1))
        assert [client.memory.health(p).phase for p in spec.places] == ["open", "closed"]
        began = asyncio.get_running_loop().time()
        await collect(MeteredClient(client, Limits()).stream(spec, REQUEST, hedge_after=5.0))
        assert asyncio.get_running_loop().time() - began < 2.0


async def test_the_slower_of_a_pair_may_still_be_the_one_that_answers() -> None:
    async with pair(Fault(first_byte=0.3), Fault(status=503)) as (_, spec, client):
        completion = await collect(MeteredClient(client, Limits()).stream(spec, REQUEST, hedge_after=0.05))
        assert (completion.text, completion.endpoint) == ("First.", "a")
    async with pair(Fault(first_byte=0.3, status=503), Fault(first_byte=0.5)) as (_, spec, client):
        completion = await collect(MeteredClient(client, Limits()).stream(spec, REQUEST, hedge_after=0.05))
        assert (completion.text, completion.endpoint) == ("Second.", "b")


async def test_a_hedge_that_does_not_fit_is_not_made() -> None:
    async with pair(Fault(first_byte=0.3)) as ((_, b), spec, client):
        metered = MeteredClient(client, Limits(max_calls=1))
        assert (await collect(metered.stream(spec, REQUEST, hedge_after=0.05))).text == "First."
        assert not b.requests


async def test_both_hang_until_the_caller_leaves() -> None:
    async with pair(HANGS, HANGS) as ((a, b), spec, client):
        metered = MeteredClient(client, Limits())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await collect(metered.stream(spec, REQUEST, hedge_after=0.1))
        await asyncio.sleep(0.05)
        assert (a.gone, b.gone) == (1, 1)
        assert not metered.account.reserved
        assert [client.memory.running(p) for p in spec.places] == [0, 0]


async def test_each_attempt_is_paid_by_its_own_endpoint_and_within_the_limits() -> None:
    async with pair(Fault(status=503)) as ((a, b), spec, client):
        metered = MeteredClient(client, Limits(max_calls=1))
        with pytest.raises(ModelHTTPError) as error:  # not the limit: what failed says more
            await collect(metered.stream(spec, REQUEST))
        assert (error.value.status, error.value.endpoint) == (503, "a")
        assert (len(a.requests), len(b.requests)) == (1, 0)
        with pytest.raises(BudgetExceeded):
            await RouteMoA(Pool((spec,)), client).answer(Query(REQUEST.messages, limits=Limits(max_cost=1e-6)))
        answer = await RouteMoA(Pool((spec,)), client).answer(Query(REQUEST.messages, limits=Limits(max_cost=1.0)))
        (proposal,) = answer.trace.layers[0].proposals
        assert (proposal.endpoint, answer.text) == ("b", "Second.")
        assert proposal.cost == pytest.approx(2 * 3.0e-6)  # a word read and a word written


async def test_all_fail_and_the_call_is_repeated_in_place_once() -> None:
    async with pair(Fault(status=503), Fault(status=502)) as ((a, b), spec, client):
        with pytest.raises(ModelHTTPError):
            await collect(MeteredClient(client, Limits()).stream(spec, REQUEST))
        assert (len(a.requests), len(b.requests)) == (2, 2)
        failing = RouteMoA(Pool((spec,)), client)
        with pytest.raises(Exception, match="no model could answer"):
            await failing.answer(Query(REQUEST.messages))


async def test_the_plain_client_moves_on_too() -> None:
    async with pair(Fault(status=503)) as ((a, b), spec, client):
        assert (await collect(client.stream(spec, REQUEST))).text == "Second."
        assert (len(a.requests), len(b.requests)) == (1, 1)


async def test_a_call_for_which_no_endpoint_is_left_says_so() -> None:
    async with pair(Fault(status=429, retry_after="50"), Fault(status=429, retry_after="50")) as (_, spec, client):
        with pytest.raises(ModelHTTPError):
            await collect(MeteredClient(client, Limits()).stream(spec, REQUEST))
        with pytest.raises(Unreachable, match="all its endpoints cool down"):
            await collect(MeteredClient(client, Limits()).stream(spec, REQUEST))
