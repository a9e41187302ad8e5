"""The embedded pool on GSM8K: the mixture beside each of its models alone.

    .venv/bin/python benchmarks/local_gsm8k.py [--limit 40] [--out benchmarks/results]

Asks the first LIMIT test questions (../shared/data/tasks/gsm8k_test.jsonl.gz) one at a time, by `routemoa` and by
`single:` each model, with the embedded pool as it ships. Prints and writes one table: right answers with a 95 %
interval (Wilson), failures, calls, tokens, seconds. Every answer is kept in local_gsm8k.jsonl as it comes: run again to
go on after a stop.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import math
import platform
import re
import statistics
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from routemoa.answers import final_answer
from routemoa.config import build
from routemoa.connect import connect
from routemoa.errors import NoModelLeft
from routemoa.pool import Pool
from routemoa.types import Query, to_plain

DATA = Path(__file__).parents[2] / "shared" / "data" / "tasks" / "gsm8k_test.jsonl.gz"
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def methods(pool: Pool) -> tuple[str, ...]:
    return ("routemoa", *(f"single:{m.name}" for m in pool))


def number(text: str) -> float | None:
    """The stated final answer if it is a number, else the last number of the text."""
    stated = final_answer(text)
    found = NUMBER.findall(stated) if stated else []
    found = found if len(found) == 1 else NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def wilson(right: int, n: int) -> tuple[float, float]:
    z = 1.96
    p = right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), (middle + half) / (1 + z * z / n)


async def ask_all(
    pool: Pool, questions: list[dict[str, str]], rows: list[dict[str, Any]], kept: Path
) -> list[dict[str, Any]]:
    have = {(r["method"], r["id"]) for r in rows}
    client = connect(pool)
    try:
        for name in methods(pool):
            method = build(pool, name, client)
            if any((name, i) not in have for i in range(len(questions))):
                try:  # load the models outside the clock
                    await method.answer(Query.of("Say hello."))
                except NoModelLeft as e:
                    sys.exit(f"{name}: {e}")
            for i, q in enumerate(questions):
                if (name, i) in have:
                    continue
                begun = perf_counter()
                try:
                    answer = await method.answer(Query.of(q["question"]))
                    text, trace = answer.text, to_plain(answer.trace)
                except NoModelLeft as e:
                    text, trace = None, {"calls": len(e.failures), "usage": {}, "stop_reason": str(e), "layers": []}
                truth = float(q["answer"].rpartition("####")[2].replace(",", ""))
                row = {
                    "method": name,
                    "id": i,
                    "right": text is not None and number(text) == truth,
                    "failed": text is None,
                    "calls": trace["calls"],
                    "layers": len(trace["layers"]),
                    "usage": trace["usage"],
                    "seconds": round(perf_counter() - begun, 3),
                    "stop_reason": trace["stop_reason"],
                    "aggregator": trace.get("aggregator"),
                    "text": text,
                }
                rows.append(row)
                with kept.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                done = [r for r in rows if r["method"] == name]
                right = sum(r["right"] for r in done)
                print(f"\r{name:22} {len(done):3}/{len(questions)}  right {right}", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
    finally:
        await client.close()
    return rows


def table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> str:
    lines = [
        "| method | right | 95 % | failed | calls | prompt tokens | completion tokens | s a question, mean (median) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        mine = [r for r in rows if r["method"] == name]
        right, n = sum(r["right"] for r in mine), len(mine)
        low, high = wilson(right, n)
        tokens = [sum(r["usage"].get(k) or 0 for r in mine) for k in ("prompt_tokens", "completion_tokens")]
        seconds = [r["seconds"] for r in mine]
        lines.append(
            f"| {name} | {right}/{n} | {low:.0%} to {high:.0%} | {sum(r['failed'] for r in mine)} "
            f"| {sum(r['calls'] for r in mine)} | {tokens[0]} | {tokens[1]} "
            f"| {statistics.mean(seconds):.1f} ({statistics.median(seconds):.1f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    with gzip.open(DATA, "rt") as file:
        questions = [json.loads(line) for line in file][: args.limit]
    pool = Pool.embedded()
    kept = args.out / "local_gsm8k.jsonl"
    before = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    rows = asyncio.run(ask_all(pool, questions, before, kept))
    text = table(rows, methods(pool))
    dense = len(pool) * 3 + 1
    mine = [r for r in rows if r["method"] == "routemoa"]
    reasons = {
        k: sum(str(r["stop_reason"]).startswith(k) for r in mine) for k in ("sure", "agreed", "last layer", "no ")
    }
    notes = (
        f"{len(questions)} questions, one run, one at a time, {platform.machine()}, "
        f"Python {platform.python_version()}. "
        f"A dense MoA of this pool makes {dense} calls a question ({dense * len(questions)} in all).\n\n"
        f"routemoa stopped: {reasons}; layers: {sum(r['layers'] for r in mine)}; "
        f"aggregator called {sum(r['aggregator'] is not None for r in mine)} times."
    )
    (args.out / "local_gsm8k.md").write_text(f"# Embedded pool on GSM8K\n\n{text}\n\n{notes}\n")
    print(text, notes, sep="\n\n")


if __name__ == "__main__":
    main()
