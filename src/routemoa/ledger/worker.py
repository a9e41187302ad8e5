"""A thread for a connection: what it does may block for long, and neither the event loop nor the exit waits for it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["Worker"]

T = TypeVar("T")


class Worker:
    """Does one piece of work after the other. The threads of an executor would be waited for at the exit."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def run(self, work: Callable[..., T], *args: object) -> T:
        """Return what `work(*args)` returns. Raises what it raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def do() -> None:
            try:
                result = work(*args)
            except BaseException as e:
                _tell(loop, future, future.set_exception, e)
            else:
                _tell(loop, future, future.set_result, result)

        self._jobs.put(do)
        return await future

    def put(self, work: Callable[[], None]) -> None:
        """Do `work()` as well; nothing waits for it."""
        self._jobs.put(work)

    def close(self) -> None:
        """End the thread after what it does now."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], say: Callable[[Any], None], what: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(lambda: None if future.done() else say(what))
