"""Conversations that any worker of a server can go on with: which model answered last is in a table that all share."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import msgspec

from routemoa.core.chat.conversations import CACHE_SECONDS, ConversationMemory
from routemoa.core.content.cache_marks import CachedPrompt
from routemoa.gateway.workers.shared_table import SharedTable

__all__ = ["SharedConversations"]

ENTRY_BYTES = 496
TRIES = 100
"""To lock the table, some 50 us in all; then the turn is answered without: it is a hint."""


class SharedConversations(ConversationMemory):
    """A `ConversationMemory` of several processes. It holds keyed hashes and names of models, no text.

    Args:
        path: the file of the table.
        secret: the key of the hashes, the same for all processes.
    """

    def __init__(self, path: Path, secret: bytes) -> None:
        super().__init__(secret=secret)
        self._table = SharedTable(path, ENTRY_BYTES)

    def find(self, name: bytes) -> CachedPrompt | None:
        """Return what is remembered under a name, unless it is too old."""
        if not self._try_lock():
            return None
        try:
            entry = self._table.read(name, monotonic())
        finally:
            self._table.unlock()
        return None if entry is None else msgspec.json.decode(entry.rstrip(b" "), type=CachedPrompt)

    def store(self, name: bytes, prompt: CachedPrompt) -> None:
        """Remember something under a name."""
        entry = _encode(prompt)
        if entry is None or not self._try_lock():
            return
        try:
            self._table.write(name, entry, monotonic() + CACHE_SECONDS)
        finally:
            self._table.unlock()

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def _try_lock(self) -> bool:
        return any(self._table.try_lock() for _ in range(TRIES))


def _encode(prompt: CachedPrompt) -> bytes | None:
    """Return an entry, with as many readers as have room; None where not even the writer has."""
    for count in range(len(prompt.readers), -1, -1):
        data = msgspec.json.encode(CachedPrompt(prompt.writer, prompt.readers[:count]))
        if len(data) <= ENTRY_BYTES:
            return data.ljust(ENTRY_BYTES)
    return None
