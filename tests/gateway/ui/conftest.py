"""One `routemoa serve` with a pool of its own and one browser, for all tests of the page."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from routemoa.testing import FakeEndpoint, Fault
from tests.browser import Tab, open_browser

HOSTILE = "<script>window.taken=1</script><img src=x onerror='window.taken=2'> \x1b[31mred\x1b[0m"
MEMBER = """
[[model]]
name = "{name}"
endpoint = "{url}"
input_price = 1.0
output_price = 4.0
prior = {prior}
"""
PRIORS = {"fast": 0.62, "strong": 0.66, "odd": 0.6}


def reply(body: dict[str, Any]) -> str:
    """Two models agree, one does not; where the question asks for it, they are hostile."""
    if "hostile" in str(body["messages"][-1]["content"]):
        return f"{HOSTILE}\n\nThe answer is 4."
    return "The answer is 5." if body["model"] == "odd" else "Two and two make four.\n\nThe answer is 4."


class PageServer:
    """`routemoa serve` as a process of its own, with a ledger and traces, and without keys unless some are made.

    Args:
        folder: for its files.
        upstream: answers for its members.
        variables: of its environment.
    """

    def __init__(self, folder: Path, upstream: FakeEndpoint, **variables: str) -> None:
        self._upstream, self._variables = upstream, variables
        self._pool, self._store = folder / "pool.toml", folder / "store.db"
        self._pool.write_text("".join(MEMBER.format(name=n, url=upstream.url, prior=p) for n, p in PRIORS.items()))
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def calls(self) -> int:
        """The calls that its members have got."""
        return len(self._upstream.requests)

    @property
    def last(self) -> dict[str, Any]:
        """The last request that a member has got."""
        return self._upstream.requests[-1]

    @property
    def origin(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the port of before."""
        command = [sys.executable, "-m", "routemoa", "serve", "--pool", str(self._pool), "--store", str(self._store)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ROUTEMOA_")}
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, **self._variables},
        )
        assert self._process.stderr is not None
        while found := self._process.stderr.readline():
            if port := re.search(r"http://127\.0\.0\.1:(\d+)/v1", found):
                self.port = int(port[1])
                return
        raise AssertionError("the server did not start")

    def stop(self) -> None:
        """Stop it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def page(tmp_path_factory: Any) -> AsyncIterator[PageServer]:
    """The server that the browser looks at."""
    async with FakeEndpoint(reply, Fault(between=0.01)) as upstream:
        server = PageServer(tmp_path_factory.mktemp("page"), upstream)
        await asyncio.to_thread(server.start)
        yield server
        server.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tab() -> AsyncIterator[Tab]:
    """One tab for all tests."""
    async with open_browser() as opened:
        yield opened
