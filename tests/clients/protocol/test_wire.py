"""Reading and writing the protocol, as pure functions."""

from __future__ import annotations

from datetime import UTC, datetime
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routemoa.clients.protocol.sse import SSEEvent, SSEParser, is_event_stream, split_event
from routemoa.clients.protocol.wire import (
    apply_member_settings,
    build_body,
    decode_json,
    one_line,
    parse_body,
    parse_chunk,
    route_url,
)
from routemoa.clients.retry import RetryPolicy, is_retryable, parse_retry_after
from routemoa.core.content.cache_marks import CacheControl, CacheMark
from routemoa.core.errors import InvalidResponse, ModelError, ModelHTTPError, ModelTimeout, Unreachable
from routemoa.core.types import Message, ModelSpec, Request

STREAM = ': hi\r\n\r\ndata: {"a": "ü👍"}\n\ndata:two\rdata: lines\r\revent: x\nid: 1\n\ndata: last'.encode()
EVENTS = [SSEEvent('{"a": "ü👍"}'), SSEEvent("two\nlines"), SSEEvent("last")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_wherever_the_bytes_are_cut_the_events_are_the_same(cuts: list[int]) -> None:
    parser, events = SSEParser(), []
    for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
        events += parser.feed(STREAM[start:end])
    assert events + parser.end() == EVENTS


@given(st.lists(st.binary()))
def test_no_bytes_break_the_parser(chunks: list[bytes]) -> None:
    parser = SSEParser()
    for chunk in chunks:
        parser.feed(chunk)
    parser.end()


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"event: error\ndata: x\n\n", [("x", "error")]),
        (b'error: {"code": 500}\n\n', [('{"code": 500}', "error")]),  # llama.cpp, until September 2025
        (b"event: a\n\ndata: x\n\n", [("x", "")]),  # an event without data leaves no name behind
        (b'data: {"a": 1}\ndata: {"b": 2}\ndata: [DONE]\n\n', [('{"a": 1}', ""), ('{"b": 2}', ""), ("[DONE]", "")]),
        (b'data: {"a":\ndata: 1}\n\n', [('{"a":\n1}', "")]),  # one object on two lines
        (b"data:\n\ndata: [DONE] \n\n", [("[DONE]", "")]),
        (b"\xef\xbb\xbfdata: x\n\n", [("x", "")]),
    ],
)
def test_events_as_endpoints_send_them(data: bytes, events: list[tuple[str, str]]) -> None:
    parser = SSEParser()
    assert [tuple(part) for e in [*parser.feed(data), *parser.end()] for part in split_event(e)] == events


@pytest.mark.parametrize(
    ("head", "content_type", "is_stream"),
    [
        (b'data: {"a"', "application/json", True),
        (b": comment", "application/json", True),
        (b"event: x", "", True),
        (b"\xef\xbb\xbf\n\ndata:", "text/plain", True),
        (b'{"error"', "text/event-stream", False),
        (b'[{"error"', "text/event-stream", False),
        (b"<html>", "text/event-stream", False),
        (b"  \n", "text/event-stream", None),
        (b"da", "application/json", None),
        (b"", "application/json", None),
        (b"something else", "text/event-stream", True),
        (b"something else", "text/plain", False),
    ],
)
def test_the_bytes_say_what_a_reply_is(head: bytes, content_type: str, is_stream: bool | None) -> None:
    assert is_event_stream(head, content_type) is is_stream


@pytest.mark.alone
@pytest.mark.parametrize("size", [1000, 7])
def test_a_long_line_in_small_pieces_takes_linear_time(size: int) -> None:
    line = b"data: " + b"x" * 400_000 + b"\n\n"

    def read(data: bytes) -> float:
        parser, started = SSEParser(), perf_counter()
        events = [e for i in range(0, len(data), size) for e in parser.feed(data[i : i + size])]
        assert len(events) == 1
        return perf_counter() - started

    short = min(read(line[: len(line) // 4] + b"\n\n") for _ in range(3))
    assert min(read(line) for _ in range(3)) < 12 * short + 0.01


HOUR = CacheControl("ephemeral", "1h")
MARKED = Message("user", "abcdef", (CacheMark(2, CacheControl("ephemeral")), CacheMark(4, HOUR)))
ROUTER = ModelSpec("m", "https://openrouter.ai/api/v1", "m")


def contents(spec: ModelSpec, *messages: Message) -> list[object]:
    return [m["content"] for m in build_body(spec, Request(messages), "m", stream=False)["messages"]]


def test_marks_reach_the_endpoints_that_want_them_and_no_other() -> None:
    parts = [
        {"type": "text", "text": "ab", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "cd", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "ef"},
    ]
    assert contents(ROUTER, MARKED, Message("user", "x")) == [parts, "x"]
    assert contents(ModelSpec("m", "https://api.anthropic.com/v1", "m"), MARKED) == [parts]
    plain = ModelSpec("m", "http://127.0.0.1:9/v1", "m")
    assert contents(plain, MARKED) == contents(replace(ROUTER, cache_control=False), MARKED) == ["abcdef"]
    assert contents(replace(plain, cache_control=True), MARKED) == [parts]
    whole = Message("user", "ab", MARKED.marks[:1])
    assert contents(ROUTER, whole) == [parts[:1]]


def test_what_writing_a_cache_costs_must_be_known_where_dollars_are_counted() -> None:
    priced = replace(ROUTER, input_price=1.0, output_price=2.0)
    assert contents(priced, MARKED) == ["abcdef"]
    short = contents(replace(priced, cache_write_price=1.25), MARKED)[0]
    assert isinstance(short, list)
    assert [p.get("cache_control") for p in short] == [{"type": "ephemeral"}, {"type": "ephemeral"}, None]


def test_marks_of_tool_messages_reach_the_endpoints_that_want_them_and_no_other() -> None:
    """Without a mark the caller's own object is sent."""
    plain = ModelSpec("m", "http://127.0.0.1:9/v1", "m")
    part = {"type": "text", "text": "18", "cache_control": {"type": "ephemeral"}}
    result = {"role": "tool", "tool_call_id": "c", "content": [part]}
    assert contents(ROUTER, Message("tool", "18", body=result)) == [[part]]
    assert contents(plain, Message("tool", "18", body=result)) == ["18"]
    unmarked = {**result, "content": [{"type": "text", "text": "18"}]}
    assert contents(plain, Message("tool", "18", body=unmarked)) == [unmarked["content"]]


def test_a_members_system_text_leaves_the_marks_where_they_are() -> None:
    spec = replace(ROUTER, system="Be brief.")
    marked = Message("system", "Rules", (CacheMark(5, CacheControl("ephemeral")),))
    (content,) = contents(spec, marked)
    ours = {"type": "text", "text": "Be brief.\n\n"}
    assert content == [ours, {"type": "text", "text": "Rules", "cache_control": {"type": "ephemeral"}}]
    assert contents(spec, MARKED)[0] == "Be brief."


SPEC = ModelSpec("m", "http://x/v1", "m", system="S", parameters={"temperature": 0.5, "max_tokens": 10})


def test_one_system_message_the_members_first() -> None:
    request = Request((Message("system", "mine"), Message("user", "q")))
    messages = build_body(SPEC, request, "m", stream=False)["messages"]
    assert messages == [{"role": "system", "content": "S\n\nmine"}, {"role": "user", "content": "q"}]


@given(st.integers(1, 100) | st.none(), st.floats(0, 2))
def test_the_members_settings_win_but_the_smaller_cap_does(cap: int | None, temperature: float) -> None:
    body = apply_member_settings(
        SPEC, {"messages": [], "temperature": temperature} | ({"max_tokens": cap} if cap else {}), "real"
    )
    assert body["temperature"] == 0.5
    assert body["max_tokens"] == min(cap or 10, 10)
    assert body["model"] == "real"


def test_the_two_names_of_the_cap_are_one_setting() -> None:
    body = apply_member_settings(SPEC, {"messages": [], "max_completion_tokens": 4}, "real")
    assert body["max_tokens"] == 4
    assert "max_completion_tokens" not in body


def chunk(data: str) -> dict[str, object]:
    return parse_chunk("m", SSEEvent(data), "sk-1")


def test_an_error_in_a_chunk_is_one_and_a_null_is_none() -> None:
    assert chunk('{"error": null, "id": "x"}')["id"] == "x"
    with pytest.raises(ModelHTTPError, match="HTTP 503 in the reply: busy"):
        chunk('{"error": {"code": 503, "message": "busy"}}')
    with pytest.raises(ModelHTTPError, match=r"error in the reply: no \[key\] here") as caught:
        chunk('{"error": "no sk-1 here"}')
    assert caught.value.status == 502
    with pytest.raises(InvalidResponse, match="not a JSON object"):
        chunk("<html>")
    with pytest.raises(ModelHTTPError, match="overloaded"):
        parse_chunk("m", SSEEvent("overloaded", "error"))


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"", ModelHTTPError, "the reply is empty"),
        (b" \n ", ModelHTTPError, "the reply is empty"),
        (b"<!doctype html><title>Sign in</title>", ModelHTTPError, 'an HTML page in place of an answer: "Sign in"'),
        (b"upstream connect error", ModelHTTPError, "not JSON: upstream connect error"),
        (b'{"error": {"message": "no", "code": 401}}', ModelHTTPError, "HTTP 401 in the reply: no"),
        (b'{"choices": [{"message": {"content": "The', InvalidResponse, "not a JSON object"),
        (b'{"status": "ok"}', InvalidResponse, "no completion in the reply"),
        (b'{"choices": []}', InvalidResponse, "no completion in the reply"),
        (b"[]", InvalidResponse, "not a JSON object"),
    ],
)
def test_a_body_without_an_answer_is_an_error(body: bytes, kind: type[ModelError], said: str) -> None:
    with pytest.raises(kind, match=said):
        parse_body("m", body)


def test_a_text_is_cut_only_after_the_key_is_blotted_out() -> None:
    assert "sk" not in one_line("x" * 295 + "sk-secret", "sk-secret")


def test_when_to_try_again() -> None:
    assert is_retryable(ModelHTTPError("m", "x", status=429), local=False)
    assert is_retryable(Unreachable("m", "x"), local=False)
    assert not is_retryable(Unreachable("m", "x"), local=True)  # it crashed
    assert not is_retryable(Unreachable("m", "x", produced=True), local=False)
    assert not is_retryable(ModelHTTPError("m", "x", status=400), local=False)
    assert not is_retryable(ModelTimeout("m", "x"), local=False)


@given(st.integers(1, 30), st.floats(0, 1), st.none() | st.floats(0, 1e6))
def test_back_off_is_bounded_and_never_shorter_than_asked(failures: int, share: float, asked: float | None) -> None:
    delay = RetryPolicy(base=0.5, cap=20).delay(failures, share, asked)
    assert (asked or 0) <= delay <= (20 if asked is None else asked * 1.1 + 1e-9)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("2", 2.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("soon", None),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),
        ("1e99", None),
        ("nan", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)) == seconds


def test_urls_and_bodies_that_are_no_json() -> None:
    assert route_url("http://x/v1/") == route_url("http://x/v1") == "http://x/v1/chat/completions"
    assert route_url("http://x/v1", "embeddings") == "http://x/v1/embeddings"
    assert route_url("http://x/openai?api-version=1") == "http://x/openai/chat/completions?api-version=1"
    assert decode_json(b"<html>\xff") == "<html>\ufffd"
    assert decode_json(b"[" * 100_000) == "[" * 100_000


# --- the dialect of an endpoint


def test_fields_are_renamed_and_left_out_as_the_member_says() -> None:
    spec = ModelSpec(
        "a",
        "http://x/v1",
        "m",
        rename={"max_tokens": "max_completion_tokens", "seed": "random_seed"},
        omit=("user", "top_p"),
    )
    body = apply_member_settings(spec, {"max_tokens": 9, "seed": 1, "user": "u", "top_p": 1, "n": 1}, "m")
    assert body == {"max_completion_tokens": 9, "random_seed": 1, "n": 1, "model": "m"}


def test_what_the_member_sets_itself_is_not_left_out() -> None:
    spec = ModelSpec("a", "http://x/v1", "m", omit=("temperature",), parameters={"temperature": 0.5})
    assert apply_member_settings(spec, {"temperature": 1.0}, "m")["temperature"] == 0.5


@pytest.mark.parametrize(
    ("sent", "limit"),
    [
        ({"max_tokens": 9, "max_completion_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 9}, 5),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
    ],
)
def test_of_two_limits_under_both_names_the_smaller_is_sent(sent: dict[str, int], limit: int) -> None:
    spec = ModelSpec("a", "http://x/v1", "m", rename={"max_tokens": "max_completion_tokens"})
    assert apply_member_settings(spec, sent, "m") == {"max_completion_tokens": limit, "model": "m"}
    own = ModelSpec(
        "a", "http://x/v1", "m", rename={"max_tokens": "max_completion_tokens"}, parameters={"max_tokens": 6}
    )
    assert apply_member_settings(own, sent, "m") == {"max_completion_tokens": min(6, limit), "model": "m"}


def test_an_errors_line_holds_nothing_that_a_terminal_obeys() -> None:
    assert one_line("a\x1b[31mb\x07\n c\x9b2Jd") == "ab cd"
