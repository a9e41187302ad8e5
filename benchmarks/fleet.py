"""How many gateways a traffic needs, what it costs and how long the slowest hundredth waits: a simulation.

    .venv/bin/python benchmarks/fleet.py [--rates 100 1000 10000] [--json benchmarks/results/fleet.json]
        [--plot docs/fleet.svg]                  the fleet at its peak, and over a day
    .venv/bin/python benchmarks/fleet.py --validate   the simulation against what was measured, first
    .venv/bin/python benchmarks/fleet.py --measure    a real server under open load against the simulation of it, here

A replica is one process: its processor time is spent on one request after another, and a request that would wait
longer than `[server] queue_seconds` is refused. Providers answer after a lognormal time, refuse what passes their rate
(429), fail at times and are out for a while; a call goes where `endpoints` of a pool file would send it
(`routemoa.clients.endpoints.placement`) and moves on when it fails. Processor times are those of
docs/research/performance.md. docs/research/fleet.md has the assumptions and the results. Bars, with --validate:
throughput within 10 %, p50 within 15 % of what was measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from bars import finish
from fleet_simulation import Assumptions, percentile, simulate_closed, simulate_open


def mean_cpu(a: Assumptions) -> float:
    """Return the seconds of processor time of a usual request."""
    return sum(share * (a.cpu_first + (sum(stages) - 1) * a.cpu_further) for stages, share in a.calls)


MAX_BUSY = 0.8
"""Share of the processor time at the peak with one replica less: beyond it queues grow slowly, and for long."""
MAX_ADDED = 0.1
"""Seconds that the gateways may add to the slowest hundredth at the peak, also with one replica less."""


def size_fleet(a: Assumptions, rate: float) -> dict[str, Any]:
    """Return the smallest fleet that holds the peak without one of its replicas, and what a day of it costs.

    `rate`: mean requests a second.
    """
    peak = rate * a.peak
    calls = sum(share * sum(stages) for stages, share in a.calls)
    endpoints = max(2, math.ceil(peak * calls * a.spare / a.limit))
    replicas = math.ceil(peak * mean_cpu(a) / MAX_BUSY) + 1
    while (lost := simulate_open(a, peak, replicas - 1, endpoints)).added_p99 > MAX_ADDED or lost.refused > 0.001:
        replicas += max(1, round(replicas * 0.04))
    result = simulate_open(a, peak, replicas, endpoints)
    outage = simulate_open(a, peak, replicas, endpoints, out=max(1, endpoints // 10))
    hours = [1.0 - (a.peak - 1.0) * math.cos(2 * math.pi * h / 24) for h in range(24)]
    scaled = sum(max(2, math.ceil(replicas * hour / a.peak)) for hour in hours)
    day = [
        simulate_open(a, rate * h, max(2, math.ceil(replicas * h / a.peak)), endpoints, seed=i, requests=8000)
        for i, h in enumerate(hours)
    ]
    return {
        "mean_rate": rate,
        "peak_rate": peak,
        "replicas": replicas,
        "endpoints": endpoints,
        "peak": msgspec.to_builtins(result),
        "one_replica_lost": msgspec.to_builtins(lost),
        "tenth_of_endpoints_out": msgspec.to_builtins(outage),
        "day_p99": [round(r.p99, 3) for r in day],
        "hours": hours,
        "cost_per_hour": {
            "replicas": replicas * a.replica_cost,
            "replicas_autoscaled": scaled / 24 * a.replica_cost,
            "calls": rate * calls * 3600 * a.call_cost,
        },
    }


VALIDATION = (
    ("whole, 16 connections", 0.92e-3, 16, 1070.0, None),
    ("whole, 16 connections, all features", 0.9e-3, 16, 1115.0, 14.0),
    ("streamed, 16 connections", 1.44e-3, 16, 645.0, None),
)
"""Row of performance.md, processor time of the server for a request, connections -> requests/s and p50 ms measured."""


def validate() -> list[str]:
    """Compare closed loops, one replica and an endpoint that answers at once, to what was measured; return misses."""
    missed = []
    for name, cpu, at_once, rate, p50 in VALIDATION:
        a = Assumptions(cpu_first=cpu, calls=(((1,), 1.0),), median=0.0, failure=0.0, limit=1e9)
        found = simulate_closed(a, at_once)
        print(f"{name:<38} {found.rate:7.0f} of {rate:5.0f} requests/s   p50 {found.p50 * 1e3:5.1f} of {p50 or '-'} ms")
        if abs(found.rate / rate - 1.0) > 0.10 or (p50 and abs(found.p50 * 1e3 / p50 - 1.0) > 0.15):
            missed.append(f"{name}: simulated {found.rate:.0f} requests/s, p50 {found.p50 * 1e3:.1f} ms")
    return missed


DELAYS = (0.3, 0.4)
"""Median and sigma of the real endpoint's answers in --measure."""


async def measure(seconds: float = 15.0) -> list[dict[str, Any]]:
    """Send open load to a real server; return what it measured, beside the simulation with its processor time."""
    import os
    import tempfile

    import psutil
    from serve_load import start

    from routemoa.testing import FakeEndpoint, Fault

    random, found = Random(5), list[dict[str, Any]]()
    for rate in (20.0, 60.0):
        count = int(rate * seconds)
        delays = [DELAYS[0] * math.exp(random.gauss(0.0, DELAYS[1])) for _ in range(2 * count)]
        with tempfile.TemporaryDirectory() as folder:
            async with FakeEndpoint("Hi.", [Fault(first_byte=d) for d in delays]) as endpoint:
                file = Path(folder) / "pool.toml"
                file.write_text(f'[[model]]\nname = "m0"\nendpoint = "{endpoint.url}"\nprior = 0.5\n')
                process, port = await start(file)
                server = psutil.Process(process.pid)
                try:
                    await asyncio.gather(*(_ask(port, i / rate) for i in range(20)))
                    before = sum(server.cpu_times()[:2])
                    moments = [0.0]
                    while len(moments) < count:
                        moments.append(moments[-1] + random.expovariate(rate))
                    times = await asyncio.gather(*(_ask(port, moment) for moment in moments))
                    cpu = (sum(server.cpu_times()[:2]) - before) / count
                finally:
                    process.terminate()
                    await process.communicate()
        a = Assumptions(cpu, 0.0, (((1,), 1.0),), median=DELAYS[0], sigma=DELAYS[1], failure=0.0, limit=1e9)
        simulated = simulate_open(a, rate, 1, 1)
        found.append(
            {
                "rate": rate,
                "cpu_ms": round(cpu * 1e3, 2),
                "load_average": round(os.getloadavg()[0], 1),
                "measured": {"p50": round(percentile(times, 0.5), 3), "p99": round(percentile(times, 0.99), 3)},
                "simulated": {"p50": round(simulated.p50, 3), "p99": round(simulated.p99, 3)},
            }
        )
        print(json.dumps(found[-1]))
    return found


async def _ask(port: int, after: float) -> float:
    """Send a request after so many seconds, over a connection of its own; return how long it took."""
    from time import perf_counter

    await asyncio.sleep(after)
    body = json.dumps({"model": "m0", "messages": [{"role": "user", "content": "Hi"}]})
    began = perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return perf_counter() - began


def show(fleets: list[dict[str, Any]]) -> None:
    """Print a row for each rate."""
    print(
        f"{'requests/s':>10} {'peak':>7} {'replicas':>8} {'endpoints':>9} {'p50 s':>6} {'p99 s':>6} {'added p99':>9} "
        f"{'busy':>5} {'one lost':>8} {'10% out':>8} {'$/h replicas':>12} {'scaled':>7} {'$/h calls':>9}"
    )
    for f in fleets:
        peak, cost = f["peak"], f["cost_per_hour"]
        print(
            f"{f['mean_rate']:10,.0f} {f['peak_rate']:7,.0f} {f['replicas']:8} {f['endpoints']:9} {peak['p50']:6.2f} "
            f"{peak['p99']:6.2f} {peak['added_p99'] * 1e3:6.0f} ms {peak['busy']:5.0%} "
            f"{f['one_replica_lost']['p99']:8.2f} {f['tenth_of_endpoints_out']['p99']:8.2f} {cost['replicas']:12,.2f} "
            f"{cost['replicas_autoscaled']:7,.2f} {cost['calls']:9,.0f}"
        )


def plot(a: Assumptions, fleets: list[dict[str, Any]], file: str) -> None:
    """Draw what the gateways add as their processors fill up, and the p99 of each fleet over its day."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "routemoa"
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for replicas, style in ((1, "o-"), (4, "s-"), (16, "^-")):
        capacity = replicas / mean_cpu(a)
        loads = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
        found = [simulate_open(a, capacity * load, replicas, math.ceil(capacity * 2 / a.limit)) for load in loads]
        label = "1 replica" if replicas == 1 else f"{replicas} replicas"
        left.plot([100 * x for x in loads], [1e3 * r.added_p99 for r in found], style, label=label)
    for f in fleets:
        right.plot(range(24), f["day_p99"], "o-", markersize=3, label=f"{f['mean_rate']:,.0f} requests/s")
    left.set(xlabel="processor time used (%)", ylabel="added by the gateways, p99 (ms)", yscale="log")
    right.set(xlabel="hour of the day", ylabel="answered within, p99 (s)", ylim=(0, None))
    for axis in (left, right):
        axis.legend(frameon=False)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None} if file.endswith(".svg") else None)


def main() -> None:
    """Read the options, and simulate, validate or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[100.0, 1000.0, 10_000.0])
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()
    a = Assumptions()
    if options.measure:
        asyncio.run(measure())
        return
    missed = validate()
    if options.validate:
        finish({"missed": missed}, options.json)
    fleets = [size_fleet(a, rate) for rate in options.rates]
    show(fleets)
    if options.plot:
        plot(a, fleets, options.plot)
    finish({"assumptions": msgspec.to_builtins(a), "fleets": fleets, "missed": missed}, options.json)


if __name__ == "__main__":
    main()
