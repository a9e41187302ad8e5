"""Record what other methods do on the demo's three questions, and sum up the 96 recorded ones, for the demo's end.

    python benchmarks/demo.py --out src/routemoa/cli/demo/recorded.json
    python benchmarks/demo.py --recorded-only --out FILE     # the 96 questions only: no call is made

The demo's own pool answers live, one question at a time: the best single model for the scorer, and a dense mixture of
all members. The 96 questions are those of benchmarks/results/bench_short96.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import msgspec

from routemoa.cli.demo.questions import DemoQuestion, check_answer, chosen_questions, load_questions
from routemoa.cli.demo.summary import MethodFigures, Recorded
from routemoa.clients.connect import connect
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import Query
from routemoa.mixture.method_registry import build_method

RESULTS = Path(__file__).parent / "results"
METHODS = {"best-single": "best single model", "moa": "dense MoA"}


async def record(method: str, pool: Pool, questions: list[DemoQuestion]) -> MethodFigures:
    client = connect(pool)
    right = calls = tokens = 0
    seconds = 0.0
    try:
        for question in questions:
            answer = await build_method(pool, method, client).answer(Query.from_text(question.query))
            usage = answer.trace.usage
            right += all(check.is_right for check in check_answer(question, answer.text))
            calls += answer.trace.calls
            tokens += (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
            seconds += answer.trace.latency or 0.0
            print(method, question.id, repr(answer.text[:80]), right, calls, tokens, f"{seconds:.1f} s")
    finally:
        await client.close()
    return MethodFigures(METHODS[method], right, len(questions), calls, tokens, round(seconds, 1))


def sum_short96() -> list[MethodFigures]:
    found: dict[str, list[dict[str, float]]] = {}
    for line in (RESULTS / "bench_short96" / "outcomes.jsonl").read_text().splitlines():
        outcome = json.loads(line)
        found.setdefault(outcome["method"], []).append(outcome)
    names = {"routemoa": "the mixture"} | METHODS
    return [
        MethodFigures(
            name,
            round(sum(o["right"] for o in found[method])),
            len(found[method]),
            round(sum(o["calls"] for o in found[method])),
            round(sum(o["prompt_tokens"] + o["completion_tokens"] for o in found[method])),
            round(sum(o["seconds"] for o in found[method]), 1),
        )
        for method, name in names.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FILE", required=True)
    parser.add_argument("--recorded-only", action="store_true")
    options = parser.parse_args()
    pool = Pool.from_toml(Path(str(resources.files("routemoa.cli.demo"))) / "pool.toml")
    questions = chosen_questions(load_questions())
    live = () if options.recorded_only else METHODS
    demo = [asyncio.run(record(method, pool, questions)) for method in live]
    date = datetime.now(UTC).date().isoformat()
    recorded = Recorded(date, "two cores", tuple(demo), tuple(sum_short96()))
    Path(options.out).write_bytes(msgspec.json.format(msgspec.json.encode(recorded), indent=2) + b"\n")


if __name__ == "__main__":
    main()
