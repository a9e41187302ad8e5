"""Two calls for one answer: the second is made where the first one's first token is late; who begins first goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from msgspec import Struct

from routemoa.core.errors import ModelError
from routemoa.core.types import Completion

__all__ = ["Lost", "Pieces", "Won", "hedged"]

Pieces = AsyncGenerator[str | Completion, None]


class Won(Struct, frozen=True):
    """The second call goes on in the first one's place; `error` is why that failed, None where we cut it."""

    error: ModelError | None = None


class Lost(Struct, frozen=True):
    """The second call was made, and the first goes on; `error` is why it had failed by then, None where we cut it."""

    error: ModelError | None = None


async def hedged(
    first: Pieces, second: Callable[[], Pieces] | None, after: float | None
) -> AsyncGenerator[str | Completion | Won | Lost, None]:
    """The pieces of `first`; or, where it has not begun `after` seconds and `second` does, of that.

    Raises:
        ModelError: as `first` does, or as `second` where that goes on.
    """
    if second is None or after is None:
        async with aclosing(first) as pieces:
            async for piece in pieces:
                yield piece
        return
    going = [_Begun(first)]
    try:
        await asyncio.wait({going[0].begins}, timeout=after)
        if not going[0].begins.done():
            going.append(_Begun(second()))
            await _one_begins(going)
            if going[0].ready or not going[1].ready:
                yield Lost(going[1].error)
                await _end(going.pop(1))
            else:
                yield Won(going[0].error)
                await _end(going.pop(0))
        yield await going[0].begins
        async for piece in going[0].pieces:
            yield piece
    except StopAsyncIteration:
        return
    finally:
        await _end(*going)


async def _one_begins(going: list[_Begun]) -> None:
    """Until one has its first piece, or all have failed."""
    while waited := {call.begins for call in going if not call.begins.done()}:
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if any(call.ready for call in going):
            return


class _Begun:
    """A call whose first piece is waited for."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.begins: asyncio.Task[str | Completion] = asyncio.create_task(_first(pieces))

    @property
    def ready(self) -> bool:
        """Whether the first piece is there."""
        return self.begins.done() and not self.begins.cancelled() and self.begins.exception() is None

    @property
    def error(self) -> ModelError | None:
        """Why there will be none."""
        found = self.begins.exception() if self.begins.done() and not self.begins.cancelled() else None
        return found if isinstance(found, ModelError) else None


async def _end(*calls: _Begun) -> None:
    """Cancel them, and close their connections; who is cancelled meanwhile stays cancelled. A defect is raised."""
    for call in calls:
        call.begins.cancel()
    try:
        ended = await asyncio.gather(*(call.begins for call in calls), return_exceptions=True)
    finally:
        for call in calls:
            await call.pieces.aclose()
    for found in ended:
        if isinstance(found, Exception) and not isinstance(found, ModelError | StopAsyncIteration):
            raise found


async def _first(pieces: Pieces) -> str | Completion:
    return await anext(pieces)
