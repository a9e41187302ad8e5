"""Sums made in the store say the same as those made of single calls."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.usage import Usage
from routemoa.ledger import Store, correct_call, read_calls
from routemoa.ledger.location import StoreLocation
from routemoa.ledger.sums.aggregates import GROUPINGS, group_calls
from routemoa.ledger.sums.call_sums import CallSums, group_sums, read_call_sums

DAY = 86_400.0
MORNING = 20_000 * DAY + 3_600.0
CALLS = [
    ("acme", "fast", 0.25, "ok", 0.0),
    ("acme", "strong", 1.5, "ok", 10.0),
    (None, "fast", None, "timeout", DAY),
    (None, "strong", 0.125, "cut", DAY + 5.0),
    ("acme", "fast", 2.0, "ok", 3 * DAY),
]


@pytest.fixture
async def path(place: StoreLocation) -> StoreLocation:
    now = [MORNING]
    store = Store(place, clock=lambda: now[0])
    for key, model, cost, outcome, later in CALLS:
        now[0] = MORNING + later
        recorder = store.recorder(key, "routemoa")
        number = await recorder.start(CallStart(model, "proposal", 5.0))
        usage = Usage(10, 5) if cost is not None else Usage()
        recorder.finish(number, CallResult(usage, cost, 5.0 if cost is None else cost, 0.5, outcome))
    await store.aclose()
    correct_call(store.path, 2, 1.0, "the invoice", MORNING)
    return store.path


def test_each_grouping_sums_as_the_single_calls_do(path: StoreLocation) -> None:
    sums = read_call_sums(path, MORNING, MORNING + 4 * DAY)
    for by in GROUPINGS:
        expected = group_calls(read_calls(path), by)
        found = group_sums(sums, by)
        assert list(found) == [summary.group for summary in expected]
        for summary in expected:
            each = found[summary.group]
            for name in ("calls", "failed", "cut", "open", "prompt_tokens", "completion_tokens", "unpriced"):
                assert getattr(each, name) == getattr(summary, name), (by, summary.group, name)
            assert math.isclose(each.charged or 0.0, summary.charged or 0.0)
            assert (each.cost is None) == (summary.cost is None)


def test_a_time_and_a_key_are_cut_out_and_unknown_stays_unknown(path: StoreLocation) -> None:
    def charged(sums: list[CallSums]) -> float:
        return math.fsum(s.charged or 0.0 for s in sums)

    assert charged(read_call_sums(path, MORNING, MORNING + 10.0)) == 0.25
    assert charged(read_call_sums(path, MORNING, MORNING + DAY, "acme")) == 1.25, "as it was corrected"
    [failed] = read_call_sums(path, MORNING + DAY, MORNING + DAY + 1.0)
    assert (failed.cost, failed.prompt_tokens, failed.unpriced) == (None, None, 1)


def test_a_file_that_is_not_there_holds_none(tmp_path: Path) -> None:
    assert read_call_sums(tmp_path / "none.db", 0.0, DAY) == []
