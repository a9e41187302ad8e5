"""Sparse Mixture-of-Agents on scripted models: roles written once, a moderator who keeps the best and may end it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest

from routemoa.core import events as t
from routemoa.core.errors import AllModelsFailed, ModelTimeout
from routemoa.core.failure_kind import FailureKind
from routemoa.core.pool_file.pool import Pool
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import ModelSpec, Query, Request
from routemoa.core.usage import Usage
from routemoa.mixture.baselines import SMoA
from routemoa.mixture.prompts import ROLES
from routemoa.mixture.reply_parser import MAX_ROLE_LENGTH, ModerationVerdict, parse_moderation, parse_roles
from routemoa.testing import ScriptedClient
from tests.mixture.baselines.test_baselines import WHY, pool_of, speaks, spent, turn

WRITTEN = '[{"occupation": "baker", "personality": "merry", "stance": "local"}, {"occupation": "judge"}, "A pilot"]'


class Panel:
    """Scripts for all members: what the moderator and the writer of roles say, and what every call looked like."""

    def __init__(self, verdicts: Any = '{"best": ["A", "B", "C"], "done": false}', written: Any = WRITTEN) -> None:
        self.verdicts = [verdicts] if isinstance(verdicts, str | Exception) else list(verdicts)
        self.written = written
        self.roles: list[tuple[str, str]] = []  # model, system
        self.moderated: list[tuple[str, str]] = []  # model, prompt
        self.asked_for_roles: list[str] = []

    def __call__(self, spec: ModelSpec, request: Request) -> Any:
        if "Invent them" in turn(request):
            self.asked_for_roles.append(spec.name)
            return self.written
        if "You moderate" in turn(request):
            self.moderated.append((spec.name, turn(request)))
            return self.verdicts[min(len(self.moderated), len(self.verdicts)) - 1]
        if "one final answer" in turn(request):
            assert spec.system is None  # the aggregator plays no role
            return "final: " + " ".join(re.findall(r"that (\w)/", turn(request)))
        self.roles.append((spec.name, spec.system or ""))
        return speaks(spec, request)

    def method(self, pool: Pool) -> tuple[SMoA, ScriptedClient]:
        client = ScriptedClient(dict.fromkeys((m.name for m in pool), self))
        return SMoA(pool, client), client


def four(**mixture: Any) -> Pool:
    return pool_of({"top_k": 2, **mixture}, a=0.3, b=0.5, c=0.7, d=0.6)


async def test_everybody_answers_in_a_role_and_the_best_go_on() -> None:
    panel = Panel(['{"best": ["D", "B"], "done": false}', '{"best": ["C"], "done": false}', '{"best": ["A", "D"]}'])
    method, client = panel.method(four())
    answer = await method.answer(WHY)
    assert len(client.calls) == 1 + 3 * 4 + 3 + 1  # roles, proposers, moderator, aggregator
    first, second, third = (client.calls[i : i + 4] for i in (1, 6, 11))
    assert all(turn(c.request) == "why?" for c in first)
    assert all(sorted(re.findall(r"that (\w)/", turn(c.request))) == ["b", "d"] for c in second)
    assert all(re.findall(r"that (\w)/", turn(c.request)) == ["c"] for c in third)
    assert answer.text == "final: a d"
    assert {m for m, _ in panel.moderated} == {"c"}  # the best model moderates
    assert all("2 at" in prompt and prompt.count("<answer id=") == 4 for _, prompt in panel.moderated)
    assert answer.trace.stop_reason == "last layer: 3 of 3"
    assert answer.trace.aggregator == "c"
    spent(answer, client)


async def test_the_moderator_may_end_the_debate() -> None:
    panel = Panel('{"best": ["A"], "done": true}')
    method, _ = panel.method(four())
    answer = await method.answer(WHY)
    assert len(answer.trace.layers) == 1
    assert answer.trace.stop_reason == "ended by the moderator, c, after layer 1 of 3"
    assert answer.text == "final: a"
    assert answer.trace.calls == 7


@pytest.mark.parametrize("said", ["I like them all.", '{"best": ["Z"]}', "", '{"best": [], "done": "perhaps"}', "{"])
async def test_a_verdict_nobody_can_read_keeps_all_and_goes_on(said: str) -> None:
    method, _ = Panel(said).method(four())
    answer = await method.answer(WHY)
    assert len(answer.trace.layers) == 3
    assert answer.text == "final: a b c d"
    assert answer.trace.calls == 17
    assert answer.trace.failures == ()


async def test_a_failing_moderator_keeps_all_is_recorded_and_replaced() -> None:
    panel = Panel([ModelTimeout("c", "slow"), '{"best": ["A", "B"]}'])
    method, client = panel.method(four())
    events = [e async for e in method.stream(WHY)]
    answer = fold_events(events)
    assert [m for m, _ in panel.moderated] == ["c", "d", "d"]
    assert [(f.model, f.kind) for f in answer.trace.failures] == [("c", "TimedOut")]
    assert answer.trace.calls == len(client.calls) == 17
    assert answer.trace.cost is not None
    assert answer.trace.charged is not None
    assert answer.trace.charged > answer.trace.cost  # its tokens may have been billed, and it reported none
    assert answer.trace.aggregator == "d"
    assert "c" in answer.trace.layers[1].selected  # it may still answer
    assert all(turn(c.request).count("<answer id=") == 4 for c in client.calls[6:10])


async def test_the_moderator_is_not_asked_when_nothing_is_left_to_decide() -> None:
    panel = Panel('{"best": ["A", "B"]}')
    method, _ = panel.method(pool_of({"layers": 1, "top_k": 3}, a=0.3, b=0.5, c=0.7))
    answer = await method.answer(WHY)
    assert panel.moderated == []
    assert answer.text == "final: a b c"
    assert answer.trace.calls == 1 + 3 + 1


async def test_roles_are_written_once_by_the_best_model_and_paid_for_by_the_first_query() -> None:
    panel = Panel('{"best": ["A", "B"], "done": true}')
    method, client = panel.method(four())
    assert client.calls == []  # lazily
    first = await method.answer(msgspec.structs.replace(WHY, parameters={"stop": ["["], "max_tokens": 5}))
    second = await method.answer(WHY)
    assert panel.asked_for_roles == ["c"]
    assert (first.trace.calls, second.trace.calls) == (7, 6)
    assert first.trace.usage.prompt_tokens is not None
    assert second.trace.usage.prompt_tokens is not None
    assert first.trace.usage.prompt_tokens > second.trace.usage.prompt_tokens
    assert client.calls[0].request.parameters == {}  # the caller's settings are for answers
    given = dict(panel.roles[:4])
    assert "Role: baker; merry; local" in given["a"]
    assert "Role: judge" in given["b"]
    assert "Role: A pilot" in given["c"]
    assert ROLES[0] in given["d"]  # three were written, four are needed
    assert dict(panel.roles[4:]) == given


async def test_a_members_own_system_text_follows_its_role() -> None:
    pool = four()
    own = Pool((msgspec.structs.replace(pool["a"], system="Speak French."), *pool.models[1:]), pool.mixture)
    panel = Panel('{"done": true}')

    def script(spec: ModelSpec, request: Request) -> Any:
        return "final" if "one final answer" in turn(request) else panel(spec, request)

    await SMoA(own, ScriptedClient(dict.fromkeys("abcd", script))).answer(WHY)
    assert dict(panel.roles)["a"].endswith("Role: baker; merry; local\n\nSpeak French.")


@pytest.mark.parametrize("written", ["No roles today.", "", ModelTimeout("c", "slow")])
async def test_without_written_roles_the_built_in_ones_are_played(written: Any) -> None:
    panel = Panel('{"best": ["A"], "done": true}', written)
    method, _ = panel.method(four())
    answer = await method.answer(WHY)
    await method.answer(WHY)
    assert panel.asked_for_roles == ["c"]
    assert [role.rpartition("Role: ")[2] for _, role in panel.roles[:4]] == list(ROLES[:4])
    assert len(answer.trace.failures) == isinstance(written, ModelTimeout)
    assert answer.trace.calls == 7
    assert len(answer.trace.layers[0].proposals) == 4  # who could not write roles may still answer


async def test_queries_that_come_at_once_wait_for_the_same_roles() -> None:
    panel = Panel('{"best": ["A"], "done": true}')
    client = ScriptedClient(dict.fromkeys("abcd", panel), delay=0.01)
    method = SMoA(four(), client)
    answers = await asyncio.gather(*(method.answer(Query.from_text(f"{i}?")) for i in range(4)))
    assert panel.asked_for_roles == ["c"]
    assert sorted(a.trace.calls for a in answers) == [6, 6, 6, 7]


async def test_whoever_leaves_while_roles_are_written_leaves_the_writing_to_the_next() -> None:
    panel = Panel('{"best": ["A"], "done": true}')
    client = ScriptedClient(dict.fromkeys("abcd", panel), delay=0.05)
    method = SMoA(four(), client)
    first = asyncio.create_task(method.answer(WHY))
    second = asyncio.create_task(method.answer(WHY))
    await asyncio.sleep(0.01)
    first.cancel()
    assert (await second).trace.calls == 7
    assert panel.asked_for_roles == ["c", "c"]


async def test_it_goes_on_with_those_that_answered() -> None:
    panel = Panel('{"best": ["A", "B"]}')
    script: dict[str, Any] = dict.fromkeys("abcd", panel) | {"a": ModelTimeout("a", "slow")}
    client = ScriptedClient(script)
    answer = await SMoA(four(), client).answer(WHY)
    assert [len(layer.proposals) for layer in answer.trace.layers] == [3, 3, 3]
    assert [c.model for c in client.calls].count("a") == 1
    assert answer.text == "final: b c"


async def test_every_reason_is_told_when_nobody_answers() -> None:
    client = ScriptedClient({n: ModelTimeout(n, f"{n} is slow") for n in "abcd"})
    with pytest.raises(AllModelsFailed, match=r"a: a is slow.*d: d is slow"):
        await SMoA(four(), client).answer(WHY)
    assert len(client.calls) == 5


def test_the_trace_counts_a_call_beside_the_layers_and_what_it_cost() -> None:
    from routemoa.core.trace import Failure, Proposal

    said = t.CallFinished("moderator", Proposal("a", "{}", Usage(3, 4), 0.1, 0.5))
    lost = t.CallFinished("moderator", failure=Failure("b", "slow", FailureKind.TIMEOUT, Usage(), 1.0, None))
    trace = fold_events([t.CallStarted("moderator", "a"), said]).trace
    assert (trace.calls, trace.usage, trace.cost, trace.failures) == (1, Usage(3, 4), 0.5, ())
    trace = fold_events([t.CallStarted("moderator", "a"), said, t.CallStarted("moderator", "b"), lost]).trace
    assert (trace.calls, trace.usage, trace.cost) == (2, Usage(), None)
    assert [f.model for f in trace.failures] == ["b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"best": ["B", "A", "B"], "done": true}', ModerationVerdict(("B", "A"), True)),
        (
            '<think>{"best": ["C"]}</think>Well:\n```json\n{"best": ["b"], "done": "Yes"}\n```',
            ModerationVerdict(("B",), True),
        ),
        ("{best: [Answer A, 'C'], done: false", ModerationVerdict(("A", "C"), False)),
        ('{"best": "A, C", "done": 1}', ModerationVerdict(("A", "C"), False)),
        ('{"best": {"A": 1}, "done": true}', ModerationVerdict((), True)),
        ('{"best": ["D"]}', ModerationVerdict()),
        ('["A"]', ModerationVerdict()),
        ("A and B", ModerationVerdict()),
        ("", ModerationVerdict()),
    ],
)
def test_verdicts_are_read_defensively(text: str, expected: ModerationVerdict) -> None:
    assert parse_moderation(text, ("A", "B", "C")) == expected


def test_roles_are_read_defensively() -> None:
    assert parse_roles(f"Here you are: {WRITTEN} Enjoy!") == ("baker; merry; local", "judge", "A pilot")
    assert parse_roles('{"roles": ["x", "x", 3, " ", {"occupation": "..."}]}') == ("x",)
    assert parse_roles('["a\\n\\nb"]') == ("a b",)
    assert len(parse_roles(f'["{"x" * 999}"]')[0]) == MAX_ROLE_LENGTH
    for text in ("", "none", "[", "{}", '{"a": "b"}', "[[[[[["):
        assert parse_roles(text) == ()
