"""The store on SQLite and on PostgreSQL side by side, and a PostgreSQL that is killed under load.

    .venv/bin/python benchmarks/store.py [--seconds 5] [--kills 3] [--json benchmarks/results/store.json]

A PostgreSQL server is started from Debian's programs (apt-get install postgresql), in a folder of its own.

- `ledger`: calls recorded and settled by one process, so many at once: calls a second, and milliseconds until a call
  may begin
- `gateway`: requests under a budget, passed through `routemoa serve` to an endpoint in this process: requests a second
  and p50
- `killed`: the database is killed (SIGKILL) and started again while a tenant without a budget and one with a budget
  send requests. Bars: none without a budget fails, the others fail with 503 alone, and when it is back the ledger has
  each call that the endpoint saw, once, and its totals are their sum.

Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import aiohttp
from bars import finish
from served import serving

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds tests/

from routemoa.core.access.tenants import SpendingLimits, Tenant, Tenants
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.usage import Usage
from routemoa.ledger import Store, StoreLocation, StoreUrl, read_calls
from routemoa.ledger.connections import open_reading
from routemoa.testing import FakeEndpoint
from tests.ledger.postgres.server import PostgresServer, find_programs

WIDTHS = (1, 16, 64)
KEYS = {"free": "free-key", "rich": "rich-key"}
DAY = 1000.0
AWAY_SECONDS = 2.0
POOL = """
[[model]]
name = "a"
endpoint = "{url}"
input_price = 1.0
output_price = 1.0
[[tenant]]
name = "free"
key_env = "KEY_FREE"
[[tenant]]
name = "rich"
key_env = "KEY_RICH"
max_cost_per_day = {day}
"""


async def measure_ledger(place: StoreLocation, width: int, seconds: float) -> dict[str, float]:
    """Record and settle calls, `width` at once, within a budget."""
    store = Store(place, Tenants((Tenant("rich", "", DAY),), SpendingLimits(), (b"",)))
    waits: list[float] = []
    end = monotonic() + seconds

    async def worker() -> None:
        while monotonic() < end:
            recorder, began = store.recorder("rich", "m"), perf_counter()
            number = await recorder.start(CallStart("a", "proposal", 1e-6))
            waits.append(perf_counter() - began)
            recorder.finish(number, CallResult(Usage(1, 1), 1e-6, 1e-6, 0.1, "ok"))

    began = monotonic()
    await asyncio.gather(*(worker() for _ in range(width)))
    await store.flush()
    rate = len(waits) / (monotonic() - began)
    await store.aclose()
    return {"calls_per_second": round(rate), "p50_ms": round(statistics.median(waits) * 1e3, 3)}


async def ask(session: aiohttp.ClientSession, port: int, tenant: str) -> int:
    """Send one request; return its status, 0 for none."""
    body = {"model": "a", "messages": [{"role": "user", "content": tenant}]}
    try:
        async with session.post(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {KEYS[tenant]}"},
        ) as response:
            await response.read()
            return response.status
    except aiohttp.ClientError:
        return 0


async def measure_gateway(folder: Path, store: Sequence[str], width: int, seconds: float) -> dict[str, float]:
    """Pass requests through, `width` at once."""
    times: list[float] = []
    async with FakeEndpoint("It is 4.") as upstream:
        (folder / "pool.toml").write_text(POOL.format(url=upstream.url, day=DAY))
        options = ("--pool", str(folder / "pool.toml"), *store)
        environment = {f"KEY_{name.upper()}": key for name, key in KEYS.items()}
        async with serving(folder / "log", *options, env=environment) as server, aiohttp.ClientSession() as session:
            end = monotonic() + seconds

            async def caller() -> None:
                while monotonic() < end:
                    began = perf_counter()
                    assert await ask(session, server.port, "rich") == 200
                    times.append(perf_counter() - began)

            began = monotonic()
            await asyncio.gather(*(caller() for _ in range(width)))
            rate = len(times) / (monotonic() - began)
    return {"requests_per_second": round(rate), "p50_ms": round(statistics.median(times) * 1e3, 3)}


async def kill_database(folder: Path, database: PostgresServer, url: StoreUrl, kills: int) -> dict[str, Any]:
    """Kill the database under load again and again; return what came of the requests, and what the ledger holds."""
    statuses: dict[str, Counter[int]] = {name: Counter() for name in KEYS}
    slowest = dict.fromkeys(KEYS, 0.0)
    is_over = False
    async with FakeEndpoint("It is 4.") as upstream:
        (folder / "pool.toml").write_text(POOL.format(url=upstream.url, day=DAY))
        options = ("--pool", str(folder / "pool.toml"), "--store", url.secret)
        environment = {f"KEY_{name.upper()}": key for name, key in KEYS.items()}
        async with serving(folder / "log", *options, env=environment) as server, aiohttp.ClientSession() as session:

            async def caller(tenant: str) -> None:
                while not is_over:
                    began = perf_counter()
                    status = await ask(session, server.port, tenant)
                    slowest[tenant] = max(slowest[tenant], perf_counter() - began)
                    statuses[tenant][status] += 1
                    await asyncio.sleep(0.01 if status == 200 else 0.1)

            callers = [asyncio.create_task(caller(tenant)) for tenant in KEYS for _ in range(8)]
            for _ in range(kills):
                await asyncio.sleep(AWAY_SECONDS)
                await asyncio.to_thread(database.kill)
                await asyncio.sleep(AWAY_SECONDS)
                await asyncio.to_thread(database.start)
            await asyncio.sleep(2 * AWAY_SECONDS)
            is_over = True
            await asyncio.gather(*callers)
        seen = Counter(request["messages"][0]["content"] for request in upstream.requests)
    calls = list(read_calls(url))
    return {
        "kills": kills,
        "statuses": {name: dict(sorted(found.items())) for name, found in statuses.items()},
        "slowest_seconds": {name: round(seconds, 2) for name, seconds in slowest.items()},
        "calls_at_endpoint": dict(seen),
        "calls_in_ledger": dict(Counter(call.key for call in calls)),
        "outcomes": dict(Counter(call.outcome for call in calls)),
        "charged": round(sum(call.charged or 0.0 for call in calls), 9),
        "totals": read_totals(url),
    }


def read_totals(url: StoreUrl) -> dict[str, float]:
    """Return what all tenants have spent and reserved, in dollars."""
    connection = open_reading(url)
    assert connection is not None
    with closing(connection):
        rows = connection.execute(
            "SELECT spent, held FROM windows WHERE key = '*' AND length(\"window\") = 10"
        ).fetchall()
    return {"spent": round(sum(r[0] for r in rows) / 1e12, 9), "held": sum(r[1] for r in rows) / 1e12}


def find_missed(killed: dict[str, Any]) -> list[str]:
    """Return the bars that the killed database missed."""
    free, rich = (killed["statuses"][name] for name in KEYS)
    missed = []
    if set(free) != {200}:
        missed.append(f"requests without a budget: {free}")
    if not set(rich) <= {200, 503} or 503 not in rich:
        missed.append(f"requests under a budget: {rich}")
    if killed["calls_at_endpoint"] != killed["calls_in_ledger"] or set(killed["outcomes"]) != {"ok"}:
        missed.append("the ledger has not each call once")
    if abs(killed["charged"] - killed["totals"]["spent"]) > 1e-9 or killed["totals"]["held"]:
        missed.append("the totals are not the sum of the calls")
    return missed


async def measure(args: argparse.Namespace, folder: Path, database: PostgresServer) -> dict[str, Any]:
    results: dict[str, Any] = {"ledger": {}, "gateway": {}}
    for width in WIDTHS:
        places: dict[str, StoreLocation] = {"sqlite": folder / f"l{width}.db", "postgresql": database.make_database()}
        for kind, place in places.items():
            figures = results["ledger"].setdefault(kind, {})[width] = await measure_ledger(place, width, args.seconds)
            print(f"ledger   {kind:10} {width:3} at once: {figures}", flush=True)
    for width in WIDTHS[:2]:
        stores = {
            "sqlite": ("--store", str(folder / f"g{width}.db")),
            "postgresql": ("--store", database.make_database().secret),
        }
        for kind, store in stores.items():
            figures = await measure_gateway(folder, store, width, args.seconds)
            results["gateway"].setdefault(kind, {})[width] = figures
            print(f"gateway  {kind:10} {width:3} at once: {figures}", flush=True)
    results["killed"] = await kill_database(folder, database, database.make_database(), args.kills)
    for name, value in results["killed"].items():
        print(f"killed   {name}: {value}")
    results["missed"] = find_missed(results["killed"])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    programs = find_programs()
    if programs is None:
        sys.exit("no PostgreSQL here: apt-get install postgresql")
    database = PostgresServer(programs, synced=True)
    folder = Path(tempfile.mkdtemp())
    try:
        results = asyncio.run(measure(args, folder, database))
    finally:
        database.remove()
        shutil.rmtree(folder)
    finish(results, args.json)


if __name__ == "__main__":
    main()
