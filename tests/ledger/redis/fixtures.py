"""A Redis server for the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ledger.redis.server import RedisServer, start_redis


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """A server of this module alone: it may be killed. It starts in some 50 ms."""
    with start_redis() as server:
        yield server
