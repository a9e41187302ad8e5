"""Watches the calls of one request on their way to the ledger."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

from routemoa.core.protocols import CallRecorder, CallResult, CallStart

__all__ = ["CallObserver"]

T = TypeVar("T")


class CallObserver(Generic[T]):
    """A `CallRecorder` that tells of each call, and passes it on.

    Args:
        inner: records the calls as well, if there is one.
        begin: takes a call that is about to be made, and returns what is known of it at its end.
        end: takes that, and how the call ended. Neither waits.
    """

    def __init__(
        self, inner: CallRecorder | None, begin: Callable[[CallStart], T], end: Callable[[T, CallResult], None]
    ) -> None:
        self._inner, self._begin, self._end = inner, begin, end
        self._numbers = count()
        self._open: dict[int, tuple[T, int]] = {}

    @property
    def has_budget(self) -> bool:
        """Return whether there is a budget, so that no call may be open-ended or without a price."""
        return self._inner is not None and self._inner.has_budget

    async def start(self, call: CallStart) -> int:
        """Note that a call is about to be made, and return its number. Raises BudgetExceeded, StoreError."""
        inner = 0 if self._inner is None else await self._inner.start(call)
        number = next(self._numbers)
        self._open[number] = self._begin(call), inner
        return number

    def finish(self, number: int, result: CallResult) -> None:
        """Note the end of the call that `start` gave this number; never waits."""
        begun, inner = self._open.pop(number)
        self._end(begun, result)
        if self._inner is not None:
            self._inner.finish(inner, result)
