"""The three stream modes: the final answer, the leading one at once, all events."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import openai
import pytest
from msgspec.structs import replace

from routemoa.core.errors import AllModelsFailed, BudgetExceeded
from routemoa.core.events import (
    AggregatorFailed,
    AggregatorStarted,
    AnswerDelta,
    AnswerReplaced,
    AnyEvent,
    CallFinished,
    CallStarted,
    Degraded,
    Done,
    Event,
    ProposalDelta,
    ProposalFailed,
    ProposalStarted,
    Scored,
    Selected,
    Started,
)
from routemoa.core.failure_kind import FailureKind
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Degradation, Failure
from routemoa.core.types import ModelSpec, from_json
from routemoa.core.usage import Usage
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import ANSWER, HI, Response, Script, serving

MARKER = "\n\n---\n\nBetter:\n\n"
DONE = Done(0.1, Usage(3, 4), 0.5, "stop", 0.25)
REPLACED: tuple[Event, ...] = (
    AnswerDelta("It "),
    AnswerDelta("is 5."),
    AnswerReplaced("the judges prefer the answer of b", "a", MARKER),
    Degraded(Degradation("hedge", "too little is left")),
    AnswerDelta("It is "),
    AnswerDelta("4."),
    DONE,
)
BODY = {"model": "routemoa", "messages": HI, "stream": True}
LEADER = {**BODY, "routemoa": {"stream_mode": "leader"}}
SECRET = "HTTP 401: key sk-secret at http://10.0.0.1 is wrong"


def failed(kind: str, reason: str = "the limit of 2 s was reached (max_seconds)") -> Failure:
    return Failure("b", reason, FailureKind(kind), Usage(), 2.0, None, 401 if kind == "Refused" else None)


def content(response: Response) -> str:
    return "".join(c["choices"][0]["delta"].get("content", "") for c in response.events[:-1] if c["choices"])


async def test_a_leader_that_is_right_streams_like_any_answer() -> None:
    async with serving(Script(AnswerDelta("It is "), 0.02, AnswerDelta("4."), DONE)) as s:
        response = await (await s.raw(LEADER)).whole()
        assert content(response) == "It is 4."
        account = response.events[-2]["routemoa"]
        assert {k: account[k] for k in ("stream_mode", "charged", "given_up", "prices")} == {
            "stream_mode": "leader",
            "charged": 0.25,
            "given_up": [],
            "prices": {},
        }


async def test_what_replaces_the_leaders_answer_is_marked_for_both_kinds_of_clients() -> None:
    async with serving(Script(*REPLACED)) as s:
        response = await (await s.raw({**LEADER, "stream_options": {"include_usage": True}})).whole()
        assert content(response) == f"It is 5.{MARKER}It is 4."
        extended = [c for c in response.events[:-1] if "routemoa" in c]
        assert len(extended) == 2
        assert extended[0]["choices"][0]["delta"] == {"content": MARKER}
        about = extended[0]["routemoa"]
        why = "the judges prefer the answer of b"
        assert about == {"event": "continuation", "why": why, "leader": "a", "replaces": len("It is 5.")}
        assert extended[1]["routemoa"]["given_up"] == [
            {"what": "hedge", "why": "too little is left", "models": [], "parameters": []}
        ]
        assert [c["usage"] for c in response.events[:-2]] == [None] * 7
        final = await (await s.raw({**BODY, "stream": False})).whole()
        assert final.json["choices"][0]["message"]["content"] == "It is 4."
        assert final.json["routemoa"]["stream_mode"] == "final"


async def test_the_official_sdk_in_leader_and_in_final_mode() -> None:
    async with serving(Script(*REPLACED)) as s:
        seen, text = [], ""
        stream = await s.sdk.chat.completions.create(
            model="routemoa", messages=HI, stream=True, extra_body={"routemoa": {"stream_mode": "leader"}}
        )
        async for chunk in stream:
            about = (chunk.model_extra or {}).get("routemoa", {})
            text += chunk.choices[0].delta.content or ""
            if about.get("event") == "continuation":  # a client that knows it
                seen.append(text[: about["replaces"]])
                text = ""
        assert (seen, text) == (["It is 5."], "It is 4.")
    async with serving(Script(*ANSWER)) as s:
        stream = await s.sdk.chat.completions.create(
            model="routemoa", messages=HI, stream=True, extra_body={"routemoa": {"stream_mode": "final"}}
        )
        assert "".join([c.choices[0].delta.content or "" async for c in stream]) == "Hello."


@pytest.mark.alone
async def test_the_first_piece_goes_out_as_it_comes() -> None:
    async with serving(Script(0.05, AnswerDelta("It"), 0.6, *REPLACED)) as s:
        begun = time.perf_counter()
        caller = await s.raw(BODY)
        got = b""
        while b'"It"' not in got:
            got += await asyncio.wait_for(caller.reader.read(65536), 2)
        assert time.perf_counter() - begun < 0.4
        await caller.all()


async def test_a_continuation_of_nothing_is_none() -> None:
    async with serving(Script(AnswerReplaced("it is not whole", "a", MARKER), AnswerDelta("4."), DONE)) as s:
        assert content(await (await s.raw(LEADER)).whole()) == "4."


@pytest.mark.parametrize("kind", ["TimedOut", "Unaffordable"])
async def test_an_aggregator_whose_time_is_over_is_replaced_in_leader_mode(kind: str) -> None:
    steps = (
        AggregatorStarted("b"),
        AnswerDelta("It mi"),
        AggregatorFailed(failed(kind)),
        AnswerDelta("It is 4."),
        DONE,
    )
    async with serving(Script(*steps)) as s:
        response = await (await s.raw(LEADER)).whole()
        text = content(response)
        assert text.startswith("It mi\n\n---\n\n")
        assert text.endswith(":\n\nIt is 4.")
        [about] = [c["routemoa"] for c in response.events[:-2] if "routemoa" in c]
        assert about["event"] == "continuation"
        assert about["replaces"] == len("It mi")
        assert response.events[-1] == "[DONE]"


@pytest.mark.parametrize("kind", ["TimedOut", "Unaffordable", "Garbled", "Refused", "Unreachable"])
async def test_by_default_nothing_replaces_what_an_aggregator_wrote(kind: str) -> None:
    steps = (AggregatorStarted("b"), AnswerDelta("It mi"), AggregatorFailed(failed(kind)), AnswerDelta("4."), DONE)
    async with serving(Script(*steps)) as s:
        response = await (await s.raw(BODY)).whole()
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in response.events[:-1]) == "It mi"
        assert response.events[-1]["error"]["code"] == "answer_interrupted"
        assert b'finish_reason":"' not in response.body


async def test_by_default_nothing_replaces_what_a_leader_wrote() -> None:
    """A method of the caller's own may not know the modes."""
    async with serving(Script(*REPLACED)) as s:
        response = await (await s.raw(BODY)).whole()
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in response.events[:-1]) == "It is 5."
        assert response.events[-1]["error"]["code"] == "answer_interrupted"


async def test_an_aggregator_that_broke_still_breaks_the_stream() -> None:
    steps = (AggregatorStarted("b"), AnswerDelta("It mi"), AggregatorFailed(failed("Garbled")), AnswerDelta("4."), DONE)
    async with serving(Script(*steps)) as s:
        response = await (await s.raw(LEADER)).whole()
        assert response.events[-1]["error"]["code"] == "answer_interrupted"


async def test_an_aggregator_that_failed_before_its_text_was_shown_changes_nothing() -> None:
    head = REPLACED[:3]
    steps = (*head, AggregatorStarted("b"), AggregatorFailed(failed("Garbled")), AnswerDelta("It is 4."), DONE)
    async with serving(Script(*steps)) as s:
        assert content(await (await s.raw(LEADER)).whole()) == f"It is 5.{MARKER}It is 4."


@pytest.mark.parametrize("mode", ["leader", "events"])
async def test_private_reasons_of_failures_are_shown_in_no_mode(mode: str) -> None:
    failure = failed("Refused", SECRET)
    steps = (
        Selected(1, ("b",)),
        ProposalStarted(1, "b"),
        AnswerDelta("It"),
        ProposalFailed(1, failure),
        AnswerReplaced(f"b failed: {failure.public_reason}", "b", MARKER),
        CallStarted("moderate", "b"),
        CallFinished("moderate", failure=failure),
        AnswerDelta("4."),
        DONE,
    )
    async with serving(Script(*steps)) as s:
        raw = (await (await s.raw({**BODY, "routemoa": {"stream_mode": mode}})).whole()).body
        assert b"secret" not in raw
        assert b"10.0.0.1" not in raw
        assert b"its endpoint refused this server (HTTP 401)" in raw


async def test_everything_as_typed_events() -> None:
    steps = (Selected(1, ("a",)), ProposalStarted(1, "a"), ProposalDelta(1, "a", "It"), *REPLACED)
    async with serving(Script(*steps)) as s:
        response = await (await s.raw({**BODY, "routemoa": {"stream_mode": "events"}})).whole()
        assert response.headers["content-type"].startswith("text/event-stream")
        blocks = response.body.decode().strip().split("\n\n")
        assert blocks.pop() == "data: [DONE]"
        seen: list[Event] = []
        for block in blocks:
            first, second = block.split("\n")
            data = second.removeprefix("data: ")
            assert first == f"event: {msgspec.json.decode(data)['event']}"
            seen.append(from_json(data, AnyEvent))  # type: ignore[arg-type]
        assert isinstance(seen[0], Started)
        assert tuple(seen[1:]) == steps


async def test_the_last_typed_event_names_the_response_and_sums_it_up() -> None:
    async with serving(Script(*ANSWER)) as s:
        body = {"model": "routemoa", "messages": HI, "stream": True, "routemoa": {"stream_mode": "events"}}
        *_, done, end = (await (await s.raw(body)).whole()).events
    assert end == "[DONE]"
    assert done["event"] == "done"
    assert done["id"].startswith("chatcmpl-")
    assert {"stop_reason", "calls", "cost", "charged", "prices", "routes_not_taken"} <= done["routemoa"].keys()


async def test_limits_too_small_have_their_status_among_typed_events_too() -> None:
    async with serving(Script(Scored({"a": 0.5}, ()), BudgetExceeded("$0.1 are left"))) as s:
        response = await (await s.raw({**BODY, "routemoa": {"stream_mode": "events"}})).whole()
        assert (response.status, response.error["code"]) == (400, "contract_too_small")


async def test_an_error_among_typed_events_is_typed_too() -> None:
    async with serving(Script(Selected(1, ("a",)), AllModelsFailed([failed("TimedOut")]))) as s:
        raw = (await (await s.raw({**BODY, "routemoa": {"stream_mode": "events"}})).whole()).body.decode()
        last = raw.strip().split("\n\n")[-1]
        assert last.startswith('event: error\ndata: {"error":')
        assert "[DONE]" not in raw


def panel(url: str) -> Pool:
    """A leader with the best prior, and two models that agree with each other."""
    priors = {"a": 0.62, "b": 0.6, "c": 0.6}
    return Pool(tuple(ModelSpec(n, url, n, prior=p) for n, p in priors.items()), Mixture())


@pytest.mark.parametrize("answers", [{"a": "4", "b": "4", "c": "4"}, {"a": "5", "b": "4", "c": "4"}])
@pytest.mark.parametrize("mode", ["leader", "final", "events"])
async def test_the_real_engine_in_every_mode(answers: dict[str, str], mode: str) -> None:
    def reply(body: dict[str, Any]) -> str:
        return f"The answer is \\boxed{{{answers[body['model']]}}}"

    async with FakeEndpoint(reply, faults=Fault(between=0.002)) as e:
        pool = panel(e.url)
        async with serving(pool=pool) as s:
            response = await (await s.raw({**BODY, "routemoa": {"stream_mode": mode}})).whole()
            whole = await (await s.raw({**BODY, "stream": False})).whole()
            final = whole.json["choices"][0]["message"]["content"]
            if mode == "events":
                assert b"event: proposal_delta" in response.body
                assert response.events[-1] == "[DONE]"
                return
            shown, cut = content(response), 0
            for chunk in response.events[:-1]:
                if chunk.get("routemoa", {}).get("event") == "continuation":
                    assert mode == "leader"
                    cut = chunk["routemoa"]["replaces"] + len(chunk["choices"][0]["delta"]["content"])
            assert shown[cut:] == final or (mode == "leader" and not cut)
            assert answers["b"] in shown[cut:]


@pytest.mark.parametrize("mode", ["leader", "final", "events"])
async def test_the_real_engine_shows_nothing_that_an_endpoint_says_about_its_key(mode: str) -> None:
    """The leader's stream breaks off with a 401: its full reason is for the log and for traces alone."""
    refusing = Fault(error_after=2, error_code=401, between=0.02, message="key sk-secret at http://10.0.0.1 is wrong")
    async with FakeEndpoint("It is 5.", refusing) as bad, FakeEndpoint("It is 4.", Fault(between=0.01)) as good:
        pool = panel(good.url)
        leader = replace(pool["a"], endpoint=bad.url)
        async with serving(pool=Pool((leader, *pool.models[1:]), pool.mixture)) as s:
            raw = (await (await s.raw({**BODY, "routemoa": {"stream_mode": mode}})).whole()).body
            whole = (await (await s.raw({**BODY, "stream": False})).whole()).body
    assert b"It is 4." in whole
    for body in (raw, whole):
        assert b"secret" not in body
        assert b"10.0.0.1" not in body
    if mode == "leader":
        assert b'"why":"a failed: its endpoint refused this server (HTTP 401)"' in raw
    assert (b'"reason":"its endpoint refused this server (HTTP 401)"' in raw) == (mode == "events")


async def test_the_sdk_sees_an_early_failure_as_one() -> None:
    async with serving(Script(0.01, AllModelsFailed([failed("TimedOut")]))) as s:
        with pytest.raises(openai.InternalServerError) as caught:
            await s.sdk.chat.completions.create(model="routemoa", messages=HI, stream=True)
        assert caught.value.status_code == 504
