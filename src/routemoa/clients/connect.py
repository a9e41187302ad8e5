"""Builds the client of a pool, and runs coroutines from synchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from routemoa.clients.http import HttpClient
from routemoa.clients.local import LocalRuntime
from routemoa.clients.shared_runtime import SharedRuntime
from routemoa.clients.transport.timeouts import Timeouts
from routemoa.core.errors import QueryError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import Runtime
from routemoa.core.tables.caps_table import ReplyCaps

__all__ = ["connect", "run_sync"]

T = TypeVar("T")


class MakeClient(Protocol):
    """Makes the client of a pool; `HttpClient` itself does."""

    def __call__(self, runtime: Runtime | None, *, timeouts: Timeouts, caps: ReplyCaps) -> HttpClient:
        """Return the client."""
        ...


def connect(
    pool: Pool, make: MakeClient = HttpClient, *, previous: tuple[Pool, HttpClient] | None = None
) -> HttpClient:
    """Return the HTTP client for `pool`, with the embedded runtime where a model is local; loads no model yet.

    Args:
        pool: its models, its patience and its caps.
        make: returns the client; by default the plain one.
        previous: an earlier reading of the pool, and its client. What that has learned of the members is kept, and
            where the local models are the same, so are their processes.
    """
    client = make(_find_runtime(pool, previous), timeouts=Timeouts().with_patience(pool.patience), caps=pool.caps)
    if previous is not None:
        client.memory = previous[1].memory
    return client


def _find_runtime(pool: Pool, previous: tuple[Pool, HttpClient] | None) -> Runtime | None:
    local = [m for m in pool if m.local]
    if not local:
        return None
    if previous is not None:
        before, client = previous
        same = before.directory == pool.directory and [m for m in before if m.local] == local
        if same and isinstance(client.runtime, SharedRuntime):
            return client.runtime.share()
    return SharedRuntime(LocalRuntime(pool.directory))


def run_sync(work: Callable[[], Coroutine[Any, Any, T]], instead: str) -> T:
    """Run a coroutine and return its result; `instead` is the code to use where an event loop runs already.

    Raises:
        QueryError: an event loop runs in this thread, which this call would block.
    """
    if _is_loop_running():
        raise QueryError(f"an event loop is running already (a notebook or a coroutine): use  {instead}")
    return asyncio.run(work())


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
