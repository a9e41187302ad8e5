"""How long a wait may be: its own limit or what is left of the call, with the reason of whichever ends it."""

from __future__ import annotations

from time import monotonic

import pytest

from routemoa.clients.transport.timeouts import Timeouts


def test_a_wait_ends_at_its_limit_or_at_the_calls_deadline() -> None:
    times = Timeouts(total=30.0)
    assert times.bound_wait(5.0, "nothing came for", monotonic() + 20) == (5.0, "nothing came for 5 s")
    wait, reason = times.bound_wait(5.0, "nothing came for", monotonic() + 2)
    assert wait == pytest.approx(2, abs=0.5)
    assert reason == "no answer within 30 s, all attempts together"
    assert times.bound_wait(5.0, "nothing came for", monotonic() - 1) == (0.0, reason)
