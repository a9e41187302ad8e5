"""The endpoints of benchmarks/crowd.py: slow streams, a share of them faulty; it prints its port.

    python benchmarks/crowd_endpoints.py '{"first": 0.5, "pieces": 40, "between": 0.25, "faults": 0.1}'

A request is known by the `req-000123` in its prompt, a member by the first part of the path. GET /faults gives for each
request that met faults the members at which it met them.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import psutil
from msgspec import Struct
from served import get

FAULTS = ("reset", "500", "429", "cut", "silent", "stalled")
SILENCE = 3.0
"""Seconds without a byte: before the head, or in the middle."""
ID = re.compile(rb"req-(\d{6})")


class Streams(Struct, frozen=True):
    """What a reply is like."""

    first: float = 0.5
    """Seconds until the first piece."""
    pieces: int = 40
    between: float = 0.25
    """Seconds between two pieces."""
    faults: float = 0.1
    """Share of the replies that are faulty."""

    @property
    def seconds(self) -> float:
        """Of a whole stream without fault."""
        return self.first + (self.pieces - 1) * self.between


def head(status: str, kind: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode()


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"


PIECE = chunk("words and ")
USAGE = json.dumps({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 80}}).encode()
END = chunk("", "stop") + b"data: " + USAGE + b"\n\ndata: [DONE]\n\n"


class Endpoints:
    """All members, on one port."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._lots = Random(0)
        self._faulty: defaultdict[int, list[str]] = defaultdict(list)
        """Number of a request -> the members that failed it."""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with suppress(OSError, asyncio.IncompleteReadError):
            start = await reader.readuntil(b"\r\n\r\n")
            if start.startswith(b"GET "):
                writer.write(head("200 OK", "application/json") + json.dumps(self._faulty).encode())
            else:
                length = re.search(rb"(?i)content-length: (\d+)", start)
                body = await reader.readexactly(int(length[1]) if length else 0)
                fault = self._lots.choice(FAULTS) if self._lots.random() < self._streams.faults else None
                if fault is not None:
                    for number in ID.findall(body):
                        self._faulty[int(number)].append(start.split(b"/")[1].decode())
                await self._reply(writer, fault)
        writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, fault: str | None) -> None:
        streams = self._streams
        if fault == "reset":
            writer.transport.abort()
        elif fault in ("500", "429"):
            status = "500 Internal Server Error" if fault == "500" else "429 Too Many Requests"
            writer.write(head(status, "application/json") + b'{"error": {"message": "injected"}}')
        else:
            await asyncio.sleep(streams.first + (SILENCE if fault == "silent" else 0.0))
            writer.write(head("200 OK", "text/event-stream") + PIECE)
            for number in range(1, streams.pieces):
                await asyncio.sleep(streams.between)
                if number == streams.pieces // 2 and fault == "cut":
                    writer.transport.abort()
                if writer.transport.is_closing():
                    return
                if number == streams.pieces // 2 and fault == "stalled":
                    await asyncio.sleep(SILENCE)
                writer.write(PIECE)
            writer.write(END)


class Running:
    """The endpoints' process."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.about = port, psutil.Process(pid)

    async def faults(self) -> dict[int, set[str]]:
        """Number of each request that met faults -> the members that failed it."""
        told = json.loads(await get(self.port, "/faults"))
        return {int(number): set(members) for number, members in told.items()}


@asynccontextmanager
async def endpoints(streams: Streams) -> AsyncGenerator[Running, None]:
    """Run the endpoints in a process of their own."""
    about = json.dumps({name: getattr(streams, name) for name in streams.__struct_fields__})
    command = [sys.executable, str(Path(__file__)), about]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield Running(int(await process.stdout.readline()), process.pid)
    finally:
        process.kill()
        await process.wait()


async def main() -> None:
    streams = Streams(**json.loads(sys.argv[1]))
    server = await asyncio.start_server(Endpoints(streams).answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
