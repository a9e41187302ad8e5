"""The state of a chat where turns fail, are stopped, or have no known cost."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
from rich.console import Console

from routemoa.cli.chat.conversation import Conversation, Spending
from routemoa.clients.http import HttpClient
from routemoa.core.errors import ConfigError
from routemoa.core.events import Event
from routemoa.core.protocols import CallRecorder
from routemoa.core.trace import Answer, Trace
from routemoa.core.types import Limits, Message, Query
from routemoa.testing import ScriptedClient
from tests.conftest import MakePool


class Broken:
    """A method with a defect."""

    name = "broken"

    async def stream(self, query: Query, recorder: CallRecorder | None = None) -> AsyncGenerator[Event, None]:
        if query.messages:
            raise ZeroDivisionError("a \x1b[2Jbug")
        yield Event()

    async def answer(self, query: Query) -> Answer:
        raise NotImplementedError


def start(make_pool: MakePool, script: dict[str, Any], *messages: Message, **keys: Any) -> tuple[Conversation, Console]:
    console = Console(file=io.StringIO(), width=500)
    client = cast(HttpClient, ScriptedClient(script))
    pool = make_pool(*script, prior=0.9, **keys)
    limits = Limits(stream_mode="final")
    conversation = Conversation(pool, client, None, console, method="routemoa", limits=limits, messages=messages)
    return conversation, console


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_a_defect_does_not_cost_the_conversation(make_pool: MakePool, capsys: pytest.CaptureFixture[str]) -> None:
    conversation, console = start(make_pool, {"a": ["Four.", "Six."]})
    await conversation.ask("2+2?")
    working, conversation.method = conversation.method, Broken()
    await conversation.ask("and?")
    conversation.method = working
    await conversation.retry()
    assert conversation.messages == (
        Message("user", "2+2?"),
        Message("assistant", "Four."),
        Message("user", "and?"),
        Message("assistant", "Six."),
    )
    assert "please report it: ZeroDivisionError: a bug; the conversation goes on" in shown(console)
    assert conversation.failures == 1
    assert capsys.readouterr().out == "Four.\nSix.\n"


def test_an_unknown_method_changes_nothing(make_pool: MakePool) -> None:
    conversation, _ = start(make_pool, {"a": "Four."})
    with pytest.raises(ConfigError, match="did you mean 'moa'"):
        conversation.use_method("mao")
    assert conversation.method.name == "routemoa"


async def test_what_it_costs_is_added_up(make_pool: MakePool) -> None:
    conversation, console = start(make_pool, {"a": "Four."}, input_price=1e6, output_price=0.0)
    spent = 0.0
    for _ in range(3):
        await conversation.ask("one two three")
        assert conversation.last is not None
        spent += conversation.last.trace.trace.cost or 0.0
    costs = [line.split(" · ") for line in shown(console).splitlines()]
    assert "chat so far" not in shown(console).splitlines()[0]
    assert costs[2][-2].startswith("chat so far $")
    assert conversation.spending.dollars == pytest.approx(spent)
    assert spent >= 3 + 7 + 11  # a dollar for each word of the conversation


@pytest.mark.parametrize(
    ("traces", "words"),
    [
        ([(0.25, 0.25), (0.5, 0.5)], "$0.75"),
        ([(0.25, 0.25), (None, 0.5)], "at most $0.75"),
        ([(0.25, 0.25), (None, None)], "$0.25 and calls of unknown cost"),
        ([(None, None)], "cost unknown"),
        ([(0.0, 0.0)], "$0"),
    ],
)
def test_unknown_costs_stay_unknown(traces: list[tuple[float | None, float | None]], words: str) -> None:
    spending = Spending()
    for cost, charged in traces:
        spending.add(Trace(Query(()), "routemoa", cost=cost, charged=charged))
    assert str(spending) == words


async def test_the_system_message_outlives_clear(make_pool: MakePool) -> None:
    conversation, _ = start(make_pool, {"a": "Four."}, Message("system", "S"))
    await conversation.ask("2+2?")
    conversation.clear()
    assert conversation.messages == (Message("system", "S"),)
    assert conversation.last is None


async def test_a_later_turn_knows_which_model_wrote_the_last_answer(make_pool: MakePool) -> None:
    conversation, _ = start(make_pool, {"a": "Ships.", "b": "Boats."})
    written: list[str | None] = []
    for question in ("Describe the harbour.", "Why?", ""):
        await (conversation.ask(question) if question else conversation.retry())
        assert conversation.last is not None
        cached = conversation.last.trace.trace.query.cached
        written.append(None if cached is None else cached.writer)
    assert written == [None, "a", "a"]
    conversation.clear()
    await conversation.ask("Why?")
    assert conversation.last is not None
    assert conversation.last.trace.trace.query.cached is None
