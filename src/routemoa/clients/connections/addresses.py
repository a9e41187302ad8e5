"""Connects a socket to a name: to the first of its addresses that answers (happy eyeballs, RFC 8305)."""

from __future__ import annotations

import asyncio
import socket

from aiohappyeyeballs import start_connection

__all__ = ["connect_socket"]

EYEBALLS_DELAY = 0.25
"""Seconds after which the next address of a name is tried beside the one before."""


async def connect_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to a host; asyncio does the same, but uvloop does not. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await start_connection(found, happy_eyeballs_delay=EYEBALLS_DELAY, interleave=1, loop=loop)
