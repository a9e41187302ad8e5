"""The client of a job: every call is within the job's budget, written down before and after, and never paid twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from time import monotonic

from routemoa.clients.endpoints.memory import MemberMemory, memory_of
from routemoa.clients.protocol.wire import digest_request
from routemoa.clients.retry import AttemptClient, PatientClient, Retry
from routemoa.core.errors import BudgetExceeded, Unaffordable
from routemoa.core.protocols import CallRecorder, CallResult, CallStart, Client
from routemoa.core.types import Completion, ModelSpec, Request, Thinking
from routemoa.core.usage import add_optional
from routemoa.gateway.batches.jobs.journal import CallEnd, FinishedCalls, Journal
from routemoa.gateway.batches.jobs.pace import Pace
from routemoa.mixture.budget.run_client import RunCall, RunClient

__all__ = ["CURRENT_ROW", "JobClient", "RowRun"]

Pieces = AsyncGenerator[str | Thinking | Completion, None]
PATIENCE = 600.0
"""Seconds for all attempts of a call to a client that sets none."""


class RowRun:
    """One row while it is answered.

    Args:
        number: of the row.
        finished: answers of an earlier process, which are paid for.
        recorder: writes its calls to the ledger.
    """

    def __init__(self, number: int, finished: FinishedCalls, recorder: CallRecorder | None = None) -> None:
        self.number, self.recorder = number, recorder
        self._finished = finished
        self.exceeded: BudgetExceeded | None = None
        """Why a call was not made: the job's budget."""
        self.cost: float | None = 0.0
        """Dollars of its calls so far; None where that of any is unknown."""
        self.calls = 0

    def take(self, digest: str) -> Completion | None:
        """Return an answer to this request that is paid for, once."""
        answers = self._finished.get(digest)
        return answers.popleft() if answers else None


CURRENT_ROW: ContextVar[RowRun] = ContextVar("current_row")
"""The row that a call belongs to: set where a row is answered, inherited by every asyncio task of a method."""


class JobClient:
    """A `Client` for all rows of a job, which makes one attempt at a time.

    Args:
        client: makes the calls.
        run: the job's budget.
        journal: where calls are written down.
        pace: counts calls and tokens.
    """

    def __init__(self, client: Client, run: RunClient, journal: Journal, pace: Pace) -> None:
        self.client, self.run, self.journal, self._pace = client, run, journal, pace
        self.memory = memory_of(client)

    def stream(self, model: ModelSpec, request: Request) -> Pieces:
        """Yield what one attempt gives."""
        return self.attempt(model, request, monotonic() + PATIENCE)

    def new_retry(self, model: ModelSpec) -> Retry:
        """Return the attempts of a call: a job waits where no other model can be asked."""
        if isinstance(self.client, PatientClient):
            return self.client.new_patient_retry(model)
        return self.client.new_retry(model) if isinstance(self.client, AttemptClient) else Retry()

    async def attempt(self, model: ModelSpec, request: Request, deadline: float) -> Pieces:
        """Yield an answer that is paid for, else what one attempt gives.

        Raises:
            ModelError: the attempt failed.
            BudgetExceeded: it could pass the job's budget; it was not made.
        """
        row = CURRENT_ROW.get()
        digest = digest_request(model, request)
        if (known := row.take(digest)) is not None:
            yield known.text
            yield known
            return
        call = _JobCall(self, row)
        answer: Completion | None = None
        try:
            async with aclosing(call.attempt(model, request, deadline)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Completion):
                        answer = piece  # it is on disk before the method sees it
                    else:
                        yield piece
        except BudgetExceeded as e:
            row.exceeded = e
            raise
        finally:
            call.write(digest, answer)
        if answer is not None:
            self._pace.count_tokens((answer.usage.prompt_tokens or 0) + (answer.usage.completion_tokens or 0))
            yield answer

    def count_call(self) -> None:
        """Count one call towards the rate."""
        self._pace.count_call()

    async def close(self) -> None:
        """Do nothing: the job's owner closes the wrapped client."""


class _JobCall(RunCall):
    """One attempt: reserved, written down, made, settled. It is its own recorder, beside the ledger's."""

    def __init__(self, job: JobClient, row: RowRun) -> None:
        self._job, self._row = job, row
        super().__init__(job.run, self)
        self.memory, self.remembers = MemberMemory(), False  # the row's own client notes how the member is
        self._number: int | None = None
        self._ledger_number = 0
        self._result: CallResult | None = None

    @property
    def has_budget(self) -> bool:
        """Return whether the ledger holds the row to a budget."""
        return self._row.recorder is not None and self._row.recorder.has_budget

    def attempt(self, model: ModelSpec, request: Request, deadline: float) -> Pieces:
        """Yield what the attempt gives. Raises ModelError, Unaffordable."""
        client = self._job.client
        make: Callable[[ModelSpec, Request], Pieces] = client.stream
        if isinstance(client, AttemptClient):
            attempt = client.attempt
            make = lambda m, r: attempt(m, r, deadline)  # noqa: E731
        return self._attempt_within_budget(model, request, make)

    async def start(self, call: CallStart) -> int:
        """Write that the call is about to be made. Raises BudgetExceeded, StoreError."""
        if self._row.recorder is not None:
            self._ledger_number = await self._row.recorder.start(call)
        self._number = self._job.journal.start(self._row.number, call.max_cost)
        self._job.count_call()
        return self._number

    def finish(self, number: int, result: CallResult) -> None:
        """Note how the call ended; `write` writes it, together with the answer."""
        self._result = result
        if self._row.recorder is not None:
            self._row.recorder.finish(self._ledger_number, result)

    def write(self, digest: str, answer: Completion | None) -> None:
        """Write how the call ended, if it was made."""
        if self._number is None:
            return
        cost = None if self._result is None else self._result.cost
        request = None if answer is None else digest
        self._row.cost, self._row.calls = add_optional(self._row.cost, cost), self._row.calls + 1
        self._job.journal.end(self._number, CallEnd(self._row.number, cost, self.dollars, request, answer))

    async def _attempt_within_budget(
        self, model: ModelSpec, request: Request, make: Callable[[ModelSpec, Request], Pieces]
    ) -> Pieces:
        try:
            async with aclosing(self._attempt(model, request, make)) as pieces:
                async for piece in pieces:
                    yield piece
        except Unaffordable as e:  # the end of the job, not a model that fails
            raise e.why from e
