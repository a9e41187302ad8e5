"""What the dashboard shows: the parts of a running server that its routes read."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Method
from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.server_state import ServerState

__all__ = ["Site"]


class Site(Struct, frozen=True):
    """One reading of the pool file, as it is served."""

    pool: Pool
    methods: Mapping[str, Method]
    """Name -> what answers under it."""
    memory: MemberMemory
    """What the client remembers of the members."""
    state: ServerState
    """The ledger, the traces, the keys, the load and the metrics."""
    settings: ServerSettings
    loopback: bool
    """The server listens on this machine alone."""
