"""What the engine itself costs: scripted models that answer at once, five models, three layers, published policy.

    .venv/bin/python benchmarks/engine_overhead.py [--queries 2000] [--json benchmarks/results/engine_overhead.json]

Prints milliseconds a query (median, p90, p99) for whole answers, and for the pure part alone: rank, fuse and stop for
5 and 50 models. "learned" is one decision of the grown panel among 50 models, after three answers of 800 characters
that nobody has read before: all different, judged by all; closed ones state a result; kin: every tenth pair is related.
Bars: median under 5 ms a query; rank, fuse and stop for 50 models under 1 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
from itertools import combinations
from pathlib import Path
from random import Random
from time import perf_counter

from msgspec.structs import replace

from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.trace import Assessment, Layer, Proposal, Trace
from routemoa.core.types import ModelSpec, Query
from routemoa.core.usage import Usage
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.posterior import ErrorCorrelation
from routemoa.judging.published_fusion import fuse_scores, map_prior
from routemoa.mixture.engine import RouteMoA
from routemoa.routing.latency import CallEstimates
from routemoa.routing.planning.ranking import rank_models, select_models
from routemoa.routing.planning.stopping import published_stop
from routemoa.routing.policies.adaptive import AdaptivePolicy
from routemoa.testing import ScriptedClient

WORDS = "The journey takes about forty minutes, give or take, by way of " * 12


def models(count: int) -> tuple[ModelSpec, ...]:
    return tuple(ModelSpec(f"m{i}", "http://x/v1", prior=0.6, input_price=1.0, output_price=1.0) for i in range(count))


def script(name: str) -> str:
    return f'{WORDS} {name}.\n<assessment>{{"self": 0.3, "scores": {{"A": 0.4, "B": 0.5, "C": 0.6}}}}</assessment>'


async def whole(queries: int) -> list[float]:
    specs = models(5)
    mixture = RouteMoA(
        Pool(specs, Mixture(fusion="published-small")), ScriptedClient({m.name: script(m.name) for m in specs})
    )
    times: list[float] = []
    for _ in range(queries + 50):
        begun = perf_counter()
        answer = await mixture.answer(Query.from_text("How long does the journey take?"))
        times.append((perf_counter() - begun) * 1e3)
    assert len(answer.trace.layers) == 3, "the scripted models must keep the engine busy for three layers"
    assert answer.trace.calls == 10
    return times[50:]


def pure(count: int, rounds: int = 500) -> list[float]:
    specs = models(count)
    prior = map_prior({m.name: m.prior for m in specs})
    proposals = tuple(Proposal(f"m{i}", f"{WORDS} {i}", Usage(1, 1), 1.0, 0.1) for i in range(3))
    judged = tuple(Assessment(f"m{j}", f"m{s}", "self" if j == s else "cross", 0.4) for j in range(3) for s in range(3))
    layers = [Layer(proposals=proposals, assessments=judged)] * 2
    times: list[float] = []
    for _ in range(rounds):
        begun = perf_counter()
        scores = fuse_scores(prior, prior, layers, "published-small")
        ranking = rank_models(specs, scores)
        published_stop(layers, scores, select_models(ranking, 3, 0.2), threshold=0.805, max_layers=3)
        times.append((perf_counter() - begun) * 1e3)
    return times


def learned(closed: bool, kin: bool, count: int = 50, rounds: int = 500) -> list[float]:
    lots = Random(0)
    specs = tuple(replace(m, prior=0.6 - 0.004 * i) for i, m in enumerate(models(count)))
    names = sorted(m.name for m in specs)
    near = {f"{a}|{b}": 0.4 for a, b in combinations(names, 2) if kin and lots.random() < 0.1}
    policy = AdaptivePolicy(
        specs, Mixture(), JudgeModel(correlation=ErrorCorrelation(pairwise_error_correlation=near)), frozenset()
    )
    prior = {m.name: m.prior for m in specs}
    judged = tuple(
        Assessment(f"m{j}", f"m{s}", "self" if j == s else "cross", 0.4 + 0.1 * s) for j in range(3) for s in range(3)
    )
    opening = policy.initial(prior, CallEstimates())
    times: list[float] = []
    for n in range(rounds):
        ends = [f"\nThe answer is {n + i}." if closed else f" {n} {i} {lots.random()}" * 9 for i in range(3)]
        said = [Proposal(f"m{i}", WORDS + end, Usage(1, 1), 1.0, 0.1) for i, end in enumerate(ends)]
        first = Layer(("m0", "m1"), tuple(said[:2]), ranking=opening.ranking)
        second = Layer(("m2",), tuple(said[2:]), assessments=judged)
        trace = Trace(Query.from_text("?"), "routemoa", prior, opening.ranking, (first, second))
        begun = perf_counter()
        decision = policy.update(trace, CallEstimates())
        times.append((perf_counter() - begun) * 1e3)
        assert len(decision.ranking) == count
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
        "learned, 50 models, closed": row(learned(True, False)),
        "learned, 50 models, closed, kin": row(learned(True, True)),
        "learned, 50 models, open": row(learned(False, False)),
        "learned, 50 models, open, kin": row(learned(False, True)),
    }
    for name, r in figures.items():
        print(f"{name:36} median {r['median_ms']:7.3f} ms   p90 {r['p90_ms']:7.3f}   p99 {r['p99_ms']:7.3f}")
    if args.json:
        about = {"queries": args.queries, "python": platform.python_version(), "machine": platform.machine()}
        args.json.write_text(json.dumps({"about": about, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
