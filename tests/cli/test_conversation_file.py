"""Conversations in files: read for `ask` and `chat`, written by `chat`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from routemoa.cli.conversation_file import read_conversation, write_conversation
from routemoa.core.types import Message
from tests.cli.test_ask import endpoint, pool, run

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "4"},
]


@pytest.mark.parametrize("shape", [CONVERSATION, {"messages": CONVERSATION, "model": "routemoa"}])
def test_a_conversation_may_come_from_a_file(tmp_path: Path, shape: Any) -> None:
    file = tmp_path / "conversation.json"
    file.write_text("\ufeff" + json.dumps(shape))
    with endpoint() as e:
        done = run("ask", "And 3+3?", "--messages", str(file), "--method", "single:a", "--pool", pool(tmp_path, e.url))
        run(
            "ask",
            "--messages",
            "-",
            "--method",
            "single:a",
            stdin=json.dumps(shape),
            ROUTEMOA_POOL=pool(tmp_path, e.url),
        )
        assert e.requests[0]["messages"] == [*CONVERSATION, {"role": "user", "content": "And 3+3?"}]
        assert e.requests[1]["messages"] == CONVERSATION
    assert done.stdout == "The answer is 4.\n"
    assert ("only 'messages' is read, not 'model'" in done.stderr) == isinstance(shape, dict)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"What is 2+2?", "it begins with 'What is 2+2?'"),
        (b'[{"role": "user"', "it is not valid JSON: Expecting"),
        (b'{"role": "user", "content": "x"}', "it is an object without 'messages' (its keys: 'role', 'content')"),
        (b'{"a": 1}\n{"b": 2}\n', "it looks like JSON lines"),
        (b"[]", "'messages' is empty"),
        (b"3", "it is the value 3"),
        (b'"hi"', "it is a string"),
        (b"null", "it is null"),
        (b'["hi"]', "'messages[0]': expected an object with role and content"),
        (b'[{"role": "robot", "content": "x"}]', "'messages[0].role' must be one of"),
        (b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "must be an object with url"),
        ("[{}]".encode("utf-16"), "'messages[0].role' must be one of"),
        ('[{"ö": 1}]'.encode("latin-1"), "it is not UTF-8 text: byte 3 is 0xf6"),
        (b"[" * 100_000, "it is not valid JSON"),
    ],
)
def test_a_file_without_a_conversation_says_what_it_looks_like(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "conversation.json"
    file.write_bytes(content)
    done = run("ask", "--messages", str(file), ROUTEMOA_POOL=pool(tmp_path, "http://127.0.0.1:9/v1"))
    assert done.returncode == 2
    assert words in done.stderr
    assert str(file) in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    messages = (Message("system", "S"), Message("user", "ünï \x1b[1m"), Message("assistant", "half \ud83d"))
    file = tmp_path / "saved.json"
    write_conversation(str(file), messages, {"method": "routemoa"})
    assert read_conversation(str(file)) == (*messages[:2], Message("assistant", "half \ufffd"))
    assert list(json.loads(file.read_text())) == ["messages", "routemoa"]
