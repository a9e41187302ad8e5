"""What the contract costs a call in bookkeeping: the account, the desk around a client, a tab on a real store.

    .venv/bin/python benchmarks/contract_overhead.py [--calls 5000] [--json benchmarks/results/contract_overhead.json]

Everything but the calls is real; these are scripted and answer at once. Milliseconds a call:

- account: reserve and settle, under a limit in dollars that caps the answer, for a short and a long prompt
- desk: a scripted call through the desk, less the same call without it, one after the other
- tab: open and close on a store in a file, one at a time and by 64 tasks at once: seconds that a caller waits, and what
  each call takes of the process's time in all
- query: a query of RouteMoA under a contract and a tab, less one with neither, a call; 64 at once

Bar: the median of each, and each call's share of the whole, under 0.2 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from time import perf_counter
from typing import Any

from bars import finish

from routemoa.core.access.tenants import SpendingLimits, Tenants
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import CallRecorder, CallResult, CallStart, Client
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.types import Completion, Limits, Message, ModelSpec, Query, Request
from routemoa.core.usage import Usage
from routemoa.ledger import Store
from routemoa.mixture.budget.account import Account
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.engine import RouteMoA
from routemoa.testing import ScriptedClient

BAR = 0.2  # milliseconds
AT_ONCE = 64
SPEC = ModelSpec("m0", "http://x/v1", "m0", prior=0.6, input_price=1.0, output_price=4.0)
LIMITS = Limits(max_cost=1e3, max_seconds=600.0, max_calls=10**9, max_output_tokens=10**12)
TENANTS = Tenants(totals=SpendingLimits(max_cost_per_day=1e9, max_cost_per_month=1e9))
ANSWER = "The journey takes about forty minutes, by way of the old bridge."


def request(characters: int) -> Request:
    return Request((Message("system", "Be brief."), Message("user", "How long? " * (characters // 10))), {"seed": 1})


def row(times: list[float], **more: float) -> dict[str, float]:
    points = statistics.quantiles(times, n=100)
    found = {"median_ms": statistics.median(times), "p90_ms": points[89], "p99_ms": points[98], **more}
    return {k: round(v, 4) for k, v in found.items()}


def account(calls: int, characters: int, contract: Limits) -> dict[str, float]:
    asked, times = request(characters), []
    for _ in range(calls):
        book = Account(contract)
        begun = perf_counter()
        held = book.reserve(SPEC, asked)
        book.settle(held, 1e-4, 20)
        times.append((perf_counter() - begun) * 1e3)
    return row(times)


async def call(client: Client, asked: Request) -> float:
    begun = perf_counter()
    async with aclosing(client.stream(SPEC, asked)) as pieces:
        async for piece in pieces:
            done = isinstance(piece, Completion)
    assert done
    return (perf_counter() - begun) * 1e3


async def desk(calls: int, contract: Limits, tab: Callable[[], CallRecorder | None]) -> dict[str, float]:
    """The difference, pair by pair, so that a machine that is busy for a while does not count as the desk's."""
    client, asked = ScriptedClient({"m0": Completion(ANSWER, Usage(20, 15), "stop")}, pieces=8), request(200)
    bare, through = [], []
    for _ in range(calls):
        bare.append(await call(client, asked))
        through.append(await call(MeteredClient(client, contract, tab()), asked))
        client.calls.clear()
    return row([b - a for a, b in zip(bare, through, strict=True)], bare_ms=statistics.median(bare))


async def tabs(calls: int, at_once: int, store: Store) -> dict[str, float]:
    times: list[float] = []

    async def work(count: int) -> None:
        tab = store.recorder(None, "routemoa")
        for _ in range(count):
            begun = perf_counter()
            number = await tab.start(CallStart("m0", "proposal", 1e-3))
            tab.finish(number, CallResult(Usage(20, 15), 1e-4, 1e-4, 1.0, "ok"))
            times.append((perf_counter() - begun) * 1e3)

    begun = perf_counter()
    await asyncio.gather(*(work(calls // at_once) for _ in range(at_once)))
    await store.flush()
    return row(times, share_ms=(perf_counter() - begun) * 1e3 / len(times))


async def query(queries: int, store: Store) -> dict[str, float]:
    """What a query takes beyond one without a contract, divided by its calls; whole rounds of 64, in turns."""
    script = {f"m{i}": f"{ANSWER} {i}" for i in range(5)}
    specs = tuple(ModelSpec(m, "http://x/v1", m, prior=0.6, input_price=1.0, output_price=4.0) for m in script)
    client = ScriptedClient(script)
    mixture = RouteMoA(Pool(specs, Mixture(fusion="published-small")), client)
    free, limited = Query.from_text("How long does the journey take?"), Query.from_text("How long does it take?")
    limited = Query(limited.messages, limits=LIMITS)
    times: dict[bool, list[float]] = {True: [], False: []}
    made = 0
    for _ in range(max(4, queries // AT_ONCE)):
        for under in (False, True):
            begun = perf_counter()
            tasks: list[Coroutine[Any, Any, None]] = [
                whole(mixture, limited, store.recorder(None, "routemoa")) if under else whole(mixture, free, None)
                for _ in range(AT_ONCE)
            ]
            await asyncio.gather(*tasks)
            times[under].append((perf_counter() - begun) * 1e3)
            made, each = len(client.calls), len(client.calls) / AT_ONCE
            client.calls.clear()
    assert made
    more = [(b - a) / (AT_ONCE * each) for a, b in zip(times[False], times[True], strict=True)]
    return row(more, calls_a_query=each, query_ms=statistics.median(times[True]) / AT_ONCE)


async def whole(mixture: RouteMoA, asked: Query, tab: CallRecorder | None) -> None:
    async with aclosing(mixture.stream(asked, tab)) as events:
        async for _ in events:
            pass


async def measure(calls: int, folder: Path) -> dict[str, dict[str, float]]:
    store = Store(folder / "store.db", TENANTS)
    cap = Limits(max_cost=0.004)
    try:
        return {
            "account, 200 characters": account(calls, 200, LIMITS),
            "account, 200 characters, capped": account(calls, 200, cap),
            "account, 20,000 characters": account(calls, 20_000, LIMITS),
            "desk, no limit": await desk(calls, Limits(), lambda: None),
            "desk, all limits": await desk(calls, LIMITS, lambda: None),
            "desk, all limits and a tab": await desk(calls, LIMITS, lambda: store.recorder(None, "routemoa")),
            "tab, one at a time": await tabs(calls, 1, store),
            "tab, 64 at once": await tabs(4 * calls, AT_ONCE, store),
            "query, all limits and a tab, 64 at once": await query(calls // 5, store),
        }
    finally:
        await store.aclose()


def missed(figures: dict[str, dict[str, float]]) -> list[str]:
    """What is over the bar. Where 64 wait together, a call's own share of the time counts, not its wait for others."""
    taken = {
        name: r.get("share_ms", r["median_ms"]) if "at once" in name else r["median_ms"] for name, r in figures.items()
    }
    return [f"{name}: {ms:.3f} ms a call, bar {BAR} ms" for name, ms in taken.items() if ms > BAR]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(args.calls, Path(folder)))
    for name, r in figures.items():
        rest = "   ".join(f"{k.removesuffix('_ms')} {v:.4g}" for k, v in r.items() if k not in ("median_ms", "p99_ms"))
        print(f"{name:42} median {r['median_ms']:7.4f} ms   p99 {r['p99_ms']:7.4f}   {rest}")
    about = {"calls": args.calls, "python": platform.python_version(), "machine": platform.machine()}
    finish({"about": about, "figures": figures, "missed": missed(figures)}, args.json)


if __name__ == "__main__":
    main()
