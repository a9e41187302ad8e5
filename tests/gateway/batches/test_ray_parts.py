"""The parts of the Ray engine without Ray: rows come again from lost workers, dollars count once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routemoa.core.types import Completion
from routemoa.core.usage import Usage
from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.batches.jobs.journal import CallEnd, Spending
from routemoa.gateway.batches.jobs.row_request import RowRules
from routemoa.gateway.batches.jobs.run_job import JobOptions
from routemoa.gateway.batches.ray_engine.keeper import CallNote, Keeper
from routemoa.gateway.batches.ray_engine.remote_journal import RemoteJournal
from routemoa.gateway.batches.ray_engine.row_supply import RowSupply
from routemoa.gateway.batches.ray_engine.worker import PARTS, RowsEnded, cut_ended, read_ended


def rows(count: int) -> list[InputRow]:
    return [InputRow(i, "in.jsonl", i + 1) for i in range(count)]


async def test_rows_of_a_lost_worker_go_to_one_that_has_nothing_left() -> None:
    supply = RowSupply(iter(rows(5)))
    lost = await supply.take(3, may_wait=True)
    assert [r.number for r in await supply.take(8, may_wait=True)] == [3, 4]
    waiting = asyncio.create_task(supply.take(8, may_wait=True))
    await supply.finish(2)
    assert not supply.over.is_set()
    await supply.put_back(lost)
    assert [r.number for r in await waiting] == [0, 1, 2]
    waiting = asyncio.create_task(supply.take(8, may_wait=True))
    await supply.finish(3)
    assert await waiting == []
    assert supply.over.is_set()


async def test_no_rows_come_after_a_stop_and_those_of_a_lost_worker_do_not_come_back() -> None:
    supply = RowSupply(iter(rows(5)))
    under_way = await supply.take(2, may_wait=True)
    await supply.stop()
    assert await supply.take(2, may_wait=False) == []
    await supply.put_back(under_way)
    assert supply.over.is_set()


class Lost(Exception):
    pass


class LosableKeeper:
    """Stands for an actor; it is lost once, before or after it has written what it was told."""

    def __init__(self, folder: Path, *, writes: bool) -> None:
        self._folder, self._writes = folder, writes
        self.keeper = self._open()

    def _open(self) -> Keeper:
        return Keeper(str(self._folder), b"", JobOptions(RowRules(()), 1))

    def __getattr__(self, name: str) -> Any:
        return _Method(self, name)

    async def call(self, name: str, *args: Any) -> Any:
        if name in ("record", "lease") and not self._folder.joinpath("lost").exists():
            if self._writes:
                await getattr(self.keeper, name)(*args)
            self.keeper._journal._file.close()  # the system does so where a process is killed
            self._folder.joinpath("lost").touch()
            self.keeper = self._open()
            raise Lost
        return await getattr(self.keeper, name)(*args)


class _Method:
    def __init__(self, keeper: LosableKeeper, name: str) -> None:
        self._keeper, self._name = keeper, name

    def options(self, **_: Any) -> _Method:
        return self

    async def remote(self, *args: Any) -> Any:
        return await self._keeper.call(self._name, *args)


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("asks", [True, False])
async def test_a_call_counts_as_a_cost_at_most_once_where_the_keeper_is_lost(
    writes: bool, asks: bool, tmp_path: Path
) -> None:
    keeper = LosableKeeper(tmp_path, writes=writes)
    journal = RemoteJournal(keeper, "x", Lost)
    answer = CallEnd(0, 0.3, 0.3, "digest", Completion("4", Usage(1, 1)))
    journal.end(journal.start(0, 0.5), answer)
    await (journal.lease(0.5, 0.0) if asks else journal.flush())
    spending = await keeper.keeper.close()
    assert spending == (Spending(2, 0.3, 0.3) if writes else Spending(1, 0.0, 0.3))


async def test_results_that_come_in_parts_are_those_that_were_sent() -> None:
    ended = RowsEnded([(3, b"{}", True), (1, b"x" * 300_000, False)], [2], "no dollars", Spending(1, 0.5))
    parts = cut_ended(ended)
    assert len(parts) == PARTS
    assert max(map(len, parts)) < 100_000
    assert read_ended(parts) == ended


async def test_the_lease_of_a_lost_worker_counts_as_spent(tmp_path: Path) -> None:
    """Of 8 dollars, one call has cost 0.6 and another one, of a dollar at most, was under way."""
    options = JobOptions(RowRules(()), 1, max_cost=20.0)
    keeper = Keeper(str(tmp_path), b"", options)
    await keeper.join(0, "x")
    assert (await keeper.lease("x", b"[]", [], 1.0, 0.0))[0].dollars == 8.0
    notes = [CallNote(1, 0, 1.0), CallNote(1, 0, None, CallEnd(0, 0.6, 0.6)), CallNote(2, 1, 1.0)]
    await keeper.record("x", msgspec.json.encode(notes), [])
    await keeper.join(0, "y")
    grant, _ = await keeper.lease("y", b"[]", [], 1.0, 0.0)
    assert (grant.dollars, grant.left) == pytest.approx((8.0, 12.0))
    await keeper.give_back("y", 8.0)
    spending = await keeper.close()
    assert (spending.cost, spending.uncertain) == pytest.approx((0.6, 7.4))
    assert await Keeper(str(tmp_path), b"", options).close() == spending
