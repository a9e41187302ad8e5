"""Each row has one result, in lines or in shards, and what was written is known again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from routemoa.datasets.jsonl import RecordsError
from routemoa.datasets.table_files import write_table
from routemoa.gateway.batches.jobs import results as module
from routemoa.gateway.batches.jobs.results import FAILED, RESULTS, ResultFormat, ResultStore, RowResult


def write(folder: Path, form: ResultFormat, rows: range) -> None:
    store = ResultStore(folder, form)
    for row in rows:
        error = {"message": "no", "type": "t", "code": None} if row % 5 == 4 else None
        store.write(RowResult(row, f"r{row}", answer=None if error else "4", error=error, response={"n": row}))
    store.close()


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_results_are_found_again(form: ResultFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 3)
    write(tmp_path, form, range(10))
    write(tmp_path, form, range(10, 15))
    store = ResultStore(tmp_path, form)
    assert (store.answered, store.failed) == (12, 3)
    assert [store.has(row) for row in (0, 14, 15, 9999)] == [True, True, False, False]
    assert sorted(row["row"] for row in store.read()) == [r for r in range(15) if r % 5 != 4]
    assert next(store.read())["response"] == {"n": 0}
    assert [row["row"] for row in store.read_failed()] == [4, 9, 14]
    store.close()
    shards = sorted(tmp_path.glob("*.parquet"))
    assert len(shards) == (5 if form == "parquet" else 0)
    if shards:
        write_table(shards[1], [{"row": 3}], {"row": "int64"})
        with pytest.raises(RecordsError, match=r"results-00001\.parquet: has no column id; remove that file"):
            ResultStore(tmp_path, form)


def test_a_shard_counts_where_the_process_ended_before_its_lines_were_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_ROWS", 100)
    store = ResultStore(tmp_path, "parquet")
    store.write(RowResult(0, "a"))
    store.write(RowResult(1, "b"))
    lines = (tmp_path / RESULTS).read_bytes()
    store.close()
    (tmp_path / RESULTS).write_bytes(lines)
    again = ResultStore(tmp_path, "parquet")
    assert again.answered == 2
    again.close()


def test_a_line_that_was_cut_is_done_again(tmp_path: Path) -> None:
    write(tmp_path, "jsonl", range(3))
    path = tmp_path / RESULTS
    path.write_bytes(path.read_bytes()[:-9])
    store = ResultStore(tmp_path)
    assert [store.has(row) for row in range(3)] == [True, True, False]
    store.write(RowResult(2, "r2"))
    store.close()
    assert path.read_bytes().count(b"\n") == 3


def test_two_results_of_a_row_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "jsonl", range(2))
    path = tmp_path / RESULTS
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(RecordsError, match="row 0 has two results"):
        ResultStore(tmp_path)


def test_failed_rows_can_be_repeated(tmp_path: Path) -> None:
    write(tmp_path, "jsonl", range(10))
    store = ResultStore(tmp_path, repeats_failed=True)
    assert (store.has(4), store.failed, len(list(store.read_failed()))) == (False, 0, 2)
    store.drop_failures()
    store.write(RowResult(4, "r4", error={"message": "no", "type": "x", "code": None}))
    assert [row["row"] for row in store.read_failed()] == [4]
    store.close()


@pytest.mark.parametrize("row", ["-1", "99999999999999", "1e30", '"1"', "null"])
def test_a_number_that_no_row_has_is_said_and_takes_no_memory(row: str, tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text(f'{{"row":{row}}}\n')
    with pytest.raises(RecordsError, match=r"results\.jsonl:1: .*; remove that line"):
        ResultStore(tmp_path)


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        (RESULTS, {"row": 0}, "missing required field 'id'"),
        (RESULTS, {"row": 0, "id": "x", "trace": None}, "missing required field 'response'"),
        (RESULTS, {"row": 0, "id": "x", "trace": None, "response": 5}, r"Expected 'object \| null', got 'int'"),
        (RESULTS, [1], "Expected 'object', got 'array'"),
        (FAILED, {"row": 0, "id": "x", "status": 400}, "missing required field 'error'"),
        (FAILED, {"row": 0, "id": "x", "status": 400, "error": {}}, "missing required field 'message'"),
    ],
)
def test_a_line_that_lacks_something_is_said_before_a_row_is_answered(
    name: str, line: object, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(line) + "\n")
    with pytest.raises(RecordsError, match=rf"{name}:1: .*{said}.*; remove that line, its row is done again"):
        ResultStore(tmp_path)


def test_a_process_that_ends_meanwhile_leaves_no_row_to_be_answered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's shard must not come between what is read and the lock."""
    first = ResultStore(tmp_path, "parquet")
    first.write(RowResult(0, "a", answer="x"))
    list_shards = ResultStore._shards

    def end_meanwhile(store: ResultStore) -> list[Path]:
        found = list_shards(store)
        if store is not first:
            monkeypatch.undo()
            first.close()
        return found

    monkeypatch.setattr(ResultStore, "_shards", end_meanwhile)
    with pytest.raises(RecordsError, match="another process"):
        ResultStore(tmp_path, "parquet")
    monkeypatch.undo()
    first.close()
    second = ResultStore(tmp_path, "parquet")
    assert second.has(0)
    second.close()
