"""What `routemoa serve` survives: endpoints, requests and connections that try to stop it.

    .venv/bin/python benchmarks/hostile.py [--quick] [--only endpoints|requests|half-open] [--json FILE]

(a) 25 hostile endpoints (hostile_endpoints.py, a process of its own), each behind a server of its own beside two good
members: the mixture, the hostile member passed through, and MoA, whole and streamed, all at once under `max_seconds`.
(b) 50,000 requests that no client should send (fuzz_requests.py) over plain sockets, and those of schemathesis, where
`--schemathesis` names its command: make it with  uv venv /tmp/st && uv pip install -p /tmp/st schemathesis.
(c) 1,100 connections that send nothing or half of a head.

Bars: the worst /healthz under 100 ms; memory under +100 MB; `max_seconds` within 5 %; no traceback; no HTTP 500;
nothing that hangs beyond the deadlines; a log under 1 MB, and under 100 lines in (c). Exits with 1 when one is missed.
`--quick`: fewer endpoints and requests, to see whether it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from bars import finish
from fuzz_requests import draw_request
from hostile_endpoints import ENDPOINTS
from served import Serving, post, serving

SECONDS = 3.0
"""`max_seconds` of each request."""
HEALTH_BAR, MEMORY_BAR, TIME_BAR, LOG_BAR, LINES_BAR = 0.1, 100.0, 1.05, 1e6, 100
GRACE = 0.1
"""Seconds beyond `max_seconds` in which a response travels."""
QUICK = ("endless", "gzip-bomb", "tiny-events", "long-line", "angle", "silent")
DEADLINE = 45.0
"""Seconds after which a fuzzed request hangs: its body has 30."""
HALF_OPEN = 1100
MODELS = ("routemoa", "moa", "good-1", "cascade", "a/b", "")


class Probe:
    """Asks /healthz all the time, from a process of its own, and looks at the server's memory."""

    def __init__(self, server: Serving) -> None:
        self._server = server
        self.latencies: list[float] = []
        self.before = self.most = self._memory()
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Probe:
        command = [sys.executable, __file__, "--probe", str(self._server.port)]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert self._process.stdout is not None
        await self._process.stdout.readline()
        self._task = asyncio.create_task(self._watch(self._process.stdout))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        assert self._process is not None
        await asyncio.sleep(0.1)
        self._process.kill()
        await self._task
        await self._process.wait()

    def figures(self) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        p99 = ordered[int(0.99 * len(ordered))] if ordered else None
        log = self._server.log.read_bytes()
        return {
            "healthz_worst_ms": round(1e3 * max(ordered, default=float("inf")), 1),
            "healthz_p99_ms": None if p99 is None else round(1e3 * p99, 1),
            "healthz_probes": len(ordered),
            "memory_mb": round(self.most - self.before, 1),
            "log_bytes": len(log),
            "log_lines": log.count(b"\n"),
            "tracebacks": log.count(b"Traceback (most recent call last)"),
        }

    def _memory(self) -> float:
        return float(self._server.about.memory_info().rss) / 2**20

    async def _watch(self, told: asyncio.StreamReader) -> None:
        async for line in told:
            self.latencies.append(float(line))
            self.most = max(self.most, self._memory())


async def tell_health(port: int) -> None:
    """Print the seconds that each of many GET /healthz takes, for ever: what the process of a probe does."""
    while True:
        began = monotonic()
        print(await health(port), flush=True)
        await asyncio.sleep(max(0.0, 0.02 - (monotonic() - began)))


async def health(port: int) -> float:
    """Seconds of one GET /healthz, over a connection of its own."""
    began = monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    got = await reader.read()
    writer.close()
    return monotonic() - began if got.endswith(b'{"status":"ok"}') else float("inf")


@asynccontextmanager
async def hostile_endpoints() -> AsyncGenerator[int, None]:
    """Run the endpoints; yield their port."""
    file = str(Path(__file__).parent / "hostile_endpoints.py")
    process = await asyncio.create_subprocess_exec(sys.executable, file, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


def write_pool(file: Path, port: int, hostile: str) -> Path:
    """A pool whose best member is hostile; the gate does not choose it alone."""
    members = {hostile: 0.62, "good-1": 0.6, "good-2": 0.6}
    tables = ["[mixture]", "top_k = 3"]
    for name, prior in members.items():
        url = f"http://127.0.0.1:{port}/{name.partition('-')[0] if name.startswith('good') else name}/v1"
        tables += ["[[model]]", f'name = "{name}"', f'endpoint = "{url}"', f"prior = {prior}"]
    file.write_text("\n".join(tables) + "\n")
    return file


# --- (a) endpoints


async def attack(port: int, name: str, folder: Path, seconds: float) -> dict[str, Any]:
    """What one hostile endpoint does to a server."""
    pool = write_pool(folder / f"{name}.toml", port, name)
    async with serving(folder / f"{name}.log", "--pool", str(pool), "--no-store") as server:
        await asyncio.gather(*(health(server.port) for _ in range(10)))  # warm
        await ask(server.port, "good-1", stream=False, seconds=seconds)
        await ask(server.port, "moa", stream=True, seconds=0.5)
        ways = [(model, stream) for model in ("routemoa", name, "moa") for stream in (True, False)]
        async with Probe(server) as probe:
            replies = await asyncio.gather(*(ask(server.port, model, stream, seconds) for model, stream in ways))
            await asyncio.sleep(0.3)
        took = {
            f"{m if m != name else 'member'}{', stream' if s else ''}": r
            for (m, s), r in zip(ways, replies, strict=True)
        }
        return {
            **probe.figures(),
            "slowest_s": max(r["seconds"] for r in replies),
            "replies": took,
        }  # fmt: skip


async def ask(port: int, model: str, stream: bool, seconds: float) -> dict[str, Any]:
    """Ask a model under `max_seconds`."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "What is 2 + 2?"}],
        "stream": stream,
    }
    body["routemoa"] = {"max_seconds": seconds}
    try:
        async with asyncio.timeout(10 * seconds + 20):
            reply = await post(port, body)
    except TimeoutError:
        return {"status": "hung", "seconds": 1e9}
    text = reply.body[-300:].decode(errors="replace")
    code = re.search(r'"code":"(\w+)"', text)
    return {"status": reply.status, "seconds": round(reply.seconds, 3), "code": code[1] if code else None}


def missed_by(name: str, r: dict[str, Any], seconds: float) -> list[str]:
    out = common_misses(name, r)
    if r["slowest_s"] > TIME_BAR * seconds + GRACE:
        out.append(f"{name}: a request of {seconds} s took {r['slowest_s']} s")
    out += [
        f"{name}: {way}: HTTP {reply['status']}" for way, reply in r["replies"].items() if reply["status"] in (0, 500)
    ]
    return out


def common_misses(name: str, r: dict[str, Any]) -> list[str]:
    out = []
    if r["healthz_worst_ms"] > 1e3 * HEALTH_BAR:
        out.append(f"{name}: /healthz took {r['healthz_worst_ms']} ms")
    if r["memory_mb"] > MEMORY_BAR:
        out.append(f"{name}: {r['memory_mb']} MB more memory")
    if r["tracebacks"]:
        out.append(f"{name}: {r['tracebacks']} tracebacks")
    if r["log_bytes"] > LOG_BAR:
        out.append(f"{name}: a log of {r['log_bytes']} bytes")
    return out


# --- (b) requests


async def fuzz(port: int, folder: Path, count: int, schemathesis: str | None) -> dict[str, Any]:
    """Send requests that no client should send."""
    pool = write_pool(folder / "fuzz.toml", port, "good")
    async with serving(folder / "fuzz.log", "--pool", str(pool), "--no-store") as server:
        statuses: Counter[str] = Counter()
        numbers = iter(range(count))

        async def caller() -> None:
            for number in numbers:
                statuses[await send(server.port, draw_request(Random(number), MODELS))] += 1

        async with Probe(server) as probe:
            await asyncio.gather(*(caller() for _ in range(32)))
            tool = await run_schemathesis(server.port, folder, schemathesis, count) if schemathesis else None
        return {**probe.figures(), "requests": count, "statuses": dict(sorted(statuses.items())), "schemathesis": tool}


async def send(port: int, data: bytes) -> str:
    """Send bytes, end our side, and return the status of what came back."""
    try:
        async with asyncio.timeout(DEADLINE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            got = bytearray()
            try:
                writer.write(data)
                writer.write_eof()
                while piece := await reader.read(65536):
                    got += piece
            except OSError:
                pass
            finally:
                writer.close()
    except TimeoutError:
        return "hung"
    found = re.findall(rb"HTTP/1\.[01] ([2-5]\d\d)", got)
    return found[0].decode() if found else "closed"


async def run_schemathesis(port: int, folder: Path, command: str, count: int) -> dict[str, Any]:
    """Let schemathesis draw requests from our schema."""
    file = folder / "openapi.json"
    file.write_text(json.dumps(SCHEMA))
    options = ["run", str(file), "--url", f"http://127.0.0.1:{port}", "--checks", "not_a_server_error"]
    options += [
        "--max-examples",
        str(max(50, count // 25)),
        "--mode",
        "all",
        "--no-color",
        "--phases",
        "fuzzing,coverage",
    ]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(command, *options, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    said, _ = await process.communicate()
    return {"exit": process.returncode, "said": said.decode(errors="replace")[-1500:]}


BODY = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"enum": ["routemoa", "good-1", "moa"]},
        "messages": {"type": "array", "items": {"type": "object", "properties": {"role": {}, "content": {}}}},
        "stream": {"type": "boolean"},
        "temperature": {"type": "number"},
        "max_tokens": {"type": "integer"},
        "stop": {},
        "routemoa": {"type": "object", "properties": {"max_seconds": {"type": "number"}, "stream_mode": {}}},
    },
}
RESPONSES = {"responses": {"200": {"description": "ok"}}}
SCHEMA = {
    "openapi": "3.0.3",
    "info": {"title": "RouteMoA", "version": "1"},
    "paths": {
        "/healthz": {"get": RESPONSES},
        "/v1/models": {"get": RESPONSES},
        "/v1/models/{id}": {
            "get": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
                **RESPONSES,
            }
        },
        "/v1/chat/completions": {
            "post": {"requestBody": {"content": {"application/json": {"schema": BODY}}}, **RESPONSES}
        },
    },
}


# --- (c) half-open connections


async def half_open(port: int, folder: Path, count: int) -> dict[str, Any]:
    """Open connections that ask for nothing; see whether another caller is heard, and whether they end."""
    pool = write_pool(folder / "half.toml", port, "good")
    async with serving(folder / "half.log", "--pool", str(pool), "--no-store") as server, Probe(server) as probe:
        opened = []
        for number in range(count):
            with suppress(OSError):
                sock = socket.create_connection(("127.0.0.1", server.port), timeout=5)
                opened.append(sock)
                if number % 2:
                    sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
                await asyncio.sleep(0)
        began = monotonic()
        while (left := len(server.about.net_connections("tcp"))) > 20 and monotonic() - began < 30.0:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        for sock in opened:
            sock.close()
        return {**probe.figures(), "opened": len(opened), "left": left, "closed_after_s": round(monotonic() - began, 1)}


async def measure(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    figures: dict[str, Any] = {}
    missed: list[str] = []
    async with hostile_endpoints() as port:
        if args.only in (None, "endpoints"):
            names = args.endpoint or (QUICK if args.quick else [n for n in ENDPOINTS if n != "good"])
            figures["endpoints"] = {}
            for name in names:
                r = figures["endpoints"][name] = await attack(port, name, folder, SECONDS)
                missed += missed_by(name, r, SECONDS)
                report(name, r, f"slowest {r['slowest_s']:.2f} s, {[v['status'] for v in r['replies'].values()]}")
        if args.only in (None, "requests"):
            r = figures["requests"] = await fuzz(port, folder, 2000 if args.quick else args.requests, args.schemathesis)
            missed += common_misses("requests", r)
            missed += [f"requests: {n} x {s}" for s, n in r["statuses"].items() if s in ("500", "hung")]
            if r["schemathesis"] and r["schemathesis"]["exit"]:
                missed.append(f"requests: schemathesis: {r['schemathesis']['said']}")
            report("requests", r, str(r["statuses"]))
        if args.only in (None, "half-open"):
            r = figures["half-open"] = await half_open(port, folder, HALF_OPEN)
            missed += common_misses("half-open", r)
            if r["log_lines"] >= LINES_BAR or r["left"] > 20:
                missed.append(f"half-open: {r['log_lines']} lines in the log, {r['left']} connections left")
            report("half-open", r, f"{r['opened']} opened, {r['left']} left after {r['closed_after_s']} s")
    return figures, missed


def report(name: str, r: dict[str, Any], more: str) -> None:
    print(
        f"{name:16} healthz worst {r['healthz_worst_ms']:7.1f} p99 {r['healthz_p99_ms'] or 0:6.1f} ms"
        f"  memory {r['memory_mb']:+7.1f} MB  log {r['log_bytes']:7} B  tracebacks {r['tracebacks']}  {more}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer endpoints and requests")
    parser.add_argument("--only", choices=("endpoints", "requests", "half-open"))
    parser.add_argument("--endpoint", action="append", choices=sorted(ENDPOINTS), help="only this one; repeatable")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--schemathesis", metavar="COMMAND", help="the command of schemathesis, to use it as well")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--probe", type=int, metavar="PORT", help="what the process of a probe runs")
    args = parser.parse_args()
    if args.probe:
        asyncio.run(tell_health(args.probe))
    with tempfile.TemporaryDirectory() as folder:
        figures, missed = asyncio.run(measure(args, Path(folder)))
    finish({"figures": figures, "missed": missed}, args.json)


if __name__ == "__main__":
    main()
