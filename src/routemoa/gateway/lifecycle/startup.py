"""Opens the gateway of a pool file: what `routemoa serve` and a replica under Ray Serve have in common."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from routemoa.core.pool_file.pool import Pool
from routemoa.core.pool_file.pool_files import list_files
from routemoa.core.tables.gateway_table import read_admin_key
from routemoa.gateway.guards.log_limits import LineFormatter, RedactFilter, RepeatFilter
from routemoa.gateway.lifecycle.pool_loader import PoolLoader
from routemoa.gateway.lifecycle.reload import ReloadingApp
from routemoa.gateway.operations import Operations
from routemoa.gateway.server_state import ServerState
from routemoa.gateway.telemetry.request_log import REQUEST_LOGGER, JsonFormatter
from routemoa.gateway.telemetry.tracing import start_tracing
from routemoa.gateway.traces.trace_facts import write_facts
from routemoa.ledger import Store, StoreError, StoreLocation
from routemoa.ledger.keys import read_keys
from routemoa.ledger.trace_store.traces import TraceStore, read_traces, traces_path

if TYPE_CHECKING:  # it needs POSIX
    from routemoa.gateway.workers.shared_state import SharedState

__all__ = ["Access", "Gateway", "find_access", "is_loopback", "open_gateway", "set_up_log"]

RECALLED_TRACES = 256


class Access(NamedTuple):
    """The keys that there are when a server starts."""

    admin_key: bytes | None
    """The digest of the key of the admin routes; None where there are none."""
    has_keys: bool
    """Whether there are tenants in the pool file, or keys in the store."""

    @property
    def needs_key(self) -> bool:
        """Return whether requests need a key from the start."""
        return self.has_keys or self.admin_key is not None


class Gateway(NamedTuple):
    """An open gateway."""

    app: ReloadingApp
    """The ASGI application; its lifespan closes the state."""
    state: ServerState


def find_access(pool: Pool, path: StoreLocation | None) -> Access:
    """Return the keys that there are now. Raises ConfigError, StoreError."""
    return Access(
        read_admin_key(pool.gateway, pool.tenants, os.environ, pool.source),
        has_keys=len(pool.tenants) > 0 or (path is not None and len(read_keys(path)) > 0),
    )


@asynccontextmanager
async def open_gateway(
    pool: Pool,
    read_pool: Callable[[], Pool],
    path: StoreLocation | None,
    admin_key: bytes | None,
    *,
    loopback: bool,
    watch: bool = True,
    otel: bool = False,
    shared: SharedState | None = None,
    operations: Operations | None = None,
) -> AsyncGenerator[Gateway, None]:
    """Open the store and build the application; close what its lifespan has not closed.

    Args:
        pool: the first reading of the pool file.
        read_pool: reads it again. Raises ConfigError.
        path: the ledger; None keeps none.
        admin_key: the digest of the key of the admin routes.
        loopback: the server listens on this machine alone.
        watch: look for changes of the pool file.
        otel: send OpenTelemetry's spans.
        shared: what this process shares with others that serve the same pool.
        operations: what the dashboard does with packages above this one; without it those routes are not there.

    Raises:
        RouteMoAError: the pool or the store cannot be used.
    """
    async with AsyncExitStack() as ending:  # the application closes some, too, but not where it did not start
        tracer, end_tracing = start_tracing() if otel else (None, None)
        if end_tracing is not None:
            ending.push_async_callback(asyncio.to_thread, end_tracing)
        store = None if path is None else Store(path, pool.tenants)
        if store is not None:
            ending.push_async_callback(store.aclose)
        traces = None
        if path is not None and pool.traces.keep:
            traces = TraceStore(traces_path(path), pool.traces, describe=write_facts)
        if traces is not None:
            ending.push_async_callback(asyncio.to_thread, traces.close)
        loader = PoolLoader(read_pool, loopback=loopback)
        ending.push_async_callback(loader.close)
        state = ServerState(pool, store, traces, tracer, admin_key, shared=shared)
        state.operations = operations
        first = loader.build(pool, state)
        app = ReloadingApp(
            first, lambda before: loader.load(before, state), state, list_files if watch else lambda _: ()
        )
        if traces is not None:
            await _recall_traces(traces.path, loader)
        yield Gateway(app, state)


async def _recall_traces(path: StoreLocation, loader: PoolLoader) -> None:
    """Let a server know how fast the members were, from the latest answers that were kept."""
    with suppress(StoreError, msgspec.MsgspecError):  # it learns as it goes
        latest = await asyncio.to_thread(lambda: [s.answer.trace for s in read_traces(path, latest=RECALLED_TRACES)])
        loader.recall(latest)


def set_up_log(*, redact: bool, as_json: bool = False, verbose: bool = False, worker: int | None = None) -> None:
    """Log warnings, and with `verbose` requests, in bounded lines and a bounded number of them.

    Args:
        redact: leave out what is not in words of ours.
        as_json: one JSON object a line.
        verbose: log each request.
        worker: its number, which each line names; None where there is one process.
    """
    handler = logging.StreamHandler()
    named = "" if worker is None else f" worker {worker}"
    text = LineFormatter(f"%(asctime)s %(levelname)s{named} %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter(worker) if as_json else text)
    if redact:
        handler.addFilter(RedactFilter())
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger(REQUEST_LOGGER).setLevel(logging.INFO if verbose else logging.WARNING)


def is_loopback(host: str) -> bool:
    """Return whether an address is one of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
