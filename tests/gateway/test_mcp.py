"""The tools of the Model Context Protocol, with the SDK's own client: in the process, over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters

from routemoa.clients.connect import connect
from routemoa.core.pool_file.pool import Pool
from routemoa.core.types import ModelSpec
from routemoa.gateway.mcp.server import create_mcp_server
from routemoa.testing import FakeEndpoint, Fault

INITIALIZE = (
    b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18",'
    b' "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}\n'
)
COMMAND = [sys.executable, "-c", "from routemoa.cli import main; main()", "mcp", "--pool"]


@asynccontextmanager
async def endpoints() -> AsyncIterator[Pool]:
    """A pool of two members that agree and one that does not."""
    async with FakeEndpoint("The answer is 4.") as right, FakeEndpoint("The answer is 5.") as wrong:
        yield Pool(
            (
                ModelSpec("a", right.url, "a", prior=0.6),
                ModelSpec("b", wrong.url, "b", prior=0.55),
                ModelSpec("c", right.url, "c", prior=0.5),
            )
        )


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def error(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)  # type: ignore[union-attr]


async def test_ask_compare_and_explain() -> None:
    async with endpoints() as pool, Client(create_mcp_server(pool, connect(pool))) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"ask", "compare", "explain"}
        assert all(tool.description for tool in tools.values())
        answer = await call(client, "ask", question="What is 2 + 2?")
        assert answer["answer"] == "The answer is 4."
        assert answer["models"] == ["a", "b", "c"]
        assert answer["calls"] == 3
        story = await call(client, "explain", trace_id=answer["trace_id"])
        assert story["chosen"] in ("a", "c")
        assert [list(layer["answers"]) for layer in story["layers"]] != []
        assert "text" not in str(story["layers"])
        whole = await call(client, "explain", trace_id=answer["trace_id"], depth="full")
        assert "The answer is 5." in str(whole["layers"])
        panel = await call(client, "compare", question="What is 2 + 2?")
        assert panel["agree"] == [["a", "c"], ["b"]]
        assert panel["answers"]["b"] == "The answer is 5."
        two = await call(client, "compare", question="What is 2 + 2?", models=["b", "c"])
        assert set(two["answers"]) == {"b", "c"}


async def test_errors_are_one_sentence() -> None:
    async with endpoints() as pool, Client(create_mcp_server(pool, connect(pool))) as client:
        assert "empty" in await error(client, "ask", question="  ")
        assert (await error(client, "ask", question="x", max_cost=-1)).startswith("Error executing tool ask: max_cost")
        assert "no trace" in await error(client, "explain", trace_id="nothing")
        assert "known: a, b, c" in await error(client, "compare", question="x", models=["z"])
    async with FakeEndpoint(faults=Fault(status=401, message="bad key sk-secret")) as broken:
        pool = Pool((ModelSpec("a", broken.url, "a"),))
        async with Client(create_mcp_server(pool, connect(pool))) as client:
            told = await error(client, "ask", question="What is 2 + 2?")
            assert "sk-secret" not in told
            assert broken.url not in told


async def test_command_speaks_over_stdio(tmp_path: Path) -> None:
    async with FakeEndpoint("The answer is 4.") as endpoint:
        pool = tmp_path / "pool.toml"
        pool.write_text(f'[[model]]\nname = "a"\nendpoint = "{endpoint.url}"\n')
        parameters = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], str(pool)])
        async with Client(parameters, read_timeout_seconds=30) as client:
            assert (await call(client, "ask", question="What is 2 + 2?"))["answer"] == "The answer is 4."


async def test_command_speaks_over_http(tmp_path: Path, unused_tcp_port: int) -> None:
    async with FakeEndpoint("The answer is 4.") as endpoint:
        pool = tmp_path / "pool.toml"
        pool.write_text(f'[[model]]\nname = "a"\nendpoint = "{endpoint.url}"\n')
        more = [str(pool), "--transport", "http", "--port", str(unused_tcp_port)]
        process = await asyncio.create_subprocess_exec(*COMMAND, *more, stderr=asyncio.subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{unused_tcp_port}/mcp"
            for _ in range(100):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.1)
            async with Client(url, read_timeout_seconds=30) as client:
                assert (await call(client, "ask", question="What is 2 + 2?"))["answer"] == "The answer is 4."
        finally:
            process.terminate()
            await process.wait()


async def test_interrupt_ends_the_command_over_stdio(tmp_path: Path) -> None:
    """Ctrl-C ends it while standard input is open."""
    pool = tmp_path / "pool.toml"
    pool.write_text('[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9/v1"\n')
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*COMMAND, str(pool), stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(INITIALIZE)
    assert b"serverInfo" in await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 130


async def test_taken_port_is_one_line(tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    pool.write_text('[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9/v1"\n')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        more = [str(pool), "--transport", "http", "--port", port]
        process = await asyncio.create_subprocess_exec(*COMMAND, *more, stderr=asyncio.subprocess.PIPE)
        _, told = await process.communicate()
    assert process.returncode == 2
    assert told.decode().strip() == f"routemoa: port {port} on 127.0.0.1 is taken; choose another with --port"
