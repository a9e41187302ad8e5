"""Answers one row: reads its request, asks the method that it names, and returns the result, whatever happens."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing

from msgspec.structs import replace

from routemoa.core.errors import RouteMoAError
from routemoa.core.pool_file.pool import METHODS, Pool
from routemoa.core.protocols import CallRecorder, Client, Method
from routemoa.datasets.input_rows import InputRow
from routemoa.datasets.jsonl import RecordsError
from routemoa.gateway.batches.jobs.job import repeated_id
from routemoa.gateway.batches.jobs.job_client import CURRENT_ROW, JobClient, RowRun
from routemoa.gateway.batches.jobs.results import RowResult
from routemoa.gateway.batches.jobs.row_request import RowError, RowHead, RowRequest, RowRules, read_head, read_request
from routemoa.gateway.chat_api.responses import ChatCompletion
from routemoa.gateway.errors import ErrorResponse
from routemoa.gateway.failures import error_response
from routemoa.mixture.baselines import Single
from routemoa.mixture.method_registry import build_method

__all__ = ["RowAnswerer", "list_names", "make_failure"]

ATTEMPTS = 3
"""Of a row whose endpoints fail in a way that passes."""
PASSING = {429, 502, 503, 504}
"""HTTP statuses of such failures."""
WAIT = 2.0
"""Seconds before a row is tried again, doubled each time, where its endpoints ask for nothing else."""
MAX_WAIT = 60.0


class RowAnswerer:
    """Answers the rows of a job.

    Args:
        pool: its models and methods may be named.
        client: makes the calls of the job.
        rules: what rows may ask.
        new_recorder: returns what writes a row's calls to the ledger; its argument is what answers.
        is_repeated: tells whether a row, by its number, repeats an id.
        keeps_traces: whether results hold traces.
        for_operator: results are for the owner of the pool, who may read what endpoints said.
    """

    def __init__(
        self,
        pool: Pool,
        client: JobClient,
        rules: RowRules,
        *,
        new_recorder: Callable[[str], CallRecorder | None] = lambda _: None,
        is_repeated: Callable[[int], bool] = lambda _: False,
        keeps_traces: bool = True,
        for_operator: bool = False,
    ) -> None:
        self._pool, self._client, self._rules = pool, client, rules
        self._new_recorder, self._is_repeated, self._keeps_traces = new_recorder, is_repeated, keeps_traces
        self._for_operator = for_operator
        self._methods: dict[str, Method] = {}

    async def answer(self, row: InputRow) -> RowResult:
        """Return the result of a row.

        Raises:
            BudgetExceeded: of the job; the row has no result.
        """
        head = read_head(row)
        try:
            if self._is_repeated(row.number):
                raise RowError(ErrorResponse(400, repeated_id(head), "custom_id", "duplicate_id"))
            request = read_request(row, self._rules)
        except RowError as e:
            return make_failure(row, head, e.response, 0 if row.fault else e.response.status)
        recorder = self._new_recorder(request.name)
        for attempt in range(1, ATTEMPTS + 1):
            run = RowRun(row.number, self._client.journal.take_finished(row.number), recorder)
            result, response = await self._try(row, request, run)
            if run.exceeded is not None:
                raise run.exceeded
            if response is None or response.status not in PASSING or attempt == ATTEMPTS:
                return result
            wait = WAIT * 2**attempt * random.random()  # noqa: S311  (so that rows do not return as one)
            await asyncio.sleep(min(wait if response.retry_after is None else response.retry_after, MAX_WAIT))
        raise AssertionError("unreachable")

    async def _try(self, row: InputRow, request: RowRequest, run: RowRun) -> tuple[RowResult, ErrorResponse | None]:
        """Return the result of one attempt, and the error that a server would answer with, where it failed."""
        CURRENT_ROW.set(run)
        try:
            method = self._find_method(request.name)
            completion = ChatCompletion(method.name, "events", self._pool.fingerprint, request.request.chat.ignored)
            async with aclosing(method.stream(request.query)) as events:
                async for event in events:
                    completion.add(event)
            if not completion.is_complete:
                raise RuntimeError("the method ended without Done")
        except RecordsError:  # the job's own files
            raise
        except Exception as e:  # `error_response` maps each; it logs those that are not expected
            response = error_response(e)
            if self._for_operator and isinstance(e, RouteMoAError):
                response = replace(response, message=str(e))
            failed = make_failure(row, request.head, response, response.status)
            return replace(failed, model=request.name, cost=run.cost, calls=run.calls), response
        return self._succeeded(row, request, completion), None

    def _succeeded(self, row: InputRow, request: RowRequest, completion: ChatCompletion) -> RowResult:
        answer = completion.answer
        trace, head = answer.trace, request.head
        return RowResult(
            row.number,
            head.id,
            head.task,
            request.name,
            answer.text,
            trace.cost,
            trace.latency,
            trace.calls,
            trace.stop_reason,
            trace=trace if self._keeps_traces else None,
            response=request.request.to_body(completion) if head.is_request else None,
        )

    def _find_method(self, name: str) -> Method:
        if name not in self._methods:
            is_member = name in self._pool and name not in METHODS
            client: Client = self._client
            self._methods[name] = (
                Single(self._pool[name], client, name, limits=self._pool.limits)
                if is_member
                else build_method(self._pool, name, client)
            )
        return self._methods[name]


def list_names(pool: Pool) -> list[str]:
    """Return what a row may name: the methods and the models of a pool."""
    return [*METHODS, *(m.name for m in pool if m.name not in METHODS)]


def make_failure(row: InputRow, head: RowHead, response: ErrorResponse, status: int) -> RowResult:
    """Return the result of a row that failed; `status` is the HTTP status of its response, 0 where it is no request."""
    error = response.body["error"]
    return RowResult(row.number, head.id, head.task, error=error, status=status, place=row.place)
