"""Open what a live run calls through: the pool's client, the cache of its calls, the ledger; load local models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from routemoa.cli.terminal.session import open_ledger
from routemoa.clients.connect import connect
from routemoa.clients.http import HttpClient
from routemoa.core.errors import ModelError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.plural import counted
from routemoa.evaluation.live.call_cache import CallCache

__all__ = ["describe_spending", "load_local_models", "open_call_cache"]


@asynccontextmanager
async def open_call_cache(
    pool: Pool,
    folder: Path,
    max_cost: float | None = None,
    *,
    purpose: str = "bench",
    shared: bool = False,
    retry: bool = False,
    say: Callable[[str], None],
) -> AsyncIterator[CallCache]:
    """Connect to a pool for a live run in a folder.

    Args:
        pool: the models; local ones are loaded first, so that loading counts in no answer's seconds.
        folder: keeps the calls.
        max_cost: dollars for the whole run; None is no limit.
        purpose: of the run, as the ledger's `purpose`.
        shared: methods share their calls.
        retry: make calls again that failed before.
        say: called with a line about a local model that cannot be loaded.
    """
    client = connect(pool)
    async with AsyncExitStack() as stack:
        if (store := open_ledger()) is not None:
            stack.push_async_callback(store.aclose)
        cache = CallCache.open(client, folder, max_cost, store, purpose=purpose, shared=shared, retry=retry)
        stack.enter_context(cache)
        stack.push_async_callback(cache.close)
        await load_local_models(pool, client, say)
        yield cache


async def load_local_models(pool: Pool, client: HttpClient, say: Callable[[str], None]) -> None:
    """Load the local models of a pool, so that loading counts in no answer's seconds; `say` tells of failures."""
    for model in (m for m in pool if m.local):
        try:
            await client.address(model)
        except ModelError as e:
            say(f"{e}; it counts as a model that fails")


def describe_spending(spent: float, unpriced: int) -> str:
    """Return the dollars that a run has spent so far, in words."""
    unknown = f" and {counted(unpriced, 'call')} of unknown price" if unpriced else ""
    return f"{format_dollars(spent, 4)}{unknown}"
