"""HTTP sessions, one for each event loop, and the proxies of the environment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    import aiohttp

__all__ = ["SessionPool", "find_proxy", "system_reason"]

KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the 5 s after which common servers (uvicorn, llama.cpp) close an idle connection."""


class SessionPool:
    """Holds the HTTP session of the running event loop; the session of another loop closes with that loop.

    Args:
        connect_timeout: seconds to connect in.
    """

    def __init__(self, connect_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._session: aiohttp.ClientSession | None = None
        self._holder: AsyncGenerator[aiohttp.ClientSession, None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> aiohttp.ClientSession:
        """Return the session; the first use creates it."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop, self._holder = loop, self._hold_session()
            self._session = await anext(self._holder)
        return self._session

    async def close(self) -> None:
        """Close every connection."""
        if self._holder is not None and self._loop is asyncio.get_running_loop():
            await self._holder.aclose()
        self._session = self._holder = self._loop = None

    async def _hold_session(self) -> AsyncGenerator[aiohttp.ClientSession, None]:
        """Yield a session that closes with its event loop: the end of a loop closes the generators begun in it."""
        import aiohttp

        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
        ) as session:
            yield session


def find_proxy(url: str) -> str | None:
    """Return the environment's proxy for `url`; None for this machine, whatever the environment says."""
    target = urlsplit(url)
    host = target.hostname or ""
    if host in {"localhost", "::1"} or host.startswith("127.") or proxy_bypass(host):
        return None
    return getproxies().get(target.scheme)


def system_reason(error: BaseException) -> str:
    """Return the operating system's words for an error, without addresses and class names around them."""
    system = getattr(error, "os_error", None) or error
    number, words = getattr(system, "errno", None), getattr(system, "strerror", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return words if isinstance(words, str) and words else str(error) or type(error).__name__
