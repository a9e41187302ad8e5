"""--allow-duplicates: every command that reads records or questions goes on where ids are repeated, if told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from routemoa.cli import cli
from routemoa.datasets.jsonl import RecordsError

COMMANDS = [
    ["grade", "{records}"],
    ["evaluate", "{records}", "--scorer", "missing"],
    ["scorer", "train", "{records}", "--out", "{out}"],
    ["scorer", "evaluate", "missing", "{records}"],
    ["scorer", "learn", "missing", "{records}"],
    ["scorer", "join", "missing", "{records}", "--out", "{out}"],
    ["collect", "{questions}", "--out", "{out}"],
    ["bench", "{questions}"],
]


def names(command: list[str]) -> str:
    return " ".join(word for word in command if word.isalpha() and word != "missing")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    record = {"id": "1", "task": "t", "query": "2+2?", "scores": {"a": 1}, "responses": {"a": "4"}, "reference": "4"}
    records, questions = tmp_path / "records.jsonl", tmp_path / "questions.jsonl"
    records.write_text(f"{json.dumps(record)}\n" * 3)
    questions.write_text('{"id": "1", "query": "2+2?", "reference": "4"}\n' * 3)
    return {"records": str(records), "questions": str(questions), "out": str(tmp_path / "out.jsonl")}


@pytest.mark.parametrize("command", COMMANDS, ids=names)
def test_every_command_has_the_flag(command: list[str]) -> None:
    words = [word for word in command if word.isalpha() and word != "missing"]
    assert "--allow-duplicates" in CliRunner().invoke(cli, [*words, "--help"]).output


def test_records_that_repeat_an_id_are_refused_in_one_line_and_kept_on_request(files: dict[str, str]) -> None:
    refused = CliRunner().invoke(cli, ["grade", files["records"]])
    assert isinstance(refused.exception, RecordsError)
    assert str(refused.exception).count("is already on line 1 and on 1 more line") == 1
    assert str(refused.exception).endswith("--allow-duplicates keeps them apart")
    kept = CliRunner().invoke(cli, ["grade", files["records"], "--allow-duplicates", "--json", files["out"]])
    assert kept.exit_code == 0, kept.output
    assert "2 records repeat an id; told apart as id#2, id#3, ..." in kept.output
    assert [item["id"] for item in json.loads(Path(files["out"]).read_text())["items"]] == ["1", "1#2", "1#3"]
