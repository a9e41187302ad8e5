"""A key that an endpoint reflects is seen by nobody: bodies that pass, answers, errors, traces, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cases.raw_endpoint import Raw, Reply, delta, say, send, setting, sse

KEY = "sk-or/v1-0aB9xyz-SECRET"


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


WRITTEN = {
    "plain": KEY,
    "slash": KEY.replace("/", "\\/"),
    "all escaped": escaped(KEY),
    "upper case": escaped(KEY).upper().replace("\\U", "\\u"),
    "partly": KEY[:3] + escaped(KEY[3:9]) + KEY[9:],
    "one letter": KEY[:-1] + escaped(KEY[-1]),
    "in a URL": KEY.replace("/", "%2F"),
    "JSON in JSON": escaped(KEY).replace("\\", "\\\\"),
}


def body_with(written: str, *, stream: bool) -> str | list[str | bytes | float]:
    """Return a completion that holds the key as it is written, in pieces that cut it."""
    marker = "MARK"
    if not stream:
        message = {"role": "assistant", "content": f"It is {marker}.", "note": marker}
        whole = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "echo": marker})
        return whole.replace(marker, written)
    events = sse(delta({"content": f"It is {marker}."}, note=marker), delta({}, "stop"), "[DONE]").replace(
        marker, written
    )
    return [p for i in range(0, len(events), 9) for p in (events[i : i + 9], 0.001)]


def reflecting(written: str) -> Reply:
    def reply(body: dict[str, Any]) -> Raw:
        stream = bool(body.get("stream"))
        return Raw(body_with(written, stream=stream), "text/event-stream" if stream else "application/json")

    return reply


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTED_KEY", KEY)


def assert_unseen(body: bytes) -> None:
    text = body.decode()
    for form in (text, text.replace("\\/", "/"), json.dumps(text), text.encode().decode("unicode_escape", "ignore")):
        assert KEY not in form
        assert KEY.replace("/", "%2F") not in form
    assert "SECRET" not in text


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("model", ["a", "routemoa", "best-single"])
@pytest.mark.parametrize("more", [{}, {"stream": True}, {"stream": True, "routemoa": {"stream_mode": "events"}}])
async def test_no_answer_holds_the_key(tmp_path: Path, written: str, model: str, more: dict[str, Any]) -> None:
    async with setting(tmp_path, reflecting(written), api_key_env="REFLECTED_KEY") as s:
        response = await s.ask(model, **more)
        assert s.endpoints[0].headers[0]["Authorization"] == f"Bearer {KEY}"
        assert response.status == 200
        assert "[key]" in response.body.decode()
        assert_unseen(response.body)
        await s.calls()
    for file in Path(tmp_path).glob("store*"):  # noqa: ASYNC240  (small, and nothing else runs)
        assert not file.is_file() or KEY.encode() not in file.read_bytes()


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("model", ["a", "routemoa"])
async def test_no_error_holds_the_key(
    tmp_path: Path, status: int, written: str, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"error": {"message": "wrong key MARK", "headers": {"authorization": "Bearer MARK"}}})
    async with setting(
        tmp_path, send(body.replace("MARK", written), "application/json", status), api_key_env="REFLECTED_KEY"
    ) as s:
        for stream in (False, True):
            response = await s.ask(model, stream=stream)
            assert response.status >= 400
            assert_unseen(response.body)
    assert "SECRET" not in caplog.text


async def test_a_key_that_a_model_says_word_by_word_is_cut_out_of_the_answer(tmp_path: Path) -> None:
    async with setting(tmp_path, say(f"My key is {KEY}, really.", size=3), api_key_env="REFLECTED_KEY") as s:
        for stream in (False, True):
            response = await s.ask(stream=stream)
            assert_unseen(response.body)
        assert (await s.ask()).json["choices"][0]["message"]["content"] == "My key is [key], really."
