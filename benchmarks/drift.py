"""A member silently gets worse, and recovers: is it noticed, does traffic leave it, and does it come back?

    nice python benchmarks/drift.py --runs 20 --first-seed 100 --json benchmarks/results/drift.json

Three scripted members answer through the whole mixture. From request 5,000 on the favourite is right in 40 % of its
answers, not in 80; from request 10,000 on in 80 % again. A fifth of the answers get feedback: what the right answer is,
wrong in a tenth. `routemoa learn`'s own functions run after every 250 requests, with `[learning] explore` at its
default, and what they take over is used from then on. As many runs go without a change: what is noticed there is a
false alarm. Only requests that get feedback are made, since the others change nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from routemoa import ModelSpec, Pool
from routemoa.cli.learning.learning_run import learn_from
from routemoa.core.tables.learning_table import LearningSettings
from routemoa.core.types import Request
from routemoa.datasets.outcomes import Outcome, read_outcome
from routemoa.ledger.trace_store.traces import Feedback, StoredTrace
from routemoa.mixture.engine import RouteMoA
from routemoa.routing.exploration import Explorer
from routemoa.testing import ScriptedClient

FALL, RECOVERY, END = 5_000, 10_000, 20_000
SHARE, NOISE = 0.2, 0.1
LEARN_EVERY = 250
FALLEN = 0.4
RIGHT = {"strong": 0.8, "steady": 0.65, "third": 0.55}
FAVOURITE = "strong"
WINDOW = 1_000
"""Requests over which the share of the favourite is measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for changes in (True, False):
        for seed in range(options.first_seed, options.first_seed + options.runs):
            row = asyncio.run(run(seed, changes=changes))
            rows.append(row)
            print(describe(row), flush=True)
    still = [row for row in rows if not row["changes"]]
    print(f"false alarms: {sum(len(row['alarms']) for row in still)} in {len(still)} runs without a change")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


async def run(seed: int, *, changes: bool) -> dict[str, Any]:
    """Return what was noticed and when, and how often the favourite was chosen."""
    draw = Random(seed)
    world = World(draw, changes=changes)
    pool = Pool(
        tuple(ModelSpec(name, "http://localhost/v1", prior=right) for name, right in RIGHT.items()),
        learning=LearningSettings(every="1h"),
    )
    client = ScriptedClient(dict.fromkeys(RIGHT, world.answer))
    mixture = build(pool, client, draw)
    outcomes: list[Outcome] = []
    taken: list[int] = []
    alarms: list[dict[str, Any]] = []
    chosen: list[tuple[int, str | None]] = []
    calls = 0
    for number in range(END if changes else RECOVERY):
        if draw.random() < SHARE:
            world.begin(number)
            answer = await mixture.answer(f"What is {number} plus {number}? Question {number}.")
            calls += answer.trace.calls
            chosen.append((number, answer.trace.choice))
            said = Feedback(expected=world.name_right(wrong=draw.random() < NOISE), grader="numeric")
            outcome = read_outcome(StoredTrace(str(number), float(number), None, answer, (said,)))
            outcomes += [] if outcome is None else [outcome]
        if (number + 1) % LEARN_EVERY == 0:
            found = await asyncio.to_thread(learn_from, pool, outcomes)
            for drift in found.drifts:
                if (drift.model, drift.since) not in [(a["model"], a["since"]) for a in alarms]:
                    alarms.append({"model": drift.model, "since": drift.since, "noticed": drift.noticed})
            if found.result is not None and found.result.gain is not None:
                pool = replace(pool, learned=found.learned)
                mixture = build(pool, client, draw)
                taken.append(number + 1)
    return {
        "seed": seed,
        "changes": changes,
        "outcomes": len(outcomes),
        "outcomes_to_notice": _count_until(outcomes, alarms, FALL),
        "outcomes_to_notice_recovery": _count_until(outcomes, alarms, RECOVERY),
        "alarms": alarms,
        "taken_over": taken,
        "share_before": measure_share(chosen, FALL),
        "share_fallen": measure_share(chosen, RECOVERY),
        "share_recovered": measure_share(chosen, END),
        "calls_a_query": round(calls / max(1, len(chosen)), 2),
    }


def build(pool: Pool, client: ScriptedClient, draw: Random) -> RouteMoA:
    mixture = RouteMoA(pool, client)
    mixture.explorer = Explorer(pool, draw.random)
    return mixture


class World:
    """What is right, and which members know it."""

    def __init__(self, draw: Random, *, changes: bool) -> None:
        self._draw, self._changes = draw, changes
        self._number, self._is_right = 0, dict[str, bool]()

    def begin(self, number: int) -> None:
        """Begin a question."""
        self._number = number
        rates = dict(RIGHT)
        if self._changes and FALL <= number < RECOVERY:
            rates[FAVOURITE] = FALLEN
        self._is_right = {name: self._draw.random() < rate for name, rate in rates.items()}

    def answer(self, model: ModelSpec, _: Request) -> str:
        """Return a member's answer: its own error where it is wrong."""
        error = 0 if self._is_right[model.name] else 1 + list(RIGHT).index(model.name)
        return f"The answer is {2 * self._number + error}."

    def name_right(self, *, wrong: bool) -> str:
        """Return the right answer, or one that no member gives."""
        return str(2 * self._number + (9 if wrong else 0))


def _count_until(outcomes: list[Outcome], alarms: list[dict[str, Any]], change: int) -> int | None:
    """Return the outcomes from a change until the favourite's was noticed; None where it was not."""
    noticed: list[float] = [
        a["noticed"] for a in alarms if a["model"] == FAVOURITE and change <= a["noticed"] < change + FALL * 2
    ]
    if not noticed:
        return None
    return sum(change <= o.at <= min(noticed) for o in outcomes)


def measure_share(chosen: list[tuple[int, str | None]], end: int) -> float | None:
    """Return the share of the last requests before `end` that the favourite answered; None where there are none."""
    found = [model for number, model in chosen if end - WINDOW <= number < end]
    return round(sum(model == FAVOURITE for model in found) / len(found), 2) if found else None


def describe(row: dict[str, Any]) -> str:
    if not row["changes"]:
        alarms = ", ".join(f"{a['model']} at {a['noticed']:.0f}" for a in row["alarms"]) or "nothing"
        return f"run {row['seed']} without a change: {row['outcomes']} outcomes, noticed: {alarms}"
    return (
        f"run {row['seed']}: fall noticed after {row['outcomes_to_notice']} outcomes, recovery after "
        f"{row['outcomes_to_notice_recovery']}; share of the favourite {row['share_before']} before, "
        f"{row['share_fallen']} fallen, {row['share_recovered']} recovered; {row['calls_a_query']} calls a query; "
        f"taken over at {row['taken_over']}"
    )


if __name__ == "__main__":
    main()
