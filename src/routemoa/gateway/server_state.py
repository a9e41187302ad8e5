"""What a server keeps while its pool file is read again: the ledger, keys, the load, what it counted and learned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from routemoa.core.access.tenants import Tenant
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.gateway.access.keyring import Keyring
from routemoa.gateway.access.rates import MemoryRates, RateKeeper
from routemoa.gateway.access.stored_rates import StoredRates
from routemoa.gateway.batches.manager import BatchManager
from routemoa.gateway.batches.tenant_rows import TenantTerms
from routemoa.gateway.batches.upload import require_multipart
from routemoa.gateway.conversations import Conversations
from routemoa.gateway.guards.load import LoadGate
from routemoa.gateway.operations import Operations
from routemoa.gateway.telemetry.live_board import LiveBoard
from routemoa.gateway.telemetry.metrics import ServerMetrics
from routemoa.gateway.telemetry.tracing import RequestTracer
from routemoa.gateway.traces.history import History
from routemoa.gateway.traces.lookup import TraceLookup
from routemoa.gateway.traces.trace_index import TraceIndex
from routemoa.ledger import Store, StoreUrl, find_fleet
from routemoa.ledger.trace_store.traces import TraceStore

if TYPE_CHECKING:  # it needs POSIX
    from routemoa.gateway.fleet import Fleet
    from routemoa.gateway.workers.shared_state import SharedState

__all__ = ["ServerState", "check_pool"]

TRACE_SECONDS = 1.0
"""In which a trace that another process keeps shows up in the store."""


class ServerState:
    """The parts that all readings of a pool file share.

    Args:
        pool: the first reading.
        store: records every call, holds keys and the budgets of tenants.
        traces: keeps the traces of answers.
        tracer: makes OpenTelemetry's spans of requests.
        admin_key: the digest of the key of the admin routes.
        shared: what the workers of a server share; None where this process is all of it.

    What several servers share is joined where ROUTEMOA_SHARED names a Redis, or the store is a database.

    Raises:
        ConfigError: the pool file sets budgets, and there is no store to hold them; or the store cannot be read; or
            ROUTEMOA_SHARED is no URL of a Redis.
        MissingExtra: the library for it is not installed.
    """

    def __init__(
        self,
        pool: Pool,
        store: Store | None = None,
        traces: TraceStore | None = None,
        tracer: RequestTracer | None = None,
        admin_key: bytes | None = None,
        *,
        shared: SharedState | None = None,
    ) -> None:
        check_pool(pool, store)
        if store is None and admin_key is not None:
            raise ConfigError(
                "the admin routes manage keys of the store; do not serve without one, or unset the admin key"
            )
        self.store, self.traces, self.tracer, self.admin_key = store, traces, tracer, admin_key
        self.states = None if shared is None else shared.states
        """The state of the other workers, for the metrics; None where there are none."""
        self.boards = None if shared is None else shared.boards
        """What the other workers do now, for the dashboard; None where there are none."""
        self.metrics = ServerMetrics()
        if store is not None:
            store.state.on_unrecorded = self.metrics.unrecorded.inc
        self.board = LiveBoard()
        self.gate = LoadGate(pool.server.queue_seconds, on_refuse=self.metrics.refused.inc)
        self.keyring = Keyring(pool.tenants, store, requires_key=admin_key is not None)
        fleet = _join_fleet(pool, store)
        own_rates = MemoryRates() if shared is None else shared.rates
        self.rates: RateKeeper = own_rates if fleet is None else fleet.rates
        others = None if fleet is None else fleet.budgets
        self.budgets = None if store is None or others is None else store.share_budgets(others)
        """Exchanges the budgets with those of other servers; None where the store holds them for all."""
        own = None if fleet is None else fleet.conversations
        self.conversations = Conversations(own if shared is None else shared.conversations)
        self.news = None if fleet is None else fleet.news
        """Tells other servers what this one has learned; None where there are none."""
        if self.news is not None:
            self.news.follow_conversations(self.conversations)
        is_alone = shared is None and not (traces is not None and isinstance(traces.path, StoreUrl))
        self.kept = TraceLookup(traces, 0.0 if is_alone else TRACE_SECONDS)
        self.trace_index = TraceIndex(traces)
        self.history = History(self.kept)
        self.batches = _open_batches(pool, self)
        """Runs batches; None where `[batches]` names no folder."""
        self.reload: Callable[[], Awaitable[None]] | None = None
        """Reads the pool file again. Raises RouteMoAError."""
        self.is_stopping: Callable[[], bool] = lambda: False
        """Tells streams without an end of their own that the server wants to end."""
        self.operations: Operations | None = None
        """What the dashboard does with packages above this one; None where the application is not `routemoa serve`."""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Watch the load and the keys; close all at the end."""
        states = () if self.states is None else (self.states,)
        boards = () if self.boards is None else (self.boards,)
        stored = (self.rates,) if isinstance(self.rates, StoredRates) else ()
        budgets = () if self.budgets is None else (self.budgets,)
        news = () if self.news is None else (self.news,)
        watched = (self.gate, self.keyring, *states, *boards, *stored, *budgets, *news)
        watching = [asyncio.create_task(one.watch()) for one in watched]
        if self.batches is not None:
            watching.append(asyncio.create_task(self.batches.watch()))
        try:
            yield
        finally:
            for task in watching:
                task.cancel()
            if self.batches is not None:
                await self.batches.close()
            for sharing in (*stored, *budgets, *news):
                await sharing.aclose()
            self.keyring.close()
            self.kept.close()
            if self.traces is not None:
                await asyncio.to_thread(self.traces.close)
            if self.store is not None:
                await self.store.aclose()


def _join_fleet(pool: Pool, store: Store | None) -> Fleet | None:
    """Return what this server shares with others; None where there are none. Raises ConfigError, MissingExtra."""
    if (url := find_fleet(None if store is None else store.path)) is None:
        return None
    from routemoa.gateway.fleet import join_fleet

    return join_fleet(url, pool)


def _open_batches(pool: Pool, state: ServerState) -> BatchManager | None:
    """Return what runs batches, where the pool file names a folder for them. Raises ConfigError, MissingExtra."""
    if pool.batches.folder is None:
        return None
    require_multipart()

    def make_terms(tenant: Tenant | None, places: asyncio.Semaphore) -> TenantTerms:
        return TenantTerms(tenant, state.store, state.rates, state.gate, places)

    def find_tenant(name: str) -> Tenant | None:
        return next((t for t in state.keyring.list_active() if t.name == name), None)

    return BatchManager(pool.batches, pool.server.max_body_bytes, make_terms, find_tenant)


def check_pool(pool: Pool, store: Store | None) -> None:
    """Raise ConfigError where a pool file sets budgets, and there is no store to hold them."""
    if store is None and pool.tenants.have_budgets:
        raise ConfigError(
            f"{pool.source}: budgets of [[tenant]] and [totals] are kept in the store; do not serve without one"
        )
