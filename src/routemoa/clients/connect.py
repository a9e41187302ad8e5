"""Builds the client of a pool, and runs coroutines from synchronous code."""

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
    """Return the HTTP client for `pool`, with the embedded runtime where a model is local; loads no model yet."""
    return HttpClient(LocalRuntime(pool.directory) if any(m.local for m in pool) else None)


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` and return its result; where an event loop already runs (a notebook), in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
