"""A worker's end of the channel: it says that it is ready, reloads when it is told to, and has the others reload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from routemoa.core.errors import ConfigError, RouteMoAError
from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.workers.channel import Channel, Failed, Ready, Reload, Reloaded
from routemoa.gateway.workers.shared_state import SharedState, divide_caps

__all__ = ["WorkerLink"]

RELOAD_SECONDS = 60.0
"""In which the others have to answer."""

ReloadPool = Callable[[], Awaitable[None]]


class WorkerLink:
    """The worker's end.

    Args:
        channel: to the supervisor.
        shared: what all workers share.
        workers: how many there are.
    """

    def __init__(self, channel: Channel, shared: SharedState, workers: int) -> None:
        self.shared = shared
        self.is_orphan = False
        """Whether the supervisor is gone."""
        self._channel = channel
        self._workers = workers
        self._ids = count()
        self._asked: dict[int, asyncio.Future[str | None]] = {}
        self._running: set[asyncio.Task[None]] = set()

    @property
    def is_first(self) -> bool:
        """Return whether this worker does what one of them does for all."""
        return self.shared.number == 1

    def divide_caps(self, settings: ServerSettings) -> ServerSettings:
        """Return the settings of this worker."""
        return divide_caps(settings, self._workers)

    def say_ready(self) -> None:
        """Tell the supervisor that requests are accepted."""
        self._channel.send(Ready())

    def say_failed(self, error: RouteMoAError) -> int:
        """Tell the supervisor why this worker ends; return its exit code."""
        code = 2 if isinstance(error, ConfigError) else 1
        self._channel.send(Failed("; ".join([str(error), *getattr(error, "__notes__", [])]), code))
        return code

    async def follow(self, reload: ReloadPool, stop: Callable[[], None]) -> None:
        """Do what the supervisor says, until it is gone: then stop."""
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, Reload):
                task = asyncio.create_task(self._reload(message.id, reload))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            elif isinstance(message, Reloaded) and (asked := self._asked.pop(message.id, None)) and not asked.done():
                asked.set_result(message.error)
        self.is_orphan = True
        stop()

    def reload_all(self, reload: ReloadPool) -> ReloadPool:
        """Return what reads the pool file again here, and then in all other workers. That raises RouteMoAError."""

        async def reload_here_and_there() -> None:
            await reload()
            id_ = next(self._ids)
            answered = self._asked[id_] = asyncio.get_running_loop().create_future()
            self._channel.send(Reload(id_))
            try:
                error = await asyncio.wait_for(answered, RELOAD_SECONDS)
            except TimeoutError as e:
                raise ConfigError("another worker does not answer; the log says more") from e
            finally:
                self._asked.pop(id_, None)
            if error is not None:
                raise ConfigError(error)

        return reload_here_and_there

    async def _reload(self, id_: int, reload: ReloadPool) -> None:
        try:
            await reload()
        except RouteMoAError as e:
            self._channel.send(Reloaded(id_, str(e)))
        else:
            self._channel.send(Reloaded(id_))
