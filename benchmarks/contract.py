"""Is the contract kept? Random contracts against endpoints that fail in every way, counted by the endpoints.

    .venv/bin/python benchmarks/contract.py [--requests 2000] [--seed 0] [--json benchmarks/results/contract.json]

`routemoa serve` is a process of its own, so are the endpoints (faulty.py); this process only asks, over real HTTP, 64
at a time: four methods and members by name, streamed and not, limits in the body or in headers. Two pools share the
requests: one with a price for everybody, and one with a [limits] of its own in which two members have no price, as
far as the pool knows. Each request's token is in its text; by it the endpoints count calls, output tokens and dollars.

Laws: no overshoot of dollars, calls or output tokens as billed (1e-9 relative); at most 1 % of requests later than
`max_seconds` by more than 5 %, from the request being sent to its answer's last byte; every request ends in a whole
answer or an error with a reason; nothing is left running; each figure of the ledger is one that an endpoint gave, and
every call stands in it. Exits with 1 when one is broken. A quarter of the requests is asked once more without limits:
what is late then is the machine, not the contract (`lag`).

`--fair`: no endpoint bills more than it wrote, as three in ten calls do otherwise (the most that can be defended). Then
the ledger charges no less in all than the endpoints bill, and at most 1.3 times as much.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from random import Random
from statistics import fmean, median
from time import monotonic
from typing import Any

import msgspec
import psutil
from bars import finish
from faulty import Bill, Faults, Member, Spec
from msgspec import Struct
from msgspec.structs import replace
from served import EMPTY, Read, Reply, Running, Serving, cuts, endpoints, get, post, read, serving

from routemoa.core.types import Limits
from routemoa.ledger import LedgerEntry, read_calls

AT_ONCE = 64
PATIENCE = 30.0  # seconds beyond max_seconds, or in all, after which a request counts as hung
REST = 1.0  # seconds after an answer by which its last call must have ended
MEMBERS = (
    Member("mini", 0.05, 0.2, first_token=0.12, right=0.55),
    Member("small", 0.1, 0.4, first_token=0.15, right=0.65),
    Member("coder", 0.25, 1.25, first_token=0.2, right=0.7),
    Member("middle", 0.5, 2.0, first_token=0.2, right=0.75),
    Member("large", 2.0, 8.0, first_token=0.25, right=0.8),
    Member("grand", 3.0, 15.0, first_token=0.3, right=0.85),
)
UNPRICED = {"small", "large"}  # in the second pool
FAULTS = Faults(
    refused=0.05,
    reset=0.03,
    cut=0.03,
    garbage=0.02,
    error=0.02,
    empty=0.01,
    slow=0.05,
    sluggish=0.03,
    silent=0.06,
    harsh=0.3,
)
SECOND = Limits(max_calls=6, max_seconds=8.0)  # the second pool's [limits]
FIELDS = {"max_cost": "Max-Cost", "max_seconds": "Max-Seconds", "max_calls": "Max-Calls"} | {
    "max_output_tokens": "Max-Output-Tokens",
    "stream_mode": "Stream-Mode",
}


class Asked(Struct, frozen=True):
    """One request, and the contract that goes for it, its pool's default included."""

    id: str
    model: str
    pool: int
    stream: bool
    contract: Limits
    body: dict[str, Any]
    headers: dict[str, str]


class Came(Struct, frozen=True):
    """What became of it."""

    asked: Asked
    reply: Reply | None
    read: Read
    bills: tuple[Bill, ...] = ()

    @property
    def dollars(self) -> float:
        return sum(b.dollars for b in self.bills)

    @property
    def late(self) -> float | None:
        """How far over max_seconds, as a share of it; None: no such limit, or no end."""
        limit = self.asked.contract.max_seconds
        return None if limit is None or self.reply is None else self.reply.seconds / limit - 1.0


# --- what is asked


def load(count: int, seed: int) -> list[Asked]:
    lots = Random(seed)
    return [one(lots, number) for number in range(count)]


def one(lots: Random, number: int) -> Asked:
    """A random request: limits from too little for anything to plenty, some absent."""
    identity, pool = f"req-{number:06d}", int(lots.random() < 0.25)
    contract = Limits(
        None if lots.random() < 0.2 else round(10 ** lots.uniform(-6, 0), 9),
        None if lots.random() < 0.15 else round(lots.uniform(0.3, 5.0), 3),
        None if lots.random() < 0.3 else lots.randint(1, 8),
        None if lots.random() < 0.4 else int(10 ** lots.uniform(1.2, 3.9)),
        lots.choice(("final", "leader", None)),
    )
    model = lots.choices(("routemoa", "moa", "cascade", "best-single", "member"), (66, 8, 8, 6, 12))[0]
    model = lots.choice(MEMBERS).name if model == "member" else model
    body: dict[str, Any] = {"model": model, "messages": conversation(lots, identity)}
    if stream := lots.random() < 0.5:
        body |= {"stream": True} | ({"stream_options": {"include_usage": True}} if lots.random() < 0.5 else {})
    if lots.random() < 0.2:
        body[lots.choice(("max_tokens", "max_completion_tokens"))] = lots.choice((40, 200, 1000))
    given = {k: v for k, v in msgspec.to_builtins(contract).items() if v is not None}
    in_headers = lots.random() < 0.2
    headers = {f"X-RouteMoA-{FIELDS[k]}": str(v) for k, v in given.items()} if in_headers else {}
    body |= {} if in_headers or not given else {"routemoa": given}
    return Asked(identity, model, pool, stream, contract.with_defaults(SECOND) if pool else contract, body, headers)


def conversation(lots: Random, identity: str) -> list[dict[str, str]]:
    """Short and long, plain and with letters of many bytes; most ask for a sum, the rest for nothing certain."""
    text = f"{identity} What is {lots.randint(10, 99)} + {lots.randint(10, 99)}?"
    text = text if lots.random() < 0.75 else f"{identity} In which order shall we visit them?"
    filler = lots.choice(("It is for a friend. ", "Füße, Öl und Übermut. ", "这是一个问题。"))
    text += " " + filler * int(10 ** lots.uniform(0, 1.8))
    turns = [{"role": "user", "content": text}]
    if lots.random() < 0.2:
        turns = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Ask me."}, *turns]
    return [{"role": "system", "content": "Be brief."}, *turns] if lots.random() < 0.3 else turns


def unlimited(asked: Asked) -> Asked:
    """The same without limits."""
    mode = asked.contract.stream_mode
    body = {k: v for k, v in asked.body.items() if k != "routemoa"} | (
        {"routemoa": {"stream_mode": mode}} if mode else {}
    )
    return replace(asked, pool=0, contract=Limits(), body=body, headers={})


def write_pool(file: Path, run: Running, number: int) -> None:
    out = ["[limits]", *(f"{k} = {v}" for k, v in msgspec.to_builtins(SECOND).items() if v)] if number else []
    for place, m in enumerate(MEMBERS):
        out += ["[[model]]", f'name = "{m.name}"', f'endpoint = "{run.url(m.name)}"', f"prior = {0.5 + place * 0.05}"]
        if not (number and m.name in UNPRICED):
            out += [f"input_price = {m.input_price}", f"output_price = {m.output_price}"]
        out += ["json_schema = true"] if m.name == "coder" else []
    file.write_text("\n".join(out) + "\n")


# --- asking


class Lags(Struct):
    """Seconds by which things were late that nobody made wait: this loop, the endpoints', and a trivial request."""

    driver: list[float] = []
    endpoints: list[float] = []
    probe: list[float] = []


async def ask(asked: Asked, ports: Sequence[int]) -> Came:
    limit = PATIENCE + (asked.contract.max_seconds or PATIENCE)
    reply = None
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(limit):
            reply = await post(ports[asked.pool], asked.body, asked.headers)
    found = read(reply, stream=asked.stream)
    if found.wrong == EMPTY and asked.model in {m.name for m in MEMBERS}:
        found = Read("(no word)")  # a member by its name: what it says is passed on, nothing too
    return Came(asked, reply, found)


async def watch(lags: Lags, port: int) -> None:
    """Take down lateness, of this loop and of the server's answer to a trivial request."""
    while True:
        begun = monotonic()
        await asyncio.sleep(0.05)
        lags.driver.append(monotonic() - begun - 0.05)
        begun = monotonic()
        await get(port, "/healthz")
        lags.probe.append(monotonic() - begun)


async def run(load: Sequence[Asked], servers: Sequence[Serving], behind: Running, at_once: int) -> dict[str, Any]:
    """All of the load; what came, and what it took."""
    await behind.forget()
    turn, lags, ports = asyncio.Semaphore(at_once), Lags(), [s.port for s in servers]
    names = {"server": [s.about for s in servers], "endpoints": [behind.about], "driver": [psutil.Process()]}
    before = {k: sum(sum(p.cpu_times()[:2]) for p in v) for k, v in names.items()}

    async def taking_turns(asked: Asked) -> Came:
        async with turn:
            return await ask(asked, ports)

    watching, begun = asyncio.create_task(watch(lags, ports[0])), monotonic()
    came = await asyncio.gather(*(taking_turns(a) for a in load))
    seconds = monotonic() - begun
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    used = {k: round((sum(sum(p.cpu_times()[:2]) for p in v) - before[k]) / seconds, 2) for k, v in names.items()}
    await asyncio.sleep(REST)
    state, by = await behind.state(), defaultdict(list)
    lags.endpoints = state["lags"]
    for bill in await behind.bills():
        by[bill.id].append(bill)
    strangers = len(by.keys() - {a.id for a in load})
    came = [replace(c, bills=tuple(by[c.asked.id])) for c in came]
    about = {"seconds": round(seconds, 1), "cpu": used, "running": state["running"], "strangers": strangers}
    return {"came": came, "about": about, "lags": lags}


# --- what came of it


def ledger(stores: Sequence[Path], came: Sequence[Came]) -> dict[str, float]:
    """The server's own list of calls beside the endpoints': rows are matched by model and both token counts."""
    rows = [row for store in stores for row in read_calls(store)]
    bills = [b for c in came for b in c.bills]
    counted: Counter[tuple[str, int | None, int | None]] = Counter()
    counted.update((r.model, r.prompt_tokens, r.completion_tokens) for r in rows if r.prompt_tokens is not None)
    nothing = sum(n for (_, *tokens), n in counted.items() if tokens == [0, 0])  # refused: nobody gave figures
    told: Counter[tuple[str, int | None, int | None]] = Counter()
    told.update((b.member, b.prompt, b.completion) for b in bills if b.reported)
    return {
        "rows": len(rows),
        "missing": max(0, len(bills) - len(rows)),
        "open": sum(r.outcome == "open" for r in rows),
        "told_by_endpoints": told.total(),
        "counted": counted.total() - nothing,
        "invented": (counted - told).total() - nothing,
        "not_heard": (told - counted).total(),  # we ended the call before its last words came
        "charged_to_billed": round(charged_to_billed(rows, came), 4),
    }


def charged_to_billed(rows: Sequence[LedgerEntry], came: Sequence[Came]) -> float:
    """Dollars that the ledger charged for all calls to those that the endpoints billed."""
    charged = sum(row.charged for row in rows if row.charged is not None)
    priced = [b for c in came for b in c.bills if not (c.asked.pool == 1 and b.member in UNPRICED)]
    return charged / billed if (billed := sum(b.dollars for b in priced)) else 1.0


def over(c: Came) -> list[str]:
    """Limits that the endpoints' bills exceed."""
    limits, made = c.asked.contract, len(c.bills)
    tokens = sum(b.completion for b in c.bills)
    broken = [
        ("dollars", limits.max_cost is not None and c.dollars > limits.max_cost * (1 + 1e-9)),
        ("calls", limits.max_calls is not None and made > limits.max_calls),
        ("tokens", limits.max_output_tokens is not None and tokens > limits.max_output_tokens),
        ("priceless", c.asked.pool == 1 and limits.max_cost is not None and any(b.member in UNPRICED for b in c.bills)),
        ("charged", limits.max_cost is not None and (c.read.about.get("charged") or inf) < c.dollars * (1 - 1e-9)),
    ]
    return [what for what, is_so in broken if is_so]


def describe(c: Came) -> dict[str, Any]:
    """Enough to find out why."""
    reply = c.reply and {
        "status": c.reply.status,
        "seconds": round(c.reply.seconds, 3),
        "tail": repr(c.reply.body[-300:]),
    }
    start = c.reply.sent if c.reply else 0.0
    bills = [
        f"{b.member} {b.fault} {b.outcome} harsh={b.harsh} cap={b.cap} {b.prompt}+{b.completion} ${b.dollars:.3g} "
        f"{b.began - start:.3f}..{b.ended - start:.3f}"
        for b in c.bills
    ]
    limits = msgspec.to_builtins(c.asked.contract)
    head = {
        "id": c.asked.id,
        "model": c.asked.model,
        "pool": c.asked.pool,
        "stream": c.asked.stream,
        "contract": limits,
    }
    read = {"code": c.read.code, "message": c.read.message, "wrong": c.read.wrong, "about": c.read.about}
    return {**head, "late": c.late, "dollars": c.dollars, "reply": reply, "read": read, "bills": bills}


def figures(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is published of a run."""
    came: list[Came] = found["came"]
    ended = [c for c in came if c.reply]
    answered = [c for c in came if c.read.text and not c.read.wrong]
    late = [c.late for c in came if c.late is not None]
    spent = [c.dollars / c.asked.contract.max_cost for c in answered if c.asked.contract.max_cost]
    stayed = [max((b.ended for b in c.bills), default=0.0) - c.reply.ended for c in ended if c.reply]
    told = [c.reply.seconds - s for c in answered if c.reply and (s := c.read.about.get("latency")) is not None]
    lags: Lags = found["lags"]
    return {
        **found["about"],
        "requests": len(came),
        "answered": len(answered),
        "errors": dict(Counter(c.read.code for c in came if c.read.code).most_common()),
        "errors_before_a_call": sum(1 for c in came if c.read.code and not c.bills),
        "neither": dict(Counter(c.read.wrong for c in came if c.read.wrong)),
        "over": {
            k: sum(1 for c in came if k in over(c)) for k in ("dollars", "calls", "tokens", "priceless", "charged")
        },
        "with_max_seconds": len(late),
        "late_over_5_percent": sum(1 for share in late if share > 0.05),
        "late": cuts(late),
        "answers_per_second": round(len(answered) / found["about"]["seconds"], 1),
        "used_of_max_cost": {"mean": round(fmean(spent), 4), "median": round(median(spent), 4)} if spent else {},
        "dollars": round(sum(c.dollars for c in came), 6),
        "calls": sum(len(c.bills) for c in came),
        "calls_by_outcome": dict(Counter(b.outcome for c in came for b in c.bills).most_common()),
        "calls_left_running": sum(1 for s in stayed if s > REST) + found["about"]["running"],
        "seconds": cuts([c.reply.seconds for c in ended if c.reply]),
        "beyond_own_latency": cuts(told),
        "lag": {k: cuts(v) for k, v in msgspec.to_builtins(lags).items()},
    }


def missed(f: Mapping[str, Any]) -> list[str]:
    """The laws that were broken."""
    out = [f"{n} requests over their {what}" for what, n in f["over"].items() if n]
    out += [f"{n} requests ended in neither answer nor error: {why}" for why, n in f["neither"].items()]
    if f.get("fair") and not 1 - 1e-9 <= f["ledger"]["charged_to_billed"] <= 1.3:
        out.append(f"the ledger charges {f['ledger']['charged_to_billed']} times what the endpoints bill")
    if f["late_over_5_percent"] > 0.01 * f["requests"]:
        out.append(f"{f['late_over_5_percent']} of {f['requests']} are late by more than 5 %")
    out += [f"{f['calls_left_running']} calls were left running"] if f["calls_left_running"] else []
    out += [f"{f['strangers']} calls without a request's token"] if f["strangers"] else []
    out += [
        f"ledger: {f['ledger'][k]} calls {k}" for k in ("missing", "open", "invented") if f.get("ledger", {}).get(k)
    ]
    out += [f"{n} internal errors" for code, n in f["errors"].items() if "internal_error" in code]
    return out


async def measure(args: argparse.Namespace, control: int, folder: Path) -> dict[str, Any]:
    count, seed, at_once = args.requests, args.seed, args.at_once
    spec = Spec(MEMBERS, replace(FAULTS, harsh=0.0) if args.fair else FAULTS, seed)
    async with endpoints(spec, folder) as behind:
        pools = [folder / f"pool{i}.toml" for i in range(2)]
        for number, file in enumerate(pools):
            write_pool(file, behind, number)
        logs = [folder / f"server{i}.log" for i in range(2)]
        async with serving(logs[0], *options(pools[0])) as one, serving(logs[1], *options(pools[1])) as two:
            asked = load(count, seed)
            limited = await run(asked, (one, two), behind, at_once)
            limited["about"]["fair"] = args.fair
            limited["about"]["ledger"] = ledger([p.with_suffix(".db") for p in pools], limited["came"])
            free = await run([unlimited(a) for a in asked[:control]], (one, two), behind, at_once) if control else None
        said = [
            line for log in logs for line in log.read_text().splitlines() if " ERROR " in line or "Traceback" in line
        ]
    return {"limited": limited, "free": free, "said": said}


def options(pool: Path) -> list[str]:
    return ["--pool", str(pool), "--store", str(pool.with_suffix(".db"))]


def table(f: Mapping[str, Any], control: Mapping[str, Any] | None) -> None:
    n = f["requests"]
    print(f"{n} requests, {f['answers_per_second']} answers/s, {f['calls']} calls, ${f['dollars']:.2f} billed")
    print(f"answered {f['answered']}, refused or failed with a reason {sum(f['errors'].values())}:", end=" ")
    print(", ".join(f"{code} {count}" for code, count in f["errors"].items()))
    print(f"  of these before any call: {f['errors_before_a_call']};  neither: {f['neither'] or 0}")
    print("over, as billed:    " + "   ".join(f"{what} {count}" for what, count in f["over"].items()))
    share = f["late_over_5_percent"] / n
    print(
        f"late by over 5 %:   {f['late_over_5_percent']} of {f['with_max_seconds']} with a limit ({share:.2%} of all)"
    )
    print(f"  (ended - max_seconds) / max_seconds: {f['late']}")
    print(f"used of max_cost:   {f['used_of_max_cost']};  calls left running: {f['calls_left_running']}")
    print(f"calls: {f['calls_by_outcome']};  ledger: {f['ledger']}")
    for label, r in (("with limits", f), *([("without", control)] if control else [])):
        print(f"{label:12} seconds {r['seconds']}   cores {r['cpu']}")
        for who, lag in r["lag"].items():
            print(f"{'':12}   lag of {who:9} {lag}")
        print(f"{'':12}   beyond the server's own latency {r['beyond_own_latency']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--control", type=int, help="requests without limits; by default a quarter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--fair", action="store_true", help="endpoints bill what they wrote; judges the ledger's sum")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cases", type=Path, help="write what is known of every broken request, to find out why")
    args = parser.parse_args()
    control = args.requests // 4 if args.control is None else args.control
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(args, control, Path(folder)))
    f, c = figures(found["limited"]), figures(found["free"]) if found["free"] else None
    broken = missed(f) + [f"the server said: {line}" for line in found["said"][:5]]
    table(f, c)
    if args.cases:
        every: list[Came] = found["limited"]["came"]
        cases = [
            x for x in every if over(x) or x.read.wrong or (x.late or 0) > 0.05 or "internal" in (x.read.code or "")
        ]
        args.cases.write_text("\n".join(json.dumps(describe(x), ensure_ascii=False) for x in cases) + "\n")
    about = {"seed": args.seed, "at_once": args.at_once, "python": platform.python_version()}
    finish({"about": about, "figures": f, "without_limits": c, "missed": broken}, args.json)


if __name__ == "__main__":
    main()
