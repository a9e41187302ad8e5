"""Runs a job in this process: opens its files, connects its budget, its journal and its methods, answers what is left.

The command and the server's `/v1/batches` run the same code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import CallRecorder, Client
from routemoa.core.types import Limits
from routemoa.datasets.input_rows import InputFiles, InputRow
from routemoa.gateway.batches.jobs.answering import RowAnswerer
from routemoa.gateway.batches.jobs.job import pending_rows
from routemoa.gateway.batches.jobs.job_client import JobClient
from routemoa.gateway.batches.jobs.journal import CallJournal
from routemoa.gateway.batches.jobs.local_engine import RowQueue, answer_rows
from routemoa.gateway.batches.jobs.pace import Pace
from routemoa.gateway.batches.jobs.results import ResultStore, RowResult
from routemoa.gateway.batches.jobs.row_request import RowRules
from routemoa.mixture.budget.account import Account
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["JobFiles", "JobOptions", "NewRecorder", "open_job_files", "run_job"]

NewRecorder = Callable[[str], CallRecorder | None]


class JobOptions(Struct, frozen=True):
    """How a job runs."""

    rules: RowRules
    concurrency: int
    """Rows at a time."""
    max_cost: float | None = None
    """Dollars for the whole job, its earlier parts included."""
    calls_per_minute: float | None = None
    tokens_per_minute: float | None = None
    keeps_traces: bool = True
    for_operator: bool = False
    """Results are for the owner of the pool, who may read what endpoints said."""


class JobFiles(Struct, frozen=True):
    """The open files of a job's folder."""

    results: ResultStore
    journal: CallJournal

    def keep(self, result: RowResult) -> None:
        """Write a result; then the row's calls are not needed any more."""
        self.results.write(result)
        self.journal.finish_row(result.row)


@contextmanager
def open_job_files(folder: Path) -> Iterator[JobFiles]:
    """Open what a job's folder holds; one process at a time. Raises RecordsError."""
    results = ResultStore(folder, "jsonl")
    try:
        journal = CallJournal(folder, results.has)
        try:
            yield JobFiles(results, journal)
        finally:
            journal.close()
    finally:
        results.close()


async def run_job(
    pool: Pool,
    client: Client,
    inputs: InputFiles,
    files: JobFiles,
    options: JobOptions,
    *,
    repeated: Collection[int] = (),
    new_recorder: NewRecorder = lambda _: None,
    on_result: Callable[[RowResult], None] = lambda _: None,
    wrap: Callable[[RowAnswerer], Callable[[InputRow], Awaitable[RowResult]]] = lambda answerer: answerer.answer,
    on_queue: Callable[[RowQueue], None] = lambda _: None,
) -> None:
    """Answer the rows of a job that have no result.

    Args:
        pool: what rows may ask.
        client: of the pool.
        inputs: what to answer.
        files: of the job's folder.
        options: how it runs.
        repeated: numbers of rows that repeat an id.
        new_recorder: returns what writes a row's calls to the ledger; its argument is what answers.
        on_result: called with each result once it is written.
        wrap: what answers a row, around the answerer.
        on_queue: called with the queue, whose `stop` ends the job early.

    Raises:
        BudgetExceeded: the job's budget is reached.
        RecordsError: a result cannot be written.
    """
    pace = Pace(options.calls_per_minute, options.tokens_per_minute)
    run = _limit_budget(client, options, spent=files.journal.spending.most)
    answerer = RowAnswerer(
        pool,
        JobClient(client, run, files.journal, pace),
        options.rules,
        new_recorder=new_recorder,
        is_repeated=lambda number: number in repeated,
        keeps_traces=options.keeps_traces,
        for_operator=options.for_operator,
    )

    def keep(result: RowResult) -> None:
        files.keep(result)
        on_result(result)

    queue = RowQueue(pending_rows(inputs, files.results.has))
    on_queue(queue)
    await answer_rows(queue, wrap(answerer), keep, concurrency=options.concurrency, before_row=pace.wait)


def _limit_budget(client: Client, options: JobOptions, spent: float) -> RunClient:
    """Return the client within what is left of the job's budget, after what its earlier parts spent."""
    run = RunClient(client, options.max_cost, spent=spent)
    if options.rules.has_budget:
        run.account = Account(Limits(max_cost=options.max_cost), bounded=True)
        run.account.spent = spent
    return run
