"""Runs the server's batches: each is a job of its own, goes on after a restart, and ends with its two files.

What a batch is now stands on disk, so any process of the server may be asked. One of them runs it: the lock of the
job's journal decides. The others look again from time to time, and take over where that process has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import time
from typing import Protocol

from msgspec.structs import replace

from routemoa.clients.connect import connect
from routemoa.clients.http import HttpClient
from routemoa.core.access.tenants import Tenant
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.tables.batches_table import BatchSettings
from routemoa.datasets.input_rows import InputFiles
from routemoa.datasets.jsonl import RecordsError
from routemoa.gateway.batches.jobs.answering import make_failure
from routemoa.gateway.batches.jobs.job import InputSummary, pending_rows, summarize_input
from routemoa.gateway.batches.jobs.local_engine import RowQueue
from routemoa.gateway.batches.jobs.row_request import read_head
from routemoa.gateway.batches.jobs.run_job import JobFiles, JobOptions, open_job_files, run_job
from routemoa.gateway.batches.openai_files import ERRORS, OUTPUT, write_openai_files
from routemoa.gateway.batches.stored import ENDED, BatchObject, RequestCounts, TenantFolder, list_tenants
from routemoa.gateway.batches.tenant_rows import TenantTerms
from routemoa.gateway.errors import ErrorResponse

__all__ = ["BatchManager"]

logger = logging.getLogger("routemoa.gateway")

LOOK_SECONDS = 1.0
"""Between two looks at what callers want of a batch, and two reports of how far it is."""
SCAN_SECONDS = 10.0
"""Between two looks for batches that no process runs, and for what is to be deleted."""
DAY_SECONDS = 86_400.0
EXPIRED = ErrorResponse(0, "This request was not answered within the completion window.", code="batch_expired")


class MakeTerms(Protocol):
    """Makes the terms of a tenant."""

    def __call__(self, tenant: Tenant | None, places: asyncio.Semaphore) -> TenantTerms:
        """Return the terms."""
        ...


class FindTenant(Protocol):
    """Finds a tenant by its name."""

    def __call__(self, name: str) -> Tenant | None:
        """Return the tenant whose key is valid now, or None."""
        ...


class BatchManager:
    """Runs batches beside the server's requests.

    Args:
        settings: with a folder.
        line_limit: bytes of one row.
        make_terms: makes the terms of a tenant.
        find_tenant: finds a tenant by its name.
    """

    def __init__(
        self, settings: BatchSettings, line_limit: int, make_terms: MakeTerms, find_tenant: FindTenant
    ) -> None:
        if settings.folder is None:
            raise ConfigError("[batches]: folder is missing")
        self.settings, self.root = settings, Path(settings.folder)
        self.line_limit = line_limit
        self._make_terms, self._find_tenant = make_terms, find_tenant
        self._places = asyncio.Semaphore(settings.concurrency)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._queues: dict[str, RowQueue] = {}
        self._generation = 0
        self._pool: Pool | None = None
        self._client: HttpClient | None = None

    def folder(self, tenant: str | None) -> TenantFolder:
        """Return the folder of a tenant."""
        return TenantFolder(self.root, tenant)

    def use(self, pool: Pool, client: HttpClient) -> None:
        """Answer with this reading of the pool file from now on: rows under way end with the one before."""
        self._pool, self._client = pool, client
        self._generation += 1
        for queue in list(self._queues.values()):
            queue.stop()

    def submit(self, folder: TenantFolder, batch: BatchObject) -> None:
        """Run a batch, unless it runs here already."""
        if batch.id not in self._running and self._pool is not None:
            task = asyncio.create_task(self._run(folder, batch.id))
            self._running[batch.id] = task
            task.add_done_callback(lambda _: self._running.pop(batch.id, None))

    async def watch(self) -> None:
        """Look for batches that are to be gone on with, and for what is to be deleted, for ever."""
        while True:
            await asyncio.to_thread(self._delete_old)
            for folder, batch in await asyncio.to_thread(lambda: list(self._unfinished())):
                self.submit(folder, batch)
            await asyncio.sleep(SCAN_SECONDS)

    async def close(self) -> None:
        """Stop; what was begun goes on when the server starts again."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _unfinished(self) -> Iterator[tuple[TenantFolder, BatchObject]]:
        for folder in list_tenants(self.root):
            yield from ((folder, batch) for batch in folder.list_batches() if batch.status not in ENDED)

    def _delete_old(self) -> None:
        days = self.settings.keep_days
        before = 0.0 if days is None else time() - days * DAY_SECONDS
        for folder in list_tenants(self.root):
            with suppress(OSError):  # it is tried again
                folder.delete_old(before)

    async def _run(self, folder: TenantFolder, id: str) -> None:
        """Run a batch to its end, whatever happens."""
        try:
            with open_job_files(folder.batch_path(id)) as files:
                batch = folder.find_batch(id)  # another process may have ended it
                if batch is not None and batch.status not in ENDED:
                    await _Run(self, folder, files).to_end(batch)
            if (batch := folder.find_batch(id)) is not None and batch.status in ENDED:
                folder.remove_job_files(id)
        except FileNotFoundError:
            self._fail(folder, id, "file_not_found", "The input file is not there any more.")
        except (RecordsError, OSError) as e:  # such as a full disk: what was answered is kept, and gone on with
            if folder.find_batch(id) is None:
                return  # its caller has deleted it
            if "another process" not in str(e):
                logger.error("batch %s waits: %s", id, e)
                if (batch := folder.find_batch(id)) is not None and time() >= batch.expires_at:
                    self._fail(folder, id, "storage_error", "The server could not write the results.")
        except Exception:
            logger.exception("batch %s stops: unexpected error", id)
            self._fail(folder, id, "internal_error", "The server had an error while running this batch.")

    def _fail(self, folder: TenantFolder, id: str, code: str, message: str) -> None:
        batch = folder.find_batch(id)
        if batch is not None and batch.status not in ENDED:
            with suppress(OSError):
                folder.save_batch(batch.move_to("failed", errors=describe_error(code, message)))


def describe_error(code: str, message: str, param: str | None = None) -> dict[str, object]:
    """Return the `errors` of a batch that failed as a whole."""
    return {"object": "list", "data": [{"code": code, "message": message, "param": param, "line": None}]}


class _Run:
    """One batch while it runs in this process."""

    def __init__(self, manager: BatchManager, folder: TenantFolder, files: JobFiles) -> None:
        self._manager, self._folder, self._files = manager, folder, files

    async def to_end(self, batch: BatchObject) -> None:
        """Validate, answer, write the files."""
        manager, folder = self._manager, self._folder
        inputs = InputFiles((str(folder.file_path(batch.input_file_id)),), manager.line_limit)
        summary = await asyncio.to_thread(summarize_input, inputs)
        tenant = None if folder.tenant is None else manager._find_tenant(folder.tenant)
        wrong = _find_fault(summary, manager.settings, has_tenant=folder.tenant is None or tenant is not None)
        if wrong is not None:
            folder.save_batch(batch.move_to("failed", errors=wrong))
            return
        if batch.status == "validating":
            batch = batch.move_to("in_progress")
        batch = replace(batch, request_counts=self._counts(summary.rows))
        folder.save_batch(batch)
        watching = asyncio.create_task(self._watch(batch.id, summary.rows))
        try:
            await self._answer(batch, inputs, summary, tenant)
        finally:
            watching.cancel()
        batch = folder.find_batch(batch.id) or batch
        await asyncio.to_thread(self._finish, batch, inputs, summary.rows)

    async def _answer(
        self, batch: BatchObject, inputs: InputFiles, summary: InputSummary, tenant: Tenant | None
    ) -> None:
        """Answer rows until all are, or the batch is cancelled or expires; begin again with a changed pool file."""
        manager = self._manager
        terms = manager._make_terms(tenant, manager._places)
        while not self._is_over(batch.id) and not self._is_complete(summary.rows):
            pool, gateway_client, generation = manager._pool, manager._client, manager._generation
            if pool is None or gateway_client is None:
                return
            client = connect(pool, previous=(pool, gateway_client))
            options = JobOptions(terms.rules(pool, batch.endpoint), manager.settings.concurrency, keeps_traces=False)

            def keep(queue: RowQueue) -> None:
                manager._queues[batch.id] = queue

            try:
                await run_job(
                    pool,
                    client,
                    inputs,
                    self._files,
                    options,
                    repeated=summary.repeated,
                    new_recorder=terms.new_recorder,
                    wrap=terms.wrap,
                    on_queue=keep,
                )
            finally:
                manager._queues.pop(batch.id, None)
                await client.close()
            if generation == manager._generation:
                return

    async def _watch(self, id: str, rows: int) -> None:
        """Write how far the batch is, and stop it where its caller wants that or its time is over."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            batch = self._folder.find_batch(id)
            if batch is None:
                continue
            if self._is_over(id):
                if (queue := self._manager._queues.get(id)) is not None:
                    queue.stop()
            elif (counts := self._counts(rows)) != batch.request_counts:
                changed = replace(batch, request_counts=counts, cost=self._files.journal.spending.cost)
                with suppress(OSError):  # it is said where the results cannot be written
                    self._folder.save_batch(changed)

    def _is_over(self, id: str) -> bool:
        batch = self._folder.find_batch(id)
        return batch is None or batch.status == "cancelling" or time() >= batch.expires_at

    def _is_complete(self, rows: int) -> bool:
        return self._files.results.answered + self._files.results.failed >= rows

    def _counts(self, rows: int) -> RequestCounts:
        return RequestCounts(rows, self._files.results.answered, self._files.results.failed)

    def _finish(self, batch: BatchObject, inputs: InputFiles, rows: int) -> None:
        """Write the files of what was answered and what failed; blocks."""
        folder, place = self._folder, self._folder.batch_path(batch.id)
        is_expired = batch.status != "cancelling" and not self._is_complete(rows)
        if is_expired:
            for row in pending_rows(inputs, self._files.results.has):
                self._files.keep(make_failure(row, read_head(row), EXPIRED, 0))
        if batch.status != "cancelling":
            batch = batch.move_to("finalizing")
            folder.save_batch(batch)
        answered, failed = write_openai_files(self._files.results, place, batch.id.removeprefix("batch_")[:12])
        stem = batch.id.removeprefix("batch_")
        add = partial(folder.add_file, purpose="batch_output", expires_after=batch.output_expires_after)
        output = errors = None
        if answered:
            output = add(place / OUTPUT, f"{batch.id}_output.jsonl", id=f"file-{stem}")
        if failed:
            other = f"{int(stem, 16) ^ 1:024x}"  # the same ids where this is done again after a crash
            errors = add(place / ERRORS, f"{batch.id}_error.jsonl", id=f"file-{other}")
        status = "cancelled" if batch.status == "cancelling" else "expired" if is_expired else "completed"
        folder.save_batch(
            batch.move_to(
                status,  # type: ignore[arg-type]
                output_file_id=None if output is None else output.id,
                error_file_id=None if errors is None else errors.id,
                request_counts=self._counts(rows),
                cost=self._files.journal.spending.cost,
            )
        )


def _find_fault(summary: InputSummary, settings: BatchSettings, *, has_tenant: bool) -> dict[str, object] | None:
    """Return why a batch fails as a whole, or None."""
    if not has_tenant:
        return describe_error("invalid_api_key", "The key that made this batch is not valid any more.")
    if not summary.rows:
        return describe_error("empty_file", "The input file has no rows.", "input_file_id")
    if summary.rows > settings.max_rows:
        message = f"The input file has {summary.rows:,} rows; a batch may have {settings.max_rows:,}. Send several."
        return describe_error("too_many_requests", message, "input_file_id")
    return None
