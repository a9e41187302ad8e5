"""An endpoint in a thread of its own, rows of batch files, and pools that ask the endpoint."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from routemoa.testing import FakeEndpoint, Fault

Reply = str | Callable[[dict[str, Any]], str | dict[str, Any] | Fault]


@contextmanager
def endpoint_in_thread(reply: Reply = "The answer is 4.", faults: Fault = Fault()) -> Iterator[FakeEndpoint]:  # noqa: B008
    """Serve an endpoint until the block ends, also while the test's own thread blocks."""
    ready, stop = threading.Event(), asyncio.Event()
    found: list[FakeEndpoint] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with FakeEndpoint(reply, faults) as endpoint:
            found.append(endpoint)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a disk of so many bytes, such as 20k, at a folder; yield what changes its size."""

    def mount(size: str, *words: str) -> int:
        tool = ["mount", "-o", f"remount,size={size}"] if not words else ["mount", "-t", "tmpfs", "-o", f"size={size}"]
        return subprocess.run([*tool, *words, folder], check=False, capture_output=True).returncode

    folder.mkdir()
    if mount(size, "tmpfs"):
        pytest.skip("no disk can be mounted here")
    try:
        yield lambda size: assert_mounted(mount(size))
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def assert_mounted(status: int) -> None:
    """Check that a disk has changed."""
    assert status == 0


def chat_row(id: object, text: str = "What is 2 + 2?", **body: Any) -> dict[str, Any]:
    """Return a row of an OpenAI batch file."""
    messages = [{"role": "user", "content": text}]
    whole = {"model": "routemoa", "messages": messages, **body}
    return {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": whole}


def write_rows(path: Path, *rows: dict[str, Any] | str) -> Path:
    """Write lines of JSON; a text is a line as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def write_pool(path: Path, url: str, more: str = "", names: tuple[str, ...] = ("a", "b")) -> Path:
    """Write a pool file whose models cost a dollar for a thousand tokens."""
    models = (
        f'[[model]]\nname = "{name}"\nendpoint = "{url}"\nprior = 0.6\ninput_price = 1000\noutput_price = 1000\n'
        "parameters = {max_tokens = 100}\n"
        for name in names
    )
    path.write_text("".join(models) + more)
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
