"""`routemoa store`, and the commands that read one, as they are typed: real processes, a file and a real database."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from routemoa.core.access.tenants import Tenant
from routemoa.ledger import StoreLocation, StoreUrl, read_calls
from routemoa.ledger.keys import create_key
from tests.cli.in_process import run_in_process
from tests.ledger.copies.test_copying import keep_traces, spend


def run(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = run_in_process(*words)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "not-secret" not in done.stdout + done.stderr, "the password of the database"
    return done


def name(store: StoreLocation) -> str:
    return store.secret if isinstance(store, StoreUrl) else str(store)


def read_json(*words: str, status: int = 0) -> Any:
    return json.loads(run(*words, "--json", status=status).stdout)


async def test_a_store_is_checked_and_made(place: StoreLocation) -> None:
    store = ("--store", name(place))
    assert "routemoa store migrate" in run("store", "check", *store, status=1).stdout
    before = read_json("store", "check", *store, status=1)
    assert (before["schema"], before["current"], before["rows"]) == (None, False, {})
    assert "made the tables" in run("store", "migrate", *store).stdout
    assert "nothing to do" in run("store", "migrate", *store).stdout
    await spend(place, 3)
    after = read_json("store", "check", *store)
    assert after["store"] == str(place)
    assert after["current"]
    assert after["schema"] == after["known"]
    assert after["rows"]["calls"] == 3
    assert "3 calls" in run("store", "check", *store).stdout


async def test_a_file_is_copied_and_all_commands_read_the_copy(tmp_path: Path, database: StoreUrl) -> None:
    file = tmp_path / "store.db"
    await spend(file, 5)
    create_key(file, Tenant("ci", "", 2.0), 1.0)
    keep_traces(file, 0, 2)
    shown = run("store", "copy", str(file), database.secret)
    assert "NO" not in shown.stdout
    assert f"ROUTEMOA_STORE={database}" in shown.stderr
    again = read_json("store", "copy", str(file), database.secret)
    assert again["whole"]
    assert [t["copied"] for t in again["tables"]] == [0] * 6
    store = ("--store", database.secret)
    assert read_json("ledger", *store, "--by", "key")["total"]["calls"] == 5
    assert [k["name"] for k in read_json("keys", "list", *store)["keys"]] == ["ci"]
    assert read_json("traces", "show", "0", *store)["id"] == "0"
    first = next(iter(read_calls(database))).id
    run("ledger", "correct", str(first), "--cost", "0.5", "--reason", "the invoice", *store)
    assert next(iter(read_calls(database))).charged == 0.5


def test_copy_takes_a_file_and_a_url(tmp_path: Path) -> None:
    for words in (("a.db", "b.db"), ("postgresql://h/a", "postgresql://h/b")):
        assert "routemoa store copy store.db postgresql://" in run("store", "copy", *words, status=2).stderr
    assert "no such file" in run("store", "copy", str(tmp_path / "x"), "postgresql://127.0.0.1:1/b", status=2).stderr
