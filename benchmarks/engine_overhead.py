"""What the engine itself costs: scripted models that answer at once, five models, three layers.

    .venv/bin/python benchmarks/engine_overhead.py [--queries 2000] [--json benchmarks/results/engine_overhead.json]

Prints milliseconds a query (median, p90, p99) for whole answers, and for the pure part alone: rank, fuse and stop for
5 and 50 models. Bar: median under 5 ms a query.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
from pathlib import Path
from time import perf_counter

from routemoa.engine import RouteMoA
from routemoa.judges import posterior, stretch
from routemoa.pool import Mixture, Pool
from routemoa.ranking import rank, select, stop_reason
from routemoa.testing import ScriptedClient
from routemoa.types import Assessment, Layer, ModelSpec, Proposal, Query, Usage

WORDS = "The journey takes about forty minutes, give or take, by way of " * 12


def models(count: int) -> tuple[ModelSpec, ...]:
    return tuple(ModelSpec(f"m{i}", "http://x/v1", prior=0.6, input_price=1.0, output_price=1.0) for i in range(count))


def script(name: str) -> str:
    return f'{WORDS} {name}.\n<assessment>{{"self": 0.3, "scores": {{"A": 0.4, "B": 0.5, "C": 0.6}}}}</assessment>'


async def whole(queries: int) -> list[float]:
    specs = models(5)
    mixture = RouteMoA(Pool(specs, Mixture()), ScriptedClient({m.name: script(m.name) for m in specs}))
    times: list[float] = []
    for _ in range(queries + 50):
        begun = perf_counter()
        answer = await mixture.answer(Query.of("How long does the journey take?"))
        times.append((perf_counter() - begun) * 1e3)
    assert len(answer.trace.layers) == 3, "the scripted models must keep the engine busy for three layers"
    assert answer.trace.calls == 10
    return times[50:]


def pure(count: int, rounds: int = 500) -> list[float]:
    specs = models(count)
    prior = stretch({m.name: m.prior for m in specs})
    proposals = tuple(Proposal(f"m{i}", f"{WORDS} {i}", Usage(1, 1), 1.0, 0.1) for i in range(3))
    judged = tuple(Assessment(f"m{j}", f"m{s}", "self" if j == s else "cross", 0.4) for j in range(3) for s in range(3))
    layers = [Layer(proposals=proposals, assessments=judged)] * 2
    times: list[float] = []
    for _ in range(rounds):
        begun = perf_counter()
        scores = posterior(prior, prior, layers, "published-small")
        ranking = rank(specs, scores)
        stop_reason(layers, scores, select(ranking, 3, 0.2), threshold=0.805, limit=3)
        times.append((perf_counter() - begun) * 1e3)
    return times


def row(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100)
    return {"median_ms": round(statistics.median(times), 4), "p90_ms": round(cuts[89], 4), "p99_ms": round(cuts[98], 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    figures = {
        "5 models, 3 layers, whole query": row(asyncio.run(whole(args.queries))),
        "rank + fuse + stop, 5 models": row(pure(5)),
        "rank + fuse + stop, 50 models": row(pure(50)),
    }
    for name, r in figures.items():
        print(f"{name:36} median {r['median_ms']:7.3f} ms   p90 {r['p90_ms']:7.3f}   p99 {r['p99_ms']:7.3f}")
    if args.json:
        about = {"queries": args.queries, "python": platform.python_version(), "machine": platform.machine()}
        args.json.write_text(json.dumps({"about": about, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
