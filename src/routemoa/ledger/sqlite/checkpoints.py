"""Checkpoints of the ledger's file: they wait for the disk, and so have a thread of their own."""

from __future__ import annotations

import threading
from pathlib import Path

from routemoa.ledger.schema import write_checkpoint

__all__ = ["Checkpoints"]

CHECKPOINT_INTERVAL = 2000
"""Steps between checkpoints."""


class Checkpoints:
    """Begins a checkpoint after so many steps, one at a time.

    Args:
        path: the ledger's file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread: threading.Thread | None = None
        self.steps = 0
        """That were written since the last one; the writer counts them."""

    def begin_if_due(self) -> None:
        """Begin one where there were enough steps, and none runs."""
        if self.steps < CHECKPOINT_INTERVAL or (self._thread is not None and self._thread.is_alive()):
            return
        self.steps = 0
        self._thread = threading.Thread(target=write_checkpoint, args=(self._path,), name="checkpoint", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the one that runs."""
        if self._thread is not None:
            self._thread.join()
