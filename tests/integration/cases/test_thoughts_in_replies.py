"""Thoughts are never the answer: whole and streamed, in every mode, alone and in a panel (case 19)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from routemoa.clients.http import HttpClient
from routemoa.clients.replies.thoughts import remove_thoughts
from routemoa.core.types import Completion, Message, ModelSpec, Request, Thinking
from tests.integration.cases.raw_endpoint import Raw, Reply, delta, running, say, send, setting, sse, text_of

MARKED = [
    say("<think>France, so I recall its capital.</think>\n\nParis"),
    say("<think>France, so I recall its capital.</think>\n\nParis", size=1),
    say("<think>France, so I recall its capital.</think>\n\nParis", size=5),
    say("[THINK]hmm[/THINK]Paris", size=3),
    say("◁think▷hmm◁/think▷Paris", size=2),
    say("<|channel|>analysis<|message|>hmm<|end|><|start|>assistant<|channel|>final<|message|>Paris<|return|>", size=4),
    say("analysisThey want a city.assistantfinalParis", size=4),
    say("<think>a</think><think>b</think>Paris", size=4),
    say("<think>the `</think>` tag is no end</think>Paris", size=4),
    say("Paris", reasoning_content="hmm, is it Lyon?"),
    say("Paris", reasoning="hmm, is it Lyon?"),
    say("Paris", reasoning_details=[{"type": "reasoning.text", "text": "Lyon?"}]),
]
WAYS = [
    ("routemoa", {}),
    ("routemoa", {"stream": True}),
    ("routemoa", {"stream": True, "routemoa": {"stream_mode": "leader"}}),
    ("best-single", {}),
    ("best-single", {"stream": True}),
    ("cascade", {}),
    ("self-moa", {"stream": True}),
]


@pytest.mark.parametrize("reply", MARKED)
@pytest.mark.parametrize(("model", "more"), WAYS)
async def test_the_answer_holds_no_thought(tmp_path: Path, reply: Reply, model: str, more: dict[str, Any]) -> None:
    async with setting(tmp_path, reply) as s:
        response = await s.ask(model, **more)
        assert response.status == 200
        assert text_of(response) == "Paris"


@pytest.mark.parametrize("reply", MARKED)
async def test_events_show_no_thought(tmp_path: Path, reply: Reply) -> None:
    async with setting(tmp_path, reply) as s:
        body = (await s.ask(stream=True, routemoa={"stream_mode": "events"})).body.decode()
    for thought in ("hmm", "Lyon", "recall", "They want"):
        assert thought not in body
    assert '"thought_length":' in body


async def test_a_member_passes_its_thoughts_on_as_they_are(tmp_path: Path) -> None:
    text = "<think>hmm</think>Paris"
    async with setting(tmp_path, say(text, size=3, reasoning_content="a")) as s:
        assert text_of(await s.ask("a")) == text
        assert text_of(await s.ask("a", stream=True)) == text
        assert (await s.ask("a")).json["choices"][0]["message"]["reasoning_content"] == "a"


ONLY_THOUGHTS = [
    say("<think>hmm, maybe 41? let me see, and then", "length"),
    say("<think>hmm, maybe 41? let me see, and then", "length", size=3),
    say("hmm, maybe 41</think>", "length"),
    say("<think>hmm, it is 41</think>", "stop"),
    say("", "length", reasoning_content="hmm, maybe 41"),
    say(None, "stop", reasoning="hmm, maybe 41"),
    say("<|channel|>analysis<|message|>hmm 41", "length"),
    say("[THINK]41", "length"),
    say("<thinking>The answer is 41.", "stop"),
]


@pytest.mark.parametrize("reply", ONLY_THOUGHTS)
@pytest.mark.parametrize("more", [{}, {"stream": True}])
async def test_a_thought_alone_is_no_answer(tmp_path: Path, reply: Reply, more: dict[str, Any]) -> None:
    async with setting(tmp_path, reply, say("The answer is 42.")) as s:
        assert text_of(await s.ask(text="6*7?", **more)) == "The answer is 42."
    async with setting(tmp_path / "alone", reply) as s:
        response = await s.ask(text="6*7?", **more)
        assert response.status == 502
        assert "thoughts" in response.error["message"]


UNMARKED = "I recall the capital of France.\n</think>\n\nParis"
SLOW = [piece for i in range(0, len(UNMARKED), 7) for piece in (sse(delta({"content": UNMARKED[i : i + 7]})), 0.02)]
WRITTEN = send([*SLOW, sse(delta({}, "stop"), "[DONE]")])


@pytest.mark.parametrize("mode", ["final", "leader"])
async def test_an_unmarked_thought_is_void_once_and_held_back_from_then_on(tmp_path: Path, mode: str) -> None:
    async with setting(tmp_path, WRITTEN) as s:
        first = await s.ask(stream=True, routemoa={"stream_mode": mode})
        assert text_of(first).endswith("The text above was a thought of the model. This is its answer:\n\nParis")
        [announced] = [e["routemoa"] for e in first.events if isinstance(e, dict) and "event" in e.get("routemoa", {})]
        assert announced["event"] == "continuation"
        for model in ("routemoa", "best-single"):
            assert text_of(await s.ask(model, stream=True)) == "Paris"
        assert text_of(await s.ask()) == "Paris"


@pytest.mark.parametrize("name", ["deepseek-r1:14b", "qwen3-4b-thinking-2507", "QwQ-32B"])
async def test_a_model_whose_name_says_that_it_thinks_is_held_back_at_once(tmp_path: Path, name: str) -> None:
    async with setting(tmp_path, WRITTEN, model=name) as s:
        for _ in range(2):
            assert text_of(await s.ask(stream=True)) == "Paris"
    plain: list[str | bytes | float] = [
        sse(delta({"content": "Pa"})),
        0.1,
        sse(delta({"content": "ris"}), delta({}, "stop"), "[DONE]"),
    ]
    async with setting(tmp_path / "b", send(plain), model=name) as s:
        for _ in range(2):
            assert text_of(await s.ask(stream=True)) == "Paris"


@pytest.mark.parametrize("model", ["best-single", "self-moa"])
async def test_other_streams_replace_an_unmarked_thought_as_well(tmp_path: Path, model: str) -> None:
    async with setting(tmp_path, WRITTEN) as s:
        text = text_of(await s.ask(model, stream=True, routemoa={"stream_mode": "leader"}))
        assert text.endswith("Paris")
        assert "</think>" not in text
        assert text_of(await s.ask(model)) == "Paris"


async def test_judgments_are_read_behind_the_thoughts_and_no_thought_is_quoted(tmp_path: Path) -> None:
    def reply(name: str, score: float) -> Reply:
        def answer(body: dict[str, Any]) -> Raw:
            form = '<assessment>{"self": 0.1, "scores": {"A": 0.0}}</assessment>'
            rest = f'\n<assessment>{{"self": {score}}}</assessment>' if "assessment" in str(body) else ""
            return say(f"<think>secret {name}: {form}</think>{name} is my answer, and I have said why.{rest}")(body)

        return answer

    async with setting(tmp_path, reply("Oaks", 0.8), reply("Ferns", 0.6)) as s:
        response = await s.ask("moa", "Compare oaks and ferns.")
        assert response.status == 200
        assert "secret" not in text_of(response)
        for endpoint in s.endpoints:
            assert all("secret" not in json.dumps(request) for request in endpoint.requests)
        events = (await s.ask("cascade", stream=True, routemoa={"stream_mode": "events"})).events
    values = [
        a["value"] for e in events if isinstance(e, dict) and e.get("event") == "judged" for a in e["assessments"]
    ]
    assert values == [0.8, 0.6]


async def test_a_model_that_thinks_has_begun(tmp_path: Path) -> None:
    chunks = [delta({"reasoning_content": "hm"}), delta({"content": "<think>"}), delta({"content": "x</think>Paris"})]
    async with running(send(sse(*chunks, delta({}, "stop"), "[DONE]"))) as endpoint:
        client = HttpClient()
        request = Request((Message("user", "q"),))
        pieces = [p async for p in client.stream(ModelSpec("m", endpoint.url, "m"), request)]
        await client.close()
    assert isinstance(pieces[0], Thinking)
    assert [p for p in pieces if isinstance(p, str)] == ["Paris"]
    last = pieces[-1]
    assert isinstance(last, Completion)
    assert last.first_token is not None
    assert last.thought_length == sum(p.characters for p in pieces if isinstance(p, Thinking))


async def test_an_answer_about_tags_is_untouched(tmp_path: Path) -> None:
    text = "Use `<think>` so:\n```\n<think>why</think>\nanswer\n```\nAnd close it with `</think>`."
    assert remove_thoughts(text) == text
    async with setting(tmp_path, say(text, size=3)) as s:
        for stream in (False, True):
            assert text_of(await s.ask(stream=stream)) == text
