"""Traffic of the last weeks in a trace store: the real engine on scripted members, with feedback of several kinds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path

from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.traces_table import TraceSettings
from routemoa.core.trace import Answer
from routemoa.core.types import Message, ModelSpec, Query, Request
from routemoa.ledger.trace_store.traces import Feedback, TraceStore
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import ScriptedClient

DAY = 86_400.0
TOWNS = ["Paris", "Rome", "Oslo", "Lima", "Cairo", "Quito", "Hanoi", "Accra", "Delhi", "Sofia"]
KINDS = {
    "sum": "What is the sum of {a} plus {b}? Give the number.",
    "train": "A train leaves at {a} o'clock and travels {b} miles. How many miles in total after {a} trips?",
    "town": "Which number does the town of {town} have in the list of districts, entry {a}?",
}
SKILL: Mapping[str, Mapping[str, float]] = {
    "fast": {"sum": 0.9, "train": 0.45, "town": 0.6},
    "strong": {"sum": 0.92, "train": 0.8, "town": 0.55},
    "odd": {"sum": 0.6, "train": 0.5, "town": 0.9},
}
"""Member -> kind of question -> how often it is right."""


class _Draw:
    """What the members answer to one question."""

    def __init__(self, rng: random.Random, kind: str, fallen: str | None) -> None:
        self.right = rng.randrange(10, 500)
        self.said: dict[str, int] = {}
        for model, skill in SKILL.items():
            chance = 0.35 * skill[kind] if model == fallen else skill[kind]
            self.said[model] = self.right if rng.random() < chance else rng.randrange(500, 520)

    def reply(self, model: ModelSpec, _: Request) -> str:
        return f"I worked it out.\n\nThe answer is {self.said[model.name]}."


def fill_store(
    store: Path,
    pool: Pool,
    *,
    now: float,
    answers: int = 240,
    days: int = 42,
    judged: float = 0.8,
    thumbs: float = 0.0,
    fallen: str | None = None,
    tenant: str | None = None,
) -> None:
    """Write traces that end now.

    Args:
        store: the file of the traces.
        pool: with the members of SKILL.
        now: seconds since the epoch.
        answers: how many.
        days: over which they are spread.
        judged: the share with feedback.
        thumbs: the share of that which is a thumb; the rest says what was expected.
        fallen: a member that is wrong far more often in the last seven days.
        tenant: whose they are.
    """
    rng, clock = random.Random(7), [now]
    kept = TraceStore(store, TraceSettings(days=1000), lambda: clock[0])
    said: list[tuple[float, str, Feedback]] = []
    try:
        for number in range(answers):
            clock[0] = now - days * DAY * (1 - (number + 0.5) / answers)
            kind = rng.choice(list(KINDS))
            draw = _Draw(rng, kind, fallen if clock[0] > now - 7 * DAY else None)
            text = KINDS[kind].format(a=rng.randrange(2, 12), b=rng.randrange(20, 90), town=rng.choice(TOWNS))
            answer = asyncio.run(_ask(pool, draw, text))
            kept.add(f"{number:032x}", answer, tenant)
            if rng.random() < judged:
                said.append((clock[0], f"{number:032x}", _judge(rng, answer, draw.right, thumbs)))
        kept.flush()
        for at, id_, feedback in said:
            clock[0] = at
            kept.add_feedback(id_, tenant, feedback)
    finally:
        kept.close()


async def _ask(pool: Pool, draw: _Draw, text: str) -> Answer:
    client = ScriptedClient(dict.fromkeys(SKILL, draw.reply))
    return await RouteMoA(pool, client).answer(Query((Message("user", text),)))


def _judge(rng: random.Random, answer: Answer, right: int, thumbs: float) -> Feedback:
    if rng.random() < thumbs:
        return Feedback(score=float(str(right) in answer.text))
    return Feedback(expected=str(right), grader="numeric")
