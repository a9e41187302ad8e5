"""Measure what the mixture adds where one model answers alone: prompt tokens, and milliseconds to the whole answer.

    python benchmarks/lone_model.py --json benchmarks/results/lone_model.json

A local endpoint answers at once. The same client asks it directly and through the mixture, in turn, so that the
difference is the mixture's own: scoring, deciding, tracing. The scorer is the embedded one, as in the default pool.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from statistics import median
from time import perf_counter

from msgspec.structs import replace

from routemoa.clients.connect import connect
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import Completion, Query, Request
from routemoa.mixture.engine import RouteMoA
from routemoa.scoring.constant import load_scorer
from routemoa.testing import FakeEndpoint

QUESTION = "What is the capital of France? Answer with one word."


async def measure(rounds: int) -> dict[str, object]:
    embedded = Pool.embedded()
    async with FakeEndpoint("Paris") as endpoint:
        models = tuple(replace(m, endpoint=endpoint.url) for m in embedded)
        pool = Pool(models, embedded.mixture)
        client = connect(pool)
        mixture, query = RouteMoA(pool, client, load_scorer(embedded)), Query.from_text(QUESTION)
        trace = (await mixture.answer(query)).trace
        model = pool[trace.layers[0].selected[0]]
        seconds: dict[str, list[float]] = {"direct": [], "mixture": []}
        before = len(endpoint.requests)
        for _ in range(rounds):
            started = perf_counter()
            async with aclosing(client.stream(model, Request(query.messages, logprobs=True))) as pieces:
                answer = [piece async for piece in pieces][-1]
            assert isinstance(answer, Completion)
            seconds["direct"].append(perf_counter() - started)
            started = perf_counter()
            await mixture.answer(query)
            seconds["mixture"].append(perf_counter() - started)
        direct, through = endpoint.requests[before : before + 2]
        await client.close()
    differences = [b - a for a, b in zip(seconds["direct"], seconds["mixture"], strict=True)]
    return {
        "rounds": rounds,
        "stopped": trace.stop_reason,
        "same_messages": direct["messages"] == through["messages"],
        "same_body": direct == through,
        "direct_ms_p50": 1e3 * median(seconds["direct"]),
        "mixture_ms_p50": 1e3 * median(seconds["mixture"]),
        "added_ms_p50": 1e3 * median(differences),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.rounds))
    print(json.dumps(figures, indent=2))
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
