"""When a worker is started again, and what is said of its end."""

from __future__ import annotations

import pytest

from routemoa.core.tables.server_table import ServerSettings
from routemoa.gateway.workers.shared_state import divide_caps
from routemoa.gateway.workers.supervisor import LONGEST_WAIT, choose_wait, describe_end


def test_a_worker_that_dies_young_again_and_again_is_waited_for_longer() -> None:
    waits = [choose_wait(young) for young in range(12)]
    assert waits[:5] == [0.1, 0.1, 0.2, 0.4, 0.8]
    assert waits == sorted(waits)
    assert choose_wait(1000) == waits[-1] == LONGEST_WAIT


@pytest.mark.parametrize(
    ("code", "text"),
    [(1, "ended with exit code 1"), (-9, "was killed by SIGKILL"), (-64, "was killed by SIGRTMAX"), (-99, "signal 99")],
)
def test_its_end_is_described(code: int, text: str) -> None:
    assert text in describe_end(code)


def test_caps_are_divided_and_what_follows_from_the_descriptors_is_not() -> None:
    divided = divide_caps(ServerSettings(max_connections=101, max_connections_per_address=1), 4)
    assert (divided.max_connections, divided.max_connections_per_address) == (26, 1)
    assert divide_caps(ServerSettings(), 4) == ServerSettings()
