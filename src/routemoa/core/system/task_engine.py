"""Where independent parts of a computation are worked on: here, one after the other, or elsewhere at the same time.

The results are the same. `routemoa.cli.ray_cluster` has the engine of a Ray cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

__all__ = ["LocalEngine", "TaskEngine"]

Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")


class TaskEngine(Protocol):
    """Works on independent jobs."""

    def map(self, work: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job]) -> Iterator[Result]:
        """Yield `work(shared, job)` for each job, in their order; `work` is a function of a module."""
        ...


class LocalEngine:
    """Works in this process, on a job once its result is asked for."""

    def map(self, work: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job]) -> Iterator[Result]:
        """Yield `work(shared, job)` for each job, in their order."""
        return (work(shared, job) for job in jobs)
