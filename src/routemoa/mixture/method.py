"""The base of every method: RouteMoA, the baselines, and one model alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping

from routemoa.core.errors import QueryError
from routemoa.core.events import Event, Started
from routemoa.core.pool_file.pool import Absence
from routemoa.core.protocols import CallRecorder, Client, EventObserver
from routemoa.core.trace import Answer, Skip
from routemoa.core.types import Limits, ModelSpec, PreferenceName, Query
from routemoa.mixture.budget.metering import MeteredClient
from routemoa.mixture.choices import find_choices
from routemoa.mixture.run import Run, stream_events

__all__ = ["BaseMethod", "check_preference"]

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

    takes_tools = False
    """Whether it answers requests that offer tools."""
    takes_media = False
    """Whether it answers requests with images, audio or files."""
    takes_choices = False
    """Whether it answers requests for several answers."""

    @property
    def takes_preference(self) -> bool:
        """Return whether a request may choose the trade-off of quality, cost and time."""
        return False

    def sampled_model(self, run: Run) -> ModelSpec | None:
        """Return the model of which further answers are sampled; None where the method gives one answer only."""
        return None

    id_key = b""
    """What the ids of its tool calls are signed with."""

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
        if run.query.tools is not None and not self.takes_tools:
            raise QueryError(f"'tools': {self.name} does not support this; name routemoa or one model instead", "tools")
        if run.query.media and not self.takes_media:
            kinds = " and ".join(sorted(run.query.media))
            raise QueryError(f"'messages': {self.name} takes text only, no {kinds}; name routemoa instead", "messages")
        if run.query.choices > 1 and not self.takes_choices:
            raise QueryError(f"'n': {self.name} gives one answer; name routemoa or one model instead", "n")
        if not self.takes_preference:
            check_preference(run.query.prefer, self.name)
        run.id_key = self.id_key
        recorder: object = run.client.recorder
        if isinstance(recorder, EventObserver):
            run.observe(recorder.observe)
        run.emit(self.started(run.query))
        for name, absence in self._absent.items():
            run.skip(Skip(name, absence.kind, ABSENT[absence.kind]))
        await self.run(run)
        if run.query.choices > 1:
            sampled = self.sampled_model(run)
            run.end(() if sampled is None else await find_choices(run, sampled))

    def _metered(self, query: Query, recorder: CallRecorder | None = None) -> MeteredClient:
        client = MeteredClient(self.client, query.limits.with_defaults(self.limits), recorder)
        client.conversation = query.messages
        return client


def check_preference(preference: PreferenceName | None, name: str) -> None:
    """Check that a request does not choose a trade-off where there is none to choose. Raises QueryError."""
    if preference is not None:
        why = 'it belongs to routemoa with fusion = "adaptive" and no tuned policy; leave it out'
        raise QueryError(f"'routemoa.prefer': {name} has no trade-off to choose: {why}", "routemoa.prefer")
