"""Records: every bad line is named, a null stays a null, and no line is ever left half written."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from routemoa.core.failure_kind import FailureKind
from routemoa.core.trace import Answer, Failure, Layer, Proposal, Trace
from routemoa.core.types import Query
from routemoa.core.usage import Usage
from routemoa.datasets.appender import Appender
from routemoa.datasets.records import (
    BadLine,
    Record,
    RecordsError,
    parse_record,
    read_records,
    record_from_trace,
)

GOOD: dict[str, Any] = {"id": "1", "task": "t", "query": "2+2?", "scores": {"a": 1, "b": None}}


def line(**changes: Any) -> str:
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...})


BAD = [
    ("{", "not valid JSON"),
    ("[1]", "not a JSON object but a list"),
    ("null", "not a JSON object but null"),
    (line(id=...), "id is missing"),
    (line(task=...), "task is missing"),
    (line(query=...), "query is missing"),
    (line(scores=...), "scores is missing"),
    (line(id=" "), "id is empty"),
    (line(task=""), "task is empty"),
    (line(query="\n"), "query is empty"),
    (line(query=None), "query must be text, not null"),
    (line(id=7), "id must be text, not a number"),
    (line(scores={}), "scores is empty"),
    (line(scores=[1]), "scores must be an object"),
    (line(scores={"a": 1.5}), "scores of 'a' is 1.5, outside [0, 1]"),
    (line(scores={"a": -1}), "scores of 'a' is -1, outside [0, 1]"),
    (line(scores={"a": "1"}), "scores of 'a' must be a number, not text"),
    (line(scores={"a": True}), "scores of 'a' must be a number, not true or false"),
    (line(scores={"a": float("nan")}), "NaN is not a JSON number"),
    (line(scores={"a": float("inf")}), "Infinity is not a JSON number"),
    (line(scores={"a": 0}).replace("0}", "1e999}"), "out of range"),
    (line(scores={"": 1}), "scores has a model without a name"),
    (line(costs={"a": -1}), "costs of 'a' is -1, outside [0, 1e+09]"),
    (line(costs=3), "costs must be an object"),
    (line(confidence={"a": 2}), "confidence of 'a' is 2, outside [0, 1]"),
    (line(responses={"a": 4}), "responses of 'a' must be text, not a number"),
    (line(reference=4), "reference must be text, not a number"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_line_is_named_with_its_reason(tmp_path: Path, bad: str, reason: str) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(f"{line()}\n{bad}\n")
    with pytest.raises(RecordsError) as e:
        list(read_records(file))
    assert str(e.value).startswith(f"{file}:2: ")
    assert reason in str(e.value)
    assert e.value.bad[0].line == 2


def test_all_bad_lines_are_listed_at_once_after_the_good_ones(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join([line(), *["{"] * 30, line(id="2"), line()]))
    got: list[Record] = []
    with pytest.raises(RecordsError) as e:
        got.extend(read_records(file))
    assert got == list(read_records(file, lambda _: None))
    assert [r.id for r in got] == ["1", "2"]
    assert e.value.count == 31
    assert str(e.value).startswith("31 lines cannot be used")
    assert str(e.value).endswith("and 11 more")


def test_duplicates_are_named_across_files_and_other_tasks_may_share_an_id(tmp_path: Path) -> None:
    one, two = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    one.write_text(line())
    two.write_text(line(task="u") + "\n" + line())
    bad: list[BadLine] = []
    assert len(list(read_records([one, two], bad.append))) == 2
    assert str(bad[0]).startswith(f"{two}:2: task 't', id '1' is already at {one}:1")


def test_an_id_that_occurs_often_is_named_once(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join([line(), line(id="2"), *[line()] * 400, line(id="2")]))
    with pytest.raises(RecordsError) as e:
        list(read_records(file))
    assert [b.line for b in e.value.bad] == [3, 403]
    assert "task 't', id '1' is already on line 1 and on 399 more lines" in str(e.value)
    assert str(e.value).endswith("task 't', id '2' is already on line 2; --allow-duplicates keeps them apart")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("query,reference\na,b\n", "looks like CSV (first line: query,reference); make records of it with  routemoa"),
        ('{"query": "q"}\n', 'looks like questions (first line: {"query": "q"})'),
        ('{"text": "t", "trace": {}}\n', "traces with grades are for  routemoa judge fit"),
        ('{"method": "moa", "right": 1, "query": "q"}\n', "show the run with  routemoa report DIR"),
        ("<html>", "looks like an HTML page"),
    ],
)
@pytest.mark.parametrize("is_gzip", [False, True])
def test_another_kind_of_file_is_one_line(tmp_path: Path, content: str, words: str, is_gzip: bool) -> None:
    file = tmp_path / "r.jsonl"
    data = content.encode()
    file.write_bytes(gzip.compress(data) if is_gzip else data)
    with pytest.raises(RecordsError) as e:
        list(read_records(file))
    assert str(e.value).startswith(f"{file}: not records: ")
    assert words in str(e.value)
    assert "\n" not in str(e.value)


def test_a_broken_line_among_good_ones_is_quoted(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(line() + "\n{'id': '2'}\x1b[31m\n")
    with pytest.raises(RecordsError, match=r"r\.jsonl:2: not valid JSON: .*; the line reads: \{'id': '2'\} \[31m"):
        list(read_records(file))


def test_a_null_stays_a_null_and_unknown_keys_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + line(subject="x", costs={"a": 0.5}).encode() + b"\r\n\n  \n")
    assert list(read_records(str(file))) == [Record("1", "t", "2+2?", {"a": 1.0, "b": None}, costs={"a": 0.5})]


def test_gzip_is_recognised_by_content_and_damage_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    data = gzip.compress("\n".join(line(id=str(i)) for i in range(2000)).encode())
    file.write_bytes(data)
    assert len(list(read_records(file))) == 2000
    file.write_bytes(data[:-2000])
    with pytest.raises(RecordsError, match="damaged gzip data"):
        list(read_records(file))


def test_an_unreadable_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"nothing\.jsonl: cannot be read: No such file or directory"):
        list(read_records(tmp_path / "nothing.jsonl"))
    with pytest.raises(RecordsError, match="Is a directory"):
        list(read_records(tmp_path))
    file = tmp_path / "r.jsonl"
    file.write_bytes(b'{"id": "\xff\xfe"}\n' + b"[" * 100_000)
    with pytest.raises(RecordsError, match="2 lines cannot be used"):
        list(read_records(file))
    file.write_text(line(query="naïve 🙂 北京", id="\ud800"))
    with pytest.raises(RecordsError, match=r"r\.jsonl:1"):
        list(read_records(file))


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_writing_appends_and_reads_back_the_same(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    records = [
        Record("1", "t", "q 🙂", {"a": 0.25, "b": None}, "p", {"a": "x"}, "r", {"a": 0.1}, {"a": 0.9}, {"a": 1.5}),
        Record("2", "t", "q", {"a": None}),
    ]
    for record in records:
        with Appender(file) as out:
            out.write(record)
    assert list(read_records(file)) == records


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
@pytest.mark.parametrize("cut", [1, 9, 30])
def test_a_line_that_was_cut_short_is_removed_before_appending(tmp_path: Path, name: str, cut: int) -> None:
    file = tmp_path / name
    with Appender(file) as out:
        for number in range(3):
            out.write(Record(str(number), "t", "q", {"a": 1.0}))
    file.write_bytes(file.read_bytes()[:-cut])
    with Appender(file) as out:
        out.write(Record("9", "t", "q", {"a": 1.0}))
    whole = 3 if cut == 1 and name == "r.jsonl" else 2  # only its newline was missing
    assert [r.id for r in read_records(file)] == [*["0", "1", "2"][:whole], "9"]


@pytest.mark.parametrize(("name", "content"), [("r.jsonl", b"my notes"), ("r.jsonl.gz", b"{}\n"), ("r", b"\x1f\x8b!")])
def test_a_file_of_another_program_is_left_unchanged(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(RecordsError, match="cannot be written"):
        Appender(file)
    assert file.read_bytes() == content


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    code = f"from routemoa.datasets.appender import Appender; Appender({str(file)!r})"
    with Appender(file):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process is writing to it; wait for its end" in other.stderr


def test_a_trace_with_feedback_becomes_a_record() -> None:
    def answered(model: str, cost: float | None) -> Proposal:
        return Proposal(model, f"{model} says", Usage(1, 1), 0.5, cost)

    failed = Failure("c", "HTTP 500", FailureKind.HTTP_ERROR, Usage(0, 0, 0, 0), 0.1, 0.0)
    first = Layer(("a", "b", "c"), (answered("a", 0.1), answered("b", None)), (failed,))
    trace = Trace(
        Query.from_text("2+2?", "Be brief."), "routemoa", layers=(first, Layer(("d",), (answered("d", 1.0),)))
    )
    record = record_from_trace(Answer("4", trace), {"a": 1.0, "c": None}, "chat", "7")
    assert record == Record(
        "7",
        "chat",
        "2+2?",
        {"a": 1.0, "b": None, "c": None},
        responses={"a": "a says", "b": "b says"},
        costs={"a": 0.1},
        seconds={"a": 0.5, "b": 0.5},
    )
    for wrong in ({"d": 1.0}, {"c": 0.0}, {"a": 1.2}, {"a": float("nan")}):
        with pytest.raises(RecordsError):
            record_from_trace(Answer("4", trace), wrong, "chat", "7")
    with pytest.raises(RecordsError, match="scores is empty"):
        record_from_trace(Answer("4", Trace(Query.from_text("2+2?"), "routemoa")), {}, "chat", "7")


def test_responses_recorded_as_printed_lists_are_unwrapped() -> None:
    def responses(*texts: str | None) -> dict[str, str | None] | None:
        names = {f"m{i}": t for i, t in enumerate(texts)}
        line = {"id": "1", "task": "t", "query": "q", "scores": dict.fromkeys(names, 1.0), "responses": names}
        found = parse_record(json.dumps(line))
        assert isinstance(found, Record)
        return found.responses

    assert responses("['B\\n']", "['B']", None) == {"m0": "B\n", "m1": "B", "m2": None}
    assert responses("['B\\n']", "It is ['B']") == {"m0": "['B\\n']", "m1": "It is ['B']"}
    assert responses("['x']") == {"m0": "['x']"}


def test_duplicates_are_named_once_and_may_be_kept_apart(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join([line(), line(id="2"), *[line()] * 400, line(id="2"), line(id="1#2")]))
    with pytest.raises(RecordsError, match="--allow-duplicates keeps them apart") as e:
        list(read_records(file))
    assert [b.line for b in e.value.bad] == [3, 403]
    assert "task 't', id '1' is already on line 1 and on 399 more lines" in str(e.value)
    said: list[str] = []
    kept = [r.id for r in read_records(file, allow_duplicates=True, say=said.append)]
    assert len(set(kept)) == len(kept) == 404
    assert kept[:4] == ["1", "2", "1#2", "1#3"]
    assert kept[-2:] == ["2#2", "1#2#2"]
    assert said == ["402 records repeat an id; told apart as id#2, id#3, ..."]
