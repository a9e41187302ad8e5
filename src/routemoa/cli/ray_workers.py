"""Live runs on a Ray cluster: workers that make the calls, and one keeper of what they may spend.

The command itself hands out the work and writes the results, as it does without Ray. A worker that is lost is started
again by Ray, with its jobs; what was leased to the lost one counts as spent. The keeper is a named actor: where it is
lost, no dollar is granted any more and the run ends, to be continued with the same command.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from routemoa.cli.ray_cluster import reraise
from routemoa.clients.connect import connect
from routemoa.clients.http import HttpClient
from routemoa.core.pool_file.pool import Pool
from routemoa.ledger import Store, StoreError, default_path
from routemoa.mixture.budget.leased_run import Grant, LeasedRun, Leases
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["BudgetKeeper", "RayWorkers", "RunWorker", "WorkerSettings", "count_workers"]

JOBS_PER_WORKER = 1000
"""That a worker may be given at a time; how many it is given, the command decides."""
CLOSE_SECONDS = 10.0
"""That workers may take to cancel their calls and to say what these cost."""

Job = TypeVar("Job")
Result = TypeVar("Result")


class BudgetKeeper:
    """Holds the budget of a run.

    Args:
        limit: dollars for the whole run; None is no limit.
        spent: dollars of its earlier parts.
    """

    def __init__(self, limit: float | None = None, spent: float = 0.0) -> None:
        self.leases = Leases(limit, spent)
        self._slots: dict[int, str] = {}

    async def join(self, slot: int, worker: str) -> float:
        """Take a worker in the place of the one before it; return the dollars of that one which nobody wrote down."""
        lost = self._slots.get(slot)
        self._slots[slot] = worker
        return 0.0 if lost is None or lost == worker else self.forfeit(lost)

    def forfeit(self, worker: str) -> float:
        """Count the lease of a worker that is lost; return the dollars that nobody wrote down."""
        return self.leases.forfeit(worker)

    async def lease(self, worker: str, needed: float, returned: float, spent: float) -> Grant:
        """Take back what a worker does not need; grant dollars for several calls that cost `needed` each at most."""
        self.leases.give_back(worker, returned, spent=spent)
        return self.leases.grant(worker, needed)

    async def give_back(self, worker: str, dollars: float, spent: float) -> None:
        """Take back what a worker does not need now."""
        self.leases.give_back(worker, dollars, spent=spent)

    async def record(self, worker: str, dollars: float) -> None:
        """Note that the command has written down what a worker has spent."""
        self.leases.record(worker, dollars)

    async def close(self) -> None:
        """Release what is held: nothing but memory."""


class WorkerSettings(Struct, frozen=True):
    """What all workers of a run share."""

    pool: Pool
    max_cost: float | None
    """Dollars for the whole run."""
    purpose: str
    """Of the run, in the ledger."""


class RunWorker(Generic[Job, Result]):
    """Works on jobs that call models, many at a time, with the keeper's dollars. Subclasses say what a job is.

    Args:
        slot: number of the worker.
        keeper: the name of the keeper: a handle could not be used again where Ray starts this worker again.
        settings: of all workers.
    """

    def __init__(self, slot: int, keeper: str, settings: WorkerSettings) -> None:
        import ray

        self.keeper: Any = ray.get_actor(keeper)
        self.name = secrets.token_hex(8)
        self.client: HttpClient
        self.run: RunClient
        self.settings = settings
        self._slot = slot
        self._store: Store | None = None
        self._starting = asyncio.Lock()
        self._is_started = False
        self._tasks: set[asyncio.Task[Result]] = set()

    async def start(self, lost: float, store: Store | None) -> None:
        """Prepare for the first job.

        Args:
            lost: dollars of the worker before this one that nobody wrote down.
            store: the ledger of this machine, where it can be written.
        """

    async def answer(self, job: Job) -> Result:
        """Return the result of a job."""
        raise NotImplementedError

    async def work(self, job: Job) -> Result:
        """Return the result of a job; give back the spare dollars where no other one is under way."""
        async with self._starting:
            if not self._is_started:
                await self._connect()
                self._is_started = True
        task = asyncio.create_task(self.answer(job))
        self._tasks.add(task)
        try:
            return await task
        finally:
            self._tasks.discard(task)
            if not self._tasks:
                await self.give_back()

    async def close(self) -> Any:
        """Cancel what is under way, so that its dollars are known, and close the connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._is_started:
            await self.run.close()
        if self._store is not None:
            await self._store.aclose()

    async def _connect(self) -> None:
        lost = await self.keeper.join.remote(self._slot, self.name)
        self.client = connect(self.settings.pool)
        is_limited = self.settings.max_cost is not None
        self.run = LeasedRun(self.client, self._lease) if is_limited else RunClient(self.client)
        try:
            self._store = Store(default_path())
        except StoreError:
            self._store = None
        await self.start(lost, self._store)

    async def _lease(self, needed: float, returned: float) -> Grant:
        grant: Grant = await self.keeper.lease.remote(self.name, needed, returned, self.run.spent)
        return grant

    async def give_back(self) -> None:
        """Give back the dollars that no call under way needs."""
        if isinstance(self.run, LeasedRun):
            await self.keeper.give_back.remote(self.name, await self.run.give_back(), self.run.spent)


class NewWorker(Protocol):
    """The constructor of a `RunWorker`."""

    def __call__(self, slot: int, keeper: str, settings: Any) -> RunWorker[Any, Any]:
        """Return a worker."""
        ...


class RayWorkers:
    """The keeper and the workers of one run; close it.

    Args:
        ray: the module, connected.
        keeper: the class of the keeper, with its arguments.
        kind: the class of the workers.
        count: how many.
        settings: of the workers.
    """

    def __init__(
        self, ray: Any, keeper: tuple[type[BudgetKeeper], Sequence[Any]], kind: NewWorker, count: int, settings: Any
    ) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray = ray
        name = f"routemoa-run-{secrets.token_hex(8)}"
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_concurrency": JOBS_PER_WORKER, "scheduling_strategy": here, "name": name}
        make_keeper, arguments = keeper
        self.keeper = ray.remote(**options)(make_keeper).remote(*arguments)
        again = {"max_restarts": -1, "max_task_retries": -1, "max_concurrency": JOBS_PER_WORKER}
        make = ray.remote(num_cpus=1, scheduling_strategy="SPREAD", **again)(kind)
        self._workers = [make.remote(slot, name, settings) for slot in range(count)]
        self._busy: Counter[int] = Counter()

    async def work(self, job: Any) -> Any:
        """Return the result of a job, by the worker that has the fewest. Raises what the worker raised."""
        slot = min(range(len(self._workers)), key=self._busy.__getitem__)
        self._busy[slot] += 1
        try:
            with reraise(self._ray):
                return await self._workers[slot].work.remote(job)
        finally:
            self._busy[slot] -= 1

    async def ask_keeper(self, method: str, *arguments: Any) -> Any:
        """Return what a method of the keeper returns. Raises what it raised."""
        with reraise(self._ray):
            return await getattr(self.keeper, method).remote(*arguments)

    async def close(self) -> list[Any]:
        """Stop the workers, then the keeper; return what the workers' `close` returned, where they were there."""
        closing = [asyncio.ensure_future(worker.close.remote()) for worker in self._workers]
        await asyncio.wait(closing, timeout=CLOSE_SECONDS)
        ended = [each for each in closing if each.done() and each.exception() is None]
        await asyncio.wait([asyncio.ensure_future(self.keeper.close.remote())], timeout=CLOSE_SECONDS)
        for actor in (*self._workers, self.keeper):
            self._ray.kill(actor)
        return [each.result() for each in ended]


def count_workers(ray: Any, pool: Pool, most: int) -> int:
    """Return how many workers a run has: one for each CPU, or for each node where models run on it, `most` at most."""
    if any(model.local for model in pool):
        there = len([node for node in ray.nodes() if node["Alive"]])
    else:
        there = int(ray.cluster_resources().get("CPU", 1))
    return max(1, min(there, most))
