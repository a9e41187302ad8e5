"""Rows of files, folders and URLs come one at a time, in one order, each as JSON."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from routemoa.core.errors import ConfigError
from routemoa.datasets.input_files import is_url, list_input_files
from routemoa.datasets.input_rows import InputFiles, InputRow


def rows_of(path: object, limit: int | None = None) -> list[InputRow]:
    return list(InputFiles(tuple(list_input_files(str(path))), limit).rows())


def test_a_folder_is_its_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.jsonl.gz").write_bytes(gzip.compress(b'{"n": 3}\n{"n": 4}\n'))
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n\n{"n": 2}\n')
    (tmp_path / "notes.txt").write_text("no rows")
    (tmp_path / ".hidden.jsonl").write_text("{}")
    found = rows_of(tmp_path)
    assert [json.loads(row.data)["n"] for row in found] == [1, 2, 3, 4]
    assert [(row.number, row.line) for row in found] == [(0, 1), (1, 3), (2, 1), (3, 2)]


def test_results_inside_of_the_input_are_no_input(tmp_path: Path) -> None:
    for name in ("in/a.jsonl", "in/out/results.jsonl", "in/outer.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    names = [Path(f).name for f in list_input_files(str(tmp_path / "in"), tmp_path / "in" / ".." / "in" / "out")]
    assert names == ["a.jsonl", "outer.jsonl"]
    with pytest.raises(ConfigError, match="choose another --out"):
        list_input_files(str(tmp_path / "in"), tmp_path / "in")


def test_csv_and_parquet_have_the_fields_of_questions(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,expected\nWhy?,so\n")
    pyarrow.parquet.write_table(pyarrow.table({"id": [7], "prompt": ["How?"]}), tmp_path / "b.parquet")
    found = [json.loads(row.data) for row in rows_of(tmp_path)]
    assert found == [{"query": "Why?", "reference": "so"}, {"id": "7", "query": "How?"}]


def test_parquet_holds_requests_nested_or_as_text(tmp_path: Path) -> None:
    body = {"model": "a", "messages": [{"role": "user", "content": "Hi"}]}
    nested = pyarrow.Table.from_pylist(
        [{"custom_id": "x", "body": body}, {"custom_id": "y", "body": {**body, "temperature": 0.5}}]
    )
    pyarrow.parquet.write_table(nested, tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"custom_id": ["z"], "body": [json.dumps(body)]}), tmp_path / "b.parquet")
    found = [json.loads(row.data) for row in rows_of(tmp_path)]
    assert [row["custom_id"] for row in found] == ["x", "y", "z"]
    assert found[0]["body"] == found[2]["body"] == body  # empty cells are absent
    assert found[1]["body"]["temperature"] == 0.5


def test_what_cannot_be_read_is_a_row_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"n": 1}\n' * 50)[:-20])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "c.json").write_text("[1, 2]")
    (tmp_path / "d.jsonl").write_text('{"n": 2}\n')
    found = rows_of(tmp_path)
    assert [row.number for row in found] == list(range(len(found)))
    faults = [row.fault for row in found if row.fault]
    assert len(faults) == 3
    assert "damaged gzip" in faults[0]
    assert "Parquet" in faults[1]
    assert "a JSON array" in faults[2]
    assert found[-1].data.strip() == b'{"n": 2}'


def test_lines_of_callers_are_bounded_and_nothing_but_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"n": 1}\n' + b"x" * 5000 + b"\n" + gzip.compress(b"y") + b'\n{"n": 2}')
    found = rows_of(path, 100)
    assert [bool(row.fault) for row in found][:2] == [False, True]
    assert found[-1].data == b'{"n": 2}'


def test_a_url_is_opened_by_fsspec(tmp_path: Path) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/in/a.jsonl", b'{"n": 1}\n{"n": 2}\n')
    files.pipe("/in/b.jsonl.gz", gzip.compress(b'{"n": 3}\n'))
    pyarrow.parquet.write_table(pyarrow.table({"id": ["7"], "query": ["How?"]}), tmp_path / "c.parquet")
    files.pipe("/in/c.parquet", (tmp_path / "c.parquet").read_bytes())
    found = [json.loads(row.data) for row in rows_of("memory://in")]
    assert found == [{"n": 1}, {"n": 2}, {"n": 3}, {"id": "7", "query": "How?"}]
    assert len(rows_of("memory://in/a.jsonl")) == 2


@pytest.mark.parametrize("path", ["missing.jsonl", "memory://nothing/there", "nosuchscheme://x/y"])
def test_nothing_to_read_is_an_error_in_one_line(path: str) -> None:
    with pytest.raises(ConfigError) as e:
        list_input_files(path)
    assert path in str(e.value)
    assert "\n" not in str(e.value)


def test_a_folder_in_an_archive_is_opened_through_the_same_chain(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/a.jsonl", '{"n": 1}')
        archive.writestr("in/b.jsonl", '{"n": 2}')
    for url in (f"zip://in::file://{tmp_path}/a.zip", f"simplecache::zip://in::file://{tmp_path}/a.zip"):
        assert [json.loads(row.data)["n"] for row in rows_of(url)] == [1, 2]
    (tmp_path / "b.zip").write_text("no archive")
    with pytest.raises(ConfigError, match=r"b\.zip: cannot be opened: File is not a zip file"):
        list_input_files(f"zip://in::file://{tmp_path}/b.zip")


def test_a_place_is_text_without_secrets() -> None:
    row = InputRow(0, "zip://a.jsonl::https://me:secret@b.test/a.zip?X-Amz-Signature=secret", 3, b"{}")
    assert row.place == "zip://a.jsonl::https://b.test/a.zip:3"
    assert InputRow(0, "caf\udce9.jsonl", 1).place == "caf\ufffd.jsonl:1"  # a name of a file may be any bytes
    with pytest.raises(ConfigError) as e:
        list_input_files("http://me:secret@127.0.0.1:9/a.jsonl?sig=secret")
    assert "secret" not in str(e.value)


def test_urls_are_told_from_paths() -> None:
    assert [is_url(p) for p in ("s3://b/x", "simplecache::s3://b/x", "C:\\x", "a/b.jsonl")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("first", ["not JSON", "[1, 2]", '{"custom_id": "torn", "bo', "<p>", "a = 1"])
def test_a_bad_first_line_costs_no_other_row(first: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{first}\n{{"query": "Why?"}}\n')
    assert [row.data.strip() for row in rows_of(tmp_path)] == [first.encode(), b'{"query": "Why?"}']


def test_a_plain_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"n": 1}\r\n{"n": 2}')
    assert [json.loads(row.data)["n"] for row in rows_of(tmp_path, 100)] == [1, 2]


def test_csv_at_a_url_is_read_as_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('question,expected\n"Why?\nHow?",so\nx,y,z\n')
    url = f"file://{tmp_path}/a.csv"
    first, second = rows_of(url)
    assert json.loads(first.data) == {"query": "Why?\nHow?", "reference": "so"}
    assert second.place == f"{url}:4"
    assert second.fault is not None


def test_a_url_that_holds_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        list_input_files(f"file://{tmp_path}/missing")
