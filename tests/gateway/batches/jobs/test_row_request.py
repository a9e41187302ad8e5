"""Rows of batch files, of chats and of questions become requests; what is wrong with one is a clear error."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from routemoa.datasets.input_rows import InputRow
from routemoa.gateway.batches.jobs.row_request import RowError, RowRules, read_head, read_request
from tests.gateway.batches.job_setup import chat_row

RULES = RowRules(["routemoa", "moa", "a"])


def row(content: Any, **fields: Any) -> InputRow:
    data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    return InputRow(**{"number": 0, "file": "folder/in.jsonl", "line": 7, "data": data, **fields})


def test_a_row_of_a_batch_file_is_read_as_the_server_reads_its_body() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    found = read_request(row(chat_row("x", n=2, tools=tools, temperature=0.5, routemoa={"max_calls": 3})), RULES)
    assert (found.head.id, found.head.is_request, found.name) == ("x", True, "routemoa")
    assert found.query.choices == 2
    assert found.query.parameters == {"temperature": 0.5}
    assert found.query.limits.max_calls == 3
    assert found.query.tools is not None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"model": "a", "input": "Hello?"}),
        ("/v1/messages", {"model": "a", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello?"}]}),
    ],
)
def test_other_apis_may_be_asked(path: str, body: dict[str, Any]) -> None:
    found = read_request(row({"custom_id": "x", "method": "POST", "url": path, "body": body}), RULES)
    assert found.query.messages[-1].content == "Hello?"


def test_chats_questions_and_records_are_rows_as_well() -> None:
    chat = read_request(row({"id": 5, "messages": [{"role": "user", "content": "Hello?"}]}), RULES)
    assert (chat.head.id, chat.head.is_request, chat.name) == ("5", False, "routemoa")
    question = read_request(row({"question": "Why?", "answer": "so"}), RULES)
    assert (question.head.id, question.head.task) == ("in-7", "in")
    record = read_request(row({"id": "1", "task": "t", "query": "Why?", "scores": {"a": 1}}), RULES)
    assert (record.head.id, record.head.task, record.head.key) == ("1", "t", "t\x001")
    assert record.query.messages[-1].content == "Why?"


def test_one_method_may_answer_whatever_rows_name() -> None:
    assert read_request(row(chat_row("x", model="gpt-4o")), RowRules(["moa"], "moa")).name == "moa"


WRONG: list[tuple[Any, str, str | None]] = [
    ("nothing", "not valid JSON", None),
    ("[1]", "not a JSON object", None),
    ({"custom_id": "", "body": {}}, "'custom_id' must be a text", "custom_id"),
    ({"body": {}}, "'custom_id' must be a text", "custom_id"),
    ({"custom_id": "x"}, "'body' must be an object", "body"),
    (chat_row("x") | {"method": "GET"}, "'method' must be POST", "method"),
    (chat_row("x") | {"url": "/v1/embeddings"}, "a batch takes /v1/chat/completions", "url"),
    (chat_row("x") | {"url": 5}, "a batch takes /v1/chat/completions", "url"),
    (chat_row("x") | {"url": ["/v1"]}, "a batch takes /v1/chat/completions", "url"),
    (chat_row("x", model="gpt-4o"), "The model 'gpt-4o' does not exist", "model"),
    (chat_row("x", model=5), "does not exist", "model"),
    (chat_row("x", stream=True), "a batch has no streams", "stream"),
    (chat_row("x", messages=[]), "messages", "messages"),
    (chat_row("x", temperature="hot"), "Invalid type for 'temperature'", "temperature"),
    (chat_row("x", routemoa={"max_cost": -1}), "max_cost", "routemoa.max_cost"),
    ({"id": "1", "scores": {}}, "query is missing", None),
]


@pytest.mark.parametrize(("content", "said", "param"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_what_is_wrong_with_a_row_is_one_sentence(content: Any, said: str, param: str | None) -> None:
    with pytest.raises(RowError) as e:
        read_request(row(content), RULES)
    assert said in e.value.response.message
    assert e.value.response.param == param
    assert "folder" not in e.value.response.message
    assert read_head(row(content)).id in ("x", "in.jsonl:7", "1")


def test_a_server_takes_rows_of_its_batch_alone() -> None:
    rules = RowRules(["routemoa"], path="/v1/responses")
    for content, said in ((chat_row("x"), "takes /v1/responses"), ({"query": "Why?"}, "no row of a batch file")):
        with pytest.raises(RowError, match=said):
            read_request(row(content), rules)


def test_a_budget_refuses_what_has_no_bound() -> None:
    rules = RowRules(["routemoa"], pass_unknown=True, has_budget=True)
    with pytest.raises(RowError, match="search_context"):
        read_request(row(chat_row("x", search_context="high")), rules)


@pytest.mark.parametrize(
    "content",
    [
        r'{"custom_id": "x", "body": {"model": "a", "messages": [{"role": "user", "content": "half \ud800"}]}}',
        '\ufeff{"custom_id": "x", "body": {"model": "a", "messages": [{"role": "user", "content": "marked"}]}}',
    ],
)
def test_what_can_be_asked_keeps_its_id(content: str) -> None:
    head = read_request(row(content), RULES).head
    assert (head.id, head.model, head.is_request) == ("x", "a", True)


def test_a_row_that_cannot_be_read_keeps_its_id() -> None:
    latin = InputRow(0, "in.jsonl", 7, b'{"custom_id": "x", "body": {"messages": [{"content": "caf\xe9"}]}}')
    assert (read_head(latin).id, read_head(latin).is_request) == ("x", True)
    half = read_head(row(r'{"custom_id": "x\ud800", "body": 5, "id": [[1]]}'))
    assert half.id.encode() == "x\ufffd".encode()


def test_the_head_of_a_row_takes_no_memory_for_its_values() -> None:
    """Each of a million lists would take 56 bytes."""
    many = row(
        '{"custom_id": "x", "id": ' + "[" * 9 + "]" * 9 + ', "body": {"model": "a", "m": [' + "[]," * 10**6 + "0]}}"
    )
    tracemalloc.start()
    try:
        assert read_head(many).model == "a"
        assert tracemalloc.get_traced_memory()[1] < 3 * len(many.data)
    finally:
        tracemalloc.stop()
