"""HTTP sessions, one for each event loop, and the proxies of the environment."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    import aiohttp

__all__ = ["SessionPool", "find_proxy", "is_exempt", "system_reason"]

PROXY_VARIABLES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"]
"""A change of these counts at once; of other spellings and of the system's settings within PROXY_SECONDS. To read all
of them takes longer (0.15 ms) than to send a request."""
PROXY_SECONDS = 10.0
DEFAULT_PORTS = {"http": 80, "https": 443}

READ_BUFFER = 16 * 1024
"""Bytes of a response that are read before somebody takes them; twice as many at the most."""
KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the 5 s after which common servers (uvicorn, llama.cpp) close an idle connection."""


class SessionPool:
    """Holds the HTTP session of the running event loop; the session of another loop closes with that loop.

    Args:
        connect_timeout: seconds to connect in.
        header_bytes: of one header of a response.
    """

    def __init__(self, connect_timeout: float, header_bytes: int = 64 * 1024) -> None:
        self._connect_timeout = connect_timeout
        self._header_bytes = header_bytes
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
            headers={"Accept-Encoding": "identity"},  # a small reply gains nothing by compression, a bomb all
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            max_line_size=self._header_bytes,
            max_field_size=self._header_bytes,
        ) as session:
            yield session


def find_proxy(url: str) -> str | None:
    """Return the environment's proxy for `url`; None for this machine, whatever the environment says."""
    target = urlsplit(url)
    host = target.hostname or ""
    if host in {"localhost", "::1"} or host.startswith("127."):
        return None
    settings = (*map(os.environ.get, PROXY_VARIABLES), monotonic() // PROXY_SECONDS)
    return _find_proxy(target.scheme, host, target.port or DEFAULT_PORTS.get(target.scheme), settings)


@lru_cache(maxsize=256)
def _find_proxy(scheme: str, host: str, port: int | None, _: tuple[object, ...]) -> str | None:
    """Return the proxy for a host; `_` is what the answer was read from, so that another one is read again."""
    if proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme)
    return None if proxy is None or is_exempt(host, port, proxies.get("no", "")) else proxy


def is_exempt(host: str, port: int | None, no_proxy: str) -> bool:
    """Return whether a NO_PROXY list names a host: as curl and requests read it, beyond what Python does itself.

    Entries are separated by commas or spaces: a name, which stands for its subdomains as well, with or without a dot or
    "*." before it; an address; a range of addresses (10.0.0.0/8); each with a port or without; or "*" for all.
    """
    address = _parse_address(host)
    for entry in re.split(r"[,\s]+", no_proxy.strip()):
        name, entry_port = _split_port(entry)
        if not name or (entry_port is not None and entry_port != port):
            continue
        if name == "*" or _names_host(name.lower(), host.lower().rstrip("."), address):
            return True
    return False


def _split_port(entry: str) -> tuple[str, int | None]:
    """Return the name and the port of a NO_PROXY entry; IPv6 addresses with a port stand in brackets."""
    if m := re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?", entry):
        return m[1], int(m[2]) if m[2] else None
    if entry.count(":") == 1 and (m := re.fullmatch(r"([^:]+):(\d{1,5})", entry)):
        return m[1], int(m[2])
    return entry, None


def _names_host(name: str, host: str, address: IPv4Address | IPv6Address | None) -> bool:
    if address is not None:
        try:
            network = ip_network(name, strict=False)
        except ValueError:
            return False
        return address in network
    suffix = name.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def system_reason(error: BaseException) -> str:
    """Return the operating system's words for an error, without addresses and class names around them."""
    system = getattr(error, "os_error", None) or error
    number, words = getattr(system, "errno", None), getattr(system, "strerror", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return words if isinstance(words, str) and words else str(error) or type(error).__name__
