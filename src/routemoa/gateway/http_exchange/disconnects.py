"""Runs the work on a response, and ends it when the caller disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

from starlette.types import Receive

from routemoa.core.system.cheap_timers import start_timer

__all__ = ["run_while_connected"]

WATCH_AFTER = 0.05
"""Seconds of work after which the connection is watched."""


async def run_while_connected(
    receive: Receive, work: Awaitable[None], keep_alive: Callable[[], Awaitable[None]], interval: float
) -> None:
    """Run `work` to its end, or cancel it when the caller disconnects.

    The body must have been read already, so that `receive` reports nothing but the end of the connection. Nothing is
    watched for the first WATCH_AFTER seconds, in which most of what is short has ended.

    Args:
        receive: of the ASGI server.
        work: writes the response.
        keep_alive: called while `work` runs.
        interval: seconds between two such calls.
    """
    working = asyncio.current_task()
    assert working is not None  # noqa: S101  (this is a coroutine)
    watch = _Watch(working, receive, keep_alive, interval)
    waiting = start_timer(working.get_loop(), WATCH_AFTER, watch.begin)
    try:
        await work
    except asyncio.CancelledError:
        if not watch.has_cancelled or working.uncancel():
            raise
    finally:
        waiting.discard(watch.begin)
        watch.end()
    watch.raise_error()


class _Watch:
    """Watches for the end of a connection beside the task that answers on it, and keeps the connection alive."""

    def __init__(
        self,
        working: asyncio.Task[Any],
        receive: Receive,
        keep_alive: Callable[[], Awaitable[None]],
        interval: float,
    ) -> None:
        self.has_cancelled = False
        """Whether the caller has gone, and the work was cancelled for it."""
        self._is_over = False
        """Whether the work has ended: the caller may go in the same turn of the event loop."""
        self._working, self._receive, self._keep_alive, self._interval = working, receive, keep_alive, interval
        self._task: asyncio.Task[None] | None = None
        self._context = copy_context()  # of the request: log lines name it

    def begin(self) -> None:
        self._task = asyncio.create_task(self._run(), context=self._context)
        self._task.add_done_callback(self._cancel_work)

    def end(self) -> None:
        self._is_over = True
        if self._task is not None:
            self._task.cancel()

    def raise_error(self) -> None:
        """Raise what went wrong while the connection was kept alive."""
        if self.has_cancelled and self._task is not None and (error := self._task.exception()) is not None:
            raise error

    async def _run(self) -> None:
        leaving = asyncio.create_task(_await_disconnect(self._receive))
        try:
            while not (await asyncio.wait((leaving,), timeout=self._interval))[0]:
                await self._keep_alive()
        finally:
            leaving.cancel()

    def _cancel_work(self, _: asyncio.Task[None]) -> None:
        if not self._is_over:
            self.has_cancelled = self._working.cancel()


async def _await_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
