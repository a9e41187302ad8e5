"""Callers beyond the limits are told that there are too many; the state of the server is told all the same."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from routemoa.core.tables.server_table import ServerSettings
from tests.gateway.guards.test_protocol import BODY, GET, answer_to, fill, is_well, leave, post
from tests.gateway.harness import ANSWER, Script, serving, until


@pytest.mark.parametrize("size", [2, 300_000])
async def test_beyond_the_limits_requests_are_refused_whole_and_the_health_is_told(size: int) -> None:
    method = Script(1.0, *ANSWER)
    body = json.dumps({"model": "routemoa", "messages": [{"role": "user", "content": "x" * size}]}).encode()
    async with serving(method, settings=ServerSettings(max_connections=1)) as s:
        busy = await s.connect(post(BODY))
        await until(lambda: method.begun)
        for _ in range(3):
            refused = await (await s.connect(post(body))).whole()
            assert refused.status == 503
            assert refused.error["code"] == "overloaded"
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.headers["connection"] == "close"
            assert await is_well(s)
        assert (await answer_to(s, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 503")
        assert method.begun == 1
        await leave([busy])


async def test_a_health_check_beyond_the_limits_does_not_stay() -> None:
    method = Script(2.0, *ANSWER)
    async with serving(method, settings=ServerSettings(max_connections=1)) as s:
        busy = await s.connect(post(BODY))
        await until(lambda: method.begun)
        told = await answer_to(s, GET)
        assert told.startswith(b"HTTP/1.1 200")
        assert told.count(b"HTTP/1.1") == 1
        await leave([busy])


async def test_what_makes_room_before_its_request_was_read_is_told_so() -> None:
    async with serving(Script(*ANSWER), settings=ServerSettings(max_connections=4)) as s:
        callers = await fill(s, 6)
        told = await asyncio.wait_for(callers[0].reader.readuntil(b"}}"), 2)
        assert told.startswith(b"HTTP/1.1 503")
        assert re.search(rb"(?i)retry-after: \d+", told)
        await leave(callers)
