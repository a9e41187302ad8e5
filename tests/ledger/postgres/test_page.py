"""The page about PostgreSQL: its SQL and its commands of the database run as they stand there."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import time
from pathlib import Path

from routemoa.core.access.tenants import Tenant
from routemoa.ledger import StoreUrl, read_calls
from routemoa.ledger.keys import create_key, read_keys
from tests.doc_blocks import page_blocks, split_commands
from tests.ledger.copies.test_copying import spend
from tests.ledger.postgres.fixtures import find_server_programs
from tests.ledger.postgres.server import PostgresServer

PAGE = "docs/how-to/postgresql.md"


def run(server: PostgresServer, name: str, folder: Path, database: str) -> None:
    """Run the page's line of a program, on this server and with a database of ours in place of the page's."""
    commands = [c for b in page_blocks(PAGE) if b.language == "sh" for c in split_commands(b)]
    (words,) = [c.words for c in commands if c.words[0] == name]
    words = (str(find_server_programs() / name), *[database if word == "moa" else word for word in words[1:]])
    env = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "moa"}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (shlex.join(words), done.stderr)


async def test_the_statements_run(postgres_server: PostgresServer, database: StoreUrl) -> None:
    await spend(database, 4)
    (block,) = [b for b in page_blocks(PAGE) if b.language == "sql"]
    name = database.secret.rpartition("/")[2]
    by_tenant, today = [postgres_server.execute(name, statement) for statement in block.text.split(";\n")[:2]]
    assert {(row[0], row[2]) for row in by_tenant} == {("acme", 2), ("-", 2)}
    assert {(row[0], row[2]) for row in today} == {("acme", 0.0), ("-", 0.0), ("*", 0.0)}


async def test_a_database_is_made_backed_up_and_restored(postgres_server: PostgresServer, tmp_path: Path) -> None:
    name = f"page{time.time_ns()}"
    await asyncio.to_thread(run, postgres_server, "createdb", tmp_path, name)
    url = postgres_server.url(name)
    await spend(url, 3)
    create_key(url, Tenant("ci", ""), 1.0)
    before = list(read_calls(url))
    await asyncio.to_thread(run, postgres_server, "pg_dump", tmp_path, name)
    await spend(url, 2)
    await asyncio.to_thread(run, postgres_server, "pg_restore", tmp_path, name)
    assert list(read_calls(url)) == before
    assert [key.tenant.name for key in read_keys(url)] == ["ci"]
    await spend(url, 1)
    assert len(list(read_calls(url))) == 4
