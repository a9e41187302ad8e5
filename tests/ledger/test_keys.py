"""Keys in the store: made, rotated, revoked, read again when they change; their budgets are the ledger's."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from routemoa.core.access.secret_keys import digest_secret
from routemoa.core.access.tenants import Tenant, Tenants
from routemoa.core.errors import BudgetExceeded, ConfigError
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.usage import Usage
from routemoa.ledger import Store, StoreError, StoreLocation
from routemoa.ledger.keys import KeyNameTaken, KeyReader, UnknownKey, create_key, read_keys, revoke_key, rotate_key
from routemoa.ledger.schema import remove_log
from routemoa.ledger.sqlite.identity import identify_file

FULL = Tenant("ci", "", 2.0, 20.0, ("a", "b/c"), ("routemoa",), 60, 10_000, 3)


def test_a_key_is_kept_with_its_terms_and_only_the_digest_of_its_secret(place: StoreLocation) -> None:
    made = create_key(place, FULL, 100.0, 500.0)
    (key,) = read_keys(place)
    assert key == made.key
    assert (key.tenant, key.created, key.expires, key.revoked) == (FULL, 100.0, 500.0, None)
    assert key.secrets[0].digest == digest_secret(made.secret)
    assert made.secret not in repr(made)
    if isinstance(place, Path):
        for file in place.parent.rglob("*"):
            assert not file.is_file() or made.secret.encode() not in file.read_bytes()
        assert place.stat().st_mode & 0o077 == 0


def test_without_a_store_there_is_no_key_and_none_is_created_by_looking(place: StoreLocation) -> None:
    assert read_keys(place) == ()
    assert KeyReader(place).read_changed() == ()
    for change in (lambda: revoke_key(place, "ci", 1.0), lambda: rotate_key(place, "ci", 1.0)):
        with pytest.raises(UnknownKey, match="no key 'ci'"):
            change()
    assert not isinstance(place, Path) or not place.exists()


def test_a_name_is_given_once(place: StoreLocation) -> None:
    create_key(place, FULL, 1.0)
    with pytest.raises(KeyNameTaken, match="there is a key 'ci'"):
        create_key(place, FULL, 2.0)
    revoke_key(place, "ci", 3.0)
    with pytest.raises(KeyNameTaken, match="was revoked"):
        create_key(place, FULL, 4.0)
    assert [k.created for k in read_keys(place)] == [1.0]


def test_a_rotation_ends_the_secrets_of_before_at_the_end_of_the_grace(place: StoreLocation) -> None:
    first = create_key(place, FULL, 0.0).secret
    second = rotate_key(place, "ci", 100.0, grace=1000.0).secret
    third = rotate_key(place, "ci", 200.0, grace=50.0)
    accepted = Tenants().with_keys(read_keys(place))
    known = {"first": first, "second": second, "third": third.secret}
    at = {t: [n for n, s in known.items() if accepted.find(s, t)] for t in (201.0, 250.0)}
    assert at == {201.0: ["first", "second", "third"], 250.0: ["third"]}, "a later rotation cuts an earlier grace"
    assert third.key.secrets[-1].digest == digest_secret(third.secret)
    now = rotate_key(place, "ci", 300.0)
    assert Tenants().with_keys(read_keys(place)).find(third.secret, 300.0) is None
    assert now.key.tenant == FULL


def test_what_was_revoked_or_has_expired_is_not_rotated(place: StoreLocation) -> None:
    create_key(place, FULL, 0.0, 100.0)
    with pytest.raises(ConfigError, match="has expired"):
        rotate_key(place, "ci", 100.0)
    assert rotate_key(place, "ci", 100.0, expires=900.0).key.expires == 900.0
    assert revoke_key(place, "ci", 110.0).revoked == 110.0
    assert revoke_key(place, "ci", 120.0).revoked == 110.0, "the first time stays"
    with pytest.raises(ConfigError, match="was revoked"):
        rotate_key(place, "ci", 130.0)


def test_a_reader_sees_each_change_once(place: StoreLocation) -> None:
    Store(place).close()
    reader = KeyReader(place)
    assert reader.read_changed() == ()
    assert reader.read_changed() is None
    for change in (
        lambda: create_key(place, FULL, 1.0),
        lambda: create_key(place, Tenant("b", ""), 1.0),
        lambda: rotate_key(place, "b", 2.0),
        lambda: revoke_key(place, "ci", 3.0),
        lambda: revoke_key(place, "b", 3.0),
    ):
        change()
        assert reader.read_changed() == read_keys(place)
        assert reader.read_changed() is None
    reader.close()


def test_a_reader_follows_a_file_that_is_replaced_and_a_store_of_before_keys(tmp_path: Path) -> None:
    path, other = tmp_path / "s.db", tmp_path / "other.db"
    create_key(path, FULL, 1.0)
    create_key(other, Tenant("new", ""), 1.0)
    with closing(sqlite3.connect(other)) as c:
        c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    reader = KeyReader(path)
    assert [k.tenant.name for k in reader.read_changed() or ()] == ["ci"]
    remove_log(path)
    other.replace(path)
    assert [k.tenant.name for k in reader.read_changed() or ()] == ["new"]
    with closing(sqlite3.connect(path)) as c:
        c.executescript("DROP TABLE keys; DROP TABLE key_secrets")
    assert reader.read_changed() == ()
    (tmp_path / "bad").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    remove_log(path)
    (tmp_path / "bad").replace(path)
    with pytest.raises(StoreError):
        reader.read_changed()


def test_keys_are_made_beside_each_other_and_beside_a_store_that_writes(place: StoreLocation) -> None:
    store = Store(place)
    names = [f"k{i}" for i in range(24)]

    def make(part: list[str]) -> None:
        for name in part:
            create_key(place, Tenant(name, ""), time.time())

    async def call() -> None:
        recorder = store.recorder(None, "m")
        while any(t.is_alive() for t in threads):
            number = await recorder.start(CallStart("a", "proposal", 0.1))
            recorder.finish(number, CallResult(Usage(1, 1), 0.0, 0.0, 0.1, "ok"))

    threads = [threading.Thread(target=make, args=(names[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(call())
    store.close()
    assert {k.tenant.name for k in read_keys(place)} == set(names)


async def test_the_budget_of_a_new_key_counts_from_what_its_name_has_spent(place: StoreLocation) -> None:
    key = create_key(place, Tenant("ci", "", 1.0), time.time()).key
    store = Store(place, Tenants().with_keys([key]))
    recorder = store.recorder("ci", "m")
    number = await recorder.start(CallStart("a", "proposal", 0.75))
    recorder.finish(number, CallResult(Usage(1, 1), 0.75, 0.75, 0.1, "ok"))
    await store.aclose()

    again = Store(place)
    assert again.remaining_budget("ci") is None
    again.use_tenants(Tenants().with_keys([key]))
    end = time.monotonic() + 5
    while (left := again.remaining_budget("ci")) and left.day == 1.0 and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # a database is read again by a thread
    assert left is not None
    assert left.day == pytest.approx(0.25)
    with pytest.raises(BudgetExceeded, match="'ci'"):
        await again.recorder("ci", "m").start(CallStart("a", "proposal", 0.5))
    again.use_tenants(Tenants())
    await again.recorder("ci", "m").start(CallStart("a", "proposal", 0.5))
    await again.aclose()


def test_a_key_made_beside_an_open_store_leaves_the_store_locked_against_others(tmp_path: Path) -> None:
    place = tmp_path / "store.db"
    store = Store(place)
    create_key(place, FULL, 1.0)
    log = identify_file(tmp_path / "store.db-wal")
    other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM keys'); c.close()"
    subprocess.run([sys.executable, "-S", "-c", other, place], check=True)
    assert log is not None
    assert identify_file(tmp_path / "store.db-wal") == log, "the last process to leave deletes the log"
    store.close()
