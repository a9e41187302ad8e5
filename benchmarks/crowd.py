"""A crowd before `routemoa serve`: 1,000 streams at the same time for two minutes, a tenth of the calls faulty.

    .venv/bin/python benchmarks/crowd.py [--quick] [--streams 1000] [--seconds 120] [--json FILE]

Three processes: the server, which starts with a soft limit of 1,024 descriptors; the endpoints (this file with
`--endpoints`), whose streams have a piece each quarter of a second, ten seconds long; and the callers, who ask again as
soon as they are answered, and after a 503 when its Retry-After says so. Half of them ask a model of the pool, the
others the mixture, which answers with one model or with a panel. Faults: a reset, HTTP 500 or 429, a stream that is
cut, a first token that comes late; the endpoints note whose call they befell.

Bars: no 502 for a request without a fault; what is refused is a 503 with Retry-After; p99 of what is served within
twice the unloaded (ten streams at a time, the same faults); five seconds after the load a caller waits no longer than
before; memory no more than 10 % above that after the first third. Exits with 1 when one is missed.
`--quick`: 200 streams for 20 seconds, to see whether it runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

from msgspec import Struct
from served import Serving, cuts, serving

PIECES, BETWEEN, FIRST_TOKEN = 40, 0.25, 0.5
FAULTS = ("reset", "500", "429", "cut", "late")
FAULT_SHARE = 0.1
LATE = 3.0
"""Seconds of a late first token, on top."""
SOFT_LIMIT = 1024
UNLOADED = 10
FACTOR, GROWTH, RECOVERY = 2.0, 1.10, 5.0
MODELS = ("member-1", "routemoa")
ID = re.compile(rb"req-(\d{6})")
numbers = count()


class Asked(Struct):
    """One request and what came of it. Times are seconds since the start of the load."""

    number: int
    model: str
    began: float
    status: int = 0
    first: float | None = None
    ended: float = 0.0
    complete: bool = False
    retry_after: float | None = None
    code: str | None = None

    @property
    def seconds(self) -> float:
        return self.ended - self.began


# --- the endpoints


def head(status: str, kind: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode()


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"


async def serve_endpoints() -> None:
    """Serve every path; GET /faults gives the numbers of the requests that met one."""
    faulty: set[int] = set()
    lots = Random(0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            start = await reader.readuntil(b"\r\n\r\n")
            if start.startswith(b"GET /faults"):
                writer.write(head("200 OK", "application/json") + json.dumps(sorted(faulty)).encode())
            else:
                length = re.search(rb"(?i)content-length: (\d+)", start)
                body = await reader.readexactly(int(length[1]) if length else 0)
                fault = lots.choice(FAULTS) if lots.random() < FAULT_SHARE else None
                if fault is not None:
                    faulty.update(int(n) for n in ID.findall(body))
                await reply(writer, fault, b'"stream":true' in body.replace(b" ", b""))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def reply(writer: asyncio.StreamWriter, fault: str | None, stream: bool) -> None:
    if fault == "reset":
        writer.transport.abort()
    elif fault in ("500", "429"):
        status = "500 Internal Server Error" if fault == "500" else "429 Too Many Requests"
        writer.write(head(status, "application/json") + b'{"error": {"message": "injected"}}')
    else:
        await asyncio.sleep(FIRST_TOKEN + (LATE if fault == "late" else 0.0))
        writer.write(head("200 OK", "text/event-stream"))
        for number in range(PIECES if stream else 0):
            if number:
                await asyncio.sleep(BETWEEN)
            if fault == "cut" and number == PIECES // 2:
                writer.transport.abort()
                return
            writer.write(chunk("words and "))
            await writer.drain()
        usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 80}}
        writer.write(chunk("", "stop") + b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n")
        await writer.drain()


@asynccontextmanager
async def endpoints() -> AsyncGenerator[int, None]:
    """Run the endpoints in a process of their own; yield their port."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, "--endpoints", stdout=pipe)
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


async def get_faults(port: int) -> set[int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /faults HTTP/1.1\r\n\r\n")
    got = await reader.read()
    writer.close()
    return set(json.loads(got.partition(b"\r\n\r\n")[2]))


# --- the callers


async def ask(port: int, model: str, zero: float) -> Asked:
    """Make one streamed request over a connection of its own."""
    asked = Asked(next(numbers), model, monotonic() - zero)
    body = json.dumps(
        {"model": model, "stream": True, "messages": [{"role": "user", "content": f"req-{asked.number:06d} Why?"}]}
    )
    fields = f"Host: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    tail = b""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"POST /v1/chat/completions HTTP/1.1\r\n{fields}\r\n\r\n{body}".encode())
            while piece := await reader.read(65536):
                if not asked.status:
                    read_head(asked, piece)
                if (asked.first is None and b'"content": "w' in piece) or b'"content":"w' in piece:
                    asked.first = asked.first or monotonic() - zero
                tail = (tail + piece)[-2000:]
        finally:
            writer.close()
    except OSError:
        pass
    asked.ended = monotonic() - zero
    asked.complete = b"[DONE]" in tail
    code = re.findall(rb'"code":\s?"(\w+)"', tail)
    asked.code = code[-1].decode() if code and not asked.complete else None
    return asked


def read_head(asked: Asked, piece: bytes) -> None:
    found = re.match(rb"HTTP/1\.1 (\d+)", piece)
    asked.status = int(found[1]) if found else 0
    after = re.search(rb"(?i)\r\nretry-after: (\d+)", piece)
    asked.retry_after = float(after[1]) if after else None


async def crowd(port: int, callers: int, seconds: float) -> list[Asked]:
    """Ask for so many seconds, with so many streams at a time; return when all have ended."""
    zero = monotonic()
    done: list[Asked] = []

    async def caller(place: int) -> None:
        while monotonic() - zero < seconds:
            asked = await ask(port, MODELS[place % len(MODELS)], zero)
            done.append(asked)
            if asked.status != 200:
                await asyncio.sleep(min(asked.retry_after or 1.0, max(0.0, seconds - (monotonic() - zero))))

    await asyncio.gather(*(caller(place) for place in range(callers)))
    return done


async def watch(server: Serving, out: list[dict[str, float]]) -> None:
    """Note the memory, the descriptors and the latency of /healthz each half second."""
    zero = monotonic()
    while True:
        began = monotonic()
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            await reader.read()
            writer.close()
        memory = server.about.memory_info().rss / 2**20
        health = monotonic() - began
        out.append({"at": began - zero, "memory_mb": memory, "fds": server.about.num_fds(), "healthz_s": health})
        await asyncio.sleep(0.5)


def summarize(done: list[Asked], faulty: set[int]) -> dict[str, Any]:
    served = [a for a in done if a.status == 200 and a.complete]
    clean = [a for a in served if a.number not in faulty]
    ours = [a for a in done if a.status not in (200, 503) and a.number not in faulty]
    broken = [a for a in done if a.status == 200 and not a.complete and a.number not in faulty]
    return {
        "requests": len(done),
        "served": len(served),
        "statuses": dict(Counter(str(a.status) for a in done)),
        "codes": dict(Counter(a.code for a in done if a.code)),
        "refused": sum(a.status == 503 for a in done),
        "refused_without_retry_after": sum(a.status == 503 and a.retry_after is None for a in done),
        "of_our_making": dict(Counter(f"{a.status} {a.code}" for a in (*ours, *broken))),
        "seconds": cuts([a.seconds for a in served]),
        "seconds_without_fault": cuts([a.seconds for a in clean]),
        "first_token": cuts([a.first - a.began for a in served if a.first is not None]),
        "refusal": cuts([a.seconds for a in done if a.status == 503]),
    }


def write_pool(file: Path, port: int) -> None:
    tables = []
    for number, prior in enumerate((0.9, 0.6, 0.6), 1):
        url = f"http://127.0.0.1:{port}/m{number}/v1"
        tables += ["[[model]]", f'name = "member-{number}"', f'endpoint = "{url}"', f"prior = {prior}"]
    file.write_text("\n".join(tables) + "\n")


async def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with endpoints() as behind:
        write_pool(folder / "pool.toml", behind)
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT_LIMIT, hard))  # the server starts with this one
        async with serving(
            folder / "log", "--pool", str(folder / "pool.toml"), "--store", str(folder / "s.db")
        ) as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            await crowd(server.port, UNLOADED, 1.0)  # warm
            unloaded = await crowd(server.port, UNLOADED, args.unloaded)
            states: list[dict[str, float]] = []
            watching = asyncio.create_task(watch(server, states))
            loaded = await crowd(server.port, args.streams, args.seconds)
            watching.cancel()
            after = await crowd(server.port, UNLOADED, RECOVERY + 2 * PIECES * BETWEEN)
            faulty = await get_faults(behind)
            log = (folder / "log").read_bytes()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    third = [s["memory_mb"] for s in states if s["at"] < args.seconds / 3]
    late = [a for a in after if a.began > RECOVERY and a.status == 200]
    return {
        "unloaded": summarize(unloaded, faulty),
        "loaded": summarize(loaded, faulty),
        "recovered": summarize([a for a in after if a.began > RECOVERY], faulty),
        "recovered_first_token": cuts([a.first - a.began for a in late if a.first is not None]),
        "memory_mb": {"third": round(max(third), 1), "end": round(states[-1]["memory_mb"], 1)},
        "fds": max(s["fds"] for s in states),
        "healthz_s": cuts([s["healthz_s"] for s in states]),
        "log": {"bytes": len(log), "lines": log.count(b"\n"), "tracebacks": log.count(b"Traceback")},
    }


def find_missed(r: dict[str, Any]) -> list[str]:
    unloaded, loaded, out = r["unloaded"], r["loaded"], []
    if loaded["of_our_making"]:
        out.append(f"errors of our making: {loaded['of_our_making']}")
    if loaded["refused_without_retry_after"]:
        out.append(f"{loaded['refused_without_retry_after']} x 503 without Retry-After")
    for what in ("seconds", "first_token"):
        if loaded[what]["p99"] > FACTOR * unloaded[what]["p99"]:
            out.append(f"{what}: p99 {loaded[what]['p99']} s, unloaded {unloaded[what]['p99']} s")
    if r["recovered"]["refused"] or r["recovered"]["seconds"]["p50"] > 1.2 * unloaded["seconds"]["p50"]:
        out.append(f"not recovered after {RECOVERY} s: {r['recovered']}")
    if r["memory_mb"]["end"] > GROWTH * r["memory_mb"]["third"]:
        out.append(f"memory grew: {r['memory_mb']}")
    if r["log"]["tracebacks"]:
        out.append(f"{r['log']['tracebacks']} tracebacks")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 streams for 20 seconds")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--unloaded", type=float, default=30.0, help="seconds of the unloaded part")
    parser.add_argument("--endpoints", action="store_true", help="serve the endpoints, for this script itself")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.endpoints:
        with suppress(KeyboardInterrupt):
            asyncio.run(serve_endpoints())
        return
    if args.quick:
        args.streams, args.seconds, args.unloaded = 200, 20.0, 12.0
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(args, Path(folder)))
    missed = find_missed(figures)
    for name, value in figures.items():
        print(f"{name}: {json.dumps(value)}")
    if args.json:
        about = {"streams": args.streams, "seconds": args.seconds}
        args.json.write_text(json.dumps({"about": about, "figures": figures, "missed": missed}, indent=2) + "\n")
    for what in missed:
        print(f"MISSED: {what}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
