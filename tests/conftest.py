"""What several test files share: pools made of a line each."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from routemoa.core.pool_file.pool import Pool, parse_pool
from tests.ledger.postgres.fixtures import database, mortal_server, place, postgres_server
from tests.ledger.redis.fixtures import redis_server
from tests.ray_cluster import ray_cluster, ray_connection

__all__ = [
    "database",
    "make_pool",
    "mortal_server",
    "own_store",
    "place",
    "postgres_server",
    "ray_cluster",
    "ray_connection",
    "redis_server",
]

MakePool = Callable[..., Pool]

# A test run that a script started in the background ignores Ctrl-C, and so would every command that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# An example is not wrong because the machine is busy.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_xdist_auto_num_workers() -> int:
    """Return three processes for two cores, as most tests wait for a socket, a file or a program half of their time."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


def pytest_collection_finish() -> None:
    """Leave what is there before the first test out of every later garbage collection: some tests ask for them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the user's ledger."""
    monkeypatch.setenv("ROUTEMOA_STORE", str(tmp_path_factory.mktemp("store") / "store.db"))


@pytest.fixture
def make_pool() -> MakePool:
    """make_pool("a", "b", prior=0.6, mixture={"layers": 2}) -> a pool; a keyword sets that key for every model."""

    def make(*names: str, mixture: dict[str, object] | None = None, **keys: object) -> Pool:
        lines: list[str] = []
        for name in names:
            lines += ["[[model]]", f'name = "{name}"', *(f"{k} = {_toml(v)}" for k, v in keys.items())]
            if "endpoint" not in keys:
                lines.append('endpoint = "http://127.0.0.1:9/v1"')
        lines += ["[mixture]", *(f"{k} = {_toml(v)}" for k, v in (mixture or {}).items())]
        return parse_pool("\n".join(lines), "pool.toml", Path("."), {})

    return make


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
