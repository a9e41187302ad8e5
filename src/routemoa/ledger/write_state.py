"""Whether a ledger can be written: what a server's readiness, metrics and log say of it."""

from __future__ import annotations

from collections.abc import Callable

from routemoa.ledger.schema import LOG, StoreError

__all__ = ["WriteState"]


class WriteState:
    """Why a ledger cannot be written, while it cannot. The log has a line when that begins, and one when it ends."""

    def __init__(self) -> None:
        self.error: StoreError | None = None
        """None while it can be written, as far as is known."""
        self.on_unrecorded: Callable[[], None] = lambda: None
        """Is told of each call that is made without a record."""
        self._unrecorded = 0

    def fail(self, error: StoreError) -> None:
        """Note that it cannot be written."""
        if self.error is None or str(self.error) != str(error):
            LOG.warning("%s; meanwhile calls under a budget fail, and others are made without a record", error)
        error.is_logged = True
        self.error = error

    def recover(self, store: object) -> None:
        """Note that it is written again."""
        if self.error is not None:
            LOG.warning("%s: the store is written again; %d calls were made without a record", store, self._unrecorded)
            self.error, self._unrecorded = None, 0

    def count_unrecorded(self) -> None:
        """Count a call that is made without a record."""
        self._unrecorded += 1
        self.on_unrecorded()

    def new_error(self) -> StoreError | None:
        """Return an error to raise where no write is tried; None while it can be written."""
        if self.error is None:
            return None
        error = StoreError(str(self.error))
        error.is_logged = True
        return error
