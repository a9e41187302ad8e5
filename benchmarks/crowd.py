"""A crowd before `routemoa serve`: 1,000 streams at the same time for two minutes, a tenth of the calls faulty.

    .venv/bin/python benchmarks/crowd.py [--quick] [--streams 1000] [--seconds 120] [--hard] [--json FILE]

Three processes: the server, which starts with a soft limit of 1,024 descriptors (`--hard`: the hard limit is as low);
the endpoints (crowd_endpoints.py), whose streams have a piece each quarter of a second, ten seconds long; and the
callers, who ask again as soon as they are answered, after a 503 when its Retry-After says so, and at the end all hang
up at once. Half of them ask one member, the others the mixture, a panel of three. Faults: a reset, HTTP 500 or 429, a
stream that is cut, silence before the head or in the middle; the endpoints note whose call at which member they befell.

Bars: no error but for a request that all its members failed; what is refused is a 503 with Retry-After; p99 of what is
served, of all and of what met no fault, within twice the unloaded (40 streams at a time, the same faults), and nothing
under way for longer; 5 seconds after the crowd has gone no caller waits more than 1.5 times the unloaded; memory at the
end no more than 10 % above that at half time; no traceback. Exits with 1 when one is missed.
`--quick`: 200 streams for 20 seconds, to see whether it runs. `--stream-seconds 3`: far more than can be served.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import tempfile
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
from bars import finish
from crowd_endpoints import Running, Streams, endpoints
from msgspec import Struct
from msgspec.structs import replace
from served import Cores, Serving, cuts, serving

SOFT_LIMIT = 1024
FACTOR, GROWTH = 2.0, 1.10
RECOVERY, RECOVERED = 5.0, 1.5
SETTLED = 60.0
"""Seconds after which memory is flat; in shorter runs the load still grows."""
PROBE_EVERY = 0.25
MIXTURE, MEMBERS = "routemoa", ("member-1", "member-2", "member-3")
MODELS = (MEMBERS[0], MIXTURE)
numbers = count()


class Asked(Struct):
    """One request and what came of it. Times are seconds since the start of its crowd."""

    number: int
    model: str
    began: float
    status: int = 0
    first: float | None = None
    ended: float = 0.0
    complete: bool = False
    retry_after: float | None = None
    code: str | None = None
    message: str | None = None
    left: bool = False
    """Whether its caller hung up."""

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def served(self) -> bool:
        return self.status == 200 and self.complete

    def is_ours(self, faults: dict[int, set[str]]) -> bool:
        """Whether it failed though a member that it could ask did not."""
        needed = set(MEMBERS) if self.model == MIXTURE else {self.model}
        return not (self.served or self.left or self.status == 503 or needed <= faults.get(self.number, set()))


async def ask(port: int, model: str, zero: float, done: list[Asked]) -> Asked:
    """Make one streamed request over a connection of its own; add it to `done`, also where its caller hangs up."""
    asked = Asked(next(numbers), model, monotonic() - zero)
    message = {"role": "user", "content": f"req-{asked.number:06d} Why?"}
    body = json.dumps({"model": model, "stream": True, "messages": [message]})
    fields = f"Host: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    tail = b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"POST /v1/chat/completions HTTP/1.1\r\n{fields}\r\n\r\n{body}".encode())
            while piece := await reader.read(65536):
                if not asked.status:
                    read_head(asked, piece)
                if asked.first is None and re.search(rb'"content": ?"w', piece):
                    asked.first = monotonic() - zero
                tail = (tail + piece)[-2000:]
        finally:
            writer.close()
    except OSError:
        pass
    except asyncio.CancelledError:
        asked.left = True
        raise
    finally:
        asked.ended = monotonic() - zero
        asked.complete = b"[DONE]" in tail
        code = re.findall(rb'"code":\s?"(\w+)"', tail)
        asked.code = code[-1].decode() if code and not asked.complete else None
        said = re.search(rb'"message":\s?"([^"]{1,200})', tail)
        asked.message = said[1].decode(errors="replace") if said and asked.code else None
        done.append(asked)
    return asked


def read_head(asked: Asked, piece: bytes) -> None:
    found = re.match(rb"HTTP/1\.1 (\d+)", piece)
    asked.status = int(found[1]) if found else 0
    after = re.search(rb"(?i)\r\nretry-after: (\d+)", piece)
    asked.retry_after = float(after[1]) if after else None


async def crowd(port: int, callers: int, seconds: float, *, hang_up: bool = False) -> list[Asked]:
    """Ask for so many seconds, with so many streams at a time; return when all have ended, or hang up."""
    zero = monotonic()
    done: list[Asked] = []

    async def caller(place: int) -> None:
        while monotonic() - zero < seconds:
            asked = await ask(port, MODELS[place % len(MODELS)], zero, done)
            if not asked.served:
                await asyncio.sleep(asked.retry_after or 1.0)

    tasks = [asyncio.create_task(caller(place)) for place in range(callers)]
    await asyncio.wait(tasks, timeout=seconds if hang_up else None)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return done


async def recover(port: int, seconds: float) -> list[Asked]:
    """Ask one member a few times a second, for so many seconds; return when all have ended."""
    zero, done = monotonic(), list[Asked]()
    probes: list[asyncio.Task[Asked]] = []
    while monotonic() - zero < seconds:
        probes.append(asyncio.create_task(ask(port, MODELS[len(probes) % len(MODELS)], zero, done)))
        await asyncio.sleep(PROBE_EVERY)
    await asyncio.gather(*probes)
    return done


async def watch(server: Serving, out: list[dict[str, float]]) -> None:
    """Note the memory, the descriptors and the latency of /healthz each half second."""
    zero = monotonic()
    while True:
        began = monotonic()
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            got = await reader.read()
            writer.close()
        health = monotonic() - began if got.endswith(b'{"status":"ok"}') else None
        memory, fds = server.about.memory_info().rss / 2**20, server.about.num_fds()
        out.append({"at": began - zero, "memory_mb": memory, "fds": fds, "healthz_s": health or float("inf")})
        await asyncio.sleep(0.5)


def summarize(done: list[Asked], faults: dict[int, set[str]]) -> dict[str, Any]:
    served = [a for a in done if a.served]
    clean = [a for a in served if a.number not in faults]
    refused = [a for a in done if a.status == 503]
    return {
        "requests": len(done),
        "served": dict(Counter(a.model for a in served)),
        "statuses": dict(Counter(str(a.status) for a in done if not a.left)),
        "codes": dict(Counter(a.code for a in done if a.code)),
        "refused_without_retry_after": sum(a.retry_after is None for a in refused),
        "of_our_making": dict(Counter(f"{a.model} {a.status} {a.message}" for a in done if a.is_ours(faults))),
        "seconds": cuts([a.seconds for a in served], 2),
        "seconds_without_fault": cuts([a.seconds for a in clean], 2),
        "first_token_without_fault": cuts([a.first - a.began for a in clean if a.first and a.model != MIXTURE], 2),
        "refusal": cuts([a.seconds for a in refused], 2),
        "longest_left": round(max((a.seconds for a in done if a.left and a.number not in faults), default=0.0), 2),
    }


def find_recovery(probes: list[Asked], faults: dict[int, set[str]], usual: float) -> float:
    """Seconds after which no request without a fault was refused or slow."""
    slow = [a.began for a in probes if a.number not in faults and not (a.served and a.seconds <= RECOVERED * usual)]
    return round(max(slow) + PROBE_EVERY, 2) if slow else 0.0


def write_pool(file: Path, port: int) -> None:
    """Three members of which none is so good that it answers alone."""
    tables = ["[mixture]", "top_k = 3"]
    for name, prior in zip(MEMBERS, (0.62, 0.6, 0.6), strict=True):
        url = f"http://127.0.0.1:{port}/{name}/v1"
        tables += ["[[model]]", f'name = "{name}"', f'endpoint = "{url}"', f"prior = {prior}"]
    file.write_text("\n".join(tables) + "\n")


async def load(args: argparse.Namespace, behind: Running, server: Serving) -> dict[str, Any]:
    """Ask without load, with it, and after it."""
    await crowd(server.port, args.few, 1.0)  # warm
    unloaded = await crowd(server.port, args.few, args.unloaded)
    states: list[dict[str, float]] = []
    watching = asyncio.create_task(watch(server, states))
    cores = Cores(server=server.about, endpoints=behind.about, callers=psutil.Process())
    loaded = await crowd(server.port, args.streams, args.seconds, hang_up=True)
    watching.cancel()
    used = cores.used()
    after = await recover(server.port, RECOVERY + 2.0)
    faults = await behind.faults()
    log = server.log.read_bytes()
    usual = summarize(unloaded, faults)
    marks = {"start": 0.0, "twelfth": 1 / 12, "half": 0.5, "end": 1.0}
    at = {k: min(states, key=lambda s, k=k: abs(s["at"] - marks[k] * args.seconds)) for k in marks}  # type: ignore[misc]
    return {
        "unloaded": usual,
        "loaded": summarize(loaded, faults),
        "recovery_s": find_recovery(after, faults, usual["seconds_without_fault"]["p50"]),
        "memory_mb": {k: round(s["memory_mb"], 1) for k, s in at.items()},
        "fds_open": {k: s["fds"] for k, s in at.items()},
        "fds": max(s["fds"] for s in states),
        "healthz_s": cuts([s["healthz_s"] for s in states], 3),
        "cores": used,
        "load_average": [round(x, 1) for x in os.getloadavg()],
        "log": {"bytes": len(log), "lines": log.count(b"\n"), "tracebacks": log.count(b"Traceback")},
    }


async def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the callers and the endpoints
    usual = Streams(faults=args.faults)
    pieces = max(2, 1 + round((args.stream_seconds - usual.first) / usual.between))
    async with endpoints(replace(usual, pieces=pieces)) as behind:
        write_pool(folder / "pool.toml", behind.port)
        options = ["--pool", str(folder / "pool.toml"), "--store", str(folder / "s.db")]
        limit = f"ulimit {'-n' if args.hard else '-Sn'} {SOFT_LIMIT}"
        async with serving(folder / "log", *options, prefix=["sh", "-c", f'{limit}; exec "$@"', "sh"]) as server:
            return await load(args, behind, server)


def find_missed(r: dict[str, Any], seconds: float) -> list[str]:
    unloaded, loaded, out = r["unloaded"], r["loaded"], []
    if loaded["of_our_making"]:
        out.append(f"errors of our making: {loaded['of_our_making']}")
    if loaded["refused_without_retry_after"]:
        out.append(f"{loaded['refused_without_retry_after']} x 503 without Retry-After")
    for what in ("seconds", "seconds_without_fault"):
        if loaded[what].get("p99", float("inf")) > FACTOR * unloaded[what]["p99"]:
            out.append(f"{what}: p99 {loaded[what].get('p99')} s, unloaded {unloaded[what]['p99']} s")
    if loaded["longest_left"] > FACTOR * unloaded["seconds_without_fault"]["p99"]:
        out.append(f"a request was under way for {loaded['longest_left']} s")
    if r["recovery_s"] > RECOVERY:
        out.append(f"recovered after {r['recovery_s']} s")
    if seconds >= SETTLED and r["memory_mb"]["end"] > GROWTH * r["memory_mb"]["half"]:
        out.append(f"memory grew: {r['memory_mb']}")
    if r["log"]["tracebacks"]:
        out.append(f"{r['log']['tracebacks']} tracebacks")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 streams for 20 seconds")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--few", type=int, default=40, help="streams at a time of the unloaded part")
    parser.add_argument("--unloaded", type=float, default=40.0, help="seconds of the unloaded part")
    parser.add_argument("--stream-seconds", type=float, default=10.0, help="of a stream without fault")
    parser.add_argument("--faults", type=float, default=0.1, help="share of the endpoints' replies")
    parser.add_argument("--hard", action="store_true", help="the hard limit is 1,024 as well")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.quick:
        args.streams, args.seconds, args.unloaded = 200, 20.0, 12.0
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(args, Path(folder)))
    missed = find_missed(figures, args.seconds)
    for name, value in figures.items():
        print(f"{name}: {json.dumps(value)}")
    about = {k: v for k, v in vars(args).items() if k != "json"}
    finish({"about": about, "figures": figures, "missed": missed}, args.json)


if __name__ == "__main__":
    main()
