"""The server's event loop takes few connections at once, however many wait for it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

from routemoa.gateway.guards.event_loop import ACCEPTED_AT_ONCE, ServerLoop


def test_a_crowd_is_accepted_a_few_at_a_time_and_nothing_is_lost() -> None:
    made: list[asyncio.BaseTransport] = []

    class Counted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    async def accept(crowd: int) -> list[int]:
        """Let so many connections wait; return how many were accepted in each turn."""
        server = await asyncio.get_running_loop().create_server(Counted, "127.0.0.1", 0, backlog=crowd)
        address = server.sockets[0].getsockname()
        turns = []
        with ExitStack() as stack:
            for _ in range(crowd):
                stack.enter_context(socket.create_connection(address))
            for _ in range(1000):
                before = len(made)
                await asyncio.sleep(0)
                turns.append(len(made) - before)
                if len(made) == crowd:
                    break
            for transport in made:
                transport.close()
            server.close()
        return turns

    with asyncio.Runner(loop_factory=ServerLoop) as runner:
        turns = runner.run(accept(10 * ACCEPTED_AT_ONCE))
    assert len(made) == 10 * ACCEPTED_AT_ONCE
    assert 0 < max(turns) <= ACCEPTED_AT_ONCE
