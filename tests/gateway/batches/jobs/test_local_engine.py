"""Rows are handed out one by one, none once a job is stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.batches.jobs.local_engine import RowQueue


async def test_no_row_comes_after_a_stop_that_meets_a_read() -> None:
    reads, go_on = threading.Event(), threading.Event()

    def rows() -> Iterator[InputRow]:
        reads.set()
        go_on.wait(10)
        yield from (InputRow(i, "x", i) for i in range(100))

    queue = RowQueue(rows())
    taking = asyncio.create_task(queue.take())
    await asyncio.to_thread(reads.wait, 10)
    queue.stop()
    go_on.set()
    assert await taking is None
    assert await queue.take() is None
