"""Connects a socket to a name: to the first of its addresses that answers (happy eyeballs, RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from itertools import chain, zip_longest
from typing import Any

__all__ = ["connect_socket"]

EYEBALLS_DELAY = 0.25
"""Seconds after which the next address of a name is tried beside the one before."""


async def connect_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to a host; asyncio does the same, but uvloop does not. Raises OSError."""
    loop = asyncio.get_running_loop()
    addresses = _alternate_families(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    connected: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(family: int, address: Any) -> None:
        try:
            connected.append(await _connect(family, address))
        except OSError as e:
            errors.append(e)

    running: set[asyncio.Task[None]] = set()
    try:
        while (addresses or running) and not connected:
            if addresses:
                running.add(loop.create_task(attempt(*addresses.pop(0))))
            delay = EYEBALLS_DELAY if addresses else None
            _, running = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        if not connected:
            raise errors[-1] if errors else OSError("the name has no address")
        return connected.pop()
    finally:
        for task in running:
            task.cancel()
        for late in connected:
            late.close()


async def _connect(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _alternate_families(found: list[tuple[Any, ...]]) -> list[tuple[int, Any]]:
    """Return the families and addresses found, by turns of the two families, the first one's first."""
    by_family: dict[int, list[tuple[int, Any]]] = {}
    for family, _, _, _, address in found:
        by_family.setdefault(family, []).append((family, address))
    return [address for address in chain(*zip_longest(*by_family.values())) if address is not None]
