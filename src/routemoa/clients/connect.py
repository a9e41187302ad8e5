"""From a pool to the client that calls its models, and from a coroutine to its result."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from routemoa.clients.http import HttpClient
from routemoa.clients.local import LocalRuntime
from routemoa.core.pool import Pool

__all__ = ["connect", "run_sync"]

T = TypeVar("T")


def connect(pool: Pool) -> HttpClient:
    """The HTTP client for `pool`, with the embedded runtime where a model is local; nothing is loaded yet."""
    return HttpClient(LocalRuntime(pool.directory) if any(m.local for m in pool) else None)


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end, also where an event loop is running already (a notebook): then in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
