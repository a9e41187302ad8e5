"""A plain client's stream holds exactly one coherent answer, however the models behave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import pytest
from msgspec import Struct

from routemoa.core.errors import InvalidResponse, ModelError, ModelHTTPError, ModelTimeout
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Completion, Limits, ModelSpec, Request
from routemoa.core.usage import Usage
from routemoa.mixture.baselines.best_single import best_single
from routemoa.mixture.baselines.moa import MoA
from routemoa.mixture.baselines.self_moa import SelfMoA
from routemoa.mixture.calls.leader_stream import BROKEN_MARKER
from routemoa.mixture.engine import RouteMoA
from tests.gateway.harness import HI, Response, serving

BODY = {"model": "routemoa", "messages": HI, "stream": True}
Step = str | float | ModelError
ESSAYS = {
    "a": "Rain falls down from clouds when droplets merge.",
    "b": "Quite another view of seasons and of wind, this.",
    "c": "Water vapour rises and cools over the mountains.",
}
TWO: dict[str, Any] = {"top_k": 2, "fusion": "published-small", "layers": 1}
WRITTEN = "Both together, in one text."


class Models:
    """Models that follow a script each call: they write pieces, wait for seconds, fail."""

    def __init__(self, script: Callable[[str, Request], Sequence[Step]]) -> None:
        self.calls: list[tuple[str, Request]] = []
        self._script = script

    async def stream(self, model: ModelSpec, request: Request) -> AsyncGenerator[str | Completion, None]:
        self.calls.append((model.name, request))
        text = ""
        for step in self._script(model.name, request):
            if isinstance(step, ModelError):
                raise step
            if isinstance(step, str):
                text += step
                yield step
            else:
                await asyncio.sleep(step)
        yield Completion(text, Usage(3, 4), "stop")

    async def close(self) -> None: ...


class Plain(Struct):
    """What a client that knows only OpenAI's format reads."""

    text: str
    finish_reason: str | None
    error: dict[str, Any] | None
    done: bool


def read(response: Response) -> Plain:
    plain = Plain("", None, None, False)
    for event in response.events:
        if event == "[DONE]":
            plain.done = True
        elif "error" in event:
            plain.error = event["error"]
        else:
            for choice in event["choices"]:
                plain.text += choice["delta"].get("content", "")
                plain.finish_reason = choice["finish_reason"] or plain.finish_reason
    return plain


def pool(alone: bool, **mixture: Any) -> Pool:
    """A pool whose gate chooses `a` alone, or a panel of two."""
    priors = {"a": 0.97 if alone else 0.6, "b": 0.5 if alone else 0.59, "c": 0.4 if alone else 0.58}
    return Pool(tuple(ModelSpec(n, "http://x/v1", n, prior=p) for n, p in priors.items()), Mixture(**mixture))


def writes(name: str) -> list[Step]:
    return [word + " " for word in ESSAYS[name].split()]


def is_aggregation(request: Request) -> bool:
    return "one final answer" in request.messages[-1].content


async def ask(members: Pool, models: Models, body: dict[str, Any] | None = None, method: Any = RouteMoA) -> Response:
    async with serving(method(members, models), pool=members) as s:
        return await (await s.raw({**BODY, **(body or {})})).whole()


FAILURES: dict[str, ModelError] = {
    "cut": InvalidResponse("a", "the stream was cut off before its end", produced=True),
    "HTTP 500": ModelHTTPError("a", "HTTP 500", status=500),
    "HTTP 429": ModelHTTPError("a", "HTTP 429", status=429),
    "idle": ModelTimeout("a", "nothing came for 60 s"),
}


@pytest.mark.alone
async def test_a_model_that_the_gate_chose_streams_as_it_writes() -> None:
    models = Models(lambda name, _: ["It ", 0.5, "is ", "4."])
    async with serving(RouteMoA(pool(alone=True), models), pool=pool(alone=True)) as s:
        begun = time.perf_counter()
        caller = await s.raw(BODY)
        got = b""
        while b'"It "' not in got:
            got += await asyncio.wait_for(caller.reader.read(65536), 2)
        assert time.perf_counter() - begun < 0.4
        assert b"is 4." not in got
        rest = await caller.all()
    assert b'"stream_mode":"final"' in rest
    assert b"one model alone" in rest
    [(name, request)] = models.calls
    assert name == "a"
    assert request.messages[-1].content == "Hi"  # asked for nothing but its answer


async def test_a_panel_streams_once_a_choice_stands() -> None:
    def script(name: str, request: Request) -> Sequence[Step]:
        return ["Both ", "together, ", "in one text."] if is_aggregation(request) else writes(name)

    models = Models(script)
    plain = read(await ask(pool(alone=False, **TWO), models))
    assert (plain.text, plain.finish_reason, plain.error, plain.done) == (WRITTEN, "stop", None, True)
    assert len(models.calls) > 2


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_lone_model_that_fails_unseen_is_replaced_silently(failure: str) -> None:
    models = Models(lambda name, _: [FAILURES[failure]] if name == "a" else ["The answer ", "is 4."])
    plain = read(await ask(pool(alone=True), models))
    assert (plain.text.strip(), plain.finish_reason, plain.error) == ("The answer is 4.", "stop", None)


@pytest.mark.parametrize("blank", ["", "\n\n", " \n \t"])
async def test_white_space_alone_is_not_seen(blank: str) -> None:
    models = Models(lambda name, _: [blank, FAILURES["cut"]] if name == "a" else ["The answer is 4."])
    plain = read(await ask(pool(alone=True), models))
    assert (plain.text.strip(), plain.finish_reason, plain.error) == ("The answer is 4.", "stop", None)


@pytest.mark.parametrize("failure", FAILURES)
async def test_where_a_lone_model_fails_in_the_middle_another_one_answers(failure: str) -> None:
    models = Models(lambda name, _: ["It is ", "wr", FAILURES[failure]] if name == "a" else ["The answer is 4."])
    plain = read(await ask(pool(alone=True), models))
    assert plain.text == f"It is wr{BROKEN_MARKER}The answer is 4."
    assert (plain.finish_reason, plain.error, plain.done) == ("stop", None, True)


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_method_of_one_model_that_fails_in_the_middle_ends_the_stream(failure: str) -> None:
    models = Models(lambda name, _: ["It is ", "wr", FAILURES[failure]] if name == "a" else ["The answer is 4."])
    plain = read(await ask(pool(alone=True), models, {"model": "best-single"}, best_single))
    assert plain.text == "It is wr"
    assert plain.finish_reason is None
    assert not plain.done
    assert plain.error is not None
    assert plain.error["code"] == "answer_interrupted"
    assert [n for n, _ in models.calls] == ["a"]  # nothing more is paid for


@pytest.mark.parametrize("method", [RouteMoA, best_single])
async def test_a_lone_model_whose_time_is_over_ends_as_a_cut_answer(method: Any) -> None:
    models = Models(lambda *_: ["It is ", "a long", 9.0])
    name = "routemoa" if method is RouteMoA else "best-single"
    body = {"model": name, "routemoa": {"max_seconds": 0.4}}
    response = await ask(pool(alone=True), models, body, method)
    plain = read(response)
    assert (plain.text, plain.finish_reason, plain.error, plain.done) == ("It is a long", "length", None, True)
    assert response.events[-2]["routemoa"]["given_up"][-1]["what"] == "ending"


async def test_a_lone_model_that_writes_has_all_the_time_there_is() -> None:
    """A layer leaves time for another one; there is none after an answer that has been shown."""
    models = Models(lambda *_: ["It "] + [step for _ in range(8) for step in (0.1, "is ")] + ["so."])
    plain = read(await ask(pool(alone=True), models, {"routemoa": {"max_seconds": 1.4}}))
    assert (plain.text, plain.finish_reason) == ("It " + "is " * 8 + "so.", "stop")


async def test_a_lone_model_that_is_silent_leaves_time_for_another() -> None:
    models = Models(lambda name, _: [9.0] if name == "a" else ["The answer is 4."])
    plain = read(await ask(pool(alone=True), models, {"routemoa": {"max_seconds": 1.0}}))
    assert (plain.text.strip(), plain.finish_reason) == ("The answer is 4.", "stop")


@pytest.mark.parametrize("method", [RouteMoA, MoA, SelfMoA])
@pytest.mark.parametrize("failure", FAILURES)
async def test_an_aggregator_that_fails_in_the_middle_ends_the_stream(method: Any, failure: str) -> None:
    def script(name: str, request: Request) -> Sequence[Step]:
        return ["Both to", FAILURES[failure]] if is_aggregation(request) else writes(name)

    models = Models(script)
    name = {RouteMoA: "routemoa", MoA: "moa", SelfMoA: "self-moa"}[method]
    plain = read(await ask(pool(alone=False, **TWO), models, {"model": name}, method))
    if method is SelfMoA:  # one model's samples are equal here: no aggregator writes
        assert plain.error is None or plain.text == "Both to"
        return
    assert plain.text == "Both to"
    assert plain.finish_reason is None
    assert plain.error is not None
    assert sum(is_aggregation(r) for _, r in models.calls) == 1


async def test_an_aggregator_whose_time_is_over_ends_as_a_cut_answer() -> None:
    def script(name: str, request: Request) -> Sequence[Step]:
        return ["Both to", 9.0] if is_aggregation(request) else writes(name)

    response = await ask(pool(alone=False, **TWO), Models(script), {"routemoa": {"max_seconds": 0.8}})
    plain = read(response)
    assert (plain.text, plain.finish_reason, plain.error, plain.done) == ("Both to", "length", None, True)
    assert response.events[-2]["routemoa"]["aggregator"] is not None


async def test_an_aggregator_that_fails_unseen_is_replaced_silently() -> None:
    def script(name: str, request: Request) -> Sequence[Step]:
        if not is_aggregation(request):
            return writes(name)
        return [" \n", FAILURES["cut"]] if first.pop() else ["Both together, ", "in one text."]

    first = [False, True]
    plain = read(await ask(pool(alone=False, **TWO), Models(script)))
    assert (plain.text, plain.finish_reason, plain.error) == (WRITTEN, "stop", None)


async def test_a_response_in_one_piece_replaces_until_the_end() -> None:
    models = Models(lambda name, _: ["It is ", "wr", FAILURES["cut"]] if name == "a" else ["The answer is 4."])
    response = await ask(pool(alone=True), models, {"stream": False})
    assert response.json["choices"][0]["message"]["content"] == "The answer is 4."
    assert response.json["routemoa"]["stream_mode"] == "final"


@pytest.mark.parametrize(
    ("members", "alone"),
    [
        (pool(alone=True), True),
        (pool(alone=False), False),
        (Pool((ModelSpec("a", "http://x/v1", prior=0.3),)), True),
        (Pool((ModelSpec("a", "http://x/v1", prior=0.3),), Mixture(fusion="published-small")), True),
        (pool(alone=False, top_k=1, max_models=1), True),
        (pool(alone=False, top_k=1, layers=1), True),
        (pool(alone=False, top_k=1), False),
        (pool(alone=False, top_k=1, fusion="published-small", layers=1), True),
        (pool(alone=False, top_k=1, fusion="published-small"), False),
        (pool(alone=True, fusion="published-small", margin=0.05), False),
    ],
)
async def test_a_model_streams_at_once_only_where_no_other_can_be_called(members: Pool, alone: bool) -> None:
    models = Models(lambda name, _: ["It is ", 0.05, *writes(name)])
    async with serving(RouteMoA(members, models), pool=members) as s:
        caller = await s.raw(BODY)
        got = b""
        while b'content":"It is' not in got:
            piece = await asyncio.wait_for(caller.reader.read(65536), 2)
            assert piece, got
            got += piece
        assert (b"droplets" not in got) == alone
        await caller.all()


async def test_where_limits_replace_the_gates_model_another_may_follow() -> None:
    members = pool(alone=True)
    cheap = tuple(
        ModelSpec(m.name, m.endpoint, prior=m.prior, input_price=1.0, output_price=1e6 if m.name == "a" else 1.0)
        for m in members
    )
    limited = Pool(cheap, members.mixture, limits=Limits(max_cost=0.05))
    models = Models(lambda name, _: writes(name))
    plain = read(await ask(limited, models))
    assert plain.text.strip() in ESSAYS.values()
    assert plain.finish_reason in ("stop", "length")


@pytest.mark.parametrize("seed", range(12))
async def test_a_stream_is_one_text_of_one_model(seed: int) -> None:
    """Whatever fails when: what a plain client reads is one model's text, whole, or cut and said to be cut."""
    kinds: list[Step] = [*FAILURES.values(), 0.01, " \n", "word ", "word "]

    def script(name: str, request: Request) -> Sequence[Step]:
        tag = f"[{name}{len(models.calls)}]"
        steps = [kinds[(seed * 7 + len(models.calls) * 5 + i * 3) % len(kinds)] for i in range(1 + seed % 4)]
        return [tag if isinstance(s, str) and s.strip() else s for s in steps] + [tag, tag]

    models = Models(script)
    response = await ask(pool(alone=seed % 2 == 0), models)
    if response.status != 200:
        assert response.error["code"] == "no_model_left"
        return
    plain = read(response)
    marks = {mark + "]" for mark in plain.text.replace("\n", "").replace(" ", "").split("]") if mark}
    assert len(marks) == 1, plain.text
    assert (plain.error is None) == plain.done == (plain.finish_reason is not None)
