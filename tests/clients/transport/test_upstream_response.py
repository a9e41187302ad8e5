"""Responses that are passed on."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from routemoa.clients.transport.timeouts import Timeouts
from routemoa.clients.transport.upstream_response import UpstreamResponse
from routemoa.core.errors import InvalidResponse
from routemoa.core.tables.caps_table import ReplyCaps


def respond(*pieces: bytes, key: str | None = None, caps: ReplyCaps | None = None) -> UpstreamResponse:
    """Return a response whose pieces have come."""
    left = list(pieces)
    content = SimpleNamespace(at_eof=lambda: not left, read_nowait=lambda _: left.pop(0))
    response: Any = SimpleNamespace(status=200, headers={"Content-Type": "text/plain"}, content=content)
    return UpstreamResponse("a", response, key, caps or ReplyCaps(), times=Timeouts(), deadline=inf)


async def read_all(response: UpstreamResponse) -> bytes:
    data = b""
    while chunk := await response.read():
        data += chunk
    return data


async def test_the_key_is_cut_out_of_bytes_that_pass() -> None:
    assert await read_all(respond(b"a sk-sec", b"ret-1234 b", b" sk-", b"x", key="sk-secret-1234")) == b"a [key] b sk-x"
    assert await read_all(respond(b"half of it: sk-secret-12", key="sk-secret-1234")) == b"half of it: [key]"


async def test_a_reply_is_read_up_to_its_cap() -> None:
    with pytest.raises(InvalidResponse, match="larger than 2000 bytes"):
        await read_all(respond(*[b"x" * 500] * 5, caps=ReplyCaps(reply_bytes=2000)))
