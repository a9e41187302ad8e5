"""One connection to Redis, and its errors as those of a store. The only place that imports the library.

What decides is a script: the server runs it as a whole, by its own clock. A connection that fails is dropped, and the
next use makes another one.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from os import getpid
from typing import TYPE_CHECKING, Any

from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.ledger.location import SharedUrl
from routemoa.ledger.schema import StoreError

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["PREFIX", "RedisConnection", "new_owner"]

PREFIX = "{routemoa}:"
"""Of all keys. What stands in braces keeps them on one node of a cluster."""
TIMEOUT = 3.0
"""Seconds in which the server has to answer: a busy machine is no reason to be cut off."""


class RedisConnection:
    """Connects when it is used. What several coroutines ask is asked one after the other.

    Args:
        url: of the server.

    Raises:
        MissingExtra: the library is not installed.
        ConfigError: the URL is none.
    """

    def __init__(self, url: SharedUrl) -> None:
        self.url = url
        self.run_id = ""
        """Of the server process, as it was when this connected: another one may have forgotten what it held."""
        self.eviction: str | None = None
        """The policy by which the server drops keys when its memory is full; None where it drops none."""
        self._lock = asyncio.Lock()
        self._client: Redis | None = None
        self._digests: dict[str, str] = {}  # script -> its SHA-1, as the server knows it
        _check_url(url)

    async def run(self, script: str, keys: Sequence[str], *values: str | bytes) -> Any:
        """Return what a script returns; `script` is the name of its file. Raises StoreError: it may have run."""
        async with self._lock, self._errors():
            client = await self._connect()
            if script not in self._digests:
                self._digests[script] = await client.script_load(_read_script(script))
            return await client.evalsha(self._digests[script], len(keys), *keys, *values)

    async def execute(self, *command: str | bytes | int, wait: float = 0.0) -> Any:
        """Return the answer to a command, which may take `wait` seconds. Raises StoreError: it may have been run."""
        async with self._lock, self._errors(wait):
            client: Any = await self._connect()
            return await client.execute_command(*command)

    async def connect(self) -> None:
        """Connect, where there is no connection. Raises StoreError."""
        async with self._lock, self._errors():
            await self._connect()

    async def aclose(self) -> None:
        """Drop the connection."""
        async with self._lock:
            await self.drop()

    async def drop(self) -> None:
        """Drop the connection, also while it is used."""
        client, self._client = self._client, None
        self._digests.clear()
        if client is not None:
            await client.aclose()

    def _errors(self, wait: float = 0.0) -> _Errors:
        return _Errors(self, TIMEOUT + wait)

    async def _connect(self) -> Redis:
        if self._client is None:
            client = self._make_client()
            self._client = client
            about = await client.info()
            self.run_id, policy = about["run_id"], about.get("maxmemory_policy", "noeviction")
            self.eviction = policy if policy != "noeviction" and about.get("maxmemory") else None
        return self._client

    def _make_client(self) -> Redis:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        settings: dict[str, Any] = {"client_name": "routemoa", "retry": Retry(NoBackoff(), 0), "protocol": 2}
        settings |= {"socket_timeout": None}  # ours is; its own, by `asyncio.wait_for`, swallows cancellations
        return Redis.from_url(self.url.secret, single_connection_client=True, **settings)


class _Errors:
    """Turns what goes wrong within a time into a StoreError of one line without a password; drops the connection."""

    def __init__(self, connection: RedisConnection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as e:
            await self._fail(f"no answer in {self._seconds:g} s", e)
        if error is not None:
            from redis.exceptions import RedisError

            if isinstance(error, RedisError | OSError | ValueError):
                await self._fail(str(error) or type(error).__name__, error)
            await self._connection.drop()  # cancelled: what it has answered would be taken for another answer

    async def _fail(self, why: str, error: BaseException) -> None:
        url = self._connection.url
        await self._connection.drop()
        raise StoreError(f"{url}: {url.hide_secrets(' '.join(why.split()))[:300]}") from error


def _check_url(url: SharedUrl) -> None:
    """Say at the start what is wrong. Raises MissingExtra, ConfigError."""
    try:
        from redis.asyncio.connection import parse_url
    except ImportError as e:
        raise MissingExtra("redis, which speaks to Redis and Valkey,", "redis") from e
    try:
        parse_url(url.secret)
    except ValueError as e:
        raise ConfigError(f"{url}: {url.hide_secrets(str(e))}; correct ROUTEMOA_SHARED") from e


def new_owner() -> str:
    """Return a name for this process, as none has had it before."""
    return f"{socket.gethostname()[:64]}-{getpid()}-{secrets.token_hex(4)}"


@lru_cache
def _read_script(name: str) -> str:
    return files(__package__).joinpath(f"{name}.lua").read_text()
