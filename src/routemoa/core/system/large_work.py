"""Work on much data, which would keep the event loop waiting: one thread does it, one piece after the other.

Several threads at once would be no faster, and the event loop would get its turn from each of them in turn only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

__all__ = ["LARGE", "LARGE_TREE", "run_large"]

LARGE = 2**20
"""Bytes, or characters, of data above which work on it is large."""
LARGE_TREE = 2**17
"""Bytes of JSON above which work on its values one by one is large."""
T = TypeVar("T")


async def run_large(work: Callable[..., T], *args: object) -> T:
    """Return what `work(*args)` returns, which may take some 100 ms. Raises what it raises."""
    return await asyncio.get_running_loop().run_in_executor(_worker(), work, *args)


@cache
def _worker() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-work")
