"""Stores of both kinds: tests that mean the same run on a file and on a real PostgreSQL server."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from routemoa.ledger.location import StoreLocation, StoreUrl
from tests.ledger.postgres.server import PostgresServer, find_programs


def find_server_programs() -> Path:
    programs = find_programs()
    if programs is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip(
            "PostgreSQL or psycopg is not installed: apt-get install postgresql; pip install routemoa[postgres]"
        )
    return programs


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One server for all tests, of all workers of pytest-xdist: the first starts it, the last stops it."""
    programs = find_server_programs()
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    state = shared / "postgres.json"
    with locked(shared / "postgres.lock"):
        known = json.loads(state.read_text()) if state.exists() else {}
        if known.get("users"):
            server = PostgresServer(programs, folder=known["folder"], port=known["port"])
        else:
            server = PostgresServer(programs)
            known = {"folder": server.folder, "port": server.port, "users": 0}
        state.write_text(json.dumps({**known, "users": known["users"] + 1}))
    yield server
    with locked(shared / "postgres.lock"):
        known = json.loads(state.read_text())
        state.write_text(json.dumps({**known, "users": known["users"] - 1}))
        if known["users"] == 1:
            server.remove()


@pytest.fixture(scope="session")
def mortal_server() -> Iterator[PostgresServer]:
    """A server of this process's tests alone, to be killed; each test leaves it running."""
    server = PostgresServer(find_server_programs())
    yield server
    server.remove()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def database(postgres_server: PostgresServer) -> StoreUrl:
    """An empty database: one for each worker, which is emptied, as each takes 300 files."""
    name = f"of_{os.environ.get('PYTEST_XDIST_WORKER', 'all')}"
    if not postgres_server.execute("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        postgres_server.execute("postgres", f"CREATE DATABASE {name}")
    postgres_server.execute("postgres", f"ALTER DATABASE {name} RESET ALL")
    postgres_server.execute(
        "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    postgres_server.execute(name, "DROP SCHEMA IF EXISTS routemoa CASCADE")
    return postgres_server.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StoreLocation:
    """Where a new store goes: a file, or a database."""
    if request.param == "sqlite":
        return tmp_path / "store.db"
    database: StoreUrl = request.getfixturevalue("database")
    return database
