"""A reply is read from the bytes as they come, in linear time and within its bounds."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic, perf_counter

import pytest

from routemoa.clients.protocol.reply_reader import ReplyReader
from routemoa.core.errors import InvalidResponse, ModelError, ModelTimeout, Unreachable
from routemoa.core.tables.caps_table import ReplyCaps
from routemoa.core.types import Completion, Thinking
from routemoa.core.usage import Usage


def script(*steps: bytes | ModelError) -> Callable[[float], Awaitable[bytes]]:
    """Return what reads: the steps one after the other, then the end."""
    left = list(steps)

    async def read(_: float) -> bytes:
        step = left.pop(0) if left else b""
        if isinstance(step, ModelError):
            raise step
        return step

    return read


async def read_all(
    *steps: bytes | ModelError,
    content_type: str = "text/event-stream",
    caps: ReplyCaps = ReplyCaps(),  # noqa: B008  (frozen)
) -> list[str | Thinking | Completion]:
    reader = ReplyReader("m", None, script(*steps), 60.0, caps)
    return [piece async for piece in reader.read(content_type, monotonic())]


def event(message: dict[str, object], finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": message, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


LOST = Unreachable("m", "the connection was lost", sent=True)
LATE = ModelTimeout("m", "nothing came for 60 s")
SAID = event({"content": "Paris"})
END = event({}, "stop")
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}\n\n'


async def test_a_finished_answer_stands_however_the_connection_ends() -> None:
    for ending in (LOST, LATE, b""):
        *pieces, completion = await read_all(SAID, END, USAGE, ending)
        assert pieces == ["Paris"]
        assert isinstance(completion, Completion)
        assert (completion.text, completion.finish_reason, completion.usage) == ("Paris", "stop", Usage(3, 9))


@pytest.mark.parametrize(
    ("steps", "kind", "produced", "usage"),
    [
        ((LOST,), Unreachable, False, None),
        ((b": hi\n\n", LOST), Unreachable, False, None),
        ((b": hi\n\n",), Unreachable, False, None),
        ((SAID, LOST), InvalidResponse, True, None),
        ((SAID, LATE), ModelTimeout, True, None),
        ((SAID, USAGE), InvalidResponse, True, Usage(3, 9)),
        ((SAID, USAGE, LOST), InvalidResponse, True, Usage(3, 9)),
        ((event({"reasoning_content": "hmm"}), LOST), InvalidResponse, True, None),
        ((event({"content": "<think>hm"}),), InvalidResponse, True, None),
    ],
)
async def test_what_was_lost_says_whether_tokens_may_be_billed(
    steps: Iterable[bytes | ModelError], kind: type[ModelError], produced: bool, usage: Usage | None
) -> None:
    with pytest.raises(kind) as caught:
        await read_all(*steps)
    assert caught.value.produced is produced
    assert caught.value.usage == usage


async def test_replies_are_bounded() -> None:
    for endless in ([b" " * 1000], [b"data: x"], [SAID], [b'{"a": "' + b"x" * 1000], [event({"reasoning": "x" * 500})]):
        with pytest.raises(InvalidResponse, match=r"the reply is larger than|not a JSON object"):
            await read_all(*endless * 20_000, caps=ReplyCaps(reply_bytes=100_000))


@pytest.mark.alone
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: event({"content": "x" * n}) + END, id="one long line"),
        pytest.param(lambda n: b"\n" * n + SAID + END, id="blank lines"),
        pytest.param(lambda n: b": x\n" * (n // 4) + b"\n" + SAID + END, id="comments"),
        pytest.param(lambda n: event({"content": "`<think>" * (n // 8)}) + END, id="tags"),
        pytest.param(lambda n: b'{"choices": [{"message": {"content": "' + b"x" * n + b'"}}]}', id="one body"),
    ],
)
async def test_the_time_is_linear(make: Callable[[int], bytes]) -> None:
    async def seconds(length: int) -> float:
        data = make(length)
        started = perf_counter()
        await read_all(*(data[i : i + 1000] for i in range(0, len(data), 1000)))
        return perf_counter() - started

    short = min([await seconds(250_000) for _ in range(3)])
    assert min([await seconds(2_000_000) for _ in range(3)]) < 8 * 3 * short + 0.05
