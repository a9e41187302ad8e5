"""The tables of tests/fixtures/answers."""

from __future__ import annotations

from typing import NamedTuple

from tests import ROOT

FOLDER = ROOT / "tests" / "fixtures" / "answers"


class Row(NamedTuple):
    language: str
    kind: str
    fields: tuple[str, ...]


def read_table(name: str) -> list[Row]:
    rows: list[Row] = []
    language = ""
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            language = line[2:]
        elif not line.startswith(";"):
            kind, *fields = line.split("\t")
            rows.append(Row(language, kind, tuple(field.replace("\\n", "\n") for field in fields)))
    return rows
