"""The journal forgets no dollar and no paid answer, however the process ends."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from routemoa.core.types import Completion
from routemoa.core.usage import Usage
from routemoa.datasets.jsonl import RecordsError
from routemoa.gateway.batches.jobs import journal as module
from routemoa.gateway.batches.jobs.journal import CALLS, CallEnd, CallJournal, Spending


def answered(row: int, cost: float = 0.5, text: str = "4") -> CallEnd:
    return CallEnd(row, cost, cost, "digest", Completion(text, Usage(1, 1)))


def killed(folder: Path) -> CallJournal:
    """Return the journal of a process that ends without closing it, to be read by another."""
    return CallJournal(folder)


def spending_of(folder: Path) -> Spending:
    """Return what another process finds."""
    with closing(CallJournal(folder)) as journal:
        return journal.spending


def release(journal: CallJournal) -> None:
    journal._file.close()  # the system does so where a process is killed


def test_a_call_under_way_counts_as_the_most_that_it_can_have_cost(tmp_path: Path) -> None:
    journal = killed(tmp_path)
    journal.end(journal.start(1, 0.8), answered(1))
    journal.start(1, 0.25)
    journal.start(2, None)
    release(journal)
    again = CallJournal(tmp_path)
    assert again.spending == Spending(3, 0.5, 0.25, 1)
    again.close()
    assert spending_of(tmp_path) == Spending(3, 0.5, 0.25, 1)


def test_answers_of_open_rows_are_used_once_each_and_those_of_finished_rows_are_dropped(tmp_path: Path) -> None:
    journal = killed(tmp_path)
    for row, text in ((1, "x"), (1, "y"), (2, "z")):
        journal.end(journal.start(row, 1.0), answered(row, text=text))
    release(journal)
    again = CallJournal(tmp_path, lambda row: row == 2)
    assert [c.text for c in again.take_finished(1)["digest"]] == ["x", "y"]
    assert again.take_finished(2) == {}
    again.finish_row(1)
    again.close()
    assert (tmp_path / CALLS).read_bytes().count(b"\n") == 1
    assert spending_of(tmp_path) == Spending(3, 1.5)


def test_a_line_that_was_cut_is_dropped_and_its_call_counts(tmp_path: Path) -> None:
    journal = killed(tmp_path)
    journal.end(journal.start(1, 0.8), answered(1))
    release(journal)
    path = tmp_path / CALLS
    path.write_bytes(path.read_bytes()[:-20])
    assert spending_of(tmp_path) == Spending(1, 0.0, 0.8)


def test_the_file_stays_as_large_as_the_rows_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACT_LINES", 50)
    journal = CallJournal(tmp_path)
    for row in range(200):
        journal.end(journal.start(row, 1.0), answered(row, 0.01))
        journal.finish_row(row)
    assert (tmp_path / CALLS).read_bytes().count(b"\n") < 60
    release(journal)
    assert spending_of(tmp_path).cost == pytest.approx(2.0)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    journal = CallJournal(tmp_path)
    with pytest.raises(RecordsError, match="another process is writing"):
        CallJournal(tmp_path)
    journal.close()


def test_a_lost_worker_costs_what_it_was_leased(tmp_path: Path) -> None:
    journal = CallJournal(tmp_path)
    journal.lease(2.0)
    open_call = journal.start(1, 0.5)
    journal.end(journal.start(1, 0.5), answered(1, 0.3))
    journal.forfeit([open_call], 1.7)
    assert journal.spending == Spending(2, 0.3, 1.7)
    release(journal)
    assert spending_of(tmp_path) == Spending(2, 0.3, 1.7)


def test_a_lease_that_was_not_reported_counts_where_all_processes_were_killed(tmp_path: Path) -> None:
    journal = CallJournal(tmp_path)
    journal.lease(2.0)
    journal.start(1, 0.5)
    journal.end(journal.start(1, 0.5), answered(1, 0.3))
    journal.lease(-0.2)
    release(journal)
    found = spending_of(tmp_path)
    assert (found.calls, found.cost) == (2, 0.3)
    assert found.uncertain == pytest.approx(1.5)


def test_rounding_is_no_rest_of_a_lease(tmp_path: Path) -> None:
    journal = CallJournal(tmp_path)
    for dollars in (0.1, 0.2, -0.3):
        journal.lease(dollars)
    journal.forfeit([], 0.1 + 0.2 - 0.3)
    release(journal)
    assert spending_of(tmp_path) == Spending()
