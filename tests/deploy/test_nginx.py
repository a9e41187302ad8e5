"""The nginx before several servers: streams are not held back, and a server that is gone costs no request."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path
from time import monotonic

import aiohttp
import pytest

from routemoa.core.events import AnswerDelta, Done
from routemoa.core.usage import Usage
from tests.deploy.nginx import find_nginx, nginx, write_configuration
from tests.gateway.harness import HI, Script, serving


@pytest.fixture
def program() -> str:
    if (found := find_nginx()) is None:
        pytest.skip("no nginx here: apt-get install nginx")
    return found


def test_the_example_is_one_that_nginx_takes(program: str, tmp_path: Path) -> None:
    file = write_configuration(tmp_path, 8080, [8081, 8082, 8083, 8084])
    tried = subprocess.run([program, "-t", "-p", tmp_path, "-c", file], capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stderr
    assert "warn" not in tried.stderr


async def test_streams_pass_unbuffered_and_a_dead_server_is_left_out(program: str, tmp_path: Path) -> None:
    script = Script(AnswerDelta("Hel"), 0.5, AnswerDelta("lo."), Done(0.1, Usage(3, 4), 0.1, "length"))
    with socket.socket() as bound:  # takes no connections
        bound.bind(("127.0.0.1", 0))
        async with serving(script) as one, serving(script) as other, aiohttp.ClientSession() as session:
            servers = [bound.getsockname()[1], one.port, other.port]
            with nginx(program, tmp_path, servers) as port:
                url = f"http://127.0.0.1:{port}/v1/chat/completions"
                body = {"model": "routemoa", "messages": HI}

                async def ask() -> tuple[int, str, str]:
                    async with session.post(url, json=body, headers={"X-Request-Id": "mine"}) as response:
                        upstream = response.headers["X-Upstream"].rpartition(" ")[2]
                        return response.status, response.headers["X-Request-Id"], upstream

                asked = await asyncio.gather(*(ask() for _ in range(12)))
                assert {(status, id_) for status, id_, _ in asked} == {(200, "mine")}
                assert {where for *_, where in asked} == {f"127.0.0.1:{p}" for p in (one.port, other.port)}
                async with session.post(url, json={**body, "stream": True}) as response:
                    began = None
                    async for line in response.content:
                        if b"Hel" in line:
                            began = monotonic()
                        elif b"lo." in line:
                            assert began is not None
                            assert monotonic() - began > 0.3, "the first piece did not wait for the second"
                assert len((await session.get(f"http://127.0.0.1:{port}/healthz")).headers["X-Request-Id"]) == 32
