"""What hedging does to the tail, and what it costs: 5 % of calls give their first token ten times later.

    .venv/bin/python benchmarks/hedging.py [--requests 400] [--json benchmarks/results/hedging.json]

Two servers, one with `hedge = true` in its [mixture] and one with false, on the same endpoints (faulty.py), which draw
the same delays for the same request and model. Both learn each model's usual first token on requests that do not count;
then the same requests are asked of both, eight at a time, in blocks that take turns. Three seeds. Prints p50, p95 and
p99 of the seconds to the whole answer, the calls and the dollars, as the endpoints billed them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from faulty import Bill, Faults, Member, Spec
from msgspec import Struct
from served import Running, Serving, cuts, endpoints, post, read, serving

SEEDS = (0, 1, 2)
AT_ONCE = 8
WARM = 120  # requests
MEMBERS = tuple(
    Member(name, price, 4 * price, first_token=0.2, between=0.02, right=0.8)
    for name, price in (("m0", 1.0), ("m1", 1.0), ("m2", 1.0), ("m3", 1.0))
)
METHODS = ("routemoa", "one-layer")  # the latter: a pool whose panel never grows


class Arm(Struct):
    """All that was measured with hedging, or without."""

    seconds: list[float] = []
    slow: list[float] = []  # ... of requests in which some call was slow
    bills: list[Bill] = []
    wrong: int = 0


def write_pool(file: Path, behind: Running, *, hedge: bool, layers: int | None) -> None:
    out = ["[mixture]", f"hedge = {str(hedge).lower()}", *([f"layers = {layers}"] if layers else [])]
    for place, m in enumerate(MEMBERS):
        out += [
            "[[model]]",
            f'name = "{m.name}"',
            f'endpoint = "{behind.url(m.name)}"',
            f"prior = {0.75 - place * 0.02}",
        ]
        out += [f"input_price = {m.input_price}", f"output_price = {m.output_price}"]
    file.write_text("\n".join(out) + "\n")


async def ask(server: Serving, numbers: range, seed: int, arm: Arm | None) -> dict[str, float]:
    """The requests of these numbers, eight at a time; seconds of each, by its token."""
    turn, times = asyncio.Semaphore(AT_ONCE), {}

    async def one(number: int) -> None:
        lots = Random(f"{seed}:{number}")
        text = f"req-{number:06d} What is {lots.randint(10, 99)} + {lots.randint(10, 99)}?"
        async with turn:
            reply = await post(server.port, {"model": "routemoa", "messages": [{"role": "user", "content": text}]})
        times[f"req-{number:06d}"] = reply.seconds
        if arm is not None and read(reply, stream=False).wrong:
            arm.wrong += 1

    await asyncio.gather(*(one(n) for n in numbers))
    return times


async def measure(requests: int, layers: int | None, folder: Path) -> dict[str, Any]:
    arms = {True: Arm(), False: Arm()}
    for seed in SEEDS:
        async with endpoints(Spec(MEMBERS, Faults(slow=0.05), seed, jitter=0.3), folder) as behind:
            files = {hedge: folder / f"{hedge}.toml" for hedge in arms}
            for hedge, file in files.items():
                write_pool(file, behind, hedge=hedge, layers=layers)
            stores = [folder / f"{seed}-{hedge}-{layers}.db" for hedge in arms]
            logs = [folder / f"{hedge}.log" for hedge in arms]
            on, off = (("--pool", str(files[h]), "--store", str(s)) for h, s in zip(arms, stores, strict=True))
            async with serving(logs[0], *on) as one, serving(logs[1], *off) as two:
                servers = {True: one, False: two}
                for server in servers.values():
                    await ask(server, range(900_000, 900_000 + WARM), seed, None)
                await blocks(servers, arms, requests, seed, behind)
    return {"with": figures(arms[True]), "without": figures(arms[False])}


async def blocks(
    servers: dict[bool, Serving], arms: dict[bool, Arm], requests: int, seed: int, behind: Running
) -> None:
    """The same hundred of one arm, then of the other, each first in turn."""
    for number, start in enumerate(range(0, requests, 100)):
        for hedge in (True, False) if number % 2 else (False, True):
            await behind.forget()
            asked = range(start, min(start + 100, requests))
            times = await ask(servers[hedge], asked, seed, arms[hedge])
            await asyncio.sleep(0.1)
            bills = await behind.bills()
            slow = {b.id for b in bills if b.slow}
            arms[hedge].seconds += times.values()
            arms[hedge].slow += [s for name, s in times.items() if name in slow]
            arms[hedge].bills += bills


def figures(arm: Arm) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    for bill in arm.bills:
        outcomes[bill.outcome] = outcomes.get(bill.outcome, 0) + 1
    count = len(arm.seconds)
    return {
        "requests": count,
        "seconds": cuts(arm.seconds),
        "seconds_where_a_call_was_slow": cuts(arm.slow),
        "share_with_a_slow_call": round(len(arm.slow) / count, 4),
        "calls": round(len(arm.bills) / count, 4),
        "dollars": round(sum(b.dollars for b in arm.bills) / count, 9),
        "outcomes": outcomes,
        "wrong": arm.wrong,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400, help="for each seed")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, layers in (("panel grows", None), ("one layer", 1)):
            found[name] = r = asyncio.run(measure(args.requests, layers, Path(folder)))
            for arm in ("without", "with"):
                s = r[arm]["seconds"]
                print(f"{name:12} {arm:8} p50 {s['p50']:.3f} s   p95 {s['p95']:.3f}   p99 {s['p99']:.3f}", end="   ")
                print(f"{r[arm]['calls']:.3f} calls, ${1e6 * r[arm]['dollars']:.2f} per million requests")
            more = {k: r["with"][k] / r["without"][k] - 1 for k in ("calls", "dollars")}
            r["more"] = {k: round(v, 4) for k, v in more.items()}
            print(f"{name:12} hedging costs {more['calls']:+.1%} calls, {more['dollars']:+.1%} dollars")
    if args.json:
        about = {"seeds": SEEDS, "at_once": AT_ONCE, "members": msgspec.to_builtins(MEMBERS)}
        about |= {"slow": "5 %, first token ten times later", "python": platform.python_version()}
        args.json.write_text(json.dumps({"about": about, "figures": found}, indent=2) + "\n")
    sys.exit(1 if any(r[arm]["wrong"] for r in found.values() for arm in ("with", "without")) else 0)


if __name__ == "__main__":
    main()
