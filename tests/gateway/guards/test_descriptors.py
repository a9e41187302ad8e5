"""The descriptors of the process and what they allow."""

from __future__ import annotations

import os
import resource

import pytest

from routemoa.gateway.guards.descriptors import (
    MAX_CONNECTIONS,
    count_descriptors,
    default_max_connections,
    descriptor_limit,
    raise_limit,
)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
        assert raise_limit() == descriptor_limit() == hard
        assert raise_limit() == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_open_descriptors_are_counted() -> None:
    before = count_descriptors()
    assert before is not None
    pipes = [os.pipe() for _ in range(10)]
    try:
        assert count_descriptors() == before + 20
    finally:
        for pipe in pipes:
            for end in pipe:
                os.close(end)


@pytest.mark.parametrize(
    ("limit", "connections"), [(0, 16), (256, 57), (1024, 403), (4096, 1785), (20_000, 8942), (2**31, MAX_CONNECTIONS)]
)
def test_callers_get_a_share(limit: int, connections: int) -> None:
    assert default_max_connections(limit) == connections
