"""Which members a query calls: breakers over whole queries, with clients that fail as they are told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from time import monotonic
from typing import Any

import pytest

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.clients.retry import Retry, RetryPolicy
from routemoa.core.errors import AllModelsFailed, ContextExceeded, ModelError, ModelHTTPError, ModelTimeout, Unreachable
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Trace
from routemoa.core.types import Completion, Message, ModelSpec, Query, Request
from routemoa.core.usage import Usage
from routemoa.mixture.calls import admission
from routemoa.mixture.engine import RouteMoA
from routemoa.mixture.method_registry import build_method


class Endpoints:
    """A client with a memory and a clock of its own. `errors`: how a model's calls end, one for each or for all."""

    def __init__(self, **errors: ModelError | list[ModelError | None] | float) -> None:
        self.now = 1000.0
        self.memory = MemberMemory(clock=lambda: self.now, jitter=lambda: 0.5)
        self.calls: list[str] = []
        self.running = 0
        self._errors = errors

    async def attempt(
        self, model: ModelSpec, request: Request, deadline: float
    ) -> AsyncGenerator[str | Completion, None]:
        self.calls.append(model.name)
        plan = self._errors.get(model.name)
        error = (plan.pop(0) if plan else None) if isinstance(plan, list) else plan
        await asyncio.sleep(error if isinstance(error, float) else 0)
        if isinstance(error, ModelError):
            raise error
        yield "The answer is 4."
        yield Completion("The answer is 4.", Usage(10, 5), "stop", 0.01, 0.01)

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        async for piece in self.attempt(model, request, 0.0):
            yield piece

    def new_retry(self, model: ModelSpec) -> Retry:
        return Retry(RetryPolicy(base=0.0).in_place, monotonic() + 10.0)

    async def close(self) -> None:
        pass


def pool(names: str = "abcde", mixture: Mixture = Mixture(), **members: dict[str, Any]) -> Pool:  # noqa: B008
    specs = (
        ModelSpec(n, f"http://{n}/v1", n, prior=0.9 - i / 20, input_price=1.0, output_price=1.0, **members.get(n, {}))
        for i, n in enumerate(names)
    )
    return Pool(tuple(specs), mixture)


async def ask(client: Endpoints, chosen: Pool, method: str = "routemoa", text: str = "2+2?") -> Trace:
    return (await build_method(chosen, method, client).answer(Query((Message("user", text),)))).trace


def limited(seconds: float, name: str = "a") -> ModelHTTPError:
    return ModelHTTPError(name, "HTTP 429: slow down", status=429, retry_after=seconds)


def busy(name: str = "a") -> ModelHTTPError:
    return ModelHTTPError(name, "HTTP 503: busy", status=503)


METHODS = ("routemoa", "moa", "smoa", "random", "cascade")
BROKEN: list[ModelError] = [
    busy(),
    limited(20),
    Unreachable("a", "refused"),
    Unreachable("a", "reset", sent=True),
    ModelTimeout("a", "no connection within 3 s", sent=False),
    ModelHTTPError("a", "HTTP 401: no", status=401),
    ModelHTTPError("a", "HTTP 404: no such model", status=404),
    ModelHTTPError("a", "HTTP 500: oops", status=500),
    ModelHTTPError("a", "HTTP 529: overloaded", status=529),
    ModelHTTPError("a", "HTTP 402: no credits", status=402),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", BROKEN, ids=lambda e: e.reason)
async def test_a_broken_member_is_called_a_few_times_and_then_skipped(error: ModelError, method: str) -> None:
    client = Endpoints(a=error)
    for number in range(1, 7):
        trace = await ask(client, pool(), method)
        assert trace.usage.prompt_tokens is not None, "usage is not null for its sake"
        assert trace.cost is not None
        assert all(f.kind != "Cut" for layer in trace.layers for f in layer.failures if f.model == "a")
        if number > 3 and method != "random":
            skips = {s.model: s.reason for s in trace.skipped}
            assert "a" not in [p.model for layer in trace.layers for p in layer.proposals]
            assert method == "cascade" or skips["a"].startswith("skipped: cooling down ")
    assert client.calls.count("a") <= 3


@pytest.mark.parametrize("fusion", ["adaptive", "published-small"])
async def test_a_query_goes_as_it_would_without_the_member_that_cools_down(fusion: Any) -> None:
    client = Endpoints(a=limited(20))
    chosen = pool(mixture=Mixture(fusion=fusion))
    await ask(client, chosen)
    with_a = await ask(client, chosen)
    without = await ask(Endpoints(), Pool(chosen.models[1:], chosen.mixture))
    assert [layer.selected for layer in with_a.layers] == [layer.selected for layer in without.layers]
    assert [r.model for r in with_a.ranking] == [*(r.model for r in without.ranking), "a"]
    assert with_a.ranking[-1].why == "skipped in this query"
    [skip] = with_a.skipped
    assert (skip.model, skip.kind, skip.status) == ("a", "cooling", 429)
    assert skip.reason == "skipped: cooling down 20 s after HTTP 429"


@pytest.mark.alone
async def test_its_place_is_taken_at_once_and_nothing_is_waited_for() -> None:
    client = Endpoints(a=limited(3))
    begun = monotonic()
    trace = await ask(client, pool("ab"))
    assert monotonic() - begun < 0.5
    assert client.calls == ["a", "b"]
    assert [f.reason for f in trace.layers[0].failures] == ["HTTP 429: slow down"]


@pytest.mark.parametrize(
    ("errors", "calls"),
    [
        ({"a": busy()}, ["a", "b"]),  # another is ready: it is called, and the first not again
        ({"a": busy(), "b": [busy("b"), None]}, ["a", "b", "b"]),  # the last one is tried once more
        ({"a": busy(), "b": [limited(0.01, "b"), None]}, ["a", "b", "b"]),
        ({"a": [busy(), None], "b": ModelHTTPError("b", "HTTP 400", status=400)}, ["a", "b"]),
    ],
)
async def test_only_the_last_member_is_tried_again(errors: dict[str, Any], calls: list[str]) -> None:
    client = Endpoints(**errors)
    try:
        await ask(client, pool("ab", Mixture(top_k=1)))
    except AllModelsFailed:
        assert calls == ["a", "b"]
    assert client.calls == calls


async def test_no_member_of_a_dead_pool_is_called_more_than_twice() -> None:
    for method in METHODS:
        client = Endpoints(**{n: busy(n) for n in "abcde"})
        with pytest.raises(AllModelsFailed) as caught:
            await ask(client, pool(), method)
        assert max(map(client.calls.count, "abcde")) <= 2, method
        assert {f.model for f in caught.value.failures} <= set("abcde")


async def test_after_its_time_one_query_tries_it_and_the_others_do_not() -> None:
    client = Endpoints(a=[limited(20)])
    chosen = pool(mixture=Mixture(top_k=1))
    await ask(client, chosen)
    client.now += 21.0
    client.calls.clear()
    client._errors["a"] = 0.05
    traces = await asyncio.gather(*(ask(client, chosen) for _ in range(10)))
    assert client.calls.count("a") == 1
    assert sum(bool(t.skipped) for t in traces) == 9
    client._errors.pop("a")
    assert (await ask(client, chosen)).choice == "a", "it answered: it is well again"


async def test_a_probe_that_is_cancelled_or_refused_for_the_requests_sake_proves_nothing() -> None:
    client = Endpoints(a=[limited(20)])
    chosen = pool(mixture=Mixture(top_k=1))
    await ask(client, chosen)
    client.now += 21.0
    client._errors["a"] = 5.0
    task = asyncio.create_task(ask(client, chosen))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    client._errors["a"] = [ModelHTTPError("a", "HTTP 400", status=400)]
    await ask(client, chosen)
    assert client.memory.health(chosen["a"]).phase == "half-open"
    assert (await ask(client, chosen)).choice == "a"
    assert client.memory.health(chosen["a"]).phase == "closed"


async def test_where_all_cool_down_the_least_bad_is_tried() -> None:
    client = Endpoints(a=busy(), b=busy("b"))
    chosen = pool("ab")
    for _ in range(3):
        with pytest.raises(AllModelsFailed):
            await ask(client, chosen)
    assert client.memory.skip_seconds(chosen["a"]) is not None
    client._errors.clear()
    client.calls.clear()
    client.now += 1.5
    trace = await ask(client, chosen)
    assert len(set(client.calls)) == 1
    assert len(trace.skipped) == 1


@pytest.mark.parametrize("fusion", ["adaptive", "published-small", "published-large"])
async def test_where_all_the_others_fail_one_that_cools_down_is_a_last_resort(fusion: Any) -> None:
    chosen = pool("abc", Mixture(fusion=fusion))
    client = Endpoints(a=busy())
    for _ in range(3):
        await ask(client, chosen)
    assert client.memory.skip_seconds(chosen["a"]) is not None
    client._errors = {"b": ModelHTTPError("b", "HTTP 500", status=500), "c": Unreachable("c", "reset", sent=True)}
    trace = await ask(client, chosen)
    assert trace.choice == "a"
    assert trace.layers[0].proposals[0].model == "a"
    assert [s.model for s in trace.skipped] == ["a"]


async def test_what_said_itself_when_to_return_is_not_called_before() -> None:
    client = Endpoints(a=limited(900), b=limited(30, "b"))
    with pytest.raises(AllModelsFailed):
        await ask(client, pool("ab"))
    client.calls.clear()
    with pytest.raises(AllModelsFailed) as caught:
        await ask(client, pool("ab"))
    assert client.calls == []
    assert caught.value.failures == ()
    assert {s.model: s.retry_after for s in caught.value.skipped} == {"a": 900.0, "b": 30.0}


async def test_requests_that_are_wrong_open_nothing() -> None:
    for status in (400, 413, 422):
        client = Endpoints(a=ModelHTTPError("a", "no", status=status))
        for _ in range(5):
            await ask(client, pool())
        assert client.calls.count("a") == 5


@pytest.mark.alone
async def test_a_member_of_unknown_speed_is_given_up_and_gets_more_time_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("calls.admission", "query_limits"):
        monkeypatch.setattr(f"routemoa.mixture.{module}.SLOW_SECONDS", 0.05)
    client = Endpoints(a=0.15)
    chosen = pool("ab", Mixture(top_k=1))
    method = RouteMoA(chosen, client)
    choices = []
    for _ in range(5):
        begun = monotonic()
        trace = (await method.answer("2+2?")).trace
        assert monotonic() - begun < 0.5
        choices.append(trace.choice)
        assert client.memory.skip_seconds(chosen["a"]) is not None or trace.choice == "a"
        client.now += 1000.0
    assert choices == ["b", "b", "a", "a", "a"], "0.05 s, 0.1 s, 0.2 s, then its own time: a slow model comes to answer"


async def test_without_a_reserve_it_is_given_up_once_another_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("calls.admission", "query_limits"):
        monkeypatch.setattr(f"routemoa.mixture.{module}.SLOW_SECONDS", 0.05)
    client = Endpoints(b=30.0)
    mixture = Mixture(fusion="published-small", margin=1.0, layers=1)
    trace = await ask(client, pool("ab", mixture))
    [failure] = trace.layers[0].failures
    assert (failure.model, failure.kind) == ("b", "Cut")
    assert "another model has answered" in failure.reason
    assert client.memory.skip_seconds(pool("ab")["b"]) is not None


@pytest.mark.parametrize("patience", [{"first": 30.0}, {"first": 0.3}])
async def test_its_own_patience_is_kept(patience: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    from routemoa.core.models.patience import Patience

    monkeypatch.setattr(admission, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr("routemoa.mixture.query_limits.SLOW_SECONDS", 0.05)
    client = Endpoints(a=0.15)
    chosen = pool("ab", Mixture(top_k=1), a={"patience": Patience(**patience)})
    assert (await ask(client, chosen)).choice == "a"


# --- contexts


LONG = "word " * 20000


@pytest.mark.parametrize("method", ["routemoa", "moa", "smoa", "self-moa", "best-single", "random", "cascade"])
async def test_a_member_that_cannot_hold_the_prompt_is_not_called(method: str) -> None:
    client = Endpoints()
    chosen = pool("abc", a={"context": 2048}, b={"context": 128_000})
    if method in ("self-moa", "best-single"):
        with pytest.raises(ContextExceeded):
            await ask(client, chosen, method, LONG)
        assert client.calls == []
        return
    trace = await ask(client, chosen, method, LONG)
    assert "a" not in client.calls or method == "smoa"  # whose best model writes the roles, from a short prompt
    assert "a" not in [p.model for layer in trace.layers for p in layer.proposals]
    assert trace.skipped[0].model == "a"
    assert re.fullmatch(
        r"skipped: the prompt has 12,[5-9]\d\d tokens at least, and its context of 2,048 tokens cannot hold it",
        trace.skipped[0].reason,
    )


async def test_nothing_is_spent_where_no_member_can_hold_it() -> None:
    client = Endpoints()
    with pytest.raises(ContextExceeded, match=r"a: skipped: .*; b: skipped: "):
        await ask(client, pool("ab", a={"context": 2048}, b={"context": 4096}), text=LONG)
    assert client.calls == []


async def test_a_member_that_may_be_too_small_is_called_only_where_no_larger_one_is_left() -> None:
    text = "word " * 6000
    client = Endpoints()
    trace = await ask(client, pool("ab", a={"context": 4096}, b={"context": 100_000}), text=text)
    assert set(client.calls) == {"b"}
    assert "may not fit" in trace.skipped[0].reason
    client = Endpoints()
    assert (await ask(client, pool("a", a={"context": 4096}), text=text)).skipped == ()
    assert set(client.calls) == {"a"}
