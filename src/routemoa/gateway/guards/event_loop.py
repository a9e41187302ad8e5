"""The event loop of the server: it knows how busy it is, and takes few connections and few bytes at once."""

from __future__ import annotations

import asyncio
import selectors
from time import monotonic
from typing import Any

__all__ = ["READ_BYTES", "ServerLoop"]

READ_BYTES = 16 * 1024
"""Read from a connection at once, so that one full of tiny pieces does not keep the others waiting."""
ACCEPTED_AT_ONCE = 16
"""Connections that are accepted at once; the others wait in the system's queue. asyncio takes as many as that holds: a
crowd would use up the descriptors before a single one of it was counted."""
STEPS_UNASKED = 2
"""That follow each other in one turn, where each is the single thing to do, before the system is asked what has come: a
request's own next steps."""


class _MeasuredSelector(selectors.DefaultSelector):
    """Measures how long there is nothing to do."""

    idle_seconds = 0.0
    turns = 0

    def select(self, timeout: float | None = None) -> Any:
        """Wait for events."""
        self.turns += 1
        began = monotonic()
        try:
            return super().select(timeout)
        finally:
            self.idle_seconds += monotonic() - began


class ServerLoop(asyncio.SelectorEventLoop):
    """An event loop for many connections.

    Args:
        accepted_at_once: connections; fewer where other processes accept on the same socket.
    """

    def __init__(self, accepted_at_once: int = ACCEPTED_AT_ONCE) -> None:
        self._accepted_at_once = accepted_at_once
        self._measured = _MeasuredSelector()
        super().__init__(self._measured)
        self.time = monotonic  # type: ignore[method-assign]  # what asyncio's method returns, without a call of Python

    @property
    def idle_seconds(self) -> float:
        """Seconds, since the start, in which there was nothing to do."""
        return self._measured.idle_seconds

    @property
    def turn(self) -> int:
        """The number of this turn."""
        return self._measured.turns

    def _run_once(self) -> None:
        # asyncio has no public name for a turn, nor for what there is to do in the next.
        super()._run_once()  # type: ignore[misc]
        ready = self._ready  # type: ignore[attr-defined]
        for _ in range(STEPS_UNASKED):
            if len(ready) != 1 or self._stopping:  # type: ignore[attr-defined]
                break
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _accept_connection(
        self,
        protocol_factory: Any,
        sock: Any,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        *timeouts: Any,
    ) -> Any:
        # asyncio takes the length of the queue for the number to accept at once, and has no setting of its own for it.
        at_once = min(backlog, self._accepted_at_once)
        return super()._accept_connection(protocol_factory, sock, sslcontext, server, at_once, *timeouts)  # type: ignore[misc]

    def _make_socket_transport(self, *args: Any, **options: Any) -> Any:
        # asyncio has no public setting for what it reads at once: 256 kB.
        transport = super()._make_socket_transport(*args, **options)  # type: ignore[misc]
        transport.max_size = READ_BYTES
        return transport
