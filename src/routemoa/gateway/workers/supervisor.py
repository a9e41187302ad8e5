"""The parent of the workers of a server: starts them, starts again those that die, and ends them all."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from time import monotonic

from routemoa.core.errors import ConfigError, RouteMoAError
from routemoa.gateway.workers.channel import Channel, Failed, Ready, Reload, Reloaded

__all__ = ["Supervisor", "choose_wait", "describe_end"]

LOG = logging.getLogger("routemoa.gateway")
SHORTEST_WAIT, LONGEST_WAIT = 0.1, 30.0
"""Seconds until a worker that has died is started again: twice as long each time that it dies young."""
SETTLED_SECONDS = 60.0
"""After which a worker is not young."""
RELOAD_SECONDS = 30.0
"""In which a worker has to read the pool file."""


class _Worker:
    """A process, and what it has said."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.number, self.process, self.channel = number, process, channel
        self.is_ready = False
        self.failure: Failed | None = None
        self.reloads: dict[int, asyncio.Future[str | None]] = {}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)


class Supervisor:
    """Runs workers until a signal stops them. It serves no request itself.

    Args:
        workers: how many.
        listening: the bound socket, which they inherit.
        script: that a worker runs.
        describe: returns what a worker reads from its standard input, given its number and its end of the channel.
        forget: gives back what a worker that has died held.
    """

    def __init__(
        self,
        workers: int,
        listening: socket.socket,
        script: str,
        describe: Callable[[int, int], bytes],
        forget: Callable[[int], Awaitable[None]],
    ) -> None:
        self._count, self._listening, self._script = workers, listening, script
        self._describe, self._forget = describe, forget
        self._workers: dict[int, _Worker] = {}
        self._ids = count()
        self._stopping = asyncio.Event()
        self._all_ready = asyncio.Event()
        self._failed: RouteMoAError | None = None
        self._is_forced = False
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self, ready: Callable[[], None]) -> bool:
        """Run until SIGTERM or Ctrl-C; return whether a second Ctrl-C forced the end.

        Args:
            ready: called once, when all workers accept requests.

        Raises:
            RouteMoAError: a worker could not start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._start_task(self._reload()))
        keeping = [asyncio.create_task(self._keep(number)) for number in range(1, self._count + 1)]
        announcing = asyncio.create_task(self._announce(ready))
        try:
            await asyncio.gather(*keeping)
        finally:
            announcing.cancel()
            for worker in self._workers.values():  # where this ends by an error of ours
                worker.signal(signal.SIGTERM)
        if self._failed is not None:
            raise self._failed
        return self._is_forced

    async def _announce(self, ready: Callable[[], None]) -> None:
        await self._all_ready.wait()
        ready()

    def _stop(self, number: signal.Signals) -> None:
        """Let running answers end after the first signal; cancel them after a second Ctrl-C."""
        forced = self._stopping.is_set() and number == signal.SIGINT
        self._is_forced = self._is_forced or forced
        self._stopping.set()
        self._listening.close()
        for worker in self._workers.values():
            worker.signal(signal.SIGINT if forced else signal.SIGTERM)

    # --- one worker after the other

    async def _keep(self, number: int) -> None:
        """Run a worker, and another in its place when it dies, until the end."""
        young = 0
        while not self._stopping.is_set():
            began = monotonic()
            end = await self._run_one(number)
            if self._stopping.is_set():
                return
            young = 0 if monotonic() - began > SETTLED_SECONDS else young + 1
            wait = choose_wait(young)
            LOG.error("worker %d %s; another takes its place in %.1f s", number, end, wait)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)

    async def _run_one(self, number: int) -> str:
        """Run a worker to its end, and say what became of it. Where not all have started yet, that ends the others."""
        failure: Failed | None = None
        try:
            worker = await self._start(number)
        except OSError as e:
            end = f"cannot be started: {e.strerror or e}"
        else:
            await self._listen(worker)
            code = await worker.process.wait()
            worker.channel.close()
            del self._workers[number]
            failure = worker.failure
            if not self._stopping.is_set():
                await self._forget(number)
            what = describe_end(code) if failure is None else f"failed: {failure.reason}"
            end = f"(process {worker.process.pid}) {what}"
        if not (self._all_ready.is_set() or self._stopping.is_set()):
            is_setting = failure is not None and failure.exit_code == 2
            reason = f"worker {number} {end}" if failure is None else failure.reason
            self._failed = ConfigError(reason) if is_setting else RouteMoAError(reason)
            self._stop(signal.SIGTERM)
        return end

    async def _start(self, number: int) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", self._script),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(self._listening.fileno(), theirs.fileno()),
                start_new_session=True,  # out of reach of the terminal's signals: this process passes them on
            )
            options = self._describe(number, theirs.fileno())
        worker = self._workers[number] = _Worker(number, process, Channel(ours))
        assert process.stdin is not None  # noqa: S101  (it is a pipe)
        process.stdin.write(options)
        process.stdin.close()
        if self._stopping.is_set():
            worker.signal(signal.SIGTERM)
        return worker

    async def _listen(self, worker: _Worker) -> None:
        """Take a worker's messages until it ends."""
        while (message := await worker.channel.receive()) is not None:
            match message:
                case Ready():
                    worker.is_ready = True
                    if len(self._workers) == self._count and all(w.is_ready for w in self._workers.values()):
                        self._all_ready.set()
                case Failed():
                    worker.failure = message
                case Reloaded():
                    if (asked := worker.reloads.pop(message.id, None)) is not None and not asked.done():
                        asked.set_result(message.error)
                case Reload():
                    self._start_task(self._reload_for(worker, message.id))
        for asked in worker.reloads.values():  # the next one in its place reads the file as it is now
            if not asked.done():
                asked.set_result(None)

    # --- reloads

    async def _reload(self, *, asker: _Worker | None = None) -> str | None:
        """Have all workers but one read the pool file again; return the first reason why one refused it."""
        asked: list[asyncio.Future[str | None]] = []
        for worker in self._workers.values():
            if worker is not asker:
                id_ = next(self._ids)
                worker.reloads[id_] = asyncio.get_running_loop().create_future()
                asked.append(worker.reloads[id_])
                worker.channel.send(Reload(id_))
        if not asked:
            return None
        done, late = await asyncio.wait(asked, timeout=RELOAD_SECONDS)
        errors = [error for error in (future.result() for future in done) if error is not None]
        return next(iter(errors), "another worker has not read it in time" if late else None)

    async def _reload_for(self, asker: _Worker, id_: int) -> None:
        asker.channel.send(Reloaded(id_, await self._reload(asker=asker)))

    def _start_task(self, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def choose_wait(young: int) -> float:
    """Return the seconds until a worker is started again, after so many in a row that died young. Pure."""
    return min(LONGEST_WAIT, SHORTEST_WAIT * 2.0 ** min(max(0, young - 1), 20))


def describe_end(code: int) -> str:
    """Describe how a process ended. Pure."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
