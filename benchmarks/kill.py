"""Check that tenants' bills survive crashes: the server is killed (SIGKILL) under load again and again, on one store.

    .venv/bin/python benchmarks/kill.py [--kills 10] [--seed 0] [--json benchmarks/results/kill.json]

Four tenants, each with a key, send requests to `routemoa serve`, two dozen at a time; one of them has a small budget.
The endpoints (faulty.py) count what they bill, by the id in each request's text. After every restart, and at the end:

- the ledger has charged a tenant at least what the endpoints billed for its finished calls (and for all of them)
- no total has fallen, and no tenant's total is above its limit
- no call is open and nothing is reserved; a new request of every tenant that has budget left is answered
- the totals of the day are the sum of the calls

Exits with 1 when one of these does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from bars import finish
from faulty import Faults, Member, Spec
from msgspec import Struct
from served import ROUTEMOA, Running, Serving, endpoints, post, read, start

WORKERS = 24
TENANTS = {"alpha": 500.0, "beta": 200.0, "gamma": 100.0, "tight": 0.6}  # dollars a day
MONTH = {"beta": 300.0}
TOTALS = 1000.0
ALL_TENANTS = "*"  # the key of their sum
BROKEN_RESPONSE = "ASGI callable returned without completing"  # a member's own response that broke off, passed on
PICODOLLARS_PER_DOLLAR = 1e12  # the unit of the store's windows
MEMBERS = tuple(
    Member(name, 5.0 * price, 20.0 * price, first_token=0.05, between=0.02, right=0.7)
    for name, price in (("mini", 0.2), ("middle", 1.0), ("grand", 3.0))
)
FAULTS = Faults(refused=0.04, reset=0.03, cut=0.03, garbage=0.01, slow=0.05, silent=0.05, harsh=0.2)


class Totals(Struct, frozen=True):
    """Dollars of each tenant."""

    charged: dict[str, float]
    """By the ledger."""
    finished: dict[str, float]
    """Billed by the endpoints for the calls that they had finished."""
    billed: dict[str, float]
    """Billed by the endpoints for all calls."""
    day: dict[str, float]
    """Spent, by the store's windows."""
    held: float
    """Reserved, by the store's windows, all tenants together."""
    open: int
    """Calls."""
    outcomes: dict[str, int]
    """Outcome -> calls."""


class Load:
    """Sends requests to the server, and keeps what came of them."""

    def __init__(self, folder: Path, upstream: Running, seed: int) -> None:
        self.store, self._pool, self._log = folder / "store.db", folder / "pool.toml", folder / "server.log"
        self._upstream, self._random = upstream, Random(seed)
        self._tenant_of: dict[str, str] = {}  # by the id in a request's text
        self.results: Counter[str] = Counter()
        self.server_errors: list[str] = []
        self._pool.write_text(pool_file(upstream))

    async def start_server(self) -> Serving:
        keys = {f"KEY_{name.upper()}": secret(name) for name in TENANTS}
        return await start(self._log, "--pool", str(self._pool), "--store", str(self.store), env=keys)

    def collect_server_errors(self) -> None:
        """Keep the errors in the server's log."""
        errors = [line for line in self._log.read_text().splitlines() if "Traceback" in line or " ERROR " in line]
        self.server_errors += [line for line in errors if BROKEN_RESPONSE not in line]

    async def send_request(self, port: int, tenant: str) -> str:
        """Send one request of a tenant, and return what came of it, in a word."""
        identity = f"req-{len(self._tenant_of):06d}"
        self._tenant_of[identity] = tenant
        text = f"{identity} What is {self._random.randint(10, 99)} + {self._random.randint(10, 99)}?"
        model = self._random.choices(("routemoa", "moa", "mini", "grand"), (70, 10, 10, 10))[0]
        stream = self._random.random() < 0.5
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
        try:
            async with asyncio.timeout(60):
                reply = await post(port, body, {"Authorization": f"Bearer {secret(tenant)}"})
        except OSError:
            return "no server"
        except TimeoutError:
            return "hung"
        response = read(reply, stream=stream)
        return "broken off" if response.wrong else response.code or "answered"

    async def run_workers(self, port: int, seconds: float) -> list[asyncio.Task[None]]:
        """Start workers and return them after so many seconds; they end with the server."""

        async def work() -> None:
            while (result := await self.send_request(port, self._random.choice(tuple(TENANTS)))) != "no server":
                self.results[result] += 1
                if result.startswith("429"):
                    await asyncio.sleep(0.05)

        workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
        await asyncio.sleep(seconds)
        return workers

    async def read_totals(self) -> Totals:
        """Read the totals of the ledger and of the endpoints, once all calls have ended."""
        for _ in range(100):
            if not (await self._upstream.state())["running"]:
                break
            await asyncio.sleep(0.05)
        finished: dict[str, float] = defaultdict(float)
        billed: dict[str, float] = defaultdict(float)
        for bill in await self._upstream.bills():
            tenant = self._tenant_of[bill.id]
            billed[tenant] += bill.dollars
            finished[tenant] += bill.dollars if bill.outcome == "finished" else 0.0
        with closing(sqlite3.connect(self.store)) as db:
            day = db.execute("SELECT key, spent, held FROM windows WHERE length(window) = 10").fetchall()
            outcomes = dict(db.execute("SELECT outcome, count(*) FROM calls GROUP BY outcome").fetchall())
            held = sum(h for _, h in db.execute("SELECT key, held FROM windows"))
        spent: dict[str, float] = defaultdict(float)
        for key, amount, _ in day:
            spent[key] += amount / PICODOLLARS_PER_DOLLAR
        open_ = outcomes.get("open", 0)
        return Totals(
            read_charges(self.store),
            dict(finished),
            dict(billed),
            dict(spent),
            held / PICODOLLARS_PER_DOLLAR,
            open_,
            outcomes,
        )


def secret(tenant: str) -> str:
    return f"secret-of-{tenant}"


def pool_file(upstream: Running) -> str:
    """Return a pool file with the tenants, and the endpoints as members."""
    out = ["[totals]", f"max_cost_per_day = {TOTALS}"]
    for name, limit in TENANTS.items():
        out += ["[[tenant]]", f'name = "{name}"', f'key_env = "KEY_{name.upper()}"', f"max_cost_per_day = {limit}"]
        out += [f"max_cost_per_month = {MONTH[name]}"] if name in MONTH else []
    for place, m in enumerate(MEMBERS):
        out += [
            "[[model]]",
            f'name = "{m.name}"',
            f'endpoint = "{upstream.url(m.name)}"',
            f"prior = {0.6 + place * 0.1}",
        ]
        out += [f"input_price = {m.input_price}", f"output_price = {m.output_price}"]
    return "\n".join(out) + "\n"


def read_charges(store: Path) -> dict[str, float]:
    """Return the dollars charged to each tenant, as `routemoa ledger` prints them."""
    command = [*ROUTEMOA, "ledger", "--by", "key", "--json", "--store", str(store)]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return {group["group"]: group["charged"] or 0.0 for group in printed["groups"]}


def find_violations(now: Totals, before: Totals | None) -> list[str]:
    """Return what does not hold, within a billionth: sums of floats have rounding errors."""
    out = []
    for tenant, limit in TENANTS.items():
        charged = now.charged.get(tenant, 0.0)
        for kind, billed in (("finished calls", now.finished), ("calls", now.billed)):
            if charged < billed.get(tenant, 0.0) * (1 - 1e-9):
                out.append(f"{tenant}: charged ${charged:.6f}, {kind} cost ${billed[tenant]:.6f}")
        if before and charged < before.charged.get(tenant, 0.0) * (1 - 1e-9):
            out.append(f"{tenant}: its total fell from ${before.charged[tenant]:.6f} to ${charged:.6f}")
        if charged > limit * (1 + 1e-9):
            out.append(f"{tenant}: ${charged:.6f} is above its limit of ${limit}")
        if abs(now.day.get(tenant, 0.0) - charged) > 1e-9 * max(1.0, charged):
            out.append(f"{tenant}: the day's total is ${now.day.get(tenant)}, its calls sum up to ${charged:.9f}")
    if abs(now.day.get(ALL_TENANTS, 0.0) - sum(now.charged.values())) > 1e-6:
        out.append(f"all tenants: the day's total is ${now.day.get(ALL_TENANTS)}, the calls sum up to {now.charged}")
    out += [f"{now.open} calls are open"] if now.open else []
    out += [f"${now.held:.6f} are reserved"] if now.held else []
    return out


async def measure(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run the benchmark, and return a round for each kill, the end, the results of the requests, and violations."""
    async with endpoints(Spec(MEMBERS, FAULTS, seed), folder) as upstream:
        load, random = Load(folder, upstream, seed), Random(seed)
        violations: list[str] = []
        rounds: list[dict[str, Any]] = []
        before: Totals | None = None
        for number in range(kills + 1):
            server = await load.start_server()
            try:
                if number:
                    now = await load.read_totals()
                    violations += [f"after kill {number}: {problem}" for problem in find_violations(now, before)]
                    rounds.append(row(now))
                    before = now
                violations += [f"after kill {number}: {problem}" for problem in await try_tenants(load, server.port)]
                workers = await load.run_workers(server.port, random.uniform(1.0, 2.5) if kills else 20.0)
                if number < kills:
                    await server.kill()
                else:
                    server.process.terminate()
                    await server.process.wait()
                await asyncio.gather(*workers)
            finally:
                if server.process.returncode is None:
                    await server.kill()
                load.collect_server_errors()
        now = await load.read_totals()
        violations += [f"at the end: {problem}" for problem in find_violations(now, before)]
        violations += [f"{n} requests hung" for result, n in load.results.items() if result == "hung"]
        violations += [f"in the server's log: {line}" for line in load.server_errors[:5]]
        last = row(now)
    return {"rounds": rounds, "end": last, "requests": dict(load.results.most_common()), "missed": violations}


async def try_tenants(load: Load, port: int) -> list[str]:
    """Send a request of every tenant, and return those that should have been answered and were not."""
    out = []
    for tenant in TENANTS:
        result = await load.send_request(port, tenant)
        over_budget = tenant == "tight" and result.startswith("429")
        endpoints_fault = result.startswith("502") or result in ("200 answer_interrupted", "200 no_model_left")
        if not (result == "answered" or over_budget or endpoints_fault):
            out.append(f"a new request of {tenant}: {result}")
    return out


def row(now: Totals) -> dict[str, Any]:
    """Return the totals as a row of the results."""
    ratio = {t: round(now.charged.get(t, 0.0) / b, 3) for t, b in now.billed.items() if b}
    return {**msgspec.to_builtins(now), "charged_to_billed": ratio}


def print_table(results: Mapping[str, Any]) -> None:
    print(f"{'':10} " + " ".join(f"{t:>34}" for t in TENANTS))
    for number, r in enumerate([*results["rounds"], results["end"]], 1):
        label = "end" if number > len(results["rounds"]) else f"kill {number}"
        cells = [
            f"${r['charged'].get(t, 0.0):9.4f} >= ${r['finished'].get(t, 0.0):9.4f} ({r['billed'].get(t, 0.0):8.4f})"
            for t in TENANTS
        ]
        print(f"{label:10} " + " ".join(f"{c:>34}" for c in cells) + f"   open {r['open']} held {r['held']:g}")
    print("charged >= finished calls (all calls), in dollars")
    print(f"requests: {results['requests']}")
    print(f"calls in the store: {results['end']['outcomes']};  charged / billed: {results['end']['charged_to_billed']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        results = asyncio.run(measure(args.kills, args.seed, Path(folder)))
    print_table(results)
    about = {"kills": args.kills, "seed": args.seed, "workers": WORKERS, "python": platform.python_version()}
    finish({"about": about, **results}, args.json)


if __name__ == "__main__":
    main()
