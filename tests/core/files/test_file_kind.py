"""What a file looks like: said in every message that refuses one, with the command that makes the right one."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.files.file_kind import detect_encoding, detect_kind, explain_wrong_file, quote_line

RECORD = json.dumps({"id": "1", "task": "t", "query": "q", "scores": {"a": 1}})


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (b"", "", "empty"),
        (b"  \n\n", "", "empty"),
        (b"id,task,query\n1,t,q\n", "", "csv"),
        (b"Frage;query;answer\n", "", "csv"),
        (b"just one column\nvalue\n", "x.CSV", "csv"),
        (b'\xef\xbb\xbf{"query": "q"}\n', "", "questions"),
        ('{"query": "q"}\n'.encode("utf-16"), "", "questions"),
        ('{"query": "q"}\n'.encode("utf-16-be"), "", "questions"),
        (RECORD.encode(), "", "records"),
        (b'{"text": "a", "trace": {}}\n', "", "traces"),
        (b'{"method": "moa", "task": "t", "id": "1", "right": 1.0, "query": "q"}\n', "", "outcomes"),
        (b'[\n {"query": "q"}\n]', "", "json array"),
        (b'[{"query": "q"}]', "", "json array"),
        (b'{\n "query": "q"\n}', "", "json object"),
        (b"{'query': 'q'}\n", "", "python"),
        (b'{"query": "q"', "", "json lines"),
        (b"<!DOCTYPE html>\n<html>", "data.jsonl", "html"),
        (b"<?xml version='1.0'?>", "", "xml"),
        (b'# a comment\n\n[[model]]\nname = "a"\n', "", "toml"),
        (b'name = "a, query"\n', "", "toml"),
        (b"models:\n  - a\n", "", "yaml"),
        (b"Dear reader,\n", "", "text"),
        (b"PAR1\x00\x00", "x.csv", "parquet"),
        (b"PK\x03\x04rest", "x.csv", "zip"),
        (b"%PDF-1.7", "", "binary"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "", "binary"),
    ],
)
def test_the_first_bytes_tell_the_kind(head: bytes, name: str, kind: str) -> None:
    assert detect_kind(head, name).kind == kind


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b"plain", None),
        ("caf\u00e9".encode("latin-1"), None),
        (b"\xef\xbb\xbfa", "utf-8-sig"),
        ("ab".encode("utf-16"), "utf-16"),
        ("\u00fcber, query\n".encode("utf-16-le"), "utf-16-le"),
        (b"\x00\x01\x02\x03" * 60, None),
    ],
)
def test_marks_and_zero_bytes_tell_the_encoding(head: bytes, encoding: str | None) -> None:
    assert detect_encoding(head) == encoding


def test_the_message_names_the_file_that_was_wanted_and_how_to_make_it() -> None:
    questions = detect_kind(b'{"query": "q"}\n')
    said = explain_wrong_file(questions, "records", "q.jsonl")
    assert said == (
        'not records: looks like questions (first line: {"query": "q"}); make records of it with  '
        "routemoa collect q.jsonl --out records.jsonl"
    )
    assert "jq -c '.[]' a.json" in explain_wrong_file(detect_kind(b"[]"), "questions", "a.json")
    assert "jq -c . a.json" in explain_wrong_file(detect_kind(b'{\n"query": "q"\n}'), "questions", "a.json")
    assert "routemoa judge fit" in explain_wrong_file(detect_kind(b"a,query"), "judge model", "a.csv")
    assert "save the sheet as CSV" in explain_wrong_file(detect_kind(b"PK\x03\x04"), "questions", "a.xlsx")


@given(st.binary(max_size=300), st.sampled_from(["", "a.csv", "a.jsonl", "a.toml"]))
def test_any_bytes_have_a_kind_and_a_message_of_one_printable_line(data: bytes, name: str) -> None:
    for wanted in ("questions", "records", "traces", "judge model", "run", "pool file"):
        assert explain_wrong_file(detect_kind(data, name), wanted, "f").isprintable()


def test_a_quoted_line_is_short_and_obeys_no_terminal() -> None:
    assert quote_line(b"\x1b[31mred\x07\tx" + b"y" * 1000).startswith("[31mred x")
    assert len(quote_line("y" * 10_000_000)) == 60
    assert quote_line(gzip.compress(b"a")).isprintable()
