"""`routemoa serve`: the mixture behind an OpenAI-compatible API, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from routemoa.pool import Pool

__all__ = ["serve"]


@click.command(context_settings={"max_content_width": 100})
@click.option("--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0 takes any free port and says which.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log a line for each request (never its text).")
def serve(*, pool_file: str | None, host: str, port: int, verbose: bool) -> None:
    """Serve the mixture, its rivals (moa, smoa, self-moa, best-single, random, cascade) and each model of the pool, by
    their names, as an OpenAI-compatible API.

    Ctrl-C or SIGTERM lets running answers end; a second Ctrl-C ends at once. There is no authentication yet:
    listen on other than this machine only behind something that has it.

    \b
    Examples:
      routemoa serve --pool pool.toml
      curl http://127.0.0.1:8080/v1/chat/completions -H "Content-Type: application/json" \\
        -d '{"model": "routemoa", "messages": [{"role": "user", "content": "Hello"}]}'
    """
    from routemoa.gateway.server import listen
    from routemoa.pool import Pool

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.access").setLevel(logging.INFO if verbose else logging.WARNING)
    pool = Pool.default(pool_file)
    listening = listen(host, port)
    if not _loopback(host):
        click.echo(f"warning: {host} may be reached from other machines, and there is no authentication yet", err=True)
    if asyncio.run(_run(pool, listening, host, verbose)):
        raise click.Abort


async def _run(pool: Pool, listening: socket.socket, host: str, verbose: bool) -> bool:
    """Serve until told to stop; whether that was at once."""
    from routemoa.config import METHODS, build
    from routemoa.connect import connect
    from routemoa.gateway import create_app
    from routemoa.gateway.server import Server

    client = connect(pool)
    methods = {name: build(pool, name, client) for name in METHODS}
    url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/v1"
    server = Server(create_app(methods, pool, client), lambda: _announce(url, pool), access_log=verbose)
    try:
        await server.serve([listening])
    finally:
        if server.force_exit or not server.started:  # the application's own end, which closes it, was skipped
            await client.close()
    return server.force_exit


def _announce(url: str, pool: Pool) -> None:
    click.echo(
        f"serving {len(pool)} models as routemoa at {url}\n"
        f'  OpenAI(base_url="{url}", api_key="unused").chat.completions.create(model="routemoa", messages=[...])\n'
        f"  curl {url}/models",
        err=True,
    )


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
