"""A database that is away, in the way, or loses the connection: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psycopg
import pytest

from routemoa.core.access.tenants import SpendingLimits, Tenant, Tenants
from routemoa.core.errors import BudgetExceeded
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.usage import Usage
from routemoa.ledger import Store, StoreError, StoreUrl, read_calls
from routemoa.ledger.postgres import ledger as ledger_module
from routemoa.ledger.postgres import session
from tests.ledger.postgres.proxy import CuttingProxy
from tests.ledger.postgres.server import PostgresServer

TENANTS = Tenants((Tenant("acme", "K", 1000.0),), SpendingLimits(), (b"",))


def name_of(url: StoreUrl) -> str:
    return url.secret.rpartition("/")[2]


def totals(server: PostgresServer, url: StoreUrl, key: str) -> tuple[float, float]:
    """Dollars spent and held in all days."""
    (row,) = server.execute(
        name_of(url),
        "SELECT coalesce(sum(spent), 0)::float8 / 1e12, coalesce(sum(held), 0)::float8 / 1e12 FROM routemoa.windows "
        f"WHERE length(\"window\") = 10 AND key = '{key}'",
    )
    return float(str(row[0])), float(str(row[1]))


async def call(store: Store, tenant: str | None, dollars: float = 0.01) -> None:
    recorder = store.recorder(tenant, "m")
    number = await recorder.start(CallStart("a", "proposal", 2 * dollars))
    await asyncio.sleep(0)
    recorder.finish(number, CallResult(Usage(1, 1), dollars, dollars, 0.1, "ok"))


def outcomes(url: StoreUrl) -> list[str]:
    return [c.outcome for c in read_calls(url)]


@pytest.mark.parametrize("how", ["before", "after"])
async def test_a_connection_lost_during_commit_counts_each_call_once(
    postgres_server: PostgresServer, database: StoreUrl, how: str
) -> None:
    proxy = CuttingProxy(postgres_server.port)
    store = Store(postgres_server.url(name_of(database), port=proxy.port), TENANTS)
    await call(store, "acme")
    await store.flush()
    for _ in range(3):
        proxy.cut = "before" if how == "before" else "after"
        await asyncio.gather(*(call(store, tenant) for tenant in ("acme", None) for _ in range(5)))
        await store.flush()
    assert proxy.cuts == 3
    await store.aclose()
    assert outcomes(database) == ["ok"] * 31
    assert totals(postgres_server, database, "acme") == pytest.approx((0.16, 0.0))
    assert totals(postgres_server, database, "*") == pytest.approx((0.31, 0.0))
    proxy.close()


def count_deadlocks(server: PostgresServer, url: StoreUrl) -> int:
    """Return how many deadlocks there have been in a database."""
    (row,) = server.execute("postgres", f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name_of(url)}'")
    return int(str(row[0]))


async def test_a_deadlock_is_tried_again(postgres_server: PostgresServer, database: StoreUrl) -> None:
    before = count_deadlocks(postgres_server, database)
    store = Store(database, TENANTS)
    await call(store, "acme")
    await store.flush()
    with psycopg.connect(database.secret) as other:
        other.execute("SET deadlock_timeout = '20s'")  # so that the ledger is the one that is cut
        other.execute("UPDATE routemoa.windows SET spent = spent WHERE key = 'acme'")
        task = asyncio.create_task(call(store, "acme"))  # locks "*", and waits for "acme"
        await asyncio.sleep(0.2)
        await asyncio.to_thread(other.execute, "UPDATE routemoa.windows SET spent = spent WHERE key = '*'")
        other.commit()
        await asyncio.wait_for(task, 5)
    await store.aclose()
    assert count_deadlocks(postgres_server, database) > before
    assert outcomes(database) == ["ok"] * 2
    assert totals(postgres_server, database, "acme") == pytest.approx((0.02, 0.0))


async def test_a_connection_ended_in_the_middle_of_a_batch_is_made_again(
    postgres_server: PostgresServer, database: StoreUrl
) -> None:
    store = Store(database, TENANTS)
    await call(store, "acme")
    await store.flush()
    with psycopg.connect(database.secret) as other:
        other.execute("UPDATE routemoa.windows SET spent = spent")
        tasks = [asyncio.create_task(call(store, tenant)) for tenant in ("acme", None)]
        await asyncio.sleep(0.1)
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'routemoa' AND datname = current_database()"
        )
        other.commit()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
    await store.aclose()
    assert outcomes(database) == ["ok"] * 3
    assert totals(postgres_server, database, "*") == pytest.approx((0.03, 0.0))


async def test_a_server_killed_under_load_loses_nothing_and_counts_nothing_twice(
    mortal_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = mortal_server.make_database()
    stores = [Store(url, TENANTS), Store(url, TENANTS)]
    made = {"acme": 0, "-": 0}
    refused = 0
    is_over = False

    async def work(store: Store, tenant: str | None) -> None:
        nonlocal refused
        while not is_over:
            try:
                await call(store, tenant)
                made[tenant or "-"] += 1
            except StoreError:
                assert tenant == "acme", "a call without a budget never fails"
                refused += 1
            await asyncio.sleep(0.002)

    workers = [asyncio.create_task(work(s, t)) for s in stores for t in ("acme", None) for _ in range(4)]
    for _ in range(2):
        await asyncio.sleep(0.5)
        await asyncio.to_thread(mortal_server.kill)
        await asyncio.sleep(0.7)
        await asyncio.to_thread(mortal_server.start)
    before = made["acme"]
    async with asyncio.timeout(10):
        while made["acme"] < before + 20:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    is_over = True
    await asyncio.gather(*workers)
    assert refused > 0, "budgets fail closed"
    for store in stores:
        await store.aclose()
    calls = list(read_calls(url))
    assert {c.outcome for c in calls} == {"ok"}
    for key, count in made.items():
        assert sum(c.key == key for c in calls) == count
        assert totals(mortal_server, url, key) == pytest.approx((0.01 * count, 0.0))


async def test_while_a_server_cannot_be_written_budgets_are_shut_and_the_rest_waits(
    postgres_server: PostgresServer, database: StoreUrl
) -> None:
    """As during a failover: the server that answers is a standby."""
    name = name_of(database)
    store = Store(database, TENANTS)
    await call(store, "acme")
    await store.flush()
    postgres_server.execute("postgres", f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres_server.execute(
        "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    for _ in range(20):
        await asyncio.wait_for(call(store, None), 2)
    with pytest.raises(StoreError, match="cannot be reached"):
        await call(store, "acme")
    assert len(outcomes(database)) == 1
    assert store.backlog[0] >= 40
    postgres_server.execute("postgres", f"ALTER DATABASE {name} RESET default_transaction_read_only")
    async with asyncio.timeout(10):
        while store.backlog[0]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await store.flush()
    assert outcomes(database) == ["ok"] * 21
    assert store.backlog == (0, 0.0)
    await call(store, "acme")
    await store.aclose()
    assert totals(postgres_server, database, "*") == pytest.approx((0.22, 0.0))


async def test_a_server_that_does_not_answer_holds_nothing_up_for_long(
    mortal_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger_module, "PATIENCE", 1.5)
    monkeypatch.setattr(ledger_module, "CLOSING_SECONDS", 0.5)
    url = mortal_server.make_database()
    stores = [Store(url, TENANTS), Store(url, TENANTS)]
    for store in stores:
        await call(store, "acme")
        await store.flush()
    mortal_server.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        for _ in range(20):
            await call(stores[0], None)
        assert time.monotonic() - began < 3, "the first call waits a moment, the others do not"
        with pytest.raises(StoreError, match="has not answered"):
            await call(stores[0], "acme")
        await call(stores[1], None)
        began = time.monotonic()
        await asyncio.to_thread(stores[1].close)
        assert time.monotonic() - began < 5
        assert "does not answer" in caplog.text
    finally:
        mortal_server.signal(signal.SIGCONT)
    await asyncio.sleep(0.5)
    await stores[0].aclose()
    assert outcomes(url).count("ok") == 23
    assert totals(mortal_server, url, "*") == pytest.approx((0.23, 0.0))


async def test_what_may_wait_in_memory_is_bounded(
    mortal_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ledger_module, "MAX_QUEUED", 20)
    url = mortal_server.make_database()
    store = Store(url)
    mortal_server.kill()
    for _ in range(50):
        await call(store, None)
    with caplog.at_level(logging.WARNING):
        assert store.backlog[0] <= 24
    assert "others are made without a record" in caplog.text
    await asyncio.to_thread(mortal_server.start)
    await store.aclose()
    assert 10 <= len(outcomes(url)) <= 12


async def test_the_calls_of_a_process_whose_lease_has_ended_count_once(
    postgres_server: PostgresServer, database: StoreUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused, other = Store(database, TENANTS), Store(database, TENANTS)
    recorder = paused.recorder("acme", "m")
    numbers = [await recorder.start(CallStart("a", "proposal", 0.5)) for _ in range(3)]
    await call(other, "acme")
    await other.flush()
    postgres_server.execute(
        name_of(database),
        "UPDATE routemoa.owners SET expires = now() - interval '1 s' WHERE id = "
        "(SELECT owner FROM routemoa.calls ORDER BY id LIMIT 1)",
    )
    monkeypatch.setattr(session, "IS_SETTLED_IN", "true")
    looker = session.LedgerSession(database, other._budgets, time.time)
    looker.connect()
    assert looker.settle_lost() in (0, 3)
    end = time.monotonic() + 5
    while outcomes(database).count("lost") < 3 and time.monotonic() < end:
        looker._owner = looker._owner._replace(lease=0.0)
        looker.settle_lost()
    assert outcomes(database) == ["lost"] * 3 + ["ok"]
    assert totals(postgres_server, database, "acme") == pytest.approx((1.51, 0.0))
    assert looker.settle_lost() == 0
    recorder.finish(numbers[0], CallResult(Usage(1, 1), 0.1, 0.1, 0.1, "ok"))  # it was only away
    await paused.flush()
    assert outcomes(database) == ["ok", "lost", "lost", "ok"]
    assert totals(postgres_server, database, "acme") == pytest.approx((1.11, 0.0))
    for store in (paused, other):
        await store.aclose()
    looker.disconnect()
    assert totals(postgres_server, database, "acme") == pytest.approx((1.11, 0.0))


async def test_texts_that_no_column_can_hold_break_nothing(postgres_server: PostgresServer, database: StoreUrl) -> None:
    store = Store(database, TENANTS)
    recorder = store.recorder("acme", "m\0\ud800")
    number = await recorder.start(CallStart("a\0", "proposal", 0.5))
    recorder.finish(number, CallResult(Usage(2**70, -1), 0.1, 0.1, 0.1, "o\0k", "note\0\ud800"))
    await call(store, None)
    await store.aclose()
    first, second = read_calls(database)
    assert (first.model, first.method, first.note, first.outcome) == ("a\ufffd", "m\ufffd?", "note\ufffd?", "o\ufffdk")
    assert second.outcome == "ok"


async def test_a_lock_in_the_database_does_not_block_the_loop(database: StoreUrl) -> None:
    store = Store(database, TENANTS)
    await call(store, "acme")
    await store.flush()
    with psycopg.connect(database.secret) as other:
        other.execute("UPDATE routemoa.windows SET spent = spent")
        task = asyncio.create_task(call(store, "acme"))
        began = time.perf_counter()
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert time.perf_counter() - began < 0.5
        assert not task.done()
        began = time.perf_counter()
        await call(store, None)  # waits a moment, then goes on
        assert time.perf_counter() - began < 3
        other.rollback()
    await asyncio.wait_for(task, 5)
    await store.aclose()
    assert outcomes(database) == ["ok"] * 3


async def test_budgets_hold_between_stores_that_share_a_database(
    postgres_server: PostgresServer, database: StoreUrl
) -> None:
    tight = Tenants((Tenant("acme", "K", 1.0),), SpendingLimits(), (b"",))
    stores = [Store(database, tight) for _ in range(3)]

    async def spend(store: Store) -> None:
        for _ in range(40):
            with suppress(BudgetExceeded):
                await call(store, "acme")
            assert sum(totals(postgres_server, database, "acme")) <= 1.0

    await asyncio.gather(*(spend(store) for store in stores))
    for store in stores:
        await store.aclose()
    spent, held = totals(postgres_server, database, "acme")
    assert 0.98 < spent <= 1.0
    assert held == 0.0


DYING = """
import asyncio, sys, time
from routemoa.core.protocols import CallStart
from routemoa.core.access.tenants import SpendingLimits, Tenant, Tenants
from routemoa.ledger import Store, parse_location
from routemoa.ledger.postgres import session
session.LEASE_SECONDS = 1.0

async def main():
    store = Store(parse_location(sys.argv[1]), Tenants((Tenant("acme", "K", 1000.0),), SpendingLimits(), (b"",)))
    for _ in range(5):
        await store.recorder("acme", "m").start(CallStart("a", "proposal", 0.5))
    print("open", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_the_budget_of_a_killed_process_is_free_again_when_its_lease_ends(
    postgres_server: PostgresServer, database: StoreUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(ledger_module, "LEASE_INTERVAL", 0.2)
    survivor = Store(database, TENANTS)
    with subprocess.Popen([sys.executable, "-c", DYING, database.secret], stdout=subprocess.PIPE, text=True) as dying:
        assert dying.stdout is not None
        assert dying.stdout.readline() == "open\n"
        dying.kill()
    assert outcomes(database) == ["open"] * 5
    assert totals(postgres_server, database, "acme") == (0.0, 2.5)
    began = time.monotonic()
    while "open" in outcomes(database) and time.monotonic() - began < 10:
        time.sleep(0.05)
    assert time.monotonic() - began < 4, "its lease, the look of the others, and a busy machine"
    assert outcomes(database) == ["lost"] * 5
    assert totals(postgres_server, database, "acme") == (2.5, 0.0)
    survivor.close()
