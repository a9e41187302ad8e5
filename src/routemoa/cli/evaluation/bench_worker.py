"""The keeper and the worker of `routemoa bench --engine ray`: every finished call is in the folder of the command."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from routemoa.cli.evaluation.live_session import load_local_models
from routemoa.cli.ray_workers import BudgetKeeper, RunWorker, WorkerSettings
from routemoa.core.types import ModelSpec
from routemoa.datasets.jsonl import RecordsError
from routemoa.datasets.questions import Question
from routemoa.evaluation.live.call_cache import CallCache
from routemoa.evaluation.live.call_file import CachedCall, CacheKey, CallFile, lost_call
from routemoa.evaluation.live.methods import build_live_methods
from routemoa.evaluation.live.runner import AnsweredUnit, LiveRun, WorkUnit, answer_question
from routemoa.ledger import Store
from routemoa.mixture.budget.leased_run import Leases

__all__ = ["BenchSettings", "BenchWorker", "CallKeeper", "RunSpending"]

LOCK_SECONDS = 30.0
"""That the keeper of a killed command may take to let go of calls.jsonl."""


class RunSpending(NamedTuple):
    """What a run has spent."""

    spent: float
    """Dollars."""
    unpriced: int
    """Calls of unknown cost."""


class CallKeeper(BudgetKeeper):
    """Holds the budget of a run and its calls.jsonl, on the machine of the command.

    Args:
        folder: of the run.
        limit: dollars for the whole run; None is no limit.
    """

    def __init__(self, folder: str, limit: float | None) -> None:
        super().__init__(limit)
        self._folder = folder
        self._file: CallFile
        self._making: dict[CacheKey, tuple[str, asyncio.Event]] = {}
        """A call under way -> its worker, and what is set at its end."""

    async def open(self) -> RunSpending:
        """Read what the folder holds. Raises RecordsError."""
        until = monotonic() + LOCK_SECONDS
        while True:
            try:
                self._file = CallFile(self._folder)
                break
            except RecordsError:
                if monotonic() > until:
                    raise
            await asyncio.sleep(0.5)
        self.leases = Leases(self.leases.limit, self._file.spent)
        return await self.sum_up()

    async def sum_up(self) -> RunSpending:
        """Return what the run has spent, earlier parts included."""
        return RunSpending(self._file.spent, self._file.unpriced)

    async def find(self, worker: str, key: CacheKey) -> CachedCall | None:
        """Return a finished call; None where the worker is to make it. Wait while another one makes it."""
        while (found := await self._file.find(key)) is None and key in self._making:
            await self._making[key][1].wait()
        if found is None:
            self._making[key] = worker, asyncio.Event()
        return found

    async def release(self, key: CacheKey) -> None:
        """Note that a call is not under way any more."""
        if key in self._making:
            self._making.pop(key)[1].set()

    async def write(self, worker: str, call: CachedCall) -> None:
        """Write a finished call."""
        self._file.write(call)
        self.leases.record(worker, call.charged)
        await self.release(call.key)

    def forfeit(self, worker: str) -> float:
        """Count what a lost worker may have spent, in the file as well."""
        for key in [key for key, (maker, _) in self._making.items() if maker == worker]:
            self._making.pop(key)[1].set()
        if lost := super().forfeit(worker):
            self._file.write(lost_call(lost))
        return 0.0

    async def close(self) -> None:
        """Close the file."""
        self._file.close()


WAIT = 0.2
"""Seconds that a call which another worker makes may take, before dollars are given back."""


class _RemoteCalls:
    """A `CallStore` at the keeper."""

    unpriced = 0

    def __init__(self, keeper: Any, worker: str, give_back: Callable[[], Awaitable[None]]) -> None:
        self._keeper, self._worker, self._give_back = keeper, worker, give_back
        self._making: set[CacheKey] = set()
        self._writing: list[Any] = []

    async def find(self, key: CacheKey) -> CachedCall | None:
        """Return a finished call that need not be made again."""
        finding = asyncio.ensure_future(self._keeper.find.remote(self._worker, key))
        if not (await asyncio.wait({finding}, timeout=WAIT))[0]:
            await self._give_back()  # another worker makes that call, and may need the dollars that this one keeps
        found: CachedCall | None = await finding
        if found is None:
            self._making.add(key)
        return found

    def release(self, key: CacheKey) -> None:
        """Note that a call was not made after all."""
        if key in self._making:
            self._making.remove(key)
            self._keeper.release.remote(key)

    def write(self, call: CachedCall) -> None:
        """Add a finished call."""
        self._making.discard(call.key)
        self._writing.append(self._keeper.write.remote(self._worker, call))

    async def flush(self) -> None:
        """Wait until the keeper has written what was added. Raises RecordsError."""
        writing, self._writing = self._writing, []
        await asyncio.gather(*writing)

    def close(self) -> None:
        """Do nothing: the keeper closes the file."""


class BenchSettings(WorkerSettings, frozen=True):
    """What all workers of a benchmark share."""

    methods: tuple[str, ...]
    questions: Sequence[Question]
    seed: int | None
    judge: ModelSpec | None


class BenchWorker(RunWorker[WorkUnit, AnsweredUnit]):
    """Runs one method on one question."""

    settings: BenchSettings
    _calls: _RemoteCalls | None = None

    async def start(self, lost: float, store: Store | None) -> None:
        """Load the local models and build the methods."""
        pool, settings = self.settings.pool, self.settings
        await load_local_models(pool, self.client, lambda _: None)
        calls = self._calls = _RemoteCalls(self.keeper, self.name, self.give_back)
        cache = CallCache(self.run, calls, store, purpose=settings.purpose)
        methods = await build_live_methods(settings.methods, pool, cache, settings.questions)
        self._answer = partial(answer_question, live=LiveRun(methods, cache, settings.seed, settings.judge))

    async def answer(self, job: WorkUnit) -> AnsweredUnit:
        """Return the outcome, once its calls are in the folder. Raises BudgetExceeded, RecordsError."""
        try:
            return await self._answer(job)
        finally:
            if self._calls is not None:
                await self._calls.flush()

    async def close(self) -> None:
        """Cancel what is under way, and write what it cost."""
        await super().close()
        if self._calls is not None:
            await self._calls.flush()
