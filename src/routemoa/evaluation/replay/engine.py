"""Where the parts of a replay are worked on: here, one after the other, or on a Ray cluster, with the same results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

__all__ = ["LocalEngine", "RayEngine", "ReplayEngine"]

Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")


class ReplayEngine(Protocol):
    """Works on the parts of a replay."""

    def map(self, work: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job]) -> Sequence[Result]:
        """Return `work(shared, job)` for each job, in their order."""
        ...


class LocalEngine:
    """Works in this process."""

    def map(self, work: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job]) -> Sequence[Result]:
        """Return `work(shared, job)` for each job, in their order."""
        return [work(shared, job) for job in jobs]


class RayEngine:
    """Works on a cluster: each job is a task, which Ray repeats where its worker is lost.

    Args:
        ray: the module, connected.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def map(self, work: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job]) -> Sequence[Result]:
        """Return `work(shared, job)` for each job, in their order."""
        if len(jobs) < 2:
            return LocalEngine().map(work, shared, jobs)
        task = self._ray.remote(num_cpus=1, max_retries=-1)(work)
        place = self._ray.put(shared)
        results: list[Result] = self._ray.get([task.remote(place, job) for job in jobs])
        return results
