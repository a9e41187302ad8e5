"""A name with several addresses."""

from __future__ import annotations

import asyncio
import socket

import pytest

from routemoa.clients.connections import addresses
from routemoa.clients.connections.addresses import connect_socket

SILENT, REFUSING, GOOD = ("100::1", 80, 0, 0), ("192.0.2.1", 80), ("192.0.2.2", 80)


@pytest.mark.parametrize(
    ("found", "tried"),
    [
        ([GOOD, REFUSING], [GOOD]),
        ([REFUSING, GOOD], [REFUSING, GOOD]),
        ([SILENT, REFUSING, GOOD], [SILENT, REFUSING, GOOD]),
        ([REFUSING, GOOD, SILENT], [REFUSING, SILENT, GOOD]),
        ([REFUSING, REFUSING], [REFUSING, REFUSING]),
    ],
)
async def test_the_first_address_that_answers(
    found: list[tuple[str, int]], tried: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    opened: list[socket.socket] = []
    used: list[tuple[object, ...]] = []

    async def find(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET6 if ":" in a[0] else socket.AF_INET, 1, 6, "", a) for a in found]

    async def connect(sock: socket.socket, address: tuple[object, ...]) -> None:
        opened.append(sock)
        used.append(address)
        if address == REFUSING:
            raise ConnectionRefusedError
        if address == SILENT:
            await asyncio.Event().wait()

    monkeypatch.setattr(addresses, "EYEBALLS_DELAY", 0.01)
    monkeypatch.setattr(loop, "getaddrinfo", find)
    monkeypatch.setattr(loop, "sock_connect", connect)
    if GOOD in found:
        with await connect_socket("models.test", 80) as sock:
            assert sock.fileno() >= 0
            await asyncio.sleep(0)
            assert [other.fileno() for other in opened if other is not sock] == [-1] * (len(opened) - 1)
    else:
        with pytest.raises(ConnectionRefusedError):
            await connect_socket("models.test", 80)
    assert used == tried
