"""One process of `routemoa serve`: the gateway, and what runs beside it, until a signal stops it."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from routemoa.cli.serve_start import ServeOptions

if TYPE_CHECKING:
    from routemoa.core.pool_file.pool import Pool
    from routemoa.gateway.lifecycle.server import Server
    from routemoa.gateway.workers.worker_link import WorkerLink

__all__ = ["run_server"]

CANCEL_SECONDS = 1.0  # for cancelled answers to settle their calls


def run_server(
    options: ServeOptions,
    pool: Pool,
    listening: socket.socket,
    admin_key: bytes | None,
    *,
    ready: Callable[[], None],
    link: WorkerLink | None = None,
) -> bool:
    """Serve in this process until a signal stops it; return whether it was forced to stop at once.

    Args:
        options: of the command.
        pool: the models.
        listening: a bound socket.
        admin_key: the digest of the key of the admin routes.
        ready: called once requests are accepted.
        link: to the supervisor, where this process is one of several workers.
    """
    from routemoa.gateway.guards.event_loop import ServerLoop

    at_once = {} if link is None else {"accepted_at_once": 1}
    loop_factory = None if sys.platform == "win32" else lambda: ServerLoop(**at_once)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(_serve_until_stopped(options, pool, listening, admin_key, ready=ready, link=link))


async def _serve_until_stopped(
    options: ServeOptions,
    pool: Pool,
    listening: socket.socket,
    admin_key: bytes | None,
    *,
    ready: Callable[[], None],
    link: WorkerLink | None,
) -> bool:
    """See `run_server`."""
    from routemoa.cli.dashboard.operations import DashboardOperations
    from routemoa.core.system.garbage_collection import spare_garbage_collection
    from routemoa.gateway.background_learning import learning_beside
    from routemoa.gateway.lifecycle.server import Server
    from routemoa.gateway.lifecycle.startup import is_loopback, open_gateway

    path, shared = options.path, None if link is None else link.shared
    opening = open_gateway(
        pool,
        options.read_pool,
        path,
        admin_key,
        loopback=is_loopback(options.host),
        watch=options.watch,
        otel=options.otel,
        shared=shared,
        operations=DashboardOperations(),
    )
    async with opening as (app, state), AsyncExitStack() as ending:
        spare_garbage_collection()
        server = Server(app, ready, pool.server if link is None else link.divide_caps(pool.server))
        state.is_stopping = server.is_stopping
        if link is not None:
            state.reload = link.reload_all(app.reload)
            stop = partial(server.handle_exit, signal.SIGTERM, None)
            ending.callback(asyncio.create_task(link.follow(app.reload, stop)).cancel)
        ending.push_async_callback(_await_cancelled, server)
        kept = None if state.traces is None else path
        reload, note = state.reload or app.reload, state.metrics.drift.note
        async with learning_beside(lambda: app.pool, kept, reload, note):
            await server.serve([listening])
    return server.force_exit


async def _await_cancelled(server: Server) -> None:
    """Let the answers that a forced end has cancelled settle their calls."""
    if cancelled := server.server_state.tasks:
        await asyncio.wait(list(cancelled), timeout=CANCEL_SECONDS)
