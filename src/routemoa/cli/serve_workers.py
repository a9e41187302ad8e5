"""`routemoa serve --workers N`: the supervisor, which this command becomes, and the workers that it starts."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from routemoa.cli.serve_process import run_server
from routemoa.cli.serve_start import ServeOptions
from routemoa.core.errors import ConfigError, RouteMoAError

if TYPE_CHECKING:
    from routemoa.core.pool_file.pool import Pool
    from routemoa.ledger import StoreLocation

__all__ = ["run_worker", "run_workers"]

SCRIPT = "from routemoa.cli.serve_workers import run_worker; run_worker()"


class WorkerTask(msgspec.Struct, frozen=True):
    """What a worker reads from its standard input."""

    options: ServeOptions
    number: int
    """From 1."""
    workers: int
    folder: str
    """Of what all of them share."""
    secret: bytes
    """Of this server: it keys the hashes of conversations."""
    listening: int
    """The descriptor of the bound socket."""
    channel: int
    """The descriptor of the worker's end of the channel."""


def run_workers(
    options: ServeOptions, pool: Pool, listening: socket.socket, workers: int, ready: Callable[[], None]
) -> bool:
    """Run workers until a signal stops them; return whether they were forced to stop at once.

    Args:
        options: of the command.
        pool: the models.
        listening: the bound socket.
        workers: how many.
        ready: called once all of them accept requests.

    Raises:
        RouteMoAError: a worker could not start.
    """
    if sys.platform == "win32":
        raise ConfigError("several workers share a socket, which Windows has not; serve with one")
    from routemoa.gateway.workers.shared_state import forget_worker
    from routemoa.gateway.workers.supervisor import Supervisor

    _prepare_files(options, pool)
    with TemporaryDirectory(prefix="routemoa-workers-", ignore_cleanup_errors=True) as folder:
        secret = _find_secret(pool, options.path)

        def describe(number: int, channel: int) -> bytes:
            task = WorkerTask(options, number, workers, folder, secret, listening.fileno(), channel)
            return msgspec.json.encode(task)

        supervisor = Supervisor(workers, listening, SCRIPT, describe, partial(forget_worker, Path(folder)))
        return asyncio.run(supervisor.run(ready))


def run_worker() -> None:
    """Be a worker: read the task from standard input, and serve until the supervisor says otherwise or is gone."""
    from routemoa.gateway.guards.descriptors import raise_limit
    from routemoa.gateway.lifecycle.startup import find_access
    from routemoa.gateway.workers.channel import Channel
    from routemoa.gateway.workers.shared_state import open_shared_state
    from routemoa.gateway.workers.worker_link import WorkerLink

    task = msgspec.json.decode(sys.stdin.buffer.read(), type=WorkerTask)
    options, folder = task.options, Path(task.folder)
    for descriptor in (task.channel, task.listening):
        os.set_inheritable(descriptor, False)  # not for what this process starts: local models, sandboxes
    channel = Channel(socket.socket(fileno=task.channel))
    shared = open_shared_state(folder, task.number, task.secret)
    link = WorkerLink(channel, shared, task.workers)

    raise_limit()
    with socket.socket(fileno=task.listening) as listening:
        try:
            pool = options.read_pool()
            options.set_up_log(pool, task.number)
            admin_key = find_access(pool, options.path).admin_key
            forced = run_server(options, pool, listening, admin_key, ready=link.say_ready, link=link)
        except RouteMoAError as e:
            sys.exit(link.say_failed(e))
    shared.close()
    if link.is_orphan:
        rmtree(folder, ignore_errors=True)
    sys.exit(130 if forced else 0)


def _find_secret(pool: Pool, store: StoreLocation | None) -> bytes:
    """Return the key of the hashes of conversations: that of all servers that share them, else a new one."""
    from routemoa.ledger import find_fleet

    if find_fleet(store) is None:
        return secrets.token_bytes(32)
    from routemoa.gateway.fleet import conversation_secret

    return conversation_secret(pool)


def _prepare_files(options: ServeOptions, pool: Pool) -> None:
    """Make the ledger and the file of traces, so that no two workers do. Raises ConfigError, StoreError."""
    from routemoa.gateway.server_state import check_pool
    from routemoa.ledger import Store
    from routemoa.ledger.trace_store.traces import TraceStore, traces_path

    if options.path is None:
        check_pool(pool, None)
        return
    with closing(Store(options.path, pool.tenants)):
        if pool.traces.keep:
            TraceStore(traces_path(options.path), pool.traces).close()
