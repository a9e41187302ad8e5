"""Questions in CSV and Parquet: their columns by usual names, their encodings, and one line for what cannot be read."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import pytest

from routemoa.core.errors import MissingExtra
from routemoa.datasets.columns import map_columns
from routemoa.datasets.jsonl import RecordsError
from routemoa.datasets.questions import Question, name_task, read_questions


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file


def read(file: Path) -> tuple[list[Question], list[str]]:
    said: list[str] = []
    return list(read_questions(file, said.append)), said


def refused(file: Path) -> str:
    with pytest.raises(RecordsError) as e:
        list(read_questions(file))
    return str(e.value)


def test_columns_by_their_own_names_say_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, "q.csv", 'id,task,query,reference,grader\n7,sums,"2 + 2,\nplease",4,numeric\n8,free,Hi,,\n')
    found, said = read(file)
    assert found == [Question("7", "sums", "2 + 2,\nplease", None, "4", "numeric"), Question("8", "free", "Hi")]
    assert said == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_usual_other_names_are_read_and_said_once(tmp_path: Path, delimiter: str) -> None:
    rows = [["Question", "ANSWER", " Category ", "notes"], ["2 + 2?", "4", "sums", "x"], ["Capital?", "Paris", "", ""]]
    found, said = read(write(tmp_path, "mine.csv", "\r\n".join(delimiter.join(r) for r in rows)))
    assert found == [
        Question("mine-1", "sums", "2 + 2?", None, "4", "numeric"),
        Question("mine-2", "mine", "Capital?", None, "Paris", "contains"),
    ]
    assert len(said) == 1
    assert "Question as query" in said[0]
    assert "ANSWER as reference" in said[0]
    assert said[0].endswith("ignored notes")


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        ("prompt,answer", {"query": "prompt", "reference": "answer"}),
        ("question,prompt,answer", {"query": "question", "prompt": "prompt", "reference": "answer"}),
        ("query,question,reference,answer", {"query": "query", "reference": "reference"}),
        ("input,label,qid", {"query": "input", "reference": "label", "id": "qid"}),
    ],
)
def test_which_column_stands_for_which_field(header: str, fields: dict[str, str]) -> None:
    assert map_columns(header.split(",")).fields == fields


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("question,input", "query may be question or input; call the right column query"),
        ("query,answer,label", "reference may be answer or label"),
        ("query,Query", "two columns are called 'Query'"),
        ("a,b", "names no column query (or question, prompt, input"),
        ("question,choices,answer", "ARC's form only"),
    ],
)
def test_what_is_ambiguous_is_refused_by_name(tmp_path: Path, header: str, words: str) -> None:
    message = refused(write(tmp_path, "q.csv", f"{header}\n{header.upper()}\n"))
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("name", ["q.csv", "q.csv.gz"])
def test_encodings_of_spreadsheets_are_read(tmp_path: Path, encoding: str, name: str) -> None:
    file = write(tmp_path, name, "query,reference\nWie heißt „Größe“ auf Englisch?,size\n", encoding)
    if name.endswith("gz"):
        file.write_bytes(gzip.compress(file.read_bytes()))
    found, said = read(file)
    assert found == [Question("q-1", "q", "Wie heißt „Größe“ auf Englisch?", None, "size", "contains")]
    assert [line.endswith("not UTF-8; read as Windows-1252") for line in said] == [True] * (encoding == "cp1252")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lines_of_json_are_read_in_these_encodings_too(tmp_path: Path, encoding: str) -> None:
    file = write(tmp_path, "q.jsonl", '{"query": "Größe?"}\n{"query": "x"}\n', encoding)
    assert [q.query for q in read(file)[0]] == ["Größe?", "x"]


def test_lines_of_json_in_latin_1_are_one_clear_line(tmp_path: Path) -> None:
    file = write(tmp_path, "q.jsonl", '{"query": "ok"}\n' + '{"query": "Größe?"}\n' * 3, "latin-1")
    message = refused(file)
    assert f"{file}:2,3,4: not UTF-8 text (Latin-1?); convert it:  iconv -f WINDOWS-1252" in message
    assert message.count("iconv") == 1


def test_excels_line_about_the_separator_is_obeyed(tmp_path: Path) -> None:
    assert read(write(tmp_path, "q.csv", "sep=;\nquery;reference\na, b;c\n"))[0][0].query == "a, b"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("query,reference\na,b,c\n", "q.csv:2: has 3 cells, the header 2"),
        ('query,reference\nok,1\n"a,1\nb,2\n', "q.csv:3: not valid CSV, nothing after it was read"),
        ("query,reference,grader\na,many,numeric\n", "q.csv:2: reference 'many' cannot be graded as numeric"),
        ("query,reference\n,1\n", "q.csv:2: query is missing"),
        ("id,query\n1,a\n1,b\n1,c\n", "q.csv:3: task 'q', id '1' is already on line 2 and on 1 more line"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(write(tmp_path, "q.csv", text))


def test_a_quote_without_its_end_is_bounded(tmp_path: Path) -> None:
    file = write(tmp_path, "q.csv", 'query\n"' + "a" * (1 << 24) + "b\n")
    assert "q.csv:2: not valid CSV" in refused(file)


def test_short_rows_and_empty_lines_are_no_fault(tmp_path: Path) -> None:
    found, _ = read(write(tmp_path, "q.csv", "query,reference,grader\n\na\n,,\nb,2\n"))
    assert [(q.id, q.query, q.reference) for q in found] == [("q-1", "a", None), ("q-2", "b", "2")]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '[\n{"query": "q"}\n]', "not questions: looks like a JSON array"),
        ("a.jsonl", '{\n "query": "q"\n}\n', "one JSON object over several lines"),
        ("a.html", "<html><body>", "looks like an HTML page (first line: <html><body>)"),
        ("a.jsonl", '{"text": "a", "trace": {}}\n', "looks like traces"),
        ("a.txt", "My notes\n", "looks like plain text (first line: My notes)"),
    ],
)
def test_another_kind_of_file_is_one_line_that_says_what_it_is(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    message = refused(write(tmp_path, name, text))
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "task"),
    [("a.jsonl", "a"), ("a.b.csv.gz", "a.b"), ("dir/x.parquet", "x"), ("x.tsv", "x"), (".csv", ".csv"), ("x", "x")],
)
def test_the_file_names_the_task(name: str, task: str) -> None:
    assert name_task(name) == task


# --- Parquet


def parquet(file: Path, **columns: list[Any]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), file)
    return file


def test_parquet_is_read_whatever_the_types_of_its_columns(tmp_path: Path) -> None:
    file = parquet(tmp_path / "p.parquet", question=["1 + 1?", "1 + 1.5?"], answer=[2.0, 2.5], id=[7, 8], x=[[1], [2]])
    found, said = read(file)
    assert found == [
        Question("7", "p", "1 + 1?", None, "2", "numeric"),
        Question("8", "p", "1 + 1.5?", None, "2.5", "numeric"),
    ]
    assert said == [f"{file}: read question as query, answer as reference; ignored x"]


def test_parquet_of_gsm8k_and_arc_is_converted_as_their_lines_are(tmp_path: Path) -> None:
    gsm, _ = read(parquet(tmp_path / "g.parquet", question=["How many?"], answer=["1 + 1\n#### 2"]))
    assert (gsm[0].reference, gsm[0].grader) == ("2", "numeric")
    assert gsm[0].text.endswith("The answer is <number>.")
    choices = [{"text": ["fog", "rain"], "label": ["1", "2"]}]
    arc, said = read(parquet(tmp_path / "a.parquet", id=["M1"], question=["Which?"], choices=choices, answerKey=["2"]))
    assert (arc[0].id, arc[0].query, arc[0].reference) == ("M1", "Which?\nA. fog\nB. rain", "B")
    assert "ignored" not in said[0]


def test_a_damaged_parquet_file_is_one_line(tmp_path: Path) -> None:
    file = parquet(tmp_path / "p.parquet", query=["a"])
    file.write_bytes(file.read_bytes()[:-20])
    message = refused(file)
    assert message.startswith(f"{file}: cannot be read as Parquet")
    assert "\n" not in message


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "p.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtra, match=r"pyarrow.*\[parquet\]"):
        list(read_questions(tmp_path / "p.parquet"))
