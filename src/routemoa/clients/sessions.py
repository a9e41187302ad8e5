"""Connections: one pool of them for each event loop, and the proxy that leads to a host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    import aiohttp

__all__ = ["SessionPool", "find_proxy"]

# Shorter than the 5 s after which common servers (uvicorn, llama.cpp) close a connection that is idle.
KEEP_ALIVE = 4.0  # seconds


class SessionPool:
    """The HTTP session of the running event loop; one that belongs to another loop closes with that loop."""

    def __init__(self, connect: float) -> None:
        self._connect = connect  # seconds to connect in
        self._session: aiohttp.ClientSession | None = None
        self._holder: AsyncGenerator[aiohttp.ClientSession, None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> aiohttp.ClientSession:
        """The session, made on first use."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop, self._holder = loop, self._hold()
            self._session = await anext(self._holder)
        return self._session

    async def close(self) -> None:
        """Close every connection."""
        if self._holder is not None and self._loop is asyncio.get_running_loop():
            await self._holder.aclose()
        self._session = self._holder = self._loop = None

    async def _hold(self) -> AsyncGenerator[aiohttp.ClientSession, None]:
        """A session that closes itself with its event loop: a loop's end closes the generators begun in it."""
        import aiohttp

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect),
        ) as session:
            yield session


def find_proxy(url: str) -> str | None:
    """The proxy of the environment for `url`; none for this machine, whatever the environment says."""
    target = urlsplit(url)
    host = target.hostname or ""
    if host in {"localhost", "::1"} or host.startswith("127.") or proxy_bypass(host):
        return None
    return getproxies().get(target.scheme)
