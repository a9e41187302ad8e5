"""The connections to all endpoints: one is taken for each request, and kept for the next one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from functools import cache
from time import monotonic

from routemoa.clients.connections.connection import HttpConnection, Place
from routemoa.clients.connections.proxies import find_proxy
from routemoa.clients.connections.response import HttpResponse, MalformedResponse
from routemoa.clients.connections.target import Target, encode_head, parse_target

__all__ = ["ConnectionPool", "NotConnected"]

KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the 5 s after which common servers (uvicorn, llama.cpp) close an idle connection."""
EYEBALLS_DELAY = 0.25
"""Seconds after which the next address of a name is tried beside the one before (RFC 8305)."""


class NotConnected(Exception):
    """There was no connection, so that nothing was sent.

    Args:
        why: an OSError; TimeoutError among them.
    """

    def __init__(self, why: OSError) -> None:
        super().__init__(str(why))
        self.why = why


class ConnectionPool:
    """The connections of the running event loop; those of another loop close with that loop.

    Args:
        header_bytes: of one header of a response.
    """

    def __init__(self, header_bytes: int = 64 * 1024) -> None:
        self._header_bytes = header_bytes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holder: AsyncGenerator[None, None] | None = None
        self._open: set[HttpConnection] = set()
        self._idle: dict[Place, list[tuple[float, HttpConnection]]] = {}
        self._is_sweeping = False

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, connect: float, wait: float
    ) -> HttpResponse:
        """Send a request, and return the response once its head is there; it must be left.

        Args:
            method: of HTTP.
            url: where to.
            headers: beside those that every request has.
            body: of the request.
            connect: seconds in which there has to be a connection, where a new one is needed.
            wait: seconds in which there has to be the head of a response, that time included.

        Raises:
            NotConnected: nothing was sent.
            OSError: the connection was lost; TimeoutError among them: no head in time.
            MalformedResponse: what came is no HTTP.
            ValueError: the URL, the proxy or a header is not valid.
        """
        target, proxy_url = parse_target(url), find_proxy(url)
        proxy = None if proxy_url is None else parse_target(proxy_url)
        head = encode_head(method, target, headers, None if body is None else len(body), proxy)
        if self._loop is not asyncio.get_running_loop():
            await self._enter_loop()
        place = (target.host, target.port, target.is_tls, proxy_url)
        connection = self._take(place)
        if connection is None:
            began = monotonic()
            connection = await self._connect(place, target, proxy, connect)
            wait -= monotonic() - began
        return await connection.send(head, body or b"", wait)

    async def close(self) -> None:
        """Close every connection."""
        if self._holder is not None and self._loop is asyncio.get_running_loop():
            await self._holder.aclose()
        self._holder = self._loop = None

    async def _enter_loop(self) -> None:
        self._loop, self._open, self._idle, self._is_sweeping = asyncio.get_running_loop(), set(), {}, False
        self._holder = _hold(self._open)
        await anext(self._holder)

    # --- kept connections

    def _take(self, place: Place) -> HttpConnection | None:
        """Return a kept connection, the newest; None where there is none."""
        kept = self._idle.get(place)
        while kept:
            since, connection = kept.pop()
            if connection.is_open and connection.loop.time() - since < KEEP_ALIVE_SECONDS:
                return connection
            connection.close()
        return None

    def keep(self, connection: HttpConnection) -> None:
        """Keep a connection for the next request to its place."""
        loop = connection.loop
        self._idle.setdefault(connection.place, []).append((loop.time(), connection))
        if not self._is_sweeping:
            self._is_sweeping = True
            loop.call_later(KEEP_ALIVE_SECONDS, self._sweep, self._idle)

    def note_lost(self, connection: HttpConnection) -> None:
        """Forget a connection that has closed."""
        self._open.discard(connection)

    def _sweep(self, idle: dict[Place, list[tuple[float, HttpConnection]]]) -> None:
        """Close what was kept for too long, and look again while there is more."""
        loop = asyncio.get_running_loop()
        due = loop.time() - KEEP_ALIVE_SECONDS
        for place, kept in list(idle.items()):
            for since, connection in kept:
                if since <= due:
                    connection.close()
            kept[:] = [(since, connection) for since, connection in kept if connection.is_open]
            if not kept:
                del idle[place]
        if idle:
            loop.call_later(KEEP_ALIVE_SECONDS, self._sweep, idle)
        else:
            self._is_sweeping = False

    # --- new connections

    async def _connect(self, place: Place, target: Target, proxy: Target | None, seconds: float) -> HttpConnection:
        """Connect, through a proxy where there is one. Raises NotConnected."""
        try:
            async with asyncio.timeout(seconds):
                if proxy is None:
                    return await self._open_connection(place, target)
                connection = await self._open_connection(place, proxy)
                if target.is_tls:
                    await _tunnel(connection, target, proxy, seconds)
                return connection
        except OSError as e:
            raise NotConnected(e) from None
        except MalformedResponse as e:
            raise NotConnected(OSError(f"the proxy does not answer in HTTP: {e}")) from None

    async def _open_connection(self, place: Place, to: Target) -> HttpConnection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: HttpConnection(self, place, loop, self._header_bytes),
            to.host,
            to.port,
            ssl=_tls_context() if to.is_tls else None,
            happy_eyeballs_delay=EYEBALLS_DELAY,
        )
        self._open.add(connection)
        return connection


async def _tunnel(connection: HttpConnection, target: Target, proxy: Target, seconds: float) -> None:
    """Let a proxy connect to a target, and speak TLS with that. Raises OSError, MalformedResponse."""
    address = f"{target.authority}:443" if target.port == 443 else target.authority
    lines = [f"CONNECT {address} HTTP/1.1", f"Host: {address}", *proxy.proxy_lines]
    try:
        response = await connection.send("\r\n".join([*lines, "", ""]).encode(), b"", seconds)
        if response.status != 200:
            raise OSError(f"the proxy {proxy.authority} refused: HTTP {response.status}")
        await connection.start_tls(_tls_context(), target.host)
    except BaseException:
        connection.close()
        raise


@cache
def _tls_context() -> ssl.SSLContext:
    """Return what TLS certificates are checked by; to read those of the system takes some 20 ms."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _hold(connections: set[HttpConnection]) -> AsyncGenerator[None, None]:
    """Close connections with their event loop: the end of a loop closes the generators begun in it."""
    try:
        yield
    finally:
        for connection in (closing := list(connections)):
            connection.close()
        for connection in closing:
            await connection.wait_closed()
