"""The worker of `routemoa collect --engine ray`: makes one call and grades its answer."""

from __future__ import annotations

from msgspec import Struct

from routemoa.cli.ray_workers import RunWorker
from routemoa.core.errors import BudgetExceeded
from routemoa.datasets.collection import CollectedAnswer
from routemoa.datasets.collector import CollectCall, ask_model
from routemoa.ledger import Store

__all__ = ["AskedCall", "CollectWorker", "LostDollars"]

LostDollars = tuple[float, ...]
"""Dollars that count for calls of unknown cost."""


class AskedCall(Struct, frozen=True):
    """What came of a call."""

    worker: str
    answer: CollectedAnswer | None
    """None where the budget is reached."""
    charged: float = 0.0
    """Dollars that count for it."""
    lost: LostDollars = ()
    """Of other calls as well, such as those of a worker that was lost."""
    exceeded: str = ""
    """Why there is no answer."""


class CollectWorker(RunWorker[CollectCall, AskedCall]):
    """Asks one model one question."""

    _lost: LostDollars = ()

    async def start(self, lost: float, store: Store | None) -> None:
        """Record the calls in the ledger, and their unknown costs for the command."""
        purpose = self.settings.purpose
        self.run.on_unknown_cost = self._lose
        self.run.new_recorder = lambda model: (
            None if store is None else store.recorder(None, f"single:{model.name}", purpose)
        )
        if lost:
            self._lose(lost)

    async def answer(self, job: CollectCall) -> AskedCall:
        """Return the graded answer, or why there is none."""
        client = self.run.open_call(job.model)
        try:
            answer = await ask_model(job, client)
        except BudgetExceeded as e:
            return AskedCall(self.name, None, client.dollars, self._take_lost(), str(e))
        return AskedCall(self.name, answer, client.dollars, self._take_lost())

    async def close(self) -> LostDollars:
        """Cancel what is under way; return the dollars that the command does not know of."""
        await super().close()
        return self._take_lost()

    def _lose(self, dollars: float) -> None:
        self._lost = (*self._lost, dollars)

    def _take_lost(self) -> LostDollars:
        lost, self._lost = self._lost, ()
        return lost
