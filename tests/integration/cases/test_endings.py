"""How an answer ended reaches the caller; what is no ending is a failure (cases 01, 03 and 04)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.cases.raw_endpoint import Raw, Reply, delta, endings_of, say, send, setting, sse, text_of

WAYS = [
    pytest.param("routemoa", {}, id="mixture"),
    pytest.param("routemoa", {"stream": True}, id="stream"),
    pytest.param("routemoa", {"stream": True, "routemoa": {"stream_mode": "leader"}}, id="leader"),
    pytest.param("best-single", {}, id="best-single"),
    pytest.param("best-single", {"stream": True}, id="best-single, streamed"),
    pytest.param("cascade", {}, id="cascade"),
    pytest.param("moa", {}, id="moa"),
    pytest.param("self-moa", {"stream": True}, id="self-moa"),
    pytest.param("a", {}, id="member"),
    pytest.param("a", {"stream": True}, id="member, streamed"),
]


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
@pytest.mark.parametrize(("model", "more"), WAYS)
async def test_the_ending_of_the_answer_reaches_the_caller(
    tmp_path: Path, reason: str, model: str, more: dict[str, Any]
) -> None:
    async with setting(tmp_path, say("Once upon a time there was a", reason)) as s:
        response = await s.ask(model, "Tell a story.", max_tokens=20, **more)
        assert response.status == 200
        assert endings_of(response) == [reason]


@pytest.mark.parametrize(
    ("given", "told"), [("MAX_TOKENS", "length"), ("end_turn", "stop"), ("SAFETY", "content_filter")]
)
async def test_other_names_of_endings_are_openais_in_a_mixture_and_their_own_in_a_member(
    tmp_path: Path, given: str, told: str
) -> None:
    async with setting(tmp_path, say("Once upon a time", given)) as s:
        assert endings_of(await s.ask()) == [told]
        assert endings_of(await s.ask("a")) == [given]


def stream(*chunks: Any, done: bool = True) -> Reply:
    return send([sse(c) for c in (*chunks, *(["[DONE]"] if done else []))])


BEGUN = delta({"role": "assistant", "content": "The capital of Fr"})
NO_ENDINGS = [
    stream(BEGUN, delta({"content": ""}, "error")),
    stream(BEGUN, {**delta({}, "error"), "error": {"code": 502, "message": "provider disconnected"}}),
    stream(BEGUN, {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"message": "gone"}}]}),
    stream(BEGUN, delta({}, "abort")),
    stream(BEGUN, delta({}, "insufficient_system_resource")),
    stream(BEGUN, delta({}, "network_error")),
    stream(BEGUN, delta({}, "unknown")),
    stream(BEGUN, done=False),
    stream(delta({"content": "The capital"}, ""), delta({"content": " of Fr"}, ""), done=False),
    stream(delta({"content": "The capital"}, "null"), delta({"content": " of Fr"}, None), done=False),
    send(sse(BEGUN) + "event: error\ndata: provider disconnected\n\n"),
    send(sse(BEGUN) + 'data: {"choices": [{"delta": {"content": "an'),
    say("The capital of Fr", "abort"),
]


@pytest.mark.parametrize("dies", NO_ENDINGS)
@pytest.mark.parametrize("more", [{}, {"stream": True}, {"stream": True, "routemoa": {"stream_mode": "leader"}}])
async def test_an_answer_that_broke_off_is_none_and_the_next_model_answers(
    tmp_path: Path, dies: Reply, more: dict[str, Any]
) -> None:
    async with setting(tmp_path, dies, say("Paris is the capital.")) as s:
        response = await s.ask(**more)
        assert response.status == 200
        assert text_of(response).endswith("Paris is the capital.")
        assert endings_of(response) == ["stop"]
        calls = await s.calls()
        assert [c.outcome == "ok" for c in calls] == [False, True]


@pytest.mark.parametrize("last", [delta({}, "error"), delta({}, "abort"), {"error": {"message": "gone", "code": 502}}])
async def test_what_broke_off_before_it_was_shown_is_not_shown(tmp_path: Path, last: dict[str, Any]) -> None:
    async with setting(tmp_path, send(sse(BEGUN, last, "[DONE]")), say("Paris is the capital.")) as s:
        response = await s.ask(stream=True)
        assert (text_of(response), endings_of(response)) == ("Paris is the capital.", ["stop"])


@pytest.mark.parametrize(
    "ends",
    [
        stream(delta({"content": "Paris"}), delta({}, "stop"), done=False),
        stream(delta({"content": "Paris"}, "")),  # [DONE] is an end, too
        stream(delta({"content": "Paris"})),
        stream(delta({"content": "Paris"}, "stop"), delta({}, "")),
        stream(delta({"content": "Pa"}, "stop"), delta({"content": "ris"}, "stop")),
    ],
)
async def test_an_answer_with_an_end_is_one(tmp_path: Path, ends: Reply) -> None:
    async with setting(tmp_path, ends) as s:
        assert text_of(await s.ask()) == "Paris"


COMPLETE = "They differ in their leaves, in their height, and in where they grow, as anybody can see who walks there."


@pytest.mark.parametrize("model", ["routemoa", "random"])
async def test_a_truncated_answer_never_wins_over_a_complete_equal_one(tmp_path: Path, model: str) -> None:
    cut, whole = say("Half of 84 is 42. The answer is 42", "length"), say("The answer is 42.", "stop")
    async with setting(tmp_path, cut, whole) as s:
        response = await s.ask(model, "What is 84 / 2?", routemoa={"max_calls": 12})
        assert response.status == 200
        if len({e.url for e in s.endpoints if e.requests}) == 2:
            assert endings_of(response) == ["stop"]


async def test_the_judges_learn_that_an_answer_breaks_off(tmp_path: Path) -> None:
    async with setting(tmp_path, say("Half of 84 is 41. The answer is 41", "length"), say("The answer is 42.")) as s:
        response = await s.ask(text="What is 84 / 2?")
        assert s.endpoints[1].requests, "another model is asked, though the first is likely right on other days"
        assert text_of(response) == "The answer is 42."
    async with setting(tmp_path / "b", say("The answer is 41"), say("The answer is 42.")) as s:
        assert text_of(await s.ask(text="What is 84 / 2?")) == "The answer is 41"


async def test_a_shown_answer_that_breaks_off_is_replaced_by_a_complete_equal_one(tmp_path: Path) -> None:
    async with setting(tmp_path, say("The answer is 42", "length"), say("The answer is 42.")) as s:
        response = await s.ask(text="What is 84 / 2?", stream=True, routemoa={"stream_mode": "leader"})
        assert endings_of(response) == (["stop"] if s.endpoints[1].requests else ["length"])


async def test_an_aggregator_that_is_cut_says_so(tmp_path: Path) -> None:
    def reply(text: str) -> Reply:
        def answer(body: dict[str, Any]) -> Raw:
            writes = "write the one final answer" in str(body["messages"])
            return say(f"{text} {COMPLETE}", "length" if writes else "stop")(body)

        return answer

    async with setting(tmp_path, reply("Oaks are trees."), reply("Ferns are no trees at all, said the old man.")) as s:
        for more in ({}, {"stream": True}):
            response = await s.ask("moa", "Compare oaks and ferns.", **more)
            assert endings_of(response) == ["length"]


@pytest.mark.parametrize("model", ["routemoa", "best-single", "cascade"])
@pytest.mark.parametrize("more", [{}, {"stream": True}])
async def test_a_refusal_is_an_answer_that_says_so(tmp_path: Path, model: str, more: dict[str, Any]) -> None:
    async with setting(tmp_path, say(None, refusal="I cannot help with that.")) as s:
        response = await s.ask(model, **more)
        assert response.status == 200
        assert text_of(response) == "I cannot help with that."
        bodies = response.events if more else [response.json]
        messages = [
            c.get("message") or c["delta"] for b in bodies if isinstance(b, dict) for c in b.get("choices") or []
        ]
        assert [m.get("refusal") for m in messages if m.get("refusal")] == ["I cannot help with that."]
        assert endings_of(response) == ["stop"]


@pytest.mark.parametrize("model", ["routemoa", "moa"])
async def test_a_refusal_does_not_win_over_an_answer(tmp_path: Path, model: str) -> None:
    async with setting(tmp_path, say(None, refusal="I cannot."), say("The capital is Paris.")) as s:
        response = await s.ask(model)
        assert s.endpoints[1].requests
        assert text_of(response) == "The capital is Paris."
        assert response.json["choices"][0]["message"]["refusal"] is None
