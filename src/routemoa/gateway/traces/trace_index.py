"""The facts of the newest traces in memory: read a little at a time, so that no request waits for all of them.

Where a trace has no facts beside it (an earlier version has kept it), it is unpacked once, and they are kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.types import ModelSpec
from routemoa.gateway.traces.trace_facts import (
    FACTS_VERSION,
    KeptFacts,
    TraceFacts,
    describe_trace,
    price_facts,
    summarize_feedback,
)
from routemoa.ledger.schema import StoreError
from routemoa.ledger.trace_store.trace_catalog import TraceCatalog, open_catalog
from routemoa.ledger.trace_store.traces import Feedback, TraceFactsText, TraceStore

__all__ = ["IndexedTraces", "TraceIndex"]

MAX_INDEXED = 50_000
"""Traces whose facts are kept: about 50 MB."""
STEP = 500
"""Traces whose facts are read at once."""
UNPACKED_STEP = 20
"""Traces that are unpacked at once."""
REFRESH_SECONDS = 0.08
"""That one request reads new traces for; further ones read the rest."""
FRESH_SECONDS = 0.2
"""After which a complete index is compared with the store again."""
DECODER = msgspec.json.Decoder(KeptFacts)


class IndexedTraces(Struct, frozen=True):
    """What is known of the traces at a moment."""

    facts: Sequence[TraceFacts]
    """The newest first."""
    missing: int
    """Traces that are not read yet."""


class TraceIndex:
    """Keeps the facts of the newest traces of a store, also while pool files change; safe for threads.

    Args:
        store: keeps the traces; None keeps none.
        clock: seconds, never going back.
    """

    def __init__(self, store: TraceStore | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._members: tuple[ModelSpec, ...] = ()
        self._priced_for: tuple[ModelSpec, ...] = ()
        self._facts: dict[int, TraceFacts] = {}
        self._numbers: dict[str, int] = {}
        self._said: dict[str, tuple[Feedback, ...]] = {}
        self._last_feedback = 0
        self._known = IndexedTraces((), 0)
        self._stale = float("-inf")

    def set_members(self, members: Iterable[ModelSpec]) -> None:
        """Take the members whose prices count from now on. Never waits."""
        self._members = tuple(members)
        self._stale = float("-inf")

    def refresh(self, seconds: float = REFRESH_SECONDS) -> IndexedTraces:
        """Read traces that are new, for about so many seconds, and return what is known; blocks. Raises StoreError.

        While another thread reads, what was known before is returned at once.
        """
        if self._store is None or self._clock() < self._stale or not self._lock.acquire(blocking=not self._facts):
            return self._known
        try:
            with open_catalog(self._store.path) as catalog:
                if catalog is not None:
                    self._known = self._read(catalog, self._store, self._clock() + seconds)
            self._stale = self._clock() + (0.0 if self._known.missing else FRESH_SECONDS)
            return self._known
        finally:
            self._lock.release()

    def _read(self, catalog: TraceCatalog, store: TraceStore, end: float) -> IndexedTraces:
        present = catalog.list_numbers(MAX_INDEXED)
        self._drop(self._facts.keys() - set(present))
        if self._members != self._priced_for:  # what is kept is read again: that is quick
            self._priced_for = self._members
            self._facts.clear()
        self._add_feedback(catalog)
        wanted = [number for number in present if number not in self._facts]
        for number, kept in _read_facts(catalog, store, wanted, lambda: self._clock() >= end):
            self._facts[number] = self._with_feedback(price_facts(kept, self._priced_for))
            self._numbers[kept.facts.id] = number
        facts = [self._facts[number] for number in present if number in self._facts]
        return IndexedTraces(facts, len(present) - len(facts))

    def _add_feedback(self, catalog: TraceCatalog) -> None:
        for number, id_, feedback in catalog.list_feedback(self._last_feedback):
            self._last_feedback = number
            self._said[id_] = (*self._said.get(id_, ()), feedback)
            if (of := self._numbers.get(id_)) is not None and of in self._facts:
                self._facts[of] = self._with_feedback(self._facts[of])

    def _with_feedback(self, facts: TraceFacts) -> TraceFacts:
        said = self._said.get(facts.id)
        return replace(facts, feedback=len(said), score=summarize_feedback(said)) if said else facts

    def _drop(self, numbers: set[int]) -> None:
        for number in numbers:
            id_ = self._facts.pop(number).id
            self._numbers.pop(id_, None)
            self._said.pop(id_, None)


def _read_facts(
    catalog: TraceCatalog, store: TraceStore, wanted: Sequence[int], is_late: Callable[[], bool]
) -> Iterator[tuple[int, KeptFacts]]:
    """Yield the facts of traces with their numbers, until it is late; some at least."""
    for begin in range(0, len(wanted), STEP):
        step = wanted[begin : begin + STEP]
        there = {number: DECODER.decode(text) for number, text in catalog.read_facts(step, FACTS_VERSION)}
        yield from there.items()
        without = [number for number in step if number not in there]
        for first in range(0, len(without), UNPACKED_STEP):
            found = [(n, describe_trace(s)) for n, s in catalog.read(without[first : first + UNPACKED_STEP])]
            _keep_facts(store, [kept for _, kept in found])
            yield from found
            if is_late():
                return
        if is_late():
            return


def _keep_facts(store: TraceStore, found: Sequence[KeptFacts]) -> None:
    """Keep facts beside their traces; where that fails now, they are found again next time."""
    texts = {k.facts.id: TraceFactsText(FACTS_VERSION, msgspec.json.encode(k).decode()) for k in found}
    with suppress(StoreError):
        store.add_facts(texts)
