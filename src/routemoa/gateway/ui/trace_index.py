"""The facts of the newest traces in memory: made a little at a time, so that no request waits for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.types import ModelSpec
from routemoa.gateway.ui.trace_facts import TraceFacts, describe_trace, summarize_feedback
from routemoa.ledger.location import StoreLocation
from routemoa.ledger.trace_catalog import TraceCatalog, open_catalog
from routemoa.ledger.traces import Feedback

__all__ = ["IndexedTraces", "TraceIndex"]

MAX_INDEXED = 50_000
"""Traces whose facts are kept: about 50 MB."""
STEP = 20
"""Traces that are read at once."""
REFRESH_SECONDS = 0.08
"""That one request reads new traces for; further ones read the rest."""
FRESH_SECONDS = 0.2
"""After which a complete index is compared with the store again."""


class IndexedTraces(Struct, frozen=True):
    """What is known of the traces at a moment."""

    facts: Sequence[TraceFacts]
    """The newest first."""
    missing: int
    """Traces that are not read yet."""


class TraceIndex:
    """Keeps the facts of the newest traces of a store; safe for threads.

    Args:
        path: of the traces; None where none are kept.
        members: of the pool.
        clock: seconds, never going back.
    """

    def __init__(
        self, path: StoreLocation | None, members: Sequence[ModelSpec], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._members, self._clock = path, members, clock
        self._lock = threading.Lock()
        self._facts: dict[int, TraceFacts] = {}
        self._numbers: dict[str, int] = {}
        self._said: dict[str, tuple[Feedback, ...]] = {}
        self._last_feedback = 0
        self._known = IndexedTraces((), 0)
        self._stale = float("-inf")

    def refresh(self, seconds: float = REFRESH_SECONDS) -> IndexedTraces:
        """Read traces that are new, for about so many seconds, and return what is known; blocks. Raises StoreError.

        While another thread reads, what was known before is returned at once.
        """
        if self._path is None or self._clock() < self._stale or not self._lock.acquire(blocking=not self._facts):
            return self._known
        try:
            with open_catalog(self._path) as catalog:
                if catalog is not None:
                    self._known = self._read(catalog, self._clock() + seconds)
            self._stale = self._clock() + (0.0 if self._known.missing else FRESH_SECONDS)
            return self._known
        finally:
            self._lock.release()

    def _read(self, catalog: TraceCatalog, end: float) -> IndexedTraces:
        present = catalog.list_numbers(MAX_INDEXED)
        self._drop(self._facts.keys() - set(present))
        self._add_feedback(catalog)
        missing = [number for number in present if number not in self._facts]
        read = 0
        while read < len(missing):
            for number, stored in catalog.read(missing[read : read + STEP]):
                self._facts[number] = self._with_feedback(describe_trace(stored, self._members))
                self._numbers[stored.id] = number
            read += STEP
            if self._clock() >= end:
                break
        facts = [self._facts[number] for number in present if number in self._facts]
        return IndexedTraces(facts, max(0, len(missing) - read))

    def _add_feedback(self, catalog: TraceCatalog) -> None:
        for number, id_, feedback in catalog.list_feedback(self._last_feedback):
            self._last_feedback = number
            self._said[id_] = (*self._said.get(id_, ()), feedback)
            if (of := self._numbers.get(id_)) is not None:
                self._facts[of] = self._with_feedback(self._facts[of])

    def _with_feedback(self, facts: TraceFacts) -> TraceFacts:
        said = self._said.get(facts.id)
        return replace(facts, feedback=len(said), score=summarize_feedback(said)) if said else facts

    def _drop(self, numbers: set[int]) -> None:
        for number in numbers:
            id_ = self._facts.pop(number).id
            self._numbers.pop(id_, None)
            self._said.pop(id_, None)
