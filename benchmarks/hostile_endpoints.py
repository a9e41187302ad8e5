"""Endpoints that try to stop the server that calls them. benchmarks/hostile.py starts it:

    .venv/bin/python benchmarks/hostile_endpoints.py

Prints its port. http://127.0.0.1:PORT/NAME/v1 is the endpoint NAME of `ENDPOINTS`; each does one thing, over a plain
socket, and `good` answers as it should. What is asked is read and forgotten.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
SSE = HEAD + b"Content-Type: text/event-stream\r\n\r\n"
JSON = HEAD + b"Content-Type: application/json\r\n\r\n"
Body = AsyncIterator[bytes]


def chunk(text: str, finish: str | None = None, **more: Any) -> bytes:
    """One event of a streamed completion."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return (
        b"data: "
        + json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice], **more}).encode()
        + b"\n\n"
    )


def answer(text: str) -> bytes:
    """A whole stream."""
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    return chunk(text) + chunk("", "stop") + chunk("", usage=usage) + b"data: [DONE]\n\n"


async def for_ever(head: bytes, piece: bytes) -> Body:
    """The same piece again and again, as fast as it is read."""
    yield head
    block = piece * max(1, 65536 // len(piece))
    while True:
        yield block


async def dripping(head: bytes, piece: bytes, seconds: float) -> Body:
    """A piece now and then."""
    yield head
    while True:
        yield piece
        await asyncio.sleep(seconds)


async def all_of(*pieces: bytes) -> Body:
    """Pieces, then the end."""
    for piece in pieces:
        yield piece


async def cut_up(head: bytes, data: bytes, size: int) -> Body:
    """Data in pieces, each of which is sent on its own."""
    yield head
    for start in range(0, len(data), size):
        yield data[start : start + size]
        if start % (64 * size) == 0:
            await asyncio.sleep(0)


async def nothing(head: bytes = b"") -> Body:
    """A head, or not even that, and silence."""
    if head:
        yield head
    await asyncio.sleep(3600)
    yield b""


@lru_cache
def bomb(head: bytes, piece: bytes, megabytes: int) -> bytes:
    """So many megabytes of a piece, compressed."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    block = piece * (2**20 // len(piece))
    return packer.compress(head) + b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def gzipped(kind: bytes, data: bytes) -> bytes:
    return HEAD + b"Content-Type: " + kind + b"\r\nContent-Encoding: gzip\r\n\r\n" + data


@lru_cache
def long_line() -> bytes:
    return chunk("x" * 8 * 2**20) + answer("done")


@lru_cache
def nested() -> bytes:
    return b'data: {"choices":' + b"[" * 10**6 + b"]" * 10**6 + b"}\n\n" + answer("done")


@lru_cache
def bloated() -> bytes:
    """A body whose values take twenty times its memory."""
    return b'{"choices": [' + b"[],{}," * 2_500_000 + b"1]}"


def gigabyte() -> Body:
    head = JSON[:-2] + b"Content-Length: 1073741824\r\n\r\n"
    return for_ever(head + b'{"choices": [{"message": {"content": "', b"x" * 65536)


def angle() -> bytes:
    """Text on which careless patterns take quadratic time and more."""
    text = "<" + " " * 12_000
    return chunk(text * 8) + answer(text + "\n<assessment" + " " * 12_000 + '{"self": 0.5}')


def judgment() -> bytes:
    """A judgment that takes long to repair."""
    return answer("It is 4.\n<assessment>" + '{"self": [' * 3000 + '"' * 3000 + "</assessment>")


ENDPOINTS: dict[str, Callable[[], Body]] = {
    "good": lambda: all_of(SSE, answer('The answer is 4.\n<assessment>{"self": 0.9}</assessment>')),
    "endless": lambda: for_ever(SSE, chunk("word ")),
    "endless-thought": lambda: for_ever(SSE + chunk("<think>"), chunk("hm ")),
    "gigabyte": gigabyte,
    "gzip-bomb": lambda: all_of(gzipped(b"application/json", bomb(b'{"choices": "', b"x", 512))),
    "gzip-stream": lambda: all_of(gzipped(b"text/event-stream", bomb(b"data: ", b"x" * 8191 + b"\n", 512))),
    "drip": lambda: dripping(SSE, b":", 0.05),
    "drip-words": lambda: dripping(SSE, chunk("word "), 0.2),
    "tiny-events": lambda: all_of(SSE, *[chunk("a") * 1000] * 1000, answer("done")),
    "tiny-pieces": lambda: for_ever(HEAD + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n:\r\n"),
    "blank-lines": lambda: for_ever(SSE, b"\n"),
    "comments": lambda: for_ever(SSE, b": keep-alive\n\n"),
    "long-line": lambda: cut_up(SSE, long_line(), 1024),
    "endless-line": lambda: for_ever(SSE + b"data: ", b"x"),
    "large-answer": lambda: all_of(SSE, *[chunk("lorem ipsum " * 85)] * 4096, answer("done")),
    "angle": lambda: all_of(SSE, angle()),
    "judgment": lambda: all_of(SSE, judgment()),
    "nested": lambda: all_of(SSE, nested()),
    "bloated": lambda: all_of(JSON, bloated()),
    "endless-head": lambda: for_ever(HEAD, b"X-Header: " + b"y" * 100 + b"\r\n"),
    "drip-head": lambda: dripping(b"HTTP/1.1 200 OK\r\n", b"x", 0.05),
    "interim": lambda: for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "silent": nothing,
    "head-only": lambda: nothing(SSE),
    "latin": lambda: all_of(SSE, b'data: {"choices": [{"delta": {"content": "\xe9\xff\\ud800"}}]}\n\n', answer("\u0000\u202e")),
    "reset": lambda: all_of(),
}  # fmt: skip
"""Name -> what it sends."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request."""
    with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(v) for k, _, v in parsed(head) if k.lower() == b"content-length"), 0)
        body = json.loads(await reader.readexactly(length) or b"{}")
        name = head.split(b"/")[1].decode()
        if name == "good" and not body.get("stream"):
            message = {"role": "assistant", "content": "The answer is 4."}
            out = {
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4},
            }
            writer.write(JSON + json.dumps(out).encode())
        elif name == "reset":
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        else:
            async for piece in ENDPOINTS[name]():
                writer.write(piece)
                await writer.drain()
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()


def parsed(head: bytes) -> Iterable[tuple[bytes, bytes, bytes]]:
    return (line.partition(b": ") for line in head.split(b"\r\n"))


async def main() -> None:
    for prepare in (long_line, nested, bloated):
        prepare()
    for name in ("gzip-bomb", "gzip-stream"):
        ENDPOINTS[name]()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**24, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
    sys.exit(0)
