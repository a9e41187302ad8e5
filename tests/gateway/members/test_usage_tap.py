"""A stream is tapped the same way however it comes: in any pieces, with text alone or with anything else."""

from __future__ import annotations

import json
from random import Random

import pytest

from routemoa.clients.protocol import wire
from routemoa.core.tables.caps_table import ReplyCaps
from routemoa.gateway.members import usage_tap
from routemoa.gateway.members.usage_tap import ReplyTap


def event(content: str = " word", **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return f"data: {json.dumps(chunk | more)}\n\n".encode()


END = event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
USAGE = event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8})
DONE = b"data: [DONE]\n\n"
STREAMS = [
    event() * 5 + END + USAGE + DONE,
    event("é\u2028") + b": comment\n\n" + event() + b"\n\n" + event() + END + DONE,
    (event() * 3 + END + DONE).replace(b"\n", b"\r\n"),
    (event() * 3 + END + DONE).replace(b"\n", b"\r"),
    event() + b"event: note\n" + event() + b"id: 1\n" + END + DONE,
    event() + event().replace(b'"id"', b'\n"id"'),  # a line end within JSON is none of an event's data
    event() + event().replace(b'"id"', b'\r"id"') + END,
    event() + event().replace(b"data: ", b"data:") + END + DONE,
    event() + b'data: {"error": {"message": "no"}}\n\n' + event(),
    event() + event(error={"message": "no", "code": 500}) + event(),
    b"event: error\n" + event(),
    event() + b"data: {broken\n\n" + event(),
    event() + event()[:-30],
    event() * 3,
    event("x" * 40_000) + END + DONE,
]


def tap_all(data: bytes, cuts: list[int], limit: int) -> tuple[object, ...]:
    text: list[str] = []
    caps = ReplyCaps(event_bytes=limit)
    tap = ReplyTap("m", "text/event-stream", text.append, drop_usage=True, caps=caps)
    out = b""
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        if tap.error is None:
            out += tap.feed(data[start:end])
    rest = tap.end() if tap.error is None else b""
    return out + rest, "".join(text), tap.usage, tap.is_complete, type(tap.error), str(tap.error)


@pytest.mark.parametrize("number", range(len(STREAMS)))
@pytest.mark.parametrize("limit", [60_000, 300])
def test_the_short_way_passes_and_reads_what_the_full_one_does(
    number: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, lots = STREAMS[number], Random(number)
    ways = [[], *(sorted(lots.sample(range(1, len(data)), lots.randint(1, 6))) for _ in range(30))]
    short = [tap_all(data, cuts, limit) for cuts in ways]
    monkeypatch.setattr(usage_tap, "read_plain_text", lambda _: None)
    assert short == [tap_all(data, cuts, limit) for cuts in ways]


def test_plain_events_are_not_read_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    decode = wire.decode_json

    def noted(data: bytes | str) -> object:
        read.append(data)
        return decode(data)

    monkeypatch.setattr(wire, "decode_json", noted)
    assert tap_all(event() * 50 + END + DONE, [70, 1000], 60_000)[1] == " word" * 50
    assert len(read) < 3
