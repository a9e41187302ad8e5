"""What `routemoa serve` holds under load: 100 streamed requests at once, 2000 in all, five scripted endpoints.

    .venv/bin/python benchmarks/serve_load.py [--json benchmarks/results/serve_load.json]

The server is a process of its own with a remote pool of five members; this process plays the endpoints and the
callers. Each request is a mixture of three layers, the loop of the paper (the scripted models never agree), and an
aggregator: ten calls.
Prints latency, memory, open files and connections, and exits with 1 when a bar is missed: idle under 120 MB, memory
after 2000 requests within 10 % of that after 1000, every request whole, nothing left open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import statistics
import sys
import tempfile
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
from bars import finish

from routemoa.testing import FakeEndpoint

MODELS = 5
IDLE_BAR = 120.0  # MB
GROWTH_BAR = 1.10
SETTLE = 6.0  # seconds after which uvicorn has closed idle connections (it keeps them for 5)
REST = 6.0  # ... and after which our client has closed those it kept to the endpoints (for 4)
WORDS = "The journey takes about forty minutes, by way of the old bridge and number"
BODY = json.dumps({"model": "routemoa", "messages": [{"role": "user", "content": "How long?"}], "stream": True})


def reply() -> Any:
    """Another answer each time, poorly rated, so that all layers and the aggregator run."""
    numbers = count()
    return lambda _: f'{WORDS} {next(numbers)}.\n<assessment>{{"self": 0.2, "scores": {{"A": 0.3}}}}</assessment>'


def write_pool(file: Path, urls: Iterable[str]) -> None:
    tables = [f'[[model]]\nname = "m{i}"\nendpoint = "{url}"\nprior = 0.5\n' for i, url in enumerate(urls)]
    file.write_text(f'[mixture]\nfusion = "published-large"\n\n{"".join(tables)}')


async def start(pool: Path) -> tuple[asyncio.subprocess.Process, int]:
    command = [sys.executable, "-c", "from routemoa.cli import main; main()", "serve", "--port", "0", "--pool"]
    process = await asyncio.create_subprocess_exec(*command, str(pool), stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    found = re.search(r":(\d+)/v1", line)
    assert found, line
    for _ in range(2):  # the rest of what it says when it is ready
        await process.stderr.readline()
    return process, int(found[1])


async def ask(port: int, turn: asyncio.Semaphore) -> float:
    """Seconds of one streamed request, over a connection of its own; it must come whole."""
    async with turn:
        begun = perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        )
        writer.write(f"{head}Content-Length: {len(BODY)}\r\n\r\n{BODY}".encode())
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b"data: [DONE]" in answer
        return perf_counter() - begun


async def load(port: int, requests: int, at_once: int) -> list[float]:
    turn = asyncio.Semaphore(at_once)
    return list(await asyncio.gather(*(ask(port, turn) for _ in range(requests))))


def state(server: psutil.Process) -> dict[str, Any]:
    connections = [c.status for c in server.net_connections(kind="tcp")]
    return {
        "rss_mb": round(server.memory_info().rss / 2**20, 1),
        "fds": server.num_fds(),
        "connections": connections.count("ESTABLISHED") + connections.count("CLOSE_WAIT"),
        "threads": server.num_threads(),
    }


async def measure(requests: int, at_once: int, pool: Path) -> dict[str, Any]:
    words = reply()  # one for all: no two answers are ever the same
    endpoints = [await FakeEndpoint(words).__aenter__() for _ in range(MODELS)]
    write_pool(pool, [e.url for e in endpoints])
    process, port = await start(pool)
    server = psutil.Process(process.pid)
    try:
        idle = state(server)
        begun = perf_counter()
        times = await load(port, requests // 2, at_once)
        seconds = perf_counter() - begun
        await asyncio.sleep(SETTLE)
        half = state(server)
        begun = perf_counter()
        times += await load(port, requests - requests // 2, at_once)
        seconds += perf_counter() - begun
        await asyncio.sleep(SETTLE)
        full = state(server)
        held = sum(e.open_requests for e in endpoints)
        calls = sum(len(e.requests) for e in endpoints)
        kept = sum(e.open_connections for e in endpoints)
        await asyncio.sleep(REST)
        rested = state(server)
    finally:
        process.terminate()
        _, said = await process.communicate()
        for endpoint in endpoints:
            await endpoint.__aexit__(None, None, None)
    cuts = statistics.quantiles(times, n=100)
    latency = {"p50_s": round(cuts[49], 3), "p99_s": round(cuts[98], 3), "per_second": round(len(times) / seconds, 1)}
    after = {"requests_held": held, "kept_upstream": kept, "exit_code": process.returncode, "said": said.decode()}
    states = {"idle": idle, "half": half, "full": full, "rested": rested}
    return {"latency": latency, **states, "after": after, "calls": calls / requests}


def missed(r: dict[str, Any]) -> list[str]:
    """The bars that were not held."""
    inbound = r["full"]["connections"] - r["after"]["kept_upstream"]
    extra_fds = r["rested"]["fds"] - r["idle"]["fds"]
    checks = {
        f"idle memory is {r['idle']['rss_mb']} MB, not under {IDLE_BAR:.0f}": r["idle"]["rss_mb"] < IDLE_BAR,
        "memory grew by more than 10 %": r["full"]["rss_mb"] <= r["half"]["rss_mb"] * GROWTH_BAR,
        f"{r['after']['requests_held']} calls still run upstream": r["after"]["requests_held"] == 0,
        f"{inbound} connections of callers are still open": inbound <= 0,
        f"{extra_fds} files are still open": extra_fds <= 2,
        f"{r['rested']['connections']} connections are open after a rest": r["rested"]["connections"] == 0,
        f"the server ended with {r['after']['exit_code']}": r["after"]["exit_code"] == 0,
        f"the server complained: {r['after']['said']}": not r["after"]["said"],
    }
    return [what for what, held in checks.items() if not held]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        r = asyncio.run(measure(args.requests, args.at_once, Path(folder, "pool.toml")))
    n = args.requests
    print(f"{n} streamed requests, {args.at_once} at once, {r['calls']:.1f} calls each, {r['latency']['per_second']}/s")
    print(f"latency  p50 {r['latency']['p50_s']} s   p99 {r['latency']['p99_s']} s")
    for label, key in (
        ("idle", "idle"),
        (f"after {n // 2}", "half"),
        (f"after {n}", "full"),
        ("after a rest", "rested"),
    ):
        s = r[key]
        held = f"{s['fds']:4} files   {s['connections']:4} connections   {s['threads']:2} threads"
        print(f"{label:12} {s['rss_mb']:7.1f} MB   {held}")
    about = {"requests": n, "at_once": args.at_once, "python": platform.python_version()}
    finish({"about": about, "figures": r, "missed": missed(r)}, args.json)


if __name__ == "__main__":
    main()
