"""The connections to all endpoints: one is taken for each request, and kept for the next one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import cache
from time import monotonic

from routemoa.clients.connections.addresses import connect_socket
from routemoa.clients.connections.connection import HttpConnection, Place
from routemoa.clients.connections.loop_connections import LoopConnections
from routemoa.clients.connections.proxies import find_proxy
from routemoa.clients.connections.response import HttpResponse, MalformedResponse
from routemoa.clients.connections.target import Target, encode_head, parse_target

__all__ = ["ConnectionPool", "NotConnected"]


class NotConnected(Exception):
    """There was no connection, so that nothing was sent.

    Args:
        why: an OSError; TimeoutError among them.
    """

    def __init__(self, why: OSError) -> None:
        super().__init__(str(why))
        self.why = why


class ConnectionPool:
    """The connections of each event loop that asks; they close with their loop.

    Args:
        header_bytes: of one header of a response.
    """

    def __init__(self, header_bytes: int = 64 * 1024) -> None:
        self._header_bytes = header_bytes
        self._loops: dict[asyncio.AbstractEventLoop, LoopConnections] = {}

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
        target = parse_target(url)
        proxy_url = find_proxy(target)
        proxy = None if proxy_url is None else _parse_proxy(proxy_url)
        head = encode_head(method, target, headers, None if body is None else len(body), proxy)
        connections = self._loops.get(asyncio.get_running_loop()) or await self._enter_loop()
        place = (target.host, target.port, target.is_tls, proxy_url)
        connection = connections.take(place)
        if connection is None:
            began = monotonic()
            connection = await self._connect(connections, place, target, proxy, connect)
            wait -= monotonic() - began
        return await connection.send(head, body or b"", wait)

    async def close(self) -> None:
        """Close every connection of the running event loop."""
        connections = self._loops.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.close()

    async def _enter_loop(self) -> LoopConnections:
        for loop in [loop for loop in list(self._loops) if loop.is_closed()]:
            self._loops.pop(loop, None)
        connections = self._loops[asyncio.get_running_loop()] = LoopConnections()
        await connections.close_with_loop()
        return connections

    async def _connect(
        self, connections: LoopConnections, place: Place, target: Target, proxy: Target | None, seconds: float
    ) -> HttpConnection:
        """Connect, through a proxy where there is one. Raises NotConnected."""
        try:
            async with asyncio.timeout(seconds):
                connection = await self._open_connection(connections, place, proxy or target)
                if proxy is not None and target.is_tls:
                    await _tunnel(connection, target, proxy, seconds)
        except OSError as e:
            raise NotConnected(e) from None
        except MalformedResponse as e:
            raise NotConnected(OSError(f"the proxy does not answer in HTTP: {e}")) from None
        if not connection.is_open:
            raise NotConnected(ConnectionResetError("it closed the connection"))
        return connection

    async def _open_connection(self, connections: LoopConnections, place: Place, to: Target) -> HttpConnection:
        loop = asyncio.get_running_loop()
        context = _tls_context() if to.is_tls else None

        def create() -> HttpConnection:
            return HttpConnection(connections, place, loop, self._header_bytes)

        if to.is_address:
            _, connection = await loop.create_connection(create, to.host, to.port, ssl=context)
        else:
            sock, name = await connect_socket(to.host, to.port), to.host if to.is_tls else None
            _, connection = await loop.create_connection(create, sock=sock, ssl=context, server_hostname=name)
        connections.note_open(connection)
        return connection


def _parse_proxy(url: str) -> Target:
    """Read a proxy's URL; one without a scheme is http. Raises ValueError."""
    try:
        return parse_target(url if "://" in url else f"http://{url}")
    except ValueError as e:
        raise ValueError(f"the proxy of the environment: {e}") from None


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
