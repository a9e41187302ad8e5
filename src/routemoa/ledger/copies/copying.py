"""Copy a store from a file to a database: in chunks, each once, so that it can be interrupted and run again."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

from routemoa.core.access.tenants import ALL_TENANTS, Tenants
from routemoa.core.errors import ConfigError
from routemoa.ledger.budgets.budget_check import TenantBudgets, Window
from routemoa.ledger.connections import Connection, has_table, open_writing, transact
from routemoa.ledger.copies.copied_traces import CopiedTable, copy_traces, split_rows
from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.batch import GIVE_IDS, INSERT_CALLS, clean_text, columns, lock_windows, write_windows
from routemoa.ledger.postgres.driver import PostgresConnection
from routemoa.ledger.schema import raise_file_errors
from routemoa.ledger.sqlite.transactions import LedgerDatabase
from routemoa.ledger.steps import PICODOLLARS_PER_DOLLAR
from routemoa.ledger.sums.queries import CALL_COLUMNS
from routemoa.ledger.trace_store.trace_tables import traces_path

__all__ = ["CopiedTable", "copy_store"]

OWNER = "copied"
KEY_COLUMNS = (
    "name, created, expires, revoked, models, methods, max_cost_per_day, max_cost_per_month, requests_per_minute, "
    "tokens_per_minute, concurrent_streams"
)


def copy_store(source: Path, target: StoreUrl, report: Callable[[str], None] = lambda _: None) -> list[CopiedTable]:
    """Copy calls, notes, totals, keys, traces and feedback; what was copied before is not copied again. Blocks.

    Args:
        source: the file. Its traces are in the file beside it.
        target: the database; what it holds stays.
        report: called with the name of each table before it is copied.

    Raises:
        ConfigError: there is no such file, or a process is writing to it.
        StoreError: one of the two cannot be used.
    """
    if not source.exists():
        raise ConfigError(f"{source}: no such file; there is nothing to copy")
    identity = _identify(source)
    open_writing(target).close()  # makes what is missing
    tables: list[CopiedTable] = []
    with raise_file_errors(source), closing(_open_snapshot(source)) as file:
        for name, copy in (("calls", _copy_calls), ("notes", _copy_notes), ("windows", _copy_windows)):
            report(name)
            tables.append(copy(file, target, identity))
        report("keys")
        tables.append(_copy_keys(file, target))
    traces = traces_path(source)
    if isinstance(traces, Path) and traces.exists():
        with raise_file_errors(traces), closing(_open_snapshot(traces)) as file:
            report("traces")
            tables += copy_traces(file, target)
    return tables


def _identify(source: Path) -> str:
    """Return the id of a file, which goes with it; settle what dead processes left open. Raises ConfigError."""
    database = LedgerDatabase(source, TenantBudgets(Tenants()), time.time)
    database.release()
    with raise_file_errors(source), closing(sqlite3.connect(source)) as file, file:
        file.execute("CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL)")
        (running,) = file.execute("SELECT count(*) FROM calls WHERE outcome = 'open'").fetchone()
        if running:
            raise ConfigError(f"{source}: {running} calls are under way; stop the processes that write to it first")
        row = file.execute("SELECT id FROM identity").fetchone()
        if row is None:
            row = (secrets.token_hex(8),)
            file.execute("INSERT INTO identity VALUES (?)", row)
        return str(row[0])


def _open_snapshot(path: Path) -> sqlite3.Connection:
    """Open a file to read it as it is at this moment."""
    file = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    file.execute("BEGIN")
    return file


def _ask(target: StoreUrl, query: str, *values: Any) -> tuple[Any, ...]:
    """Return the one row of a query."""
    with closing(open_writing(target)) as connection:
        return cast("tuple[Any, ...]", connection.execute(query, values).fetchone())


def _raw(connection: Connection) -> Any:
    return cast(PostgresConnection, connection).raw


def _copy_calls(file: sqlite3.Connection, target: StoreUrl, source: str) -> CopiedTable:
    query = f"SELECT {', '.join(CALL_COLUMNS)} FROM calls WHERE outcome <> 'open' ORDER BY id"  # noqa: S608
    added = 0
    for chunk in split_rows(file.execute(query)):
        added += transact(target, partial(_insert_calls, source=source, chunk=chunk))
    rows, charged = file.execute("SELECT count(*), total(charged) FROM calls WHERE outcome <> 'open'").fetchone()
    known, found, sum_there = _ask(
        target,
        "SELECT count(*), count(calls.id), coalesce(sum(charged), 0) FROM copied_calls LEFT JOIN calls "
        "ON calls.id = call WHERE source = ?",
        source,
    )
    is_all_there = known == found == rows
    return CopiedTable("calls", rows, added, known, (charged, sum_there) if is_all_there else None)


def _insert_calls(connection: Connection, source: str, chunk: Sequence[tuple[Any, ...]]) -> int:
    raw = _raw(connection)
    there = set(
        raw.execute(
            "SELECT id, request FROM copied_calls WHERE source = %s AND id = ANY(%s)",
            (source, [row[0] for row in chunk]),
        ).fetchall()
    )
    new = [row for row in chunk if row[:2] not in there]
    if not new:
        return 0
    numbers = [row[0] for row in raw.execute(GIVE_IDS, (len(new),)).fetchall()]
    raw.execute(INSERT_CALLS, columns([(n, *map(_clean, row[1:]), OWNER) for n, row in zip(numbers, new, strict=True)]))
    raw.execute(
        "INSERT INTO copied_calls SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::bigint[])",
        columns([(source, row[0], row[1], n) for n, row in zip(numbers, new, strict=True)]),
    )
    return len(new)


def _clean(value: Any) -> Any:
    return clean_text(value) if isinstance(value, str) else value


def _copy_notes(file: sqlite3.Connection, target: StoreUrl, source: str) -> CopiedTable:
    """Copy the notes; those of calls that were deleted are left out."""
    notes = "FROM notes n JOIN calls c ON c.id = n.call AND c.request = n.request"
    added = 0
    for chunk in split_rows(
        file.execute(f"SELECT n.id, n.call, n.request, n.at, n.cost, n.note {notes} ORDER BY n.id")
    ):
        added += transact(target, partial(_insert_notes, source=source, chunk=chunk))
    (rows,) = file.execute(f"SELECT count(*) {notes}").fetchone()
    (there,) = _ask(target, "SELECT count(*) FROM copied_notes WHERE source = ?", source)
    return CopiedTable("notes", rows, added, there)


def _insert_notes(connection: Connection, source: str, chunk: Sequence[tuple[Any, ...]]) -> int:
    raw = _raw(connection)
    ids = [row[0] for row in chunk]
    done = raw.execute("SELECT id FROM copied_notes WHERE source = %s AND id = ANY(%s)", (source, ids)).fetchall()
    there = {row[0] for row in done}
    new = [row for row in chunk if row[0] not in there]
    if not new:
        return 0
    raw.execute(
        "INSERT INTO notes (call, request, at, cost, note) SELECT c.call, u.r, u.at, u.cost, u.note "
        "FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::float8[], %s::float8[], %s::text[]) "
        "AS u (id, call, r, at, cost, note) "
        "JOIN copied_calls c ON c.source = %s AND c.id = u.call AND c.request = u.r ORDER BY u.id",
        (*columns([tuple(map(_clean, row)) for row in new]), source),
    )
    raw.execute("INSERT INTO copied_notes SELECT %s, * FROM unnest(%s::bigint[])", (source, [row[0] for row in new]))
    return len(new)


def _copy_windows(file: sqlite3.Connection, target: StoreUrl, source: str) -> CopiedTable:
    """Add what was spent by day and month; of what was copied before, only what has been spent since."""
    added = 0
    for chunk in split_rows(
        file.execute("SELECT key, window, spent FROM windows WHERE spent > 0 ORDER BY key, window")
    ):
        added += transact(target, partial(_add_windows, source=source, chunk=chunk))
    mine = {row[:2]: row[2] for row in file.execute("SELECT key, window, spent FROM windows WHERE spent > 0")}
    with closing(open_writing(target)) as connection:
        query = 'SELECT key, "window", spent FROM copied_windows WHERE source = ?'
        copied = {row[:2]: row[2] for row in connection.execute(query, (source,)).fetchall()}
    same = sum(copied.get(key) == spent for key, spent in mine.items())
    return CopiedTable("windows", len(mine), added, same, (_sum_days(mine), _sum_days(copied)))


def _sum_days(windows: Mapping[tuple[str, str], int]) -> float:
    """Return the dollars of all days, all tenants together."""
    days = (
        spent for (key, window), spent in windows.items() if key == ALL_TENANTS and len(window) == len("2026-11-25")
    )
    return sum(days) / PICODOLLARS_PER_DOLLAR


def _add_windows(connection: Connection, source: str, chunk: Sequence[tuple[str, str, int]]) -> int:
    raw = _raw(connection)
    raw.execute(
        "INSERT INTO windows SELECT k, v, 0, 0 FROM unnest(%s::text[], %s::text[]) AS u (k, v) ON CONFLICT DO NOTHING",
        ([row[0] for row in chunk], [row[1] for row in chunk]),
    )
    before = raw.execute('SELECT key, "window", spent FROM copied_windows WHERE source = %s', (source,)).fetchall()
    known = {(key, window): spent for key, window, spent in before}
    changed = [row for row in chunk if row[2] != known.get(row[:2])]
    windows: dict[tuple[str, str], Window] = lock_windows(raw, [(key, window) for key, window, _ in changed])
    for key, window, spent in changed:
        windows[key, window].add(spent - known.get((key, window), 0))
    if changed:
        write_windows(raw, windows)
        raw.execute(
            "INSERT INTO copied_windows SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::bigint[]) "
            'ON CONFLICT (source, key, "window") DO UPDATE SET spent = excluded.spent',
            (source, *columns(changed)),
        )
    return len(changed)


def _copy_keys(file: sqlite3.Connection, target: StoreUrl) -> CopiedTable:
    """Copy keys that the database has not; one of the same name stays as it is there."""
    if not has_table(file, "keys"):
        return CopiedTable("keys", 0, 0, 0)
    keys = file.execute(f"SELECT {KEY_COLUMNS} FROM keys ORDER BY changed").fetchall()  # noqa: S608
    found = file.execute("SELECT digest, name, prefix, created, expires FROM key_secrets").fetchall()
    return transact(target, partial(_insert_keys, keys=keys, found=found), table="keys")


def _insert_keys(connection: Connection, keys: Sequence[Any], found: Sequence[Any]) -> CopiedTable:
    there = {row[0] for row in connection.execute("SELECT name FROM keys").fetchall()}
    digests = {bytes(row[0]) for row in connection.execute("SELECT digest FROM key_secrets").fetchall()}
    added, others = 0, []
    for key in keys:
        own = [row for row in found if row[1] == key[0]]
        if key[0] in there:
            if not any(row[0] in digests for row in own):
                others.append(f"key '{key[0]}'")
            continue
        marks = ", ".join("?" * len(key))
        connection.execute(
            f"INSERT INTO keys ({KEY_COLUMNS}, changed) "  # noqa: S608
            f"VALUES ({marks}, (SELECT coalesce(max(changed), 0) + 1 FROM keys))",
            key,
        )
        connection.executemany("INSERT INTO key_secrets VALUES (?, ?, ?, ?, ?)", own)
        added += 1
    return CopiedTable("keys", len(keys), added, len(keys) - len(others), skipped=tuple(others))
