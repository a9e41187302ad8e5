"""Reading traces piece by piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from routemoa.core.tables.traces_table import TraceSettings
from routemoa.core.trace import Answer, Trace
from routemoa.core.types import Message, Query
from routemoa.ledger.location import StoreLocation
from routemoa.ledger.schema import StoreError
from routemoa.ledger.trace_store.trace_catalog import open_catalog
from routemoa.ledger.trace_store.traces import Feedback, TraceFactsText, TraceStore


def answer(text: str) -> Answer:
    return Answer("4", Trace(Query((Message("user", text),)), "routemoa"))


def list_numbers(path: Path) -> list[int]:
    with open_catalog(path) as catalog:
        return [] if catalog is None else catalog.list_numbers(9)


def test_the_newest_come_first_and_only_new_feedback_is_listed(place: StoreLocation) -> None:
    times = iter(range(1, 100))
    store = TraceStore(place, TraceSettings(), lambda: float(next(times)))
    for name in ("a", "b", "c"):
        store.add(name, answer(name), "acme")
    store.flush()
    assert store.add_feedback("b", "acme", Feedback(score=1.0))
    with open_catalog(store.path) as catalog:
        assert catalog is not None
        numbers = catalog.list_numbers(2)
        assert [t.id for _, t in sorted(catalog.read(numbers))] == ["b", "c"]
        assert catalog.read([999]) == []
        [(number, id_, said)] = catalog.list_feedback(0)
        assert (id_, said.score) == ("b", 1.0)
        assert catalog.list_feedback(number) == []
    store.close()


def test_facts_are_kept_beside_a_trace_by_the_version_of_their_rules(place: StoreLocation) -> None:
    settings = TraceSettings(max_megabytes=0.0)
    store = TraceStore(place, TraceSettings(), describe=lambda stored: TraceFactsText(1, f"one of {stored.id}"))
    store.add("a", answer("a"), None)
    store.add("b", answer("b"), None)
    store.flush()
    store.add_facts({"b": TraceFactsText(2, "two"), "deleted by now": TraceFactsText(2, "none")})
    with open_catalog(store.path) as catalog:
        assert catalog is not None
        numbers = catalog.list_numbers(9)
        assert [facts for _, facts in catalog.read_facts(numbers, 1)] == ["one of a"]
        assert [facts for _, facts in catalog.read_facts(numbers, 2)] == ["two"]
    store.close()
    emptied = TraceStore(place, settings)
    emptied.add("c", answer("c"), None)
    emptied.flush()
    with open_catalog(store.path) as catalog:
        assert catalog is not None
        assert catalog.read_facts(numbers, 2) == [], "they go with their traces"
    emptied.close()


def test_no_file_holds_none_and_another_file_is_refused(tmp_path: Path) -> None:
    assert list_numbers(tmp_path / "none.db") == []
    (tmp_path / "other.db").write_text("no database at all, but long enough to be read as one" * 30)
    with pytest.raises(StoreError):
        list_numbers(tmp_path / "other.db")
