"""What the server logs of requests: a line each, with their ids, bounded, and none of their texts."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest

from routemoa.gateway.telemetry.request_log import REQUEST_LOGGER, JsonFormatter
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import HI, serving


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What is logged as JSON, requests included."""
    out = StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter())
    requests, root = logging.getLogger(REQUEST_LOGGER), logging.getLogger()
    before = requests.level
    root.addHandler(handler)
    requests.setLevel(logging.INFO)
    yield out
    root.removeHandler(handler)
    requests.setLevel(before)


def lines(log: StringIO, logger: str = REQUEST_LOGGER) -> list[dict[str, object]]:
    found = [json.loads(line) for line in log.getvalue().splitlines()]
    return [one for one in found if one["logger"] == logger]


async def test_a_request_is_one_line_with_its_id(log: StringIO) -> None:
    async with FakeEndpoint("The answer is 4.") as upstream, serving(endpoint=upstream.url) as served:
        body = {"model": "routemoa", "messages": [{"role": "user", "content": "my-own-secret question"}]}
        await (await served.raw(body, headers={"x-request-id": "mine-1"})).whole()
        await (await served.raw({**body, "stream": True}, headers={"x-request-id": "mine-2"})).whole()
        await (await served.raw({"model": "nothing", "messages": HI}, headers={"x-request-id": "mine-3"})).whole()
    whole, streamed, wrong = lines(log)
    assert whole["request_id"] == "mine-1"
    assert whole["message"] == f"POST /v1/chat/completions routemoa: 200 in {whole['seconds']:.3f} s"
    assert (whole["method"], whole["status"], whole["model"], whole["client"]) == ("POST", 200, "routemoa", "127.0.0.1")
    assert whole["calls"]
    assert whole["choice"] in ("a", "b/c")
    assert "first_token" not in whole
    assert 0 <= float(str(streamed["first_token"])) <= float(str(streamed["seconds"]))
    assert (wrong["request_id"], wrong["status"]) == ("mine-3", 404)
    assert "my-own-secret" not in log.getvalue()
    assert "The answer is 4" not in log.getvalue()


async def test_lines_about_a_members_failure_have_the_requests_id(log: StringIO) -> None:
    async with FakeEndpoint("x", Fault(status=401)) as upstream, serving(endpoint=upstream.url) as served:
        await (await served.raw({"model": "a", "messages": HI}, headers={"x-request-id": "mine-4"})).whole()
    assert lines(log, "routemoa.gateway")[0]["request_id"] == "mine-4"


def test_a_line_is_bounded_and_one_line() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "bad \x1b[31m\n%s", ("y" * 5000,), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 1500
    try:
        raise ValueError("deep")
    except ValueError as e:
        failed = logging.LogRecord("x", logging.ERROR, "", 0, "it failed", None, (type(e), e, e.__traceback__))
    assert "ValueError: deep" in json.loads(JsonFormatter().format(failed))["exception"]
