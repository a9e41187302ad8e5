"""Further votes of one model, live: the mixture beside its best member's answer in the same run.

    python benchmarks/unseen_questions.py --each 10 --half test --arc arc_challenge_val.jsonl.gz > test.jsonl
    .venv/bin/python benchmarks/votes.py test.jsonl --prefer quality --out quality.jsonl

Asks every question of the file. The best single model's answer is that of `--member` in the mixture's own first layer:
it is asked as it would be alone, so both are right or wrong on the same call, and only what further calls change
counts. Votes are a multiple choice in other orders of its options, and further samples of code that is run.

A stopped run goes on with the same command: FILE holds a line for each question. Prints accuracy, the difference with
its 95 % interval (bootstrap over questions), wins and losses, calls, and tokens as a multiple of the member's
own, those of cancelled calls left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace

from routemoa import RouteMoA
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import Query
from routemoa.core.usage import Usage
from routemoa.datasets.questions import Question, read_questions

RESAMPLES = 2000


def count_tokens(usage: Usage) -> int:
    return (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)


async def measure(mixture: RouteMoA, question: Question, prefer: str, member: str) -> dict[str, Any]:
    """Ask one question; return what was right, and what it took."""
    answer = await mixture.aask(replace(Query.from_text(question.text), prefer=prefer))
    proposals = [p for layer in answer.trace.layers for p in layer.proposals]
    own = [p for p in proposals if p.model == member]
    told = sum(count_tokens(p.usage) for p in proposals)  # the total has the aggregator, but is unknown after a cancel
    return {
        "id": question.id,
        "task": question.task,
        "right": question.grade(answer.text) == 1.0,
        "member_right": question.grade(own[0].text) == 1.0 if own else None,
        "calls": [p.model for p in proposals],
        "tokens": max(told, count_tokens(answer.trace.usage)),
        "member_tokens": count_tokens(own[0].usage) if own else None,
        "stop": str(answer.trace.stop),
        "texts": {p.model: p.text for p in proposals},
    }


def summarize(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of some questions, in points and per question."""
    count, rng = len(rows), Random(0)
    gains = [row["right"] - row["member_right"] for row in rows]
    means = sorted(100 * sum(rng.choices(gains, k=count)) / count for _ in range(RESAMPLES))
    low, high = means[RESAMPLES // 40], means[-RESAMPLES // 40 - 1]
    return {
        "questions": count,
        "mixture": round(100 * sum(row["right"] for row in rows) / count, 1),
        "member": round(100 * sum(row["member_right"] for row in rows) / count, 1),
        "gain": f"{100 * sum(gains) / count:+.1f} ({low:+.1f} to {high:+.1f})",
        "wins": gains.count(1),
        "losses": gains.count(-1),
        "calls": round(sum(len(row["calls"]) for row in rows) / count, 2),
        "times_tokens": round(sum(row["tokens"] for row in rows) / sum(row["member_tokens"] for row in rows), 2),
    }


async def run(options: argparse.Namespace, questions: Sequence[Question]) -> None:
    done = {json.loads(line)["id"] for line in options.out.open()} if options.out.exists() else set()
    mixture = RouteMoA(Pool.load(options.pool) if options.pool else Pool.embedded())
    try:
        with options.out.open("a") as out:
            places = asyncio.Semaphore(options.concurrency)

            async def answer(question: Question) -> None:
                async with places:
                    out.write(json.dumps(await measure(mixture, question, options.prefer, options.member)) + "\n")
                out.flush()
                print(end=".", flush=True)

            await asyncio.gather(*(answer(q) for q in questions if q.id not in done))
    finally:
        await mixture.client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="questions, as `routemoa bench` reads them")
    parser.add_argument("--pool", help="else the embedded pool")
    parser.add_argument("--member", default="coder-1.5b", help="the best single model")
    parser.add_argument("--prefer", choices=("balanced", "quality", "cheap", "fast"), default="quality")
    parser.add_argument("--concurrency", type=int, default=1, help="questions at a time")
    parser.add_argument("--out", type=Path, required=True, help="a line for each question")
    options = parser.parse_args()
    asyncio.run(run(options, list(read_questions(options.file))))
    lines = [json.loads(line) for line in options.out.open()]
    rows = [row for row in lines if row["member_right"] is not None]
    print(f"{len(lines) - len(rows)} of {len(lines)} left out: {options.member} gave no answer, so nothing is compared")
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        kinds[row["task"]].append(row)
    for name, some in [*sorted(kinds.items()), ("all", rows)]:
        print(f"\n{name}", json.dumps(summarize(some)), end="")
    print()


if __name__ == "__main__":
    main()
