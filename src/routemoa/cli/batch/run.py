"""Run a batch from the command line: its input, its estimate, its progress and its report."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from routemoa.cli.batch.report import BatchReport, describe_progress, estimate_rows
from routemoa.cli.evaluation.live_session import load_local_models
from routemoa.cli.options import load_pool, say
from routemoa.cli.terminal.confirm import require_prices
from routemoa.cli.terminal.files import check_writable_folder
from routemoa.cli.terminal.progress import StepProgress
from routemoa.cli.terminal.session import open_ledger
from routemoa.clients.connect import connect
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import suggest_name
from routemoa.core.pool_file.pool import Pool
from routemoa.core.system.garbage_collection import spare_garbage_collection
from routemoa.datasets.collector import Estimate
from routemoa.datasets.input_files import list_input_files, show_input
from routemoa.datasets.input_rows import InputFiles
from routemoa.datasets.table_files import require_parquet
from routemoa.gateway.batches.jobs.answering import list_names
from routemoa.gateway.batches.jobs.input_check import InputCheck
from routemoa.gateway.batches.jobs.job import InputSummary, JobSettings, open_job_folder, summarize_input
from routemoa.gateway.batches.jobs.journal import LOCK_SECONDS, CallJournal, Spending, open_journal
from routemoa.gateway.batches.jobs.results import FAILED, RESULTS, ResultFormat, ResultStore, RowResult
from routemoa.gateway.batches.jobs.row_request import RowRules
from routemoa.gateway.batches.jobs.run_job import JobFiles, JobOptions, run_job
from routemoa.gateway.batches.openai_files import ERRORS, OUTPUT, write_openai_files

__all__ = ["Batch", "BatchOptions", "open_batch"]

REMOTE_CONCURRENCY = 16
"""Rows at a time, where no model of the pool runs on this machine."""
WARN_AFTER = 20
"""Failed rows in a row."""
REASON_LENGTH = 200
MAX_DISTINCT = 1000
"""Reasons of failures that are counted apart."""


@dataclass(frozen=True)
class BatchOptions:
    """The arguments and options of `routemoa batch`."""

    source: str
    pool_file: str | None
    out: str
    form: ResultFormat
    method: str | None
    concurrency: int | None
    calls_per_minute: float | None
    tokens_per_minute: float | None
    max_cost: float | None
    retry_failed: bool
    no_traces: bool
    engine: Literal["local", "ray"]
    address: str | None
    yes: bool
    as_json: bool


class Batch:
    """A job whose options are checked and whose files are open."""

    def __init__(
        self, options: BatchOptions, pool: Pool, inputs: InputFiles, summary: InputSummary, results: ResultStore
    ) -> None:
        self._options, self._pool, self._inputs, self._summary = options, pool, inputs, summary
        self._folder, self._results = Path(options.out), results
        self._spending = Spending()
        self.report = BatchReport(summary.rows)
        self._started = monotonic()
        self._failures_in_a_row = 0
        self.journal: CallJournal | None = None
        """Of the local engine."""

    @property
    def remaining(self) -> int:
        """Return how many rows have no result."""
        return self.report.rows - self.report.finished

    @property
    def estimate(self) -> Estimate:
        """Return the most that the remaining rows can take."""
        models = {self._options.method: self._summary.rows} if self._options.method else self._summary.models
        return estimate_rows(self._pool, self._summary, models, self.remaining)

    def update(self, spending: Spending | None = None) -> None:
        """Take over the figures of the files; `spending` is what Ray's keeper says."""
        self._spending = spending or self._spending
        spent = self._spending if self.journal is None else self.journal.spending
        report = self.report
        report.answered, report.failed = self._results.answered, self._results.failed
        report.calls, report.cost = spent.calls, spent.cost
        report.uncertain, report.unpriced = spent.uncertain, spent.unpriced

    def run(self) -> None:
        """Answer what is left, with a progress bar. Raises BudgetExceeded, RecordsError, ConfigError."""
        with _without_failures_in_log(), StepProgress(self.remaining, "answering", "rows") as progress:
            if self._options.engine == "ray":
                from routemoa.cli.ray_cluster import connect_ray

                with connect_ray(self._options.address) as ray:
                    asyncio.run(self._run_on_ray(ray, progress))
            else:
                asyncio.run(self._run_here(progress))

    async def _run_here(self, progress: StepProgress) -> None:
        pool = self._pool
        client = connect(pool)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(client.close)
            if (store := open_ledger()) is not None:
                stack.push_async_callback(store.aclose)
            await load_local_models(pool, client, progress.print_line)
            spare_garbage_collection()
            self._drop_failures()
            before = self.report.cost

            def show(result: RowResult) -> None:
                self.update()
                self._count_failure(result, progress)
                self._advance(progress, before)

            assert self.journal is not None  # noqa: S101  (of the local engine)
            await run_job(
                pool,
                client,
                self._inputs,
                JobFiles(self._results, self.journal),
                self._job_options(1 if any(m.local for m in pool) else REMOTE_CONCURRENCY),
                repeated=self._summary.repeated,
                new_recorder=lambda name: None if store is None else store.recorder(None, name, "batch"),
                on_result=show,
            )

    async def _run_on_ray(self, ray: Any, progress: StepProgress) -> None:
        from routemoa.gateway.batches.ray_engine import ROWS_PER_WORKER, run_on_ray

        self._drop_failures()
        before = self.report.cost

        def show(spending: Spending) -> None:
            finished = self.report.finished
            self.update(spending)
            if steps := min(self.report.finished - finished, progress.total - progress.done):
                self._advance(progress, before, steps)

        rows = max(1, int(ray.cluster_resources().get("CPU", 1))) * ROWS_PER_WORKER
        options = self._job_options(rows)
        await run_on_ray(
            ray,
            self._pool,
            self._inputs,
            self._results,
            options,
            repeated=self._summary.repeated,
            on_rows=show,
            say=progress.print_line,
        )

    def _drop_failures(self) -> None:
        """Forget why rows failed that are asked again; before, there may be no consent, or no cluster."""
        if self._options.retry_failed:
            self._results.drop_failures()

    def _advance(self, progress: StepProgress, before: float, steps: int = 1) -> None:
        spent = self.report.cost - before
        status = describe_progress(progress, steps, monotonic() - self._started, spent, self.report)
        progress.advance(status, steps)

    def finish(self) -> None:
        """Write the files that OpenAI's users expect, and the last figures."""
        self.update()
        report = self.report
        report.seconds = round(monotonic() - self._started, 3)
        report.files = [RESULTS if self._options.form == "jsonl" else "results-*.parquet", FAILED]
        for row in self._results.read_failed():
            reason = row["error"]["message"][:REASON_LENGTH]
            if reason in report.reasons or len(report.reasons) < MAX_DISTINCT:
                report.reasons[reason] += 1
        if self._summary.is_openai:
            write_openai_files(self._results, self._folder, self._summary.digest[:12])
            report.files += [OUTPUT, ERRORS]

    def _count_failure(self, result: RowResult, progress: StepProgress) -> None:
        if result.error is None:
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        if self._failures_in_a_row == WARN_AFTER:
            reason = str(result.error["message"])[:REASON_LENGTH]
            progress.print_line(
                f"{WARN_AFTER} rows in a row failed, the last with: {reason}; stop with Ctrl-C and correct it, or "
                "repeat them later with --retry-failed"
            )

    def _job_options(self, concurrency: int) -> JobOptions:
        options = self._options
        return JobOptions(
            _row_rules(options, self._pool),
            options.concurrency or concurrency,
            options.max_cost,
            options.calls_per_minute,
            options.tokens_per_minute,
            keeps_traces=not options.no_traces,
            for_operator=True,
        )


@contextmanager
def open_batch(options: BatchOptions) -> Iterator[Batch]:
    """Check the options, look through the input and open the folder. Raises RouteMoAError."""
    check_writable_folder(options.out)
    if options.form == "parquet":
        require_parquet()
    pool = load_pool(options.pool_file)
    pool.require_keys()
    require_prices(pool, options.max_cost)
    if options.method is not None and options.method not in list_names(pool):
        raise ConfigError(f"--method: '{options.method}' is unknown; {suggest_name(options.method, list_names(pool))}")
    folder = Path(options.out)
    inputs = InputFiles(tuple(list_input_files(options.source, folder)))
    check = InputCheck(_row_rules(options, pool))
    summary = summarize_input(inputs, say, check.add)
    if not summary.rows:
        raise ConfigError(f"{show_input(options.source)}: no row in it; for the formats see  routemoa batch --help")
    check.finish()
    source = show_input(options.source)
    open_job_folder(folder, JobSettings(source, summary.rows, summary.digest, options.method, options.form))
    with closing(ResultStore(folder, options.form, repeats_failed=options.retry_failed)) as results:
        opened = Batch(options, pool, inputs, summary, results)
        with closing(open_journal(folder, results.has, LOCK_SECONDS if options.engine == "ray" else 0.0)) as journal:
            opened.update(journal.spending)
            if options.engine == "local":
                opened.journal = journal
                yield opened
        if options.engine == "ray":  # its keeper opens the journal
            yield opened


def _row_rules(options: BatchOptions, pool: Pool) -> RowRules:
    return RowRules(
        list_names(pool),
        options.method,
        pass_unknown=pool.gateway.unknown_parameters == "pass",
        has_budget=options.max_cost is not None,
    )


@contextmanager
def _without_failures_in_log() -> Iterator[None]:
    """Log no failed call: the results say which models failed, and why."""
    log = logging.getLogger("routemoa.gateway")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
