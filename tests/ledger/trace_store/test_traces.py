"""Traces are kept beside the ledger: whole, bounded, each tenant's own, and without texts where that is wanted."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from routemoa.core.errors import ConfigError
from routemoa.core.tables.traces_table import TraceSettings, parse_traces_table
from routemoa.core.trace import Answer, Layer, Proposal, Trace
from routemoa.core.types import Query
from routemoa.core.usage import Usage
from routemoa.ledger.location import StoreLocation, StoreUrl
from routemoa.ledger.schema import StoreError
from routemoa.ledger.trace_store import traces as module
from routemoa.ledger.trace_store.trace_tables import open_traces
from routemoa.ledger.trace_store.traces import Feedback, TraceStore, read_traces, traces_path
from tests.ledger.postgres.server import PostgresServer


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def answer(text: str = "It is 4.") -> Answer:
    proposal = Proposal("a", text, Usage(3, 4), 0.1, 0.001)
    trace = Trace(Query.from_text("2+2?"), "routemoa", layers=(Layer(("a",), (proposal,)),), choice="a", calls=1)
    return Answer(text, trace)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(place: StoreLocation, clock: Clock) -> Iterator[TraceStore]:
    opened = TraceStore(traces_path(place), TraceSettings(), clock)
    yield opened
    opened.close()


def test_a_trace_comes_back_whole_to_its_own_tenant(store: TraceStore, clock: Clock) -> None:
    store.add("1", answer(), "team")
    store.flush()
    found = store.find("1", "team")
    assert found is not None
    assert found.answer == answer()
    assert (found.at, found.tenant, found.feedback) == (clock.now, "team", ())
    assert store.find("1", "other") is None
    assert store.find("1", None) is None
    assert store.find("2", "team") is None


def test_an_answer_can_be_named_as_soon_as_it_is_given(store: TraceStore) -> None:
    for i in range(300):
        store.add(str(i), answer(), None)
        assert store.add_feedback(str(i), None, Feedback(1.0)), i
    store.add("last", answer(), None)
    assert store.find("last", None) is not None


def test_the_latest_are_read_the_oldest_first(store: TraceStore) -> None:
    for i in range(5):
        store.add(str(i), answer(), None)
    store.flush()
    assert [s.id for s in read_traces(store.path, latest=3)] == ["2", "3", "4"]


def test_feedback_is_kept_in_order_and_only_from_the_same_tenant(store: TraceStore, tmp_path: Path) -> None:
    store.add("1", answer(), "team")
    store.add("2", answer(), "team")
    store.flush()
    said = [Feedback(1.0), Feedback(expected="4", grader="numeric"), Feedback(labels={"a": 0.5})]
    assert all(store.add_feedback("1", "team", one) for one in said)
    assert not store.add_feedback("1", "other", said[0])
    assert not store.add_feedback("3", "team", said[0])
    found = store.find("1", "team")
    assert found is not None
    assert list(found.feedback) == said
    assert [t.id for t in read_traces(store.path)] == ["1", "2"]
    assert [t.id for t in read_traces(store.path, with_feedback=True)] == ["1"]
    assert list(read_traces(tmp_path / "none.db")) == []


def test_the_oldest_are_deleted_by_age_and_beyond_the_size(place: StoreLocation, clock: Clock) -> None:
    store = TraceStore(place, TraceSettings(days=2.0, max_megabytes=1.0), clock)
    store.add("old", answer(), None)
    store.flush()
    assert store.add_feedback("old", None, Feedback(1.0))
    clock.now += 2.1 * 86_400
    store.add("new", answer(), None)
    store.flush()
    assert [t.id for t in read_traces(store.path)] == ["new"]
    with closing(open_traces(place)) as connection:
        assert connection.execute("SELECT count(*) FROM feedback").fetchone() == (0,), "goes with its trace"
    for number in range(400):  # incompressible: 8 kB each
        clock.now += 1.0
        store.add(
            str(number), answer("".join(chr(0x4E00 + (i * i * 7919 + number * i) % 20_000) for i in range(4000))), None
        )
        store.flush()
    kept = [t.id for t in read_traces(store.path)]
    assert kept[-1] == "399"
    assert len(kept) < 300
    store.close()


def test_without_texts_nothing_of_question_or_answer_is_in_the_file(place: StoreLocation) -> None:
    store = TraceStore(place, TraceSettings(texts=False))
    store.add("1", answer("my secret answer"), None)
    store.flush()
    found = store.find("1", None)
    store.close()
    assert found is not None
    assert found.answer.text == ""
    assert found.answer.trace.query.question == ""
    assert [p.text for p in found.answer.trace.layers[0].proposals] == [""]
    assert found.answer.trace.choice == "a"
    assert found.answer.trace.layers[0].proposals[0].usage == Usage(3, 4)


def test_a_share_of_answers_is_kept(tmp_path: Path) -> None:
    for sample, bounds in ((0.0, (0, 0)), (0.5, (60, 140)), (1.0, (200, 200))):
        store = TraceStore(tmp_path / f"{sample}.db", TraceSettings(sample=sample))
        for number in range(200):
            store.add(str(number), answer(), None)
        store.close()
        assert bounds[0] <= len(list(read_traces(store.path))) <= bounds[1]


def test_more_than_can_be_written_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: TraceStore
) -> None:
    store.add("1", answer(), None)
    store.flush()
    monkeypatch.setattr(module, "MAX_TRACE_BYTES", 100)
    store.add("2", answer(), None)
    store.flush()
    assert store.dropped == 1
    monkeypatch.setattr(module, "MAX_TRACE_BYTES", 10**6)
    with store._lock:  # the writer waits
        for number in range(module.MAX_QUEUED + 200):
            store.add(f"x{number}", answer(), None)
    assert store.dropped >= 50
    store.flush()
    assert store.find("x0", None) is not None


def test_a_file_that_is_locked_costs_traces_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t.db"
    store = TraceStore(path, TraceSettings())
    assert store._connection is not None
    store._connection.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.add("1", answer(), None)
    store.flush()
    other.execute("ROLLBACK")
    other.close()
    assert store.dropped == 1
    assert "meanwhile traces are not kept" in caplog.text
    store.add("2", answer(), None)
    store.flush()
    assert "traces are kept again; 1 in all were not" in caplog.text
    assert store.find("2", None) is not None
    store.close()


def test_the_file_is_the_owners_alone_and_stands_beside_the_ledger(tmp_path: Path) -> None:
    path = traces_path(tmp_path / "store.db")
    assert isinstance(path, Path)
    assert path.name == "store-traces.db"
    TraceStore(path, TraceSettings()).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "bad.db").write_bytes(b"this is no database, but a text " * 50)
    with pytest.raises(StoreError, match=r"bad\.db"):
        TraceStore(tmp_path / "bad.db", TraceSettings())


def test_a_connection_that_was_lost_is_made_again(postgres_server: PostgresServer, database: StoreUrl) -> None:
    store = TraceStore(database, TraceSettings())
    name = database.secret.rpartition("/")[2]
    for number in range(3):
        store.add(str(number), answer(), None)
        store.flush()
        postgres_server.execute(
            "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        assert store.find(str(number), None) is not None
        assert store.add_feedback(str(number), None, Feedback(1.0))
    assert store.find("\0\ud800", None) is None
    assert not store.add_feedback("\0\ud800", None, Feedback(1.0))
    store.close()
    assert [len(t.feedback) for t in read_traces(database)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"days": 0}, "days = 0"),
        ({"sample": 1.5}, "sample = 1.5"),
        ({"max_megabytes": 0.5}, "max_megabytes"),
        ({"kep": True}, "did you mean 'keep'"),
    ],
    ids=str,
)
def test_wrong_settings_are_said(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_traces_table(table, "pool.toml: [traces]")
