"""The embedded pool live: the mixture beside its best model alone and a dense MoA, question by question.

    .venv/bin/python benchmarks/local_mixture.py TASK [--limit N] [--methods routemoa,best-single,moa] [--pool FILE]

    .venv/bin/python benchmarks/short_questions.py --each 6 --seed 77 > short.jsonl   # 96 of 16 kinds
    .venv/bin/python benchmarks/local_mixture.py short.jsonl
    .venv/bin/python benchmarks/local_mixture.py ../shared/data/tasks/gsm8k_test.jsonl.gz --limit 40

Every method answers a question before the next question's turn, in an order that rotates, so that whatever else the
machine does falls on all of them. Prints and writes right answers with a 95 % interval (Wilson), the difference to
best-single (paired bootstrap over questions), calls, tokens, seconds and their ratio. Every answer is kept as it comes,
with its trace, in results/local_NAME.jsonl: run again to go on after a stop. Best-single is the scorer's own choice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import statistics
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from routemoa.config import build
from routemoa.connect import connect
from routemoa.errors import NoModelLeft
from routemoa.pool import Pool
from routemoa.questions import Question, read
from routemoa.types import Query, to_plain

Row = dict[str, Any]


def wilson(right: float, n: int) -> tuple[float, float]:
    z = 1.96
    p = right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), (middle + half) / (1 + z * z / n)


async def ask_all(pool: Pool, questions: list[Question], methods: list[str], rows: list[Row], kept: Path) -> None:
    have = {(r["method"], r["id"]) for r in rows}
    client = connect(pool)
    built = {name: build(pool, name, client) for name in methods}
    try:
        for spec in pool:  # the models are loaded outside the clock
            await build(pool, f"single:{spec.name}", client).answer(Query.of("Say hello."))
        for i, question in enumerate(questions):
            for name in methods[i % len(methods) :] + methods[: i % len(methods)]:
                if (name, question.id) in have:
                    continue
                begun = perf_counter()
                trace: Any
                try:
                    answer = await built[name].answer(Query.of(question.text))
                    text, trace = answer.text, to_plain(answer.trace)
                except NoModelLeft as e:
                    text, trace = None, {"calls": len(e.failures), "usage": {}, "stop_reason": str(e), "layers": []}
                row = {
                    "method": name,
                    "id": question.id,
                    "task": question.task,
                    "right": None if text is None else question.grade(text),
                    "seconds": round(perf_counter() - begun, 3),
                    "text": text,
                    "trace": trace,
                }
                rows.append(row)
                with kept.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            said = ", ".join(f"{m} {_right(rows, m)}" for m in methods)
            print(f"\r{i + 1}/{len(questions)}  right: {said}   ", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    finally:
        await client.close()


def _right(rows: list[Row], method: str) -> int:
    return round(sum(r["right"] or 0.0 for r in rows if r["method"] == method))


def table(rows: list[Row], methods: list[str]) -> str:
    lines = [
        "| method | right | 95 % | points over best-single | failed | calls | tokens read / written "
        "| s a question, mean (median) | seconds over best-single's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    by = {m: {r["id"]: r for r in rows if r["method"] == m} for m in methods}
    base = by.get("best-single", {})
    for name in methods:
        mine = by[name]
        shared = [q for q in mine if q in base]
        right, n = sum(r["right"] or 0.0 for r in mine.values()), len(mine)
        if not n:
            continue
        low, high = wilson(right, n)
        used = [r["trace"]["usage"] for r in mine.values()]
        tokens = [sum(u.get(k) or 0 for u in used) for k in ("prompt_tokens", "completion_tokens")]
        seconds = [r["seconds"] for r in mine.values()]
        gap = np.array([(mine[q]["right"] or 0.0) - (base[q]["right"] or 0.0) for q in shared])
        ratio = sum(mine[q]["seconds"] for q in shared) / sum(base[q]["seconds"] for q in shared) if shared else None
        lines.append(
            f"| {name} | {right:.0f}/{n} | {low:.0%} to {high:.0%} | {_gain(gap)} "
            f"| {sum(r['text'] is None for r in mine.values())} | {sum(r['trace']['calls'] for r in mine.values())} "
            f"| {tokens[0]} / {tokens[1]} | {statistics.mean(seconds):.1f} ({statistics.median(seconds):.1f}) "
            f"| {'-' if ratio is None else f'{ratio:.2f}'} |"
        )
    return "\n".join(lines)


def _gain(gap: np.ndarray[Any, Any]) -> str:
    if not len(gap):
        return "-"
    rng = np.random.default_rng(0)
    means = [gap[rng.integers(0, len(gap), len(gap))].mean() for _ in range(2000)]
    low, high = np.quantile(means, 0.025), np.quantile(means, 0.975)
    return f"{100 * gap.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def reasons(rows: list[Row]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        if row["method"] == "routemoa":
            word = str(row["trace"].get("stop_reason")).partition(":")[0]
            counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{word} {count}" for word, count in sorted(counts.items(), key=lambda kv: -kv[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--methods", default="routemoa,best-single,moa")
    parser.add_argument("--pool", metavar="FILE", help="default: the embedded pool")
    parser.add_argument("--name", help="of the results; default: the task's file name")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    questions = list(read(arguments.task))[: arguments.limit]
    methods = arguments.methods.split(",")
    name = arguments.name or arguments.task.name.partition(".")[0]
    kept = arguments.out / f"local_{name}.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    pool = Pool.from_toml(arguments.pool) if arguments.pool else Pool.embedded()
    asyncio.run(ask_all(pool, questions, methods, rows, kept))
    wanted = {q.id for q in questions}
    rows = [r for r in rows if r["id"] in wanted]
    text = f"{table(rows, methods)}\n\n{len(questions)} questions, one run, one at a time. Stopped: {reasons(rows)}."
    (arguments.out / f"local_{name}.md").write_text(f"# Live: {name}\n\n{text}\n")
    print(text)


if __name__ == "__main__":
    main()
