"""Two turns of a conversation over a real socket: the second keeps the model, unless a change pays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from routemoa.clients.http import HttpClient
from routemoa.core.pool_file.pool import parse_pool
from routemoa.core.types import ModelSpec, Query, Scores
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import FakeEndpoint
from tests.gateway.harness import Serving, serving

MEMBERS = """
[[model]]
name = "a"
endpoint = "{url}"
input_price = 2.5
cached_price = 0.25
output_price = 10.0
[[model]]
name = "b"
endpoint = "{url}"
input_price = 2.5
cached_price = 0.25
output_price = 10.0
"""
TENANTS = "".join(f'[[tenant]]\nname = "{n}"\nkey_env = "{n.upper()}"\n' for n in ("acme", "other"))
KEYS = {"ACME": "sk-acme", "OTHER": "sk-other"}
ACME, OTHER = ({"Authorization": f"Bearer {key}"} for key in KEYS.values())
FIRST = "Describe the harbour of the town. " + "The ships come and go. " * 1200


class Scorer:
    """Scores by the word that the text ends with."""

    async def score(self, query: Query, pool: Sequence[ModelSpec]) -> Scores:
        by_word: dict[str, Scores] = {
            "little.": {"a": 0.5, "b": 0.525},
            "equal.": {"a": 0.6, "b": 0.6},
            "far.": {"a": 0.6, "b": 0.9},
        }
        return by_word.get(query.question.split()[-1], {"a": 0.7, "b": 0.6})

    def knows(self, model: ModelSpec) -> bool:
        return True


@asynccontextmanager
async def open_conversations() -> AsyncIterator[Serving]:
    async with FakeEndpoint("A long quay with many ships.") as endpoint:
        pool = parse_pool(MEMBERS.format(url=endpoint.url) + TENANTS, "pool.toml", Path("."), KEYS)
        client = HttpClient()
        async with serving(RouteMoA(pool, client, Scorer()), pool=pool) as s:
            yield s
            await client.close()


def turns(last: str, answer: str = "A long quay with many ships.") -> list[dict[str, str]]:
    return [
        {"role": "user", "content": FIRST},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": last},
    ]


async def ask(s: Serving, messages: Any, headers: dict[str, str] = ACME, **more: Any) -> Any:
    response = await (await s.raw({"model": "routemoa", "messages": messages, **more}, headers=headers)).whole()
    assert response.status == 200
    return response


async def choose(s: Serving, messages: Any, headers: dict[str, str] = ACME) -> str:
    choice: str = (await ask(s, messages, headers)).json["routemoa"]["choice"]
    return choice


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("word", "choice"), [("little.", "a"), ("equal.", "a"), ("far.", "b")])
async def test_the_second_turn_keeps_the_model_unless_a_change_pays(stream: bool, word: str, choice: str) -> None:
    async with open_conversations() as s:
        first = await ask(s, turns("x")[:1], stream=stream)
        assert b"A long quay" in first.body or stream
        assert await choose(s, turns(f"Describe it once more, {word}")) == choice


async def test_a_conversation_that_was_not_answered_here_has_no_model_to_keep() -> None:
    async with open_conversations() as s:
        last = "Describe it once more, little."
        assert await choose(s, turns(last)) == "b", "nothing was asked before"
        await ask(s, turns("x")[:1])
        assert await choose(s, turns(last, "Somebody else's answer.")) == "b"
        assert await choose(s, turns(last), OTHER) == "b", "another tenant's conversation"
        assert await choose(s, turns(last)) == "a"


async def test_the_trace_of_a_kept_model_says_why() -> None:
    async with open_conversations() as s:
        await ask(s, turns("x")[:1])
        said = await ask(s, turns("Describe it once more, little."), stream=True, routemoa={"stream_mode": "events"})
        assert b"the answer of a stands, which wrote the last one, too" in said.body
        assert b"a is kept, which wrote the last answer: b would add 2.5 points" in said.body
