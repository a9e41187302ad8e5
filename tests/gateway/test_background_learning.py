"""A run of a server is due once in `every`, whoever ran last."""

from __future__ import annotations

import pytest

from routemoa.gateway.background_learning import wait_seconds


@pytest.mark.parametrize(
    ("every", "last_run", "last_tried", "waits"),
    [
        (None, None, None, None),
        (60.0, None, None, 0.0),
        (60.0, 990.0, None, 50.0),
        (60.0, 900.0, None, 0.0),
        (60.0, 900.0, 995.0, 55.0),
        (60.0, 2000.0, None, 0.0),
    ],
    ids=["off", "first", "soon", "due", "tried", "clock"],
)
def test_when_a_run_is_due(
    every: float | None, last_run: float | None, last_tried: float | None, waits: float | None
) -> None:
    assert wait_seconds(every, last_run, last_tried, 1000.0) == waits
