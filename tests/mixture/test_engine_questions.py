"""What the library takes as a question, and what it says where that or a part of the mixture is wrong."""

from __future__ import annotations

import asyncio
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from routemoa.core.content.cache_marks import CachedPrompt
from routemoa.core.errors import ConfigError, QueryError
from routemoa.core.events import AnswerDelta
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import Limits, Message, ModelSpec, Query
from routemoa.mixture.engine import RouteMoA
from routemoa.mixture.method_registry import build_method
from routemoa.testing import FakeEndpoint, ScriptedClient
from tests.conftest import MakePool

USER = {"role": "user", "content": "And 3+3?"}
TURNS: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "2+2?"}]},
    {"role": "assistant", "content": "4"},
    USER,
]
MESSAGES = (
    Message("system", "Be brief."),
    Message("user", "2+2?"),
    Message("assistant", "4"),
    Message("user", "And 3+3?"),
)


@pytest.fixture
def client() -> ScriptedClient:
    return ScriptedClient({"a": "The answer is 6."})


@pytest.fixture
def mixture(make_pool: MakePool, client: ScriptedClient) -> RouteMoA:
    return RouteMoA(make_pool("a", prior=0.9), client)


def sent(client: ScriptedClient) -> tuple[Message, ...]:
    """Return the conversation that the model was sent, without what the mixture adds to its last turn."""
    *head, last = client.calls[-1].request.messages
    return (*head, Message(last.role, last.content.partition("\n---")[0].rstrip()))


def name_case(value: object) -> str:
    """Name a case, without the addresses of objects: the workers of a parallel run must agree on names."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


@pytest.mark.parametrize(
    "question",
    [TURNS, tuple(TURNS), MESSAGES, [*MESSAGES[:3], USER], Query(MESSAGES)],
    ids=["objects", "a tuple", "Messages", "both kinds", "a Query"],
)
def test_a_conversation_may_come_in_any_form(mixture: RouteMoA, client: ScriptedClient, question: Any) -> None:
    assert mixture.ask(question).text == "The answer is 6."
    assert sent(client) == MESSAGES


async def test_messages_may_be_named_everywhere_and_limits_hold(mixture: RouteMoA, client: ScriptedClient) -> None:
    assert (await mixture.aask(messages=TURNS, max_calls=3)).trace.query.limits == Limits(max_calls=3)
    assert (await mixture.answer(TURNS)).text == "The answer is 6."
    pieces = [e.text async for e in mixture.stream(messages=TURNS, max_calls=2) if isinstance(e, AnswerDelta)]
    assert "".join(pieces) == "The answer is 6."
    assert sent(client) == MESSAGES


def test_without_an_event_loop_messages_may_be_named(mixture: RouteMoA, client: ScriptedClient) -> None:
    assert str(mixture.ask(messages=TURNS)) == "The answer is 6."
    assert sent(client) == MESSAGES


def test_a_pool_may_be_a_path(tmp_path: Path) -> None:
    async def ask(pool: Any) -> str:
        async with FakeEndpoint("The answer is 6.") as e:
            file.write_text(f'[[model]]\nname = "a"\nendpoint = "{e.url}"\nprior = 0.9\n')
            mixture = RouteMoA(pool)
            answer = await mixture.aask("3+3?")
            await mixture.client.close()
            return answer.text

    file = tmp_path / "pool.toml"
    assert asyncio.run(ask(file)) == asyncio.run(ask(str(file))) == "The answer is 6."


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (None, "no question; give a question"),
        ("", "the question is empty"),
        (" \n\t", "the question is empty"),
        (123, "of type int; give a question"),
        (b"why?", "of type bytes"),
        (object(), "of type object"),
        ({"why?"}, "of type set"),
        (USER, "put messages into a list"),
        ([], "'messages' is empty"),
        (["why?"], "Invalid type for 'messages[0]': expected an object"),
        ([None], "but got null"),
        ([{"role": "user"}], "'messages[0].content'"),
        ([{"content": "why?"}], "'messages[0].role' must be one of system, developer, user, assistant"),
        ([{"role": "user", "content": " "}], "contains no text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "must be an object with url"),
        ([{"role": "user", "content": {"text": "why?"}}], "a string or an array of text parts"),
        ([{"role": "tool", "content": "4"}], "tool_call_id"),
        ([{"role": "user", "content": "x", "weight": object()}, 7], "'messages[1]'"),
        ([Message("robot", "x")], "its role is one of"),
        ([Message("user", 4)], "its content, text"),  # type: ignore[arg-type]
        (Query(()), "'messages' is empty"),
        (Query("why?"), "'messages'"),  # type: ignore[arg-type]
        (Query((USER,)), "of type Message"),  # type: ignore[arg-type]
        (Query(MESSAGES, limits={"max_calls": 1}), "of type Limits"),  # type: ignore[arg-type]
    ],
    ids=name_case,
)
def test_what_is_no_question_is_one_sentence(mixture: RouteMoA, question: Any, words: str) -> None:
    async def collect() -> None:
        async for _ in mixture.stream(question):
            pass

    for refuse in (
        lambda: mixture.ask(question),
        lambda: asyncio.run(mixture.aask(question)),
        lambda: asyncio.run(mixture.answer(question)),
        lambda: asyncio.run(collect()),
    ):
        with pytest.raises(QueryError) as caught:
            refuse()
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_one_question_at_a_time(mixture: RouteMoA) -> None:
    with pytest.raises(QueryError, match="a question and messages were given"):
        mixture.ask("why?", messages=[USER])


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_cots": 1}, "unknown key 'max_cots'; did you mean 'max_cost'?"),
        ({"temperature": 0}, "unknown key 'temperature'"),
        ({"max_cost": "1"}, "max_cost"),
        ({"max_cost": -1}, "max_cost = -1.0 is out of range"),
        ({"max_cost": float("nan")}, "max_cost = nan is out of range"),
        ({"max_calls": True}, "max_calls"),
        ({"max_calls": 0}, "max_calls = 0 is out of range"),
        ({"max_seconds": 0}, "max_seconds = 0.0 is out of range"),
        ({"stream_mode": "all"}, "stream_mode"),
    ],
    ids=name_case,
)
def test_a_wrong_limit_is_one_sentence(mixture: RouteMoA, limits: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        mixture.ask("why?", **limits)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (None, "the pool is of type NoneType; give a Pool or a path"),
        (7, "of type int"),
        ([ModelSpec("a", "local")], "of type list"),
        (Pool(()), "at least one model"),
        (Pool(("a",)), "each a ModelSpec"),  # type: ignore[arg-type]
        ("nowhere.toml", "nowhere.toml: cannot be read"),
        (Path("nowhere.toml"), "nowhere.toml: cannot be read"),
        ("", "cannot be read"),
        (b"pool.toml", "of type bytes"),
    ],
    ids=name_case,
)
def test_a_wrong_pool_is_one_sentence(pool: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RouteMoA(pool)
    assert words in str(caught.value)


@pytest.mark.parametrize("part", ["client", "scorer", "policy"])
def test_a_part_that_cannot_work_is_named(make_pool: MakePool, part: str) -> None:
    with pytest.raises(ConfigError, match=f"{part} is of type str; it must be a {part.title()}, with "):
        RouteMoA(make_pool("a"), **{part: "http://127.0.0.1:9/v1"})  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["routmoa", "", "single:", "single:nobody", None, 7])
def test_an_unknown_method_is_one_sentence(make_pool: MakePool, client: ScriptedClient, method: Any) -> None:
    with pytest.raises(ConfigError, match="method"):
        build_method(make_pool("a"), method, client)


async def test_the_synchronous_calls_name_the_asynchronous_ones_where_a_loop_runs(mixture: RouteMoA) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no coroutine is left behind
        with pytest.raises(QueryError, match=r"use  await mixture\.aask\(\.\.\.\)"):
            mixture.ask("2+2?")
        with pytest.raises(QueryError, match=r"await mixture\.client\.close\(\)"):
            mixture.close()
    assert (await mixture.aask("2+2?")).text == "The answer is 6."


def test_without_a_loop_it_can_be_asked_again_and_closed(mixture: RouteMoA) -> None:
    assert str(mixture.ask("2+2?")) == str(mixture.ask("3+3?")) == "The answer is 6."
    mixture.close()


async def test_the_next_turn_knows_which_model_answered(make_pool: MakePool) -> None:
    mixture = RouteMoA(make_pool("a", "b", prior=0.9), ScriptedClient({"a": "Ships.", "b": "Ships."}))
    first = await mixture.aask("Describe the harbour.")
    assert first.trace.query.cached is None
    turns = [Message("user", "Describe the harbour."), Message("assistant", "Ships."), Message("user", "Why?")]
    second = await mixture.aask(messages=turns)
    assert second.trace.query.cached == CachedPrompt("a")
    assert (await mixture.answer(turns)).trace.query.cached is None, "only what is asked is a conversation"
    with pytest.raises(QueryError, match="cached"):
        await mixture.aask(Query(MESSAGES, cached="a"))  # type: ignore[arg-type]
