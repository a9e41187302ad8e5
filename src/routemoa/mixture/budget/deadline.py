"""The time that a request may take (`max_seconds`)."""

from __future__ import annotations

from math import inf
from time import monotonic, perf_counter

from routemoa.core.errors import ModelTimeout
from routemoa.core.types import ModelSpec

__all__ = ["Deadline"]


class Deadline:
    """The time limit of a request, counted from its start; `limit` in seconds, None is no limit."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.started = perf_counter()
        self.at = inf if limit is None else monotonic() + limit
        """On the clock of `monotonic()`."""

    @property
    def seconds_passed(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self.started

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the limit, never below 0; None is no limit."""
        return None if self.limit is None else max(0.0, self.at - monotonic())

    def timeout(self, model: ModelSpec) -> ModelTimeout:
        """Return the error of a call for which the time was over."""
        return ModelTimeout(model.name, f"the limit of {self.limit:g} s was reached (max_seconds)", by_limit=True)
