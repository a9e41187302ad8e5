"""Responses that are passed on."""

from __future__ import annotations

import asyncio
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from routemoa.clients.connections.response import HttpResponse
from routemoa.clients.transport.timeouts import Timeouts
from routemoa.clients.transport.upstream_response import UpstreamResponse
from routemoa.core.errors import InvalidResponse
from routemoa.core.tables.caps_table import ReplyCaps


def respond(*pieces: bytes, key: str | None = None, caps: ReplyCaps | None = None) -> UpstreamResponse:
    """Return a response whose pieces have come."""
    source: Any = SimpleNamespace(resume=lambda: None)
    response = HttpResponse(source, asyncio.get_running_loop())
    response.begin(200, {"content-type": "text/plain"})
    for piece in pieces:
        response.feed(piece)
    response.end()
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
