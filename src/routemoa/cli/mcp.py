"""`routemoa mcp`: serve the mixture to agents that speak the Model Context Protocol."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from routemoa.cli.options import load_pool, pool_option
from routemoa.cli.terminal.threads import use_one_thread
from routemoa.cli.terminal.warn import print_warnings
from routemoa.core.errors import ConfigError, MissingExtra
from routemoa.mixture.pool_warnings import warn_of_absent_models

if TYPE_CHECKING:
    from mcp.server import MCPServer

__all__ = ["mcp"]

SECONDS_TO_END = 1.0
"""That calls under way get to be written down after an interrupt."""


@click.command(context_settings={"max_content_width": 100})
@pool_option
@click.option(
    "--transport",
    type=click.Choice(["stdio", "http"]),
    default="stdio",
    show_default=True,
    help="stdio: the agent starts this command. http: streamable HTTP at /mcp.",
)
@click.option("--port", default=8090, show_default=True, type=click.IntRange(1, 65535), help="Of --transport http.")
def mcp(*, pool_file: str | None, transport: str, port: int) -> None:
    """Serve the mixture as tools of the Model Context Protocol (extra: mcp).

    Three tools: ask (an answer, and what it took), compare (what each model says, and which agree) and explain (how an
    earlier answer came about). Over HTTP it listens on this machine alone.

    \b
    Examples:
      routemoa mcp --pool pool.toml                  as an agent starts it
      routemoa mcp --pool pool.toml --transport http --port 8090
    """
    from routemoa.clients.connect import connect

    try:
        from routemoa.gateway.lifecycle.server import listen
        from routemoa.gateway.mcp.server import create_mcp_server
    except ModuleNotFoundError as e:
        if (e.name or "").partition(".")[0] not in ("mcp", "pydantic"):
            raise
        raise MissingExtra("mcp", "mcp") from e
    use_one_thread()
    logging.getLogger("mcp").setLevel(logging.WARNING)  # standard output is the protocol's
    pool = load_pool(pool_file)
    print_warnings(warn_of_absent_models(pool))
    server = create_mcp_server(pool, connect(pool))
    if transport == "stdio":
        asyncio.run(_serve_stdio(server))
        return
    try:
        listen("127.0.0.1", port).close()  # a port that is taken is one line, before the SDK's server says more
    except ConfigError as e:
        raise ConfigError(str(e).removesuffix(", or --port 0 for any free one")) from e
    click.echo(f"serving tools at http://127.0.0.1:{port}/mcp", err=True)
    asyncio.run(server.run_streamable_http_async(host="127.0.0.1", port=port))


async def _serve_stdio(server: MCPServer) -> None:
    """Serve until standard input ends; an interrupt ends it at once, as the SDK's reader of it cannot be cancelled."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    with suppress(NotImplementedError):  # Windows has no such handlers
        loop.add_signal_handler(signal.SIGINT, interrupted.set)
    serving = asyncio.create_task(server.run_stdio_async())
    waiting = asyncio.create_task(interrupted.wait())
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    if not interrupted.is_set():
        waiting.cancel()
        return await serving
    serving.cancel()
    await asyncio.wait((serving,), timeout=SECONDS_TO_END)
    click.echo("interrupted", err=True)
    os._exit(130)  # a thread still waits for a line of standard input
