"""One call of a member with several endpoints: each attempt is made at the endpoint that suits it best."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from typing import TypeVar

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.clients.faults import Fault, diagnose
from routemoa.core.errors import ModelError, Unreachable
from routemoa.core.failure_kind import FailureKind
from routemoa.core.types import ModelSpec

__all__ = ["SLOW_SECONDS", "PlacedCall"]

T = TypeVar("T")

SLOW_SECONDS = 30.0
"""An endpoint is skipped for a while after so long without a first token, where its call was given up for another."""


class PlacedCall:
    """Places the attempts of one call.

    An attempt that fails before its first token through a fault of its endpoint is followed by one at the next
    endpoint, at once. Once all have failed, the call has: where it is repeated, it may go to any of them again.

    Args:
        memory: what is known of the endpoints.
        model: the member.
        prefix: the hash of how the prompt begins (`placement.hash_prefix`).
    """

    def __init__(self, memory: MemberMemory, model: ModelSpec, prefix: bytes | None) -> None:
        self._memory, self._model, self._prefix = memory, model, prefix
        self._tried: dict[str | None, None] = {}
        """The names of the endpoints that were tried, in their order."""
        self.failures = 0
        """Attempts that failed, and were or will be followed by one elsewhere."""

    def moves_on(self, error: ModelError) -> bool:
        """Return whether the next attempt is made at another endpoint at once; else all may be tried again later."""
        if error.produced or diagnose(error, 0.0) is None:
            return False
        if self.has_other():
            self.failures += 1
            return True
        self._tried.clear()
        return False

    @contextmanager
    def take_place(self) -> Generator[ModelSpec, None, None]:
        """Hold the best endpoint for one attempt. Raises ModelError."""
        ticket = self._memory.place(self._model, self._prefix, self._tried)
        if ticket is None:
            raise Unreachable(self._model.name, "all its endpoints cool down after failures")
        self._tried[ticket.place.place] = None
        try:
            yield ticket.place
        except ModelError as e:
            e.endpoint = e.endpoint or ticket.place.place
            raise
        finally:
            ticket.close()

    async def attempt(self, make: Callable[[ModelSpec], AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
        """Yield what an attempt at the best endpoint yields; `make` begins it there. Raises ModelError."""
        with self.take_place() as place:
            async with aclosing(make(place)) as pieces:
                async for piece in pieces:
                    yield piece

    def has_other(self) -> bool:
        """Return whether another endpoint than those tried can take the call now."""
        return any(p.place not in self._tried and self._memory.skip_seconds(p) is None for p in self._model.places)

    async def race(
        self, make: Callable[[ModelSpec, bool], AsyncGenerator[T, None]], after: float
    ) -> AsyncGenerator[T, None]:
        """Yield an attempt; where its first piece is late, another endpoint is called as well, and the faster goes on.

        Args:
            make: begins an attempt at an endpoint; true for the second one.
            after: seconds without a first piece after which the second one begins.

        Raises:
            ModelError: no attempt is left; the first one's.
        """
        began = self._memory.clock()
        first = self.attempt(lambda place: make(place, False))
        runs = {asyncio.create_task(_read_first(first)): first}
        try:
            done, _ = await asyncio.wait(runs, timeout=after)
            if not done and self.has_other():
                second = self.attempt(lambda place: make(place, True))
                runs[asyncio.create_task(_read_first(second))] = second
            piece, winner = await _wait_for_first(runs, first)
            if winner is not first and first in runs.values():
                self._note_slow(began)
        finally:
            await _cancel(runs)
        async with aclosing(winner):
            if piece is not None:
                yield piece
            async for piece in winner:
                yield piece

    def _note_slow(self, began: float) -> None:
        """Count a failure of the first endpoint, which another one that was called later has overtaken."""
        waited = self._memory.clock() - began
        fault = Fault(FailureKind.TIMEOUT, wasted=waited, opens_at_once=waited >= SLOW_SECONDS)
        self._memory.note_fault(self._model.at(list(self._tried)[-2]), fault, began)


async def _read_first(pieces: AsyncGenerator[T, None]) -> T | None:
    """Return the first piece; None where there is none."""
    return await anext(pieces, None)


async def _wait_for_first(
    runs: dict[asyncio.Task[T | None], AsyncGenerator[T, None]], first: AsyncGenerator[T, None]
) -> tuple[T | None, AsyncGenerator[T, None]]:
    """Return the first piece of any run, and that run, which is taken out of `runs`. Raises ModelError: all failed."""
    failure: ModelError | None = None
    while runs:
        done, _ = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            pieces = runs.pop(task)
            try:
                return task.result(), pieces
            except ModelError as e:
                failure = e if failure is None or pieces is first else failure
    assert failure is not None  # noqa: S101  (every run has ended, none with a piece)
    raise failure


async def _cancel(runs: Mapping[asyncio.Task[T | None], AsyncGenerator[T, None]]) -> None:
    """Cancel runs that are not waited for, and wait until they have been settled."""
    for task in runs:
        task.cancel()
    await asyncio.gather(*runs, return_exceptions=True)
    for pieces in runs.values():
        await pieces.aclose()
