"""The steps that wait to be written, and the coroutines that wait for their commit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec import Struct

from routemoa.ledger.schema import StoreError
from routemoa.ledger.steps import FinishedCall, StartedCall, WithdrawnCall

__all__ = ["PendingCommit", "QueueItem", "resolve_commits"]


class PendingCommit(Struct, eq=False):
    """A step whose commit a coroutine waits for."""

    step: StartedCall | None
    """None waits for the steps queued before it."""
    future: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop
    error: StoreError | None = None


QueueItem = PendingCommit | FinishedCall | WithdrawnCall


def resolve_commits(commits: Iterable[PendingCommit], running: asyncio.AbstractEventLoop | None) -> list[WithdrawnCall]:
    """Resolve the futures of commits, each on its own loop; return what is to be taken back.

    That is the calls of loops that are closed: they will not be made. `running` is the loop of this thread, if any.
    """
    withdrawn: list[WithdrawnCall] = []
    for pending in commits:
        if pending.loop is running:
            _resolve(pending)
            continue
        try:
            pending.loop.call_soon_threadsafe(_resolve, pending)
        except RuntimeError:
            if pending.step is not None:
                withdrawn.append(WithdrawnCall(pending.step))
    return withdrawn


def _resolve(pending: PendingCommit) -> None:
    error = pending.error or (pending.step.refusal if pending.step is not None else None)
    if pending.future.done():  # cancelled
        return
    if error is not None:
        pending.future.set_exception(error)
    else:
        pending.future.set_result(None)
