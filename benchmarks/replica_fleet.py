"""Gateways behind nginx, what they share, and an endpoint that writes bills: what benchmarks/replicas.py runs.

benchmarks/replica_fleet.py is imported by it. nginx has deploy/nginx/routemoa.conf. The message of a request is "TENANT
SECONDS": the endpoint answers that late, or streams for so long.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import aiohttp
from aiohttp import web
from msgspec import Struct
from served import Serving, start

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, it finds tests/

from routemoa.ledger import LedgerEntry, Store, StoreLocation, read_calls
from routemoa.ledger.connections import open_reading
from tests.deploy.nginx import find_nginx, nginx
from tests.ledger.postgres.server import PostgresServer, find_programs

PROMPT_TOKENS, COMPLETION_TOKENS = 20, 180
PRICES = (1.0, 5.0)
"""Dollars a million tokens, of prompts and of answers."""
CALL_COST = (PROMPT_TOKENS * PRICES[0] + COMPLETION_TOKENS * PRICES[1]) / 1e6
STREAM_STEP = 0.25
POOL = """
[[model]]
name = "a"
endpoint = "{url}"
input_price = {prices[0]}
output_price = {prices[1]}
"""


class Endpoint:
    """A scripted OpenAI-compatible endpoint: it counts and bills each request by its tenant."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.bill: defaultdict[str, float] = defaultdict(float)
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        """Of a tenant's requests at the same time."""

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        """Serve, and give the URL."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        tenant, seconds = body["messages"][0]["content"].split()
        self.calls[tenant] += 1
        self.bill[tenant] += CALL_COST  # it is owed, whatever becomes of the answer
        self.running[tenant] += 1
        self.most[tenant] = max(self.most[tenant], self.running[tenant])
        try:
            if body.get("stream"):
                return await self._stream(request, float(seconds))
            await asyncio.sleep(float(seconds))
            return web.json_response(_describe("chat.completion", message={"role": "assistant", "content": "It is 4."}))
        finally:
            self.running[tenant] -= 1

    async def _stream(self, request: web.Request, seconds: float) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(max(1, round(seconds / STREAM_STEP))):
            chunk = _describe("chat.completion.chunk", delta={"content": "word "}, finish_reason=None)
            await response.write(f"data: {json.dumps({**chunk, 'usage': None})}\n\n".encode())
            await asyncio.sleep(STREAM_STEP)
        last = _describe("chat.completion.chunk", delta={})
        await response.write(f"data: {json.dumps(last)}\n\ndata: [DONE]\n\n".encode())
        return response


def _describe(kind: str, **choice: Any) -> dict[str, Any]:
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    }
    choices = [{"index": 0, "finish_reason": "stop", **choice}]
    return {"id": "c1", "object": kind, "created": 1, "model": "a", "choices": choices, "usage": usage}


class Shared(Protocol):
    """What the gateways share: it can be killed and started again."""

    def options(self, number: int) -> tuple[str, ...]:
        """Return the options of a gateway, from 0."""
        ...

    @property
    def environment(self) -> dict[str, str]: ...

    @property
    def ledgers(self) -> list[StoreLocation]:
        """Return where the calls are written down."""
        ...

    def has_lost(self) -> bool:
        """Return whether what a dead gateway had reserved counts as spent."""
        ...

    async def settle(self) -> None:
        """Read what the gateways wrote last as the next start of each would, when all have ended."""
        ...

    def kill(self) -> None: ...

    def start(self) -> None: ...


class PostgresShared:
    """All of it in one database."""

    def __init__(self, server: PostgresServer) -> None:
        self.environment: dict[str, str] = {}
        self._url = server.make_database()
        self.kill, self.start = server.kill, server.start
        self.ledgers: list[StoreLocation] = [self._url]

    def options(self, number: int) -> tuple[str, ...]:
        return ("--store", self._url.secret)

    def has_lost(self) -> bool:
        return any(call.outcome == "lost" for call in read_calls(self._url))

    async def settle(self) -> None:
        """Do nothing: the other gateways have written down what the dead one left."""


class RedisShared:
    """Limits in Redis, and a ledger of each gateway in a file."""

    def __init__(self, server: Any, folder: Path) -> None:
        url = server.new_url()
        self.environment = {"ROUTEMOA_SHARED": url.secret}
        self.kill, self.start = server.kill, server.start
        self._server, self._database = server, int(url.secret.rpartition("/")[2])
        self.ledgers: list[StoreLocation] = []
        self._folder = folder

    def options(self, number: int) -> tuple[str, ...]:
        file = self._folder / f"ledger-{number}.db"
        if file not in self.ledgers:
            self.ledgers.append(file)
        return ("--store", str(file))

    def has_lost(self) -> bool:
        count = self._server.execute("EVAL", "return #redis.call('KEYS', '*:lost:*')", "0", database=self._database)
        return count not in (None, "0")

    async def settle(self) -> None:
        for file in self.ledgers:
            await Store(file).aclose()


@contextmanager
def open_shared(kind: str, folder: Path) -> Iterator[Shared]:
    """Start a server of this kind."""
    if kind == "redis":
        server: Any = importlib.import_module("tests.ledger.redis.server").RedisServer(keeps=True)
        shared: Shared = RedisShared(server, folder)
    else:
        programs = find_programs()
        if programs is None:
            sys.exit("no PostgreSQL here: apt-get install postgresql")
        server = PostgresServer(programs, synced=True)
        shared = PostgresShared(server)
    try:
        yield shared
    finally:
        server.remove()


class Reply(Struct, frozen=True):
    """What came of a request; `status` 0: it had no whole response."""

    status: int
    upstream: int | None
    """The port of the gateway that it was sent to last."""
    began: float
    ended: float
    code: str | None = None


class Fleet:
    """Gateways that run behind nginx."""

    def __init__(self, endpoint: Endpoint, shared: Shared, folder: Path, pool: Path, session: Any) -> None:
        self.endpoint, self.shared = endpoint, shared
        self.gateways: list[Serving] = []
        self.port = 0
        self._folder, self._pool, self._session = folder, pool, session

    async def start(self, count: int) -> None:
        """Start so many gateways."""
        environment = dict(self.shared.environment)
        keys = {line.split('"')[1] for line in self._pool.read_text().splitlines() if line.startswith("key_env")}
        environment |= {name: name.lower() for name in keys}
        for number in range(count):
            options = ("--pool", str(self._pool), *self.shared.options(number))
            self.gateways.append(await start(self._folder / f"gateway-{number}.log", *options, env=environment))

    async def stop(self) -> None:
        """End the gateways in order: what they have not written yet is written."""
        await asyncio.gather(*(_end(g) for g in self.gateways))

    async def ask(self, tenant: str, seconds: float = 0.0, *, stream: bool = False) -> Reply:
        """Send one request through nginx."""
        body = {"model": "a", "messages": [{"role": "user", "content": f"{tenant} {seconds}"}], "max_tokens": 200}
        url, key = f"http://127.0.0.1:{self.port}/v1/chat/completions", {"Authorization": f"Bearer key_{tenant}"}
        began, upstream, status, code = monotonic(), None, 0, None
        try:
            async with self._session.post(url, json={**body, "stream": stream}, headers=key) as response:
                upstream = int(response.headers["X-Upstream"].rpartition(":")[2])
                data = await response.read()
                status = response.status
                if status == 200:
                    status = status if b"[DONE]" in data or not stream else 0
                elif response.content_type == "application/json":
                    code = json.loads(data)["error"]["code"]
        except aiohttp.ClientError:
            status = 0
        return Reply(status, upstream, began, monotonic(), code)

    async def read_metric(self, name: str) -> list[float]:
        """Return a metric of each gateway that runs."""
        values = []
        for gateway in self.gateways:
            if gateway.process.returncode is None:
                url, key = f"http://127.0.0.1:{gateway.port}/metrics", {"Authorization": "Bearer key_free"}
                async with self._session.get(url, headers=key) as response:
                    text = await response.text()
                values += [float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")]
        return values

    def read_ledger(self, tenant: str) -> list[LedgerEntry]:
        """Return what is written down of a tenant's calls."""
        return [c for place in self.shared.ledgers for c in read_calls(place) if c.key == tenant]

    def read_held(self) -> float:
        """Return the dollars that are reserved for calls under way."""
        held = 0
        for place in self.shared.ledgers:
            connection = open_reading(place)
            assert connection is not None
            with closing(connection):
                query = "SELECT coalesce(sum(held), 0) FROM windows WHERE key = '*' AND length(\"window\") = 10"
                held += connection.execute(query).fetchone()[0]
        return float(held) / 1e12


@asynccontextmanager
async def fleet(kind: str, folder: Path, tenants: str, count: int = 4) -> AsyncGenerator[Fleet]:
    """Run so many gateways for these tenants, in the text of a pool file, behind nginx."""
    program = find_nginx()
    if program is None:
        sys.exit("no nginx here: apt-get install nginx")
    folder.mkdir()  # noqa: ASYNC240
    endpoint, pool = Endpoint(), folder / "pool.toml"
    connector = aiohttp.TCPConnector(limit=0)
    with open_shared(kind, folder) as shared:
        async with endpoint.serving() as url, aiohttp.ClientSession(connector=connector) as session:
            pool.write_text(POOL.format(url=url, prices=PRICES) + tenants)
            running = Fleet(endpoint, shared, folder, pool, session)
            try:
                await running.start(count)
                with nginx(program, folder, [g.port for g in running.gateways]) as running.port:
                    yield running
            finally:
                await running.stop()


async def _end(gateway: Serving) -> None:
    if gateway.process.returncode is None:
        gateway.process.terminate()
        try:
            async with asyncio.timeout(20):
                await gateway.process.wait()
        except TimeoutError:
            gateway.process.kill()
            await gateway.process.wait()
