"""One answer to "is this an error?" for every shape in which endpoints report one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.clients.replies.errors import decode_json, describe_body, error_text, find_error, one_line

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    ("body", "message", "status"),
    [
        ({"error": "boom"}, "boom", None),
        ({"error": "Insufficient balance", "status": 402}, "Insufficient balance", 402),
        ({"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": None}}, "no", 400),
        ({"error": {"message": "slow down", "code": 429}}, "slow down", 429),
        ({"error": {"message": "slow down", "code": "429"}}, "slow down", 429),
        ({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, "slow down", 429),
        ({"error": {"message": "too long", "code": "context_length_exceeded"}}, "too long", 400),
        ({"error": {"message": "gone", "code": 502, "metadata": {"error_type": "provider_disconnected"}}}, "gone", 502),
        ({"error": True, "message": "no"}, "no", None),
        ({"error": ["a", "b"]}, "a; b", None),
        ({"error": {"code": 1211, "message": "no such model"}}, "no such model", None),
        ([{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}], "bad", 400),  # Gemini
        ({"error": {"message": "bad", "status": "RESOURCE_EXHAUSTED"}}, "bad", 429),
        (
            {"object": "error", "message": "no", "type": "BadRequestError", "param": None, "code": 400},
            "no",
            400,
        ),  # vLLM
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "Overloaded", 503),
        ({"detail": "Not Found"}, "Not Found", None),  # FastAPI
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required", None),
        ({"message": "invalid api token"}, "invalid api token", None),  # Cohere
        ({"code": "InvalidParameter", "message": "bad", "request_id": "1"}, "bad", 400),  # DashScope
        ({"code": "Throttling.RateQuota", "message": "slow down"}, "slow down", 429),
        ({"error_code": 336003, "error_msg": "bad"}, "bad", None),  # Baidu
        (
            {"success": False, "errors": [{"code": 10000, "message": "Auth"}], "result": None},
            "Auth",
            None,
        ),  # Cloudflare
        ({"success": False, "reason": "no"}, "no", None),
        (
            {"base_resp": {"status_code": 1004, "status_msg": "login fail"}, "choices": None},
            "login fail",
            None,
        ),  # MiniMax
        ({"fault": {"faultstring": "Spike arrest", "detail": {}}}, "Spike arrest", None),  # Apigee
        ({"type": "about:blank", "title": "Too many requests", "status": 429}, "Too many requests", 429),  # RFC 9457
        ({"timestamp": 1, "status": 500, "error": "Internal Server Error", "path": "/"}, "Internal Server Error", 500),
        ({"error": {"message": "", "type": "TimeoutError", "code": None}}, "TimeoutError", 504),
        (
            {"error": "The model is loading", "estimated_time": 20, "error_type": "overloaded"},
            "The model is loading",
            503,
        ),
        ({"choices": [{"index": 0, "finish_reason": "error", "error": {"code": 502, "message": "gone"}}]}, "gone", 502),
        ({"choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}, "broke off", None),
        ({"id": "x", "error": {"code": "server_error", "message": "gone"}, "choices": [CHOICE]}, "gone", 500),
        ({"msg": "fail", "code": -1}, "fail", None),
        ({"error": {"message": {"text": "deep"}}}, "deep", None),
    ],
)
def test_errors_are_found_in_every_shape(body: Any, message: str, status: int | None) -> None:
    error = find_error(body)
    assert error is not None
    assert message in error.message
    assert error.status == status


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [CHOICE]},
        {"choices": [CHOICE], "error": None},
        {"choices": [CHOICE], "error": {}},
        {"choices": [CHOICE], "message": "served from the cache", "code": 0, "success": True},
        {"choices": [CHOICE], "base_resp": {"status_code": 0, "status_msg": ""}},
        {"choices": [CHOICE], "detail": "x", "status": "error"},
        {"choices": [], "usage": {"prompt_tokens": 1}},
        {"choices": [], "prompt_filter_results": [{"message": "x"}]},
        {"choices": [{"delta": {"content": "error"}, "finish_reason": None}]},
        {"id": "x", "usage": {}},
        {},
        [],
        [1, {"error": "x"}],
        "busy",
        None,
    ],
)
def test_answers_are_no_errors(body: Any) -> None:
    assert find_error(body) is None


@pytest.mark.parametrize("event", ["error", "Error", " error ", "response.failed"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("busy", "busy"),
        ({"message": "busy"}, "busy"),
        ({"error": {"message": "busy"}}, "busy"),
        ({}, "without a reason"),
    ],
)
def test_the_name_of_an_event_says_that_it_is_one(event: str, data: Any, message: str) -> None:
    error = find_error(data, event)
    assert error is not None
    assert message in error.message
    assert find_error({"choices": [CHOICE]}, "completion") is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the reply is empty"),
        (b"\xef\xbb\xbf \r\n", "the reply is empty"),
        (
            b"<!DOCTYPE html><html><head><title>502 &amp; more</title>",
            'an HTML page in place of an answer: "502 & more"',
        ),
        (b"<html>", "an HTML page in place of an answer"),
        (b"<?xml version='1.0'?><Error/>", "an HTML page in place of an answer"),
        (b"upstream connect error\nor reset", "not JSON: upstream connect error or reset"),
        (b"null", "not JSON: null"),
        (b"\xff\xfe{", "not JSON"),
        (b'{"choices": [', None),
        (b"\n [", None),
    ],
)
def test_a_body_that_is_no_json_is_described(data: bytes, message: str | None) -> None:
    error = describe_body(data)
    assert (error is None) == (message is None)
    assert error is None or (message or "") in error.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"message": "too long", "code": "context_length_exceeded"}}, "context_length_exceeded"),
        ([{"error": {"message": "no", "code": "blocked"}}], "blocked"),
        ({"object": "error", "message": "no", "code": "bad_model"}, "bad_model"),
        ({"error": {"message": "x", "type": "exceed_context_size_error", "code": 400}}, "exceed_context_size_error"),
        ({"error": {"message": "no", "code": "400"}}, None),  # the status once more
        ({"error": {"message": "no", "code": 400}}, None),
        ({"error": "no"}, None),
        ({"error": {"message": "no", "code": "key sk-secret-1234\x1b"}}, "key [key]"),
    ],
)  # fmt: skip
def test_the_code_of_an_error_behind_a_good_status_is_kept(body: object, code: str | None) -> None:
    error = find_error(body, key="sk-secret-1234")
    assert error is not None
    assert error.code == code


def test_the_key_is_cut_out_of_what_endpoints_say() -> None:
    key = "sk-secret-1234"
    error = find_error({"error": {"message": f"wrong key {key}"}}, key=key)
    assert error is not None
    assert error.message == "wrong key [key]"
    assert error_text("wrong key \\u0073k-secret-1234", key) == "wrong key [key]"
    assert one_line("x" * 295 + key, key).endswith("[key]")


def test_what_is_said_is_one_bounded_line() -> None:
    assert error_text("<html><title>Bad gateway</title>" + "x" * 10_000) == "Bad gateway"
    assert len(error_text({"error": "a\nb" * 10_000})) <= 300
    assert "\n" not in error_text("a\nb")
    assert decode_json(b"[" * 100_000) == "[" * 100_000


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda c: (
        st.lists(c, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "message", "code", "choices", "detail", "type"]), c, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_like, st.sampled_from(["", "error"]))
def test_no_json_breaks_the_look(body: Any, event: str) -> None:
    error = find_error(body, event)
    assert error is None or (error.message and "\n" not in error.message and len(error.message) <= 300)
    assert "\n" not in error_text(body)
