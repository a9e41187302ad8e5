"""The tables of a database: made, upgraded, refused where they are newer; and errors that name no password."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from routemoa.core.access.tenants import Tenant
from routemoa.core.errors import ConfigError
from routemoa.ledger import Store, StoreError, StoreUrl, parse_location, read_calls
from routemoa.ledger.keys import create_key, read_keys
from routemoa.ledger.postgres import migrations
from routemoa.ledger.state import migrate_store, read_state
from tests.ledger.postgres.server import PostgresServer


def name_of(url: StoreUrl) -> str:
    return url.secret.rpartition("/")[2]


def test_reading_makes_nothing_and_opening_makes_all(postgres_server: PostgresServer, database: StoreUrl) -> None:
    assert list(read_calls(database)) == []
    assert read_keys(database) == ()
    assert read_state(database).schema is None
    assert postgres_server.execute(name_of(database), "SELECT to_regnamespace('routemoa')") == [(None,)]
    Store(database).close()
    state = read_state(database)
    assert state.is_current
    assert state.rows == dict.fromkeys(("calls", "notes", "windows", "keys", "traces", "feedback"), 0)
    assert migrate_store(database) == (state.known, state.known)


def test_a_store_of_before_is_upgraded_once_and_keeps_its_rows(
    database: StoreUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
        create_key(database, Tenant("ci", ""), 1.0)
        assert read_state(database).schema == 1
    state = read_state(database)
    assert not state.is_current
    assert "routemoa store migrate" in state.describe()
    with ThreadPoolExecutor(4) as threads:
        newest = len(migrations.MIGRATIONS)
        assert sorted(threads.map(lambda _: migrate_store(database)[0], range(4))) == [1, newest, newest, newest]
    assert [k.tenant.name for k in read_keys(database)] == ["ci"]
    assert read_state(database).is_current


def test_a_step_that_fails_changes_nothing(database: StoreUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate_store(database)
    with monkeypatch.context() as later:
        later.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, "CREATE TABLE new (x INT); SELECT nonsense"))
        with pytest.raises(StoreError, match="nonsense"):
            Store(database)
    assert read_state(database).is_current
    Store(database).close()


def test_a_newer_store_is_refused(postgres_server: PostgresServer, database: StoreUrl) -> None:
    migrate_store(database)
    postgres_server.execute(name_of(database), "INSERT INTO routemoa.schema_version VALUES (99)")
    newest = len(migrations.MIGRATIONS)
    for use in (Store, migrate_store, lambda url: list(read_calls(url))):
        with pytest.raises(
            StoreError, match=rf"newer routemoa \(schema 99, this one knows {newest}\); upgrade routemoa"
        ):
            use(database)
    assert "upgrade routemoa" in read_state(database).describe()


def test_a_database_of_another_encoding_is_refused(postgres_server: PostgresServer) -> None:
    postgres_server.execute("postgres", "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match="not in UTF8; make one with"):
        Store(postgres_server.url("latin"))


def test_who_may_make_no_tables_is_told_what_to_grant(postgres_server: PostgresServer, database: StoreUrl) -> None:
    postgres_server.execute(name_of(database), "CREATE ROLE guest LOGIN")
    guest = StoreUrl(database.secret.replace("moa:not-secret@", "guest@"))
    with pytest.raises(StoreError, match=r"permission denied.*grant it to the user"):
        Store(guest)
    migrate_store(database)
    postgres_server.execute(
        name_of(database),
        "GRANT USAGE ON SCHEMA routemoa TO guest; GRANT ALL ON ALL TABLES IN SCHEMA routemoa TO guest; "
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA routemoa TO guest",
    )
    Store(guest).close()
    postgres_server.execute(name_of(database), "DROP OWNED BY guest; DROP ROLE guest")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://moa:s3cr3t@127.0.0.1:1/x", "cannot be reached"),
        ("postgresql://moa:s3cr3t%zz@127.0.0.1:1/x", "not a URL of PostgreSQL"),
        ("postgresql://127.0.0.1:1/x?password=s3cr3t", "cannot be reached"),
        ("postgresql://moa:s3cr3t@127.0.0.1:port/x", "not a URL|cannot be reached"),
        ("postgres://moa:s3cr3t@127.0.0.1:1/x?nonsense=s3cr3t", "not a URL of PostgreSQL"),
        ("mysql://moa:s3cr3t@127.0.0.1:1/x", "no such kind of store"),
        ("postgresql://moa:s3cr3t@t0p@127.0.0.1:1/x", "written %40"),
    ],
)
def test_an_error_is_a_line_without_a_password(url: str, said: str) -> None:
    pytest.importorskip("psycopg")
    began = time.monotonic()
    command = [sys.executable, "-m", "routemoa", "keys", "list", "--store", url]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode != 0
    assert len(shown.stderr.splitlines()) == 1
    assert re.search(said, shown.stderr)
    assert "s3cr3t" not in shown.stdout + shown.stderr
    assert time.monotonic() - began < 30


def test_without_the_driver_the_extra_is_named_and_files_need_none(tmp_path: object) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from routemoa.ledger import Store, parse_location\n"
        "from pathlib import Path\n"
        f"Store(Path({str(tmp_path)!r}) / 's.db').close()\n"
        "Store(parse_location('postgresql://moa@127.0.0.1:1/x'))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtra" in shown.stderr
    assert "routemoa[postgres]" in shown.stderr or "postgres" in shown.stderr.splitlines()[-1]


def test_a_url_as_a_text_has_no_password() -> None:
    for secret, shown in (
        ("postgresql://u:pw@h:5432/db", "postgresql://u@h:5432/db"),
        ("postgresql://u:p%40w:x@h1:1,h2:2/db?sslmode=require", "postgresql://u@h1:1,h2:2/db"),
        ("postgresql:///db?host=/run/postgresql&password=pw", "postgresql:///db?host=/run/postgresql"),
        ("postgresql://h", "postgresql://h"),
    ):
        url = StoreUrl(secret)
        assert (str(url), repr(url), f"{url}") == (shown, f"StoreUrl('{shown}')", shown)
    with pytest.raises(ConfigError, match="no such kind of store"):
        parse_location("redis://x")
