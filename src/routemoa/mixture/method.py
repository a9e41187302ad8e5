"""The base of every method: RouteMoA, the baselines, and one model alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping

from routemoa.core.events import Event, Started
from routemoa.core.pool import Absence
from routemoa.core.protocols import CallRecorder, Client
from routemoa.core.trace import Answer, Skip
from routemoa.core.types import Limits, Query
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.run import Run, stream_events

__all__ = ["BaseMethod"]

ABSENT = {"key": "skipped: its key is not set", "weights": "skipped: its weights are not fetched"}
"""Without the name of a variable or a file: callers of the server may read it."""


class BaseMethod(ABC):
    """A method; a subclass writes `run`, the steps between Started and Done.

    Args:
        name: what traces, tables and the API call it.
        client: calls the models.
        limits: of a query that sets none itself.
        absent: members of the pool that cannot be asked; each trace notes them.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        absent: Mapping[str, Absence] | None = None,
    ) -> None:
        self.name = name
        self._absent = absent or {}
        self.client = client
        self.limits = limits

    @abstractmethod
    async def run(self, run: Run) -> None:
        """Answer `run.query`: call models through `run.client`, emit events up to Done. Raises RouteMoAError."""

    async def answer(self, query: Query) -> Answer:
        """Return the final text and its trace. Raises AllModelsFailed, BudgetExceeded."""
        run = Run(query, self._metered(query))
        await self._start(run)
        return run.answer

    def stream(self, query: Query, recorder: CallRecorder | None = None) -> AsyncGenerator[Event, None]:
        """Yield what happens, from Started to Done. Raises AllModelsFailed, BudgetExceeded."""
        return stream_events(self._start, query, self._metered(query, recorder))

    def started(self, query: Query) -> Started:
        """Return the first event."""
        return Started(query, self.name)

    async def _start(self, run: Run) -> None:
        run.emit(self.started(run.query))
        for name, absence in self._absent.items():
            run.skip(Skip(name, absence.kind, ABSENT[absence.kind]))
        await self.run(run)

    def _metered(self, query: Query, recorder: CallRecorder | None = None) -> MeteredClient:
        return MeteredClient(self.client, query.limits.with_defaults(self.limits), recorder)
