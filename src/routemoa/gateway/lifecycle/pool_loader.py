"""Builds what serves a reading of the pool file: its client, its methods and its application."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from routemoa.clients.connect import connect
from routemoa.clients.http import HttpClient
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Method
from routemoa.core.trace import Trace
from routemoa.gateway.app import build_app
from routemoa.gateway.lifecycle.reload import Generation
from routemoa.gateway.server_state import ServerState, check_pool
from routemoa.mixture.engine import RouteMoA
from routemoa.mixture.method_registry import METHODS, build_method

__all__ = ["PoolLoader"]


class PoolLoader:
    """Builds one generation after the other; each goes on with what the one before has learned.

    Args:
        read_pool: reads the pool file. Raises ConfigError.
        loopback: the server listens on this machine alone.
    """

    def __init__(self, read_pool: Callable[[], Pool], *, loopback: bool) -> None:
        self._read_pool, self._loopback = read_pool, loopback
        self._clients: list[HttpClient] = []
        self._methods: dict[str, Method] = {}

    def load(self, before: Generation, state: ServerState) -> Generation:
        """Read the pool file again; blocks. Raises RouteMoAError."""
        pool = self._read_pool()
        check_pool(pool, state.store)
        return self.build(pool, state, before.pool)

    def build(self, pool: Pool, state: ServerState, before: Pool | None = None) -> Generation:
        """Return what serves a pool; `before` is the pool of the last one. Raises RouteMoAError."""
        client = connect(pool, previous=None if before is None else (before, self._clients[-1]))
        methods: dict[str, Method] = {name: build_method(pool, name, client) for name in METHODS}
        for name, method in methods.items():
            earlier = self._methods.get(name)
            if isinstance(method, RouteMoA) and isinstance(earlier, RouteMoA):
                method.continue_from(earlier)
        app = build_app(methods, pool, client, state, loopback=self._loopback)
        self._methods = methods
        self._clients = [*self._clients[-1:], client]
        return Generation(pool, app, client)

    def recall(self, traces: Iterable[Trace]) -> None:
        """Let the methods of the last generation learn from answers of earlier processes, the oldest first."""
        learning = [method for method in self._methods.values() if isinstance(method, RouteMoA)]
        for trace in traces:
            for method in learning:
                method.recall(trace)

    async def close(self) -> None:
        """Close the clients; a second time does nothing."""
        for client in self._clients:
            await client.close()
