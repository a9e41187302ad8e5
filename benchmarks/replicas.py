"""Four gateways behind nginx that share limits: budgets, rates, a store that is killed, a gateway that is killed.

    apt-get install nginx postgresql
    .venv/bin/python benchmarks/replicas.py [--shared redis] [--json benchmarks/results/replicas-postgresql.json]

Real processes on one machine: a store (PostgreSQL, which waits for its disk; or Redis), four `routemoa serve`, nginx
with deploy/nginx/routemoa.conf, and a scripted endpoint that counts and bills. All requests go through nginx.

- `cost`: a request of a tenant without limits, with a rate, and with a budget: one after the other, and 16 at once
- `budget`: 200 callers spend one budget until nothing is left. Bars: neither the ledger nor the endpoint's bill is
  above the budget, the two are equal, and 99 % of it was used.
- `rates`: 240 requests a minute, 48,000 tokens a minute, and 8 streams at a time, asked for more. Bars: what passed is
  within 2 % of what the bucket allows in that time; never more than 8 streams.
- `store`: the store is killed (SIGKILL) and started again. Bars: no request without a budget fails, those with one fail
  with 503 alone, every gateway says that its rates are its own, and the ledger has each call of the endpoint once.
- `gateway`: one of the four is killed (SIGKILL). Bars: no request fails but those that it had; its streams and what it
  had reserved are free again within 30 s.

Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

from bars import finish

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds tests/

from replica_fleet import CALL_COST, COMPLETION_TOKENS, PROMPT_TOKENS, Fleet, Reply, fleet

CLIENTS = 200
BUDGET = 1.0
REQUESTS, TOKENS, STREAMS = 240, 48_000, 8
LEASED_STREAMS = 12
LEASE_BAR = 30.0
AWAY_SECONDS = 3.0
RATE_BAR = 0.02


def tenant(name: str, **terms: float) -> str:
    """Return a table of a pool file."""
    lines = "".join(f"{term} = {value}\n" for term, value in terms.items())
    return f'[[tenant]]\nname = "{name}"\nkey_env = "KEY_{name.upper()}"\n{lines}'


def count_statuses(replies: list[Reply]) -> dict[str, int]:
    return dict(sorted(Counter(" ".join(filter(None, (str(r.status), r.code))) for r in replies).items()))


def summarize(replies: list[Reply]) -> dict[str, float]:
    seconds = sorted(1e3 * (r.ended - r.began) for r in replies)
    return {"p50_ms": round(statistics.median(seconds), 1), "p95_ms": round(seconds[len(seconds) * 19 // 20], 1)}


async def measure_cost(running: Fleet, args: argparse.Namespace) -> dict[str, Any]:
    """What a decision in the store adds to a request."""
    figures: dict[str, Any] = {"shared": args.shared}
    for width, rounds in ((1, 200), (16, 50)):
        replies: dict[str, list[Reply]] = {"free": [], "rated": [], "rich": []}
        for _ in range(rounds):  # in turn, so that other work on the machine disturbs all alike
            for name in replies:
                replies[name] += await asyncio.gather(*(running.ask(name) for _ in range(width)))
        figures[f"{width} at once"] = {name: summarize(found[width:]) for name, found in replies.items()}
        assert all(r.status == 200 for found in replies.values() for r in found)
    return figures


async def spend_budget(running: Fleet, args: argparse.Namespace) -> dict[str, Any]:
    """Let many callers spend one budget until it refuses each of them five times in turn."""
    replies: list[Reply] = []

    async def caller() -> None:
        refusals = 0
        while refusals < 5:
            reply = await running.ask("rich", 0.1)
            replies.append(reply)
            refusals = 0 if reply.status == 200 else refusals + 1
            await asyncio.sleep(0 if reply.status == 200 else 0.2)

    began = monotonic()
    await asyncio.gather(*(caller() for _ in range(args.clients)))
    seconds = monotonic() - began
    await running.stop()
    await running.shared.settle()
    spent = sum(call.charged or 0.0 for call in running.read_ledger("rich"))
    bill = running.endpoint.bill["rich"]
    return {
        "clients": args.clients,
        "budget": BUDGET,
        "ledger": round(spent, 9),
        "bill": round(bill, 9),
        "overshoot": round(max(0.0, spent - BUDGET, bill - BUDGET), 9),
        "calls": running.endpoint.calls["rich"],
        "statuses": count_statuses(replies),
        "seconds": round(seconds, 1),
        "by_gateway": dict(Counter(str(r.upstream) for r in replies if r.status == 200)),
    }


async def hold_rates(running: Fleet, args: argparse.Namespace) -> dict[str, Any]:
    """Ask for more than three tenants' rates allow."""
    began, end = monotonic(), monotonic() + args.seconds
    replies: dict[str, list[Reply]] = {"counted": [], "worded": [], "streaming": []}

    async def caller(name: str) -> None:
        while monotonic() < end:
            is_stream = name == "streaming"
            reply = await running.ask(name, 0.5 if is_stream else 0.0, stream=is_stream)
            replies[name].append(reply)
            await asyncio.sleep(0 if reply.status == 200 else 0.2)

    await asyncio.gather(*(caller(name) for name in replies for _ in range(16)))
    minutes = {name: (max(r.ended for r in found) - began) / 60 for name, found in replies.items()}
    used = {
        "requests": (running.endpoint.calls["counted"], REQUESTS * (1 + minutes["counted"])),
        "tokens": (
            running.endpoint.calls["worded"] * (PROMPT_TOKENS + COMPLETION_TOKENS),
            TOKENS * (1 + minutes["worded"]),
        ),
    }
    return {
        "seconds": args.seconds,
        **{
            name: {"passed": passed, "allowed": round(allowed, 1), "error": round(passed / allowed - 1, 4)}
            for name, (passed, allowed) in used.items()
        },
        "streams": {"most": running.endpoint.most["streaming"], "allowed": STREAMS},
        "statuses": {name: count_statuses(found) for name, found in replies.items()},
    }


async def kill_store(running: Fleet, args: argparse.Namespace) -> dict[str, Any]:
    """Kill the store under load, and start it again."""
    replies: dict[str, list[Reply]] = {"free": [], "rated": [], "rich": []}
    is_over = False

    async def caller(name: str) -> None:
        while not is_over:
            reply = await running.ask(name, 0.02)
            replies[name].append(reply)
            await asyncio.sleep(0.02 if reply.status == 200 else 0.1)

    async def read_cut_off() -> float:
        return sum(await running.read_metric("routemoa_rates_cut_off"))

    callers = [asyncio.create_task(caller(name)) for name in replies for _ in range(8)]
    cut_off, back = [], []
    for _ in range(args.kills):
        await asyncio.sleep(AWAY_SECONDS)
        await asyncio.to_thread(running.shared.kill)
        await asyncio.sleep(AWAY_SECONDS)
        cut_off.append(await read_cut_off())
        await asyncio.to_thread(running.shared.start)
        back.append(await wait_until(lambda: _is_zero(read_cut_off), 20.0))
    await asyncio.sleep(AWAY_SECONDS)
    is_over = True
    await asyncio.gather(*callers)
    await running.stop()
    ledger = {name: running.read_ledger(name) for name in replies}
    return {
        "kills": args.kills,
        "statuses": {name: count_statuses(found) for name, found in replies.items()},
        "slowest_seconds": {name: round(max(r.ended - r.began for r in found), 2) for name, found in replies.items()},
        "gateways_cut_off": cut_off,
        "rates_shared_again_after": back,
        "calls_at_endpoint": {name: running.endpoint.calls[name] for name in replies},
        "calls_in_ledger": {name: len(found) for name, found in ledger.items()},
        "outcomes": dict(Counter(call.outcome for found in ledger.values() for call in found)),
        "charged": {name: round(sum(c.charged or 0.0 for c in found), 9) for name, found in ledger.items()},
        "bill": {name: round(running.endpoint.bill[name], 9) for name in replies},
        "held": running.read_held(),
    }


async def kill_gateway(running: Fleet, _: argparse.Namespace) -> dict[str, Any]:
    """Kill one of the gateways under load, while it serves streams that its tenant has no more of."""
    streams = [asyncio.create_task(running.ask("held", 45.0, stream=True)) for _ in range(LEASED_STREAMS)]
    await wait_until(lambda: _is(running.endpoint.running["held"] == LEASED_STREAMS), 10.0)
    replies: list[Reply] = []
    is_over = False

    async def caller(number: int) -> None:
        while not is_over:
            replies.append(await running.ask("free", 0.5 if number % 2 else 0.05, stream=bool(number % 2)))

    callers = [asyncio.create_task(caller(number)) for number in range(24)]
    await asyncio.sleep(3)
    refused = await running.ask("held", 0.25, stream=True)
    victim = running.gateways[0]
    killed = monotonic()
    await victim.kill()

    async def has_stream() -> bool:
        return (await running.ask("held", 0.25, stream=True)).status == 200

    async def is_settled() -> bool:
        return await asyncio.to_thread(running.shared.has_lost)

    stream_seconds, settled_seconds = await asyncio.gather(
        wait_until(has_stream, 40.0), wait_until(is_settled, 40.0, pause=1.0)
    )
    seconds = monotonic() - killed
    is_over = True
    await asyncio.gather(*callers)
    ended = await asyncio.gather(*streams)
    failed = [r for r in replies if r.status != 200]
    its = [r for r in failed if r.upstream == victim.port and r.began < killed]
    await running.stop()
    await running.shared.settle()
    spent = sum(call.charged or 0.0 for name in ("held", "free") for call in running.read_ledger(name))
    return {
        "requests": len(replies),
        "answered_after_the_kill": sum(r.status == 200 and r.began > killed for r in replies),
        "failed_at_the_killed": count_statuses(its),
        "failed_elsewhere": count_statuses([r for r in failed if r not in its]),
        "thirteenth_stream_before": refused.status,
        "streams_cut": sum(r.status != 200 and r.upstream == victim.port for r in ended),
        "streams_failed_elsewhere": sum(r.status != 200 and r.upstream != victim.port for r in ended),
        "stream_free_after_seconds": stream_seconds,
        "budget_settled_after_seconds": settled_seconds,
        "load_seconds_after_the_kill": round(seconds, 1),
        "ledger": round(spent, 9),
        "bill": round(sum(running.endpoint.bill.values()), 9),
        "held": running.read_held(),
    }


async def wait_until(condition: Callable[[], Awaitable[bool]], most: float, pause: float = 0.1) -> float | None:
    """Return after how many seconds a condition held; None where it did not in time."""
    began = monotonic()
    while not await condition():
        if monotonic() - began > most:
            return None
        await asyncio.sleep(pause)
    return round(monotonic() - began, 2)


async def _is(value: bool) -> bool:
    return value


async def _is_zero(read: Callable[[], Awaitable[float]]) -> bool:
    return await read() == 0.0


def find_missed(results: dict[str, Any]) -> list[str]:
    """Return the bars that were missed."""
    missed = []
    if budget := results.get("budget"):
        if budget["overshoot"]:
            missed.append(f"budget: {budget['overshoot']} dollars too much")
        if abs(budget["ledger"] - budget["bill"]) > 1e-9 or budget["bill"] < 0.99 * BUDGET:
            missed.append(f"budget: ledger {budget['ledger']}, bill {budget['bill']}")
    if rates := results.get("rates"):
        missed += [f"rates: {n} {rates[n]}" for n in ("requests", "tokens") if abs(rates[n]["error"]) > RATE_BAR]
        if rates["streams"]["most"] > STREAMS:
            missed.append(f"rates: {rates['streams']}")
    if store := results.get("store"):
        statuses = {name: {status.split()[0] for status in found} for name, found in store["statuses"].items()}
        if statuses["free"] != {"200"} or not statuses["rated"] <= {"200", "429"}:
            missed.append(f"store: requests without a budget: {store['statuses']}")
        if not statuses["rich"] <= {"200", "503"}:
            missed.append(f"store: requests under a budget: {store['statuses']['rich']}")
        if store["calls_at_endpoint"] != store["calls_in_ledger"] or set(store["outcomes"]) != {"ok"} or store["held"]:
            missed.append("store: the ledger has not each call once")
        if min(store["gateways_cut_off"]) < 4 or None in store["rates_shared_again_after"]:
            missed.append("store: gateways did not say that their rates are their own")
    if gateway := results.get("gateway"):
        if gateway["failed_elsewhere"] or gateway["streams_failed_elsewhere"]:
            missed.append(f"gateway: others failed, too: {gateway}")
        for what in ("stream_free_after_seconds", "budget_settled_after_seconds"):
            if gateway[what] is None or gateway[what] > LEASE_BAR:
                missed.append(f"gateway: {what} {gateway[what]}")
        if gateway["bill"] > gateway["ledger"] + 1e-9 or gateway["held"]:
            missed.append("gateway: the ledger has less than the bill, or still reserves something")
    return missed


PARTS: dict[str, tuple[Callable[[Fleet, argparse.Namespace], Awaitable[dict[str, Any]]], str]] = {
    "cost": (
        measure_cost,
        tenant("free") + tenant("rated", requests_per_minute=1_000_000) + tenant("rich", max_cost_per_day=1000.0),
    ),
    "budget": (spend_budget, tenant("rich", max_cost_per_day=BUDGET)),
    "rates": (
        hold_rates,
        tenant("counted", requests_per_minute=REQUESTS)
        + tenant("worded", tokens_per_minute=TOKENS)
        + tenant("streaming", concurrent_streams=STREAMS),
    ),
    "store": (
        kill_store,
        tenant("free") + tenant("rated", requests_per_minute=3000) + tenant("rich", max_cost_per_day=1000.0),
    ),
    "gateway": (
        kill_gateway,
        tenant("free") + tenant("held", concurrent_streams=LEASED_STREAMS, max_cost_per_day=1000.0),
    ),
}


async def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = {"shared": args.shared, "call_cost": CALL_COST}
    for name in args.parts:
        work, tenants = PARTS[name]
        async with fleet(args.shared, folder / name, tenants) as running:
            results[name] = {**await work(running, args), "load": round(os.getloadavg()[0], 2)}
        for what, value in results[name].items():
            print(f"{name:8} {what}: {value}", flush=True)
    results["missed"] = find_missed(results)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shared", choices=["postgresql", "redis"], default="postgresql")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--clients", type=int, default=CLIENTS, help="of the budget")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the rates")
    parser.add_argument("--kills", type=int, default=2, help="of the store")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        results = asyncio.run(measure(args, Path(folder)))
    finish(results, args.json)


if __name__ == "__main__":
    main()
