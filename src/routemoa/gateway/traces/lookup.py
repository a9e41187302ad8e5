"""Finds kept traces, also those that another worker of this server is still writing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from string import hexdigits
from time import monotonic
from typing import TypeVar

from routemoa.ledger import StoreError
from routemoa.ledger.trace_store.traces import Feedback, StoredTrace, TraceStore
from routemoa.ledger.worker import Worker

__all__ = ["TraceLookup"]

T = TypeVar("T")

FIRST_WAIT = 0.02
"""Seconds between the first two looks; then twice as long each time."""
ID_LENGTH = 32
PATIENCE = 5.0
"""Seconds that a caller waits for a store that does not answer."""


class TraceLookup:
    """Reads and judges traces, without blocking the event loop.

    Args:
        store: keeps the traces; None keeps none.
        seconds: in which a trace that another process writes shows up in the file; 0 where there is no other.
    """

    def __init__(self, store: TraceStore | None, seconds: float = 0.0) -> None:
        self.store = store
        self._seconds = seconds
        self._worker: Worker | None = None
        """A thread of its own, as reads take turns anyway: where the store hangs, no other work waits for a thread."""

    async def find(self, id_: str, tenant: str | None) -> StoredTrace | None:
        """Return a trace with its feedback; None where there is none of this tenant. Raises StoreError."""
        if (store := self.store) is None:
            return None
        return await self._look(id_, lambda: store.find(id_, tenant))

    async def add_feedback(self, id_: str, tenant: str | None, feedback: Feedback) -> bool:
        """Keep what a caller said of its answer; return False where there is no such trace. Raises StoreError."""
        if (store := self.store) is None:
            return False
        return await self._look(id_, lambda: store.add_feedback(id_, tenant, feedback))

    async def _look(self, id_: str, work: Callable[[], T]) -> T:
        """Return what `work` finds, as soon as it finds something; blocks a thread for each look alone."""
        end, wait = monotonic() + (self._seconds if _is_ours(id_) else 0.0), FIRST_WAIT
        while True:
            found = await self._run(work)
            if found or monotonic() >= end:
                return found
            await asyncio.sleep(wait)
            wait *= 2

    async def _run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, from the thread. Raises StoreError, also where that takes too long."""
        if self._worker is None:
            self._worker = Worker("trace lookup")
        wanted = True

        def do() -> T:
            if not wanted:
                raise StoreError("it took too long, and its caller was told so")
            return work()

        try:
            async with asyncio.timeout(PATIENCE):
                return await self._worker.run(do)
        except TimeoutError as e:
            place = "" if self.store is None else f"{self.store.path}: "
            raise StoreError(f"{place}the store has not answered for {PATIENCE:g} s") from e
        finally:
            wanted = False

    def close(self) -> None:
        """End the thread."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _is_ours(id_: str) -> bool:
    """Return whether an id may be that of a response of ours."""
    return len(id_) == ID_LENGTH and all(c in hexdigits for c in id_)
