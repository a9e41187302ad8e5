"""Does a tenant's bill survive? The server is killed in mid-load again and again, on one store (SIGKILL).

    .venv/bin/python benchmarks/kill.py [--kills 10] [--seed 0] [--json benchmarks/results/kill.json]

Four tenants with a key each ask `routemoa serve`, two dozen requests at a time; one of them has little money. The
endpoints (faulty.py) count what they bill, by the token in each request's text. After every restart, and at the end:

- what the ledger charged to a tenant is at least what the endpoints billed for its finished calls (and for all of them)
- no total has fallen, and none of a tenant with a limit is above it
- no call is open and nothing is held; a new request of every tenant that has money left is answered
- the totals of the day are the sum of the calls

Exits with 1 when one is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from faulty import Faults, Member, Spec
from msgspec import Struct
from served import ROUTEMOA, Running, Serving, endpoints, post, read, start

WORKERS = 24
TENANTS = {"alpha": 500.0, "beta": 200.0, "gamma": 100.0, "tight": 0.6}  # dollars a day
MONTH = {"beta": 300.0}
TOTALS = 1000.0
EVERYBODY = "*"
CUT_THERE = "ASGI callable returned without completing"  # a member's own response that broke off is passed on as such
UNIT = 1e12  # a dollar in the store's windows
MEMBERS = tuple(
    Member(name, 5.0 * price, 20.0 * price, first_token=0.05, between=0.02, right=0.7)
    for name, price in (("mini", 0.2), ("middle", 1.0), ("grand", 3.0))
)
FAULTS = Faults(refused=0.04, reset=0.03, cut=0.03, garbage=0.01, slow=0.05, silent=0.05, harsh=0.2)


class Totals(Struct, frozen=True):
    """Of each tenant, in dollars."""

    charged: dict[str, float]  # by the ledger
    finished: dict[str, float]  # by the endpoints, for calls that they had finished
    billed: dict[str, float]  # ... for all calls
    day: dict[str, float]  # spent, by the store's windows
    held: float
    open: int
    outcomes: dict[str, int]


class Bench:
    """The load, and what is known of it."""

    def __init__(self, folder: Path, behind: Running, seed: int) -> None:
        self.store, self._pool, self._log = folder / "store.db", folder / "pool.toml", folder / "server.log"
        self._behind, self._lots = behind, Random(seed)
        self._tenant: dict[str, str] = {}  # of a request's token
        self.came: Counter[str] = Counter()
        self.said: list[str] = []
        self._pool.write_text(pool(behind))

    async def start(self) -> Serving:
        keys = {f"KEY_{name.upper()}": secret(name) for name in TENANTS}
        return await start(self._log, "--pool", str(self._pool), "--store", str(self.store), env=keys)

    def noted(self) -> None:
        """Keep what the server said of its own errors."""
        said = [line for line in self._log.read_text().splitlines() if "Traceback" in line or " ERROR " in line]
        self.said += [line for line in said if CUT_THERE not in line]

    async def ask(self, port: int, tenant: str) -> str:
        """One request of a tenant; what came of it, in a word."""
        identity = f"req-{len(self._tenant):06d}"
        self._tenant[identity] = tenant
        text = f"{identity} What is {self._lots.randint(10, 99)} + {self._lots.randint(10, 99)}?"
        model = self._lots.choices(("routemoa", "moa", "mini", "grand"), (70, 10, 10, 10))[0]
        stream = self._lots.random() < 0.5
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
        try:
            async with asyncio.timeout(60):
                reply = await post(port, body, {"Authorization": f"Bearer {secret(tenant)}"})
        except OSError:
            return "no server"
        except TimeoutError:
            return "hung"
        found = read(reply, stream=stream)
        return "broken off" if found.wrong else found.code or "answered"

    async def load(self, port: int, seconds: float) -> list[asyncio.Task[None]]:
        """Workers, after they have worked for so many seconds."""

        async def work() -> None:
            while (came := await self.ask(port, self._lots.choice(tuple(TENANTS)))) != "no server":
                self.came[came] += 1
                if came.startswith("429"):
                    await asyncio.sleep(0.05)

        workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
        await asyncio.sleep(seconds)
        return workers

    async def totals(self) -> Totals:
        for _ in range(100):
            if not (await self._behind.state())["running"]:
                break
            await asyncio.sleep(0.05)
        finished: dict[str, float] = defaultdict(float)
        billed: dict[str, float] = defaultdict(float)
        for bill in await self._behind.bills():
            tenant = self._tenant[bill.id]
            billed[tenant] += bill.dollars
            finished[tenant] += bill.dollars if bill.outcome == "finished" else 0.0
        with closing(sqlite3.connect(self.store)) as db:
            day = db.execute("SELECT key, spent, held FROM windows WHERE length(window) = 10").fetchall()
            outcomes = dict(db.execute("SELECT outcome, count(*) FROM calls GROUP BY outcome").fetchall())
            held = sum(h for _, h in db.execute("SELECT key, held FROM windows"))
        spent: dict[str, float] = defaultdict(float)
        for key, amount, _ in day:
            spent[key] += amount / UNIT
        open_ = outcomes.get("open", 0)
        return Totals(ledger(self.store), dict(finished), dict(billed), dict(spent), held / UNIT, open_, outcomes)


def secret(tenant: str) -> str:
    return f"secret-of-{tenant}"


def pool(behind: Running) -> str:
    out = ["[totals]", f"max_cost_per_day = {TOTALS}"]
    for name, limit in TENANTS.items():
        out += ["[[tenant]]", f'name = "{name}"', f'key_env = "KEY_{name.upper()}"', f"max_cost_per_day = {limit}"]
        out += [f"max_cost_per_month = {MONTH[name]}"] if name in MONTH else []
    for place, m in enumerate(MEMBERS):
        out += ["[[model]]", f'name = "{m.name}"', f'endpoint = "{behind.url(m.name)}"', f"prior = {0.6 + place * 0.1}"]
        out += [f"input_price = {m.input_price}", f"output_price = {m.output_price}"]
    return "\n".join(out) + "\n"


def ledger(store: Path) -> dict[str, float]:
    """What each tenant was charged, as the command tells it."""
    command = [*ROUTEMOA, "ledger", "--by", "key", "--json", "--store", str(store)]
    said = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return {group["group"]: group["charged"] or 0.0 for group in said["groups"]}


def broken(now: Totals, before: Totals | None) -> list[str]:
    """The laws that do not hold; a billionth is forgiven, as sums of floats leave crumbs."""
    out = []
    for tenant, limit in TENANTS.items():
        charged = now.charged.get(tenant, 0.0)
        for what, counted in (("finished calls", now.finished), ("calls", now.billed)):
            if charged < counted.get(tenant, 0.0) * (1 - 1e-9):
                out.append(f"{tenant}: charged ${charged:.6f}, {what} cost ${counted[tenant]:.6f}")
        if before and charged < before.charged.get(tenant, 0.0) * (1 - 1e-9):
            out.append(f"{tenant}: its total fell from ${before.charged[tenant]:.6f} to ${charged:.6f}")
        if charged > limit * (1 + 1e-9):
            out.append(f"{tenant}: ${charged:.6f} passes its limit of ${limit}")
        if abs(now.day.get(tenant, 0.0) - charged) > 1e-9 * max(1.0, charged):
            out.append(f"{tenant}: the day's total is ${now.day.get(tenant)}, its calls sum up to ${charged:.9f}")
    if abs(now.day.get(EVERYBODY, 0.0) - sum(now.charged.values())) > 1e-6:
        out.append(f"everybody: the day's total is ${now.day.get(EVERYBODY)}, the calls sum up to {now.charged}")
    out += [f"{now.open} calls are open"] if now.open else []
    out += [f"${now.held:.6f} are held"] if now.held else []
    return out


async def measure(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    async with endpoints(Spec(MEMBERS, FAULTS, seed), folder) as behind:
        bench, lots = Bench(folder, behind, seed), Random(seed)
        wrong: list[str] = []
        rounds: list[dict[str, Any]] = []
        before: Totals | None = None
        for number in range(kills + 1):
            server = await bench.start()
            try:
                if number:
                    now = await bench.totals()
                    wrong += [f"after kill {number}: {what}" for what in broken(now, before)]
                    rounds.append(row(now))
                    before = now
                for tenant in TENANTS:
                    came = await bench.ask(server.port, tenant)
                    poor = tenant == "tight" and came.startswith("429")
                    if not (came == "answered" or poor or came.startswith("502")):  # 502: the endpoints' own faults
                        wrong.append(f"after kill {number}: a new request of {tenant}: {came}")
                workers = await bench.load(server.port, lots.uniform(1.0, 2.5) if kills else 20.0)
                if number < kills:
                    await server.kill()
                else:
                    server.process.terminate()
                    await server.process.wait()
                await asyncio.gather(*workers)
            finally:
                if server.process.returncode is None:
                    await server.kill()
                bench.noted()
        now = await bench.totals()
        wrong += [f"at the end: {what}" for what in broken(now, before)]
        wrong += [f"{n} requests hung" for what, n in bench.came.items() if what == "hung"]
        wrong += [f"the server said: {line}" for line in bench.said[:5]]
        last = row(now)
    return {"rounds": rounds, "end": last, "requests": dict(bench.came.most_common()), "missed": wrong}


def row(now: Totals) -> dict[str, Any]:
    ratio = {t: round(now.charged.get(t, 0.0) / b, 3) for t, b in now.billed.items() if b}
    return {**msgspec.to_builtins(now), "charged_to_billed": ratio}


def table(found: Mapping[str, Any]) -> None:
    print(f"{'':10} " + " ".join(f"{t:>34}" for t in TENANTS))
    for number, r in enumerate([*found["rounds"], found["end"]], 1):
        label = "end" if number > len(found["rounds"]) else f"kill {number}"
        cells = [
            f"${r['charged'].get(t, 0.0):9.4f} >= ${r['finished'].get(t, 0.0):9.4f} ({r['billed'].get(t, 0.0):8.4f})"
            for t in TENANTS
        ]
        print(f"{label:10} " + " ".join(f"{c:>34}" for c in cells) + f"   open {r['open']} held {r['held']:g}")
    print("charged >= finished calls (all calls), in dollars")
    print(f"requests: {found['requests']}")
    print(f"calls in the store: {found['end']['outcomes']};  charged / billed: {found['end']['charged_to_billed']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        found = asyncio.run(measure(args.kills, args.seed, Path(folder)))
    table(found)
    if args.json:
        about = {"kills": args.kills, "seed": args.seed, "workers": WORKERS, "python": platform.python_version()}
        args.json.write_text(json.dumps({"about": about, **found}, indent=2) + "\n")
    for what in found["missed"]:
        print(f"MISSED: {what}")
    sys.exit(1 if found["missed"] else 0)


if __name__ == "__main__":
    main()
