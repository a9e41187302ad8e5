"""A gateway in the test's own event loop, a method that follows a script, and requests sent by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import msgspec
import uvicorn.server
from msgspec import Struct
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from routemoa.clients.http import HttpClient
from routemoa.clients.protocol.sse import SSEParser
from routemoa.clients.retry import RetryPolicy
from routemoa.clients.transport.timeouts import Timeouts
from routemoa.core.events import AnswerDelta, Done, Event, Started
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import CallRecorder, Method
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.tables.server_table import ServerSettings
from routemoa.core.trace import Answer
from routemoa.core.trace_builder import fold_events
from routemoa.core.types import ModelSpec, Query
from routemoa.core.usage import Usage
from routemoa.gateway import create_app
from routemoa.gateway.lifecycle.server import Server, listen
from routemoa.mixture.method_registry import build_method

HI: Any = [{"role": "user", "content": "Hi"}]
ANSWER = (AnswerDelta("Hel"), AnswerDelta("lo."), Done(0.1, Usage(3, 4), 0.5, "length"))


class Script:
    """A method that follows a script: it yields events, sleeps for a number of seconds, raises; it counts its ends."""

    def __init__(self, *steps: Event | float | Exception, name: str = "routemoa") -> None:
        self.name = name
        self.steps = steps
        self.begun = 0
        self.finished = 0
        self.abandoned = 0
        self.queries: list[Query] = []

    async def stream(self, query: Query, recorder: CallRecorder | None = None) -> AsyncGenerator[Event, None]:
        self.begun += 1
        self.queries.append(query)
        try:
            yield Started(query, self.name)
            for step in self.steps:
                if isinstance(step, Event):
                    yield step
                elif isinstance(step, Exception):
                    raise step
                else:
                    await asyncio.sleep(step)
            self.finished += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.abandoned += 1
            raise

    async def answer(self, query: Query) -> Answer:
        return fold_events([event async for event in self.stream(query)])


class ShortWaits:
    """Stands for `asyncio` in uvicorn, which looks each tenth of a second whether to end, and waits one more."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))


uvicorn.server.asyncio = ShortWaits()  # type: ignore[assignment, attr-defined]


def connect(url: str, key: str = "unused", retries: int = 0) -> AsyncOpenAI:
    """Return OpenAI's client without certificates, of which it would read 150 each time."""
    client = DefaultAsyncHttpxClient(verify=False)
    return AsyncOpenAI(base_url=url, api_key=key, max_retries=retries, http_client=client)


class Serving:
    """A running server."""

    def __init__(self, url: str, client: HttpClient, server: Server) -> None:
        self.url = url
        self.client = client
        self.server = server

    @cached_property
    def sdk(self) -> AsyncOpenAI:
        """OpenAI's client, made where a test asks with it."""
        return connect(self.url)

    async def close(self) -> None:
        """Close OpenAI's client if there is one."""
        if "sdk" in vars(self):
            await self.sdk.close()

    @property
    def port(self) -> int:
        return int(self.url.split("/")[2].split(":")[1])

    async def connect(self, data: bytes = b"") -> Raw:
        """Open a connection and send bytes on it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return Raw(reader, writer)

    async def raw(
        self, body: Mapping[str, Any], path: str = "/chat/completions", headers: Mapping[str, str] | None = None
    ) -> Raw:
        """Send a request by hand and return the connection, from which the response can be read."""
        host, port = self.url.split("/")[2].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        data = msgspec.json.encode(body)
        head = (
            f"POST /v1{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        )
        head += "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + data)
        return Raw(reader, writer)


class Raw:
    """A connection on which a request was sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def whole(self) -> Response:
        """Read and parse the response."""
        head, _, rest = (await self.all()).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        chunked = headers.get("transfer-encoding") == "chunked"
        return Response(int(first.split()[1]), headers, dechunked(rest) if chunked else rest)

    async def all(self) -> bytes:
        """Read the response to its end."""
        try:
            return await asyncio.wait_for(self.reader.read(), 5)
        finally:
            await self.leave()

    async def leave(self) -> None:
        """Disconnect."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Response(Struct, frozen=True):
    """A parsed response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error

    @property
    def events(self) -> list[Any]:
        """The data of each event of a stream."""
        return [d if d == "[DONE]" else msgspec.json.decode(d) for d, _ in SSEParser().feed(self.body)]


def dechunked(data: bytes) -> bytes:
    """Decode the chunked transfer coding of a body."""
    out = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        count = int(size, 16)
        out, data = out + rest[:count], rest[count + 2 :]
        if not count:
            break
    return out


@asynccontextmanager
async def serving(
    *methods: Method,
    endpoint: str = "http://127.0.0.1:9/v1",
    members: Sequence[str] = ("a", "b/c"),
    pool: Pool | None = None,
    attempts: int = 1,
    names: Sequence[str] = ("routemoa",),
    settings: ServerSettings | None = None,
    **options: Any,
) -> AsyncIterator[Serving]:
    """Run a server in this event loop, with `methods` or else those of `names`; check at the end that nothing runs."""
    before = asyncio.all_tasks()
    if pool is None:
        pool = Pool(tuple(ModelSpec(m, endpoint, f"upstream-{m}", prior=0.6) for m in members), Mixture(layers=2))
    pool = pool if settings is None else replace(pool, server=settings)
    client = HttpClient(timeouts=Timeouts(first_byte=5.0), retries=RetryPolicy(attempts=attempts, base=0.01))
    chosen = methods or tuple(build_method(pool, name, client) for name in names)
    listening = listen("127.0.0.1", 0)
    ready = asyncio.Event()
    server = Server(create_app({m.name: m for m in chosen}, pool, client, **options), ready.set, pool.server)
    running = asyncio.create_task(server.serve([listening]))
    await ready.wait()
    served = Serving(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", client, server)
    try:
        yield served
        await served.close()
        await until(lambda: not server.server_state.tasks)
    finally:
        await served.close()
        server.should_exit = True
        await asyncio.wait_for(running, 5)
    await until(lambda: asyncio.all_tasks() <= before)  # an endpoint notices a closed connection a little later


async def until(condition: Any, seconds: float = 2.0) -> None:
    """Wait until a condition holds, for so long at most."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.005)
