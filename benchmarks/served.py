"""`routemoa serve` and the faulty endpoints as processes, and a plain HTTP caller: what benchmarks of the server share.

benchmarks/served.py is imported by contract.py, crowd.py, kill.py, first_token.py and hedging.py, and prints nothing.

The caller is raw asyncio, so that it costs little beside the server on a small machine; what came is read once it has
all come. Times are taken from the request's last byte being sent to the answer's last byte having come.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import psutil
from faulty import Bill, Spec
from msgspec import Struct

ROUTEMOA = [sys.executable, "-c", "from routemoa.cli import main; main()"]
FAULTY = str(Path(__file__).parent / "faulty.py")
FIRST = re.compile(rb'"content":\s?"[^"]')  # the first piece of text in a stream
CHAT = "/v1/chat/completions"
EMPTY = "an answer without a word"


class Reply(Struct, frozen=True):
    """What a request came to; `status` 0: no HTTP response. Times are `monotonic()`, None: that never came."""

    status: int
    headers: dict[str, str]
    body: bytes
    sent: float
    first: float | None
    ended: float
    complete: bool  # the response ended as HTTP says it does

    @property
    def seconds(self) -> float:
        return self.ended - self.sent

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events; what is no JSON comes as text."""
        return [_json(line[5:].strip()) for line in self.body.splitlines() if line.startswith(b"data:")]


class Read(Struct, frozen=True):
    """A reply taken apart: an answer's text, or the error's code and message; neither: something is wrong."""

    text: str = ""
    code: str | None = None
    message: str | None = None
    about: dict[str, Any] = {}  # the server's own object `routemoa`
    wrong: str | None = None  # why it is neither


def read(reply: Reply | None, *, stream: bool) -> Read:
    """Take a reply apart, strictly: an answer is whole and has words, an error says what it is."""
    if reply is None:
        return Read(wrong="hung: nothing ended it")
    if reply.status == 0:
        return Read(wrong="the connection ended without a response")
    whole = None if stream and reply.status == 200 else _json(reply.body)
    if reply.status >= 400:
        return _error(whole, reply.status)
    if isinstance(whole, dict) and "error" in whole:
        return _error(whole, reply.status)
    if not reply.complete and not stream:
        return Read(wrong="the response was cut")
    if whole is not None:
        try:
            text = whole["choices"][0]["message"]["content"] or ""
        except (KeyError, TypeError, IndexError):
            return Read(wrong="the response is no completion")
        return Read(text, about=whole.get("routemoa") or {}, wrong=None if text.strip() else EMPTY)
    return _stream(reply)


def _stream(reply: Reply) -> Read:
    text, finish = "", None
    about: dict[str, Any] = {}
    events = reply.events
    for data in events:
        if isinstance(data, dict) and data.get("error"):
            return _error(data, 200)
        choices = data.get("choices") if isinstance(data, dict) else None
        if choices:
            text += choices[0].get("delta", {}).get("content") or ""
            finish = choices[0].get("finish_reason") or finish
        about = (data.get("routemoa") or about) if isinstance(data, dict) else about
    if not reply.complete:
        return Read(text, wrong="the stream was cut without a word")
    if any(not isinstance(d, dict) and d != "[DONE]" for d in events):
        return Read(text, wrong="a stream with events that are no JSON")
    if "[DONE]" not in events or finish is None:
        return Read(text, wrong="the stream ended without its end")
    return Read(text, about=about, wrong=None if text.strip() else EMPTY)


def _error(body: Any, status: int) -> Read:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or not error.get("message"):
        return Read(wrong=f"HTTP {status} without a reason")
    return Read(code=f"{status} {error.get('code')}", message=str(error["message"]))


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


async def post(port: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
    """One request over a connection of its own. Raises OSError: there is no server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    data = msgspec.json.encode(body)
    fields = {"Host": "x", "Connection": "close", "Content-Type": "application/json", "Content-Length": len(data)}
    head = "".join(f"{k}: {v}\r\n" for k, v in (fields | dict(headers or {})).items())
    writer.write(f"POST {CHAT} HTTP/1.1\r\n{head}\r\n".encode() + data)
    sent, first, got = monotonic(), None, bytearray()
    try:
        with suppress(ConnectionError):
            while piece := await reader.read(2**16):
                got += piece
                if first is None and FIRST.search(got, max(0, len(got) - len(piece) - 20)):
                    first = monotonic()
    finally:
        ended = monotonic()
        writer.close()
    return _parsed(bytes(got), sent, first, ended)


def _parsed(got: bytes, sent: float, first: float | None, ended: float) -> Reply:
    head, mark, rest = got.partition(b"\r\n\r\n")
    if not mark:
        return Reply(0, {}, got, sent, first, ended, False)
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    complete = len(rest) == int(headers.get("content-length", -1))
    if headers.get("transfer-encoding") == "chunked":
        rest, complete = _dechunked(rest)
    return Reply(int(lines[0].split()[1]), headers, rest, sent, first, ended, complete)


def _dechunked(data: bytes) -> tuple[bytes, bool]:
    out, at = bytearray(), 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end].split(b";")[0] or b"0", 16)
        if size == 0:
            return bytes(out), True
        out += data[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
    return bytes(out), False


async def get(port: int, path: str, method: str = "GET") -> bytes:
    """The body of a small response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    got = await reader.read()
    writer.close()
    return _parsed(got, 0.0, None, 0.0).body


class Serving:
    """A running `routemoa serve`; what it says goes into `log`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.about = psutil.Process(process.pid)

    async def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        await self.process.wait()


async def start(log: Path, *options: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()) -> Serving:
    """Start the server with `options`, by the command `prefix`; wait until it listens. Raises RuntimeError."""
    command = [*prefix, *ROUTEMOA, "serve", "--port", "0", *options]
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(*command, stderr=said, env={**os.environ, **(env or {})})
    for _ in range(600):
        await asyncio.sleep(0.05)
        if found := re.search(r"127\.0\.0\.1:(\d+)/v1", _text(log)):
            return Serving(process, int(found[1]), log)
        if process.returncode is not None:
            break
    raise RuntimeError(f"the server did not start: {_text(log)}")


def _text(file: Path) -> str:
    return file.read_text(errors="replace")


@asynccontextmanager
async def serving(
    log: Path, *options: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> AsyncGenerator[Serving, None]:
    """The server, ended in order at the end."""
    server = await start(log, *options, env=env, prefix=prefix)
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(20):
                    await server.process.wait()
        if server.process.returncode is None:
            await server.kill()


class Running:
    """The endpoints' process."""

    def __init__(self, port: int, process: asyncio.subprocess.Process) -> None:
        self.port, self.about = port, psutil.Process(process.pid)

    def url(self, member: str) -> str:
        return f"http://127.0.0.1:{self.port}/{member}/v1"

    async def bills(self) -> list[Bill]:
        return msgspec.json.decode(await get(self.port, "/bills"), type=list[Bill])

    async def forget(self) -> None:
        await get(self.port, "/bills", "DELETE")

    async def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await get(self.port, "/state"))
        return found


@asynccontextmanager
async def endpoints(spec: Spec, folder: Path) -> AsyncGenerator[Running, None]:
    """The members of `spec`, in a process of their own."""
    file = folder / f"spec-{spec.seed}-{id(spec)}.json"
    file.write_bytes(msgspec.json.encode(spec))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, FAULTY, str(file), stdout=pipe)
    assert process.stdout is not None
    try:
        yield Running(int(await process.stdout.readline()), process)
    finally:
        with suppress(ProcessLookupError):  # Ctrl-C reaches it, too
            process.kill()
        await process.wait()


class Cores:
    """How many cores each process uses, and for how many more it waits (Linux)."""

    def __init__(self, **processes: psutil.Process) -> None:
        self._processes, self._began = processes, monotonic()
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        used = {k: (t := p.cpu_times()).user + t.system for k, p in self._processes.items()}
        with suppress(OSError):
            for k, p in self._processes.items():
                used[f"{k} waits"] = int(Path(f"/proc/{p.pid}/schedstat").read_text().split()[1]) / 1e9
        return used

    def used(self) -> dict[str, float]:
        seconds = monotonic() - self._began
        return {k: round((v - self._before[k]) / seconds, 2) for k, v in self._read().items()}


def cuts(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median, tail and worst of some values."""
    if len(values) < 2:
        return {}
    points = statistics.quantiles(values, n=100, method="inclusive")
    picked = {"p50": points[49], "p90": points[89], "p95": points[94], "p99": points[98], "max": max(values)}
    return {k: round(v, digits) for k, v in picked.items()}
