"""`routemoa serve`: the mixture behind an OpenAI-compatible API, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from routemoa.cli.terminal.threads import one_thread

if TYPE_CHECKING:
    from routemoa.core.pool import Pool

__all__ = ["serve"]

PATIENCE = 1.0  # seconds for answers that were cancelled


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
@click.option("--store", "store_file", metavar="FILE", help="The ledger; else $ROUTEMOA_STORE, else the user's own.")
@click.option("--no-store", is_flag=True, help="Keep no ledger. Budgets of tenants need one.")
@click.option("--verbose", "-v", is_flag=True, help="Log a line for each request (never its text).")
def serve(
    *, pool_file: str | None, host: str, port: int, store_file: str | None, no_store: bool, verbose: bool
) -> None:
    """Serve the mixture, its rivals (moa, smoa, self-moa, best-single, random, cascade) and each model of the pool, by
    their names, as an OpenAI-compatible API.

    Every call is written to the ledger (routemoa ledger shows it). With [[tenant]] tables in the pool file each
    request needs a tenant's key, and budgets are kept. Without them there is no authentication: listen on other than
    this machine only behind something that has it.

    Ctrl-C or SIGTERM lets running answers end; a second Ctrl-C ends at once.

    \b
    Examples:
      routemoa serve --pool pool.toml
      curl http://127.0.0.1:8080/v1/chat/completions -H "Content-Type: application/json" \\
        -d '{"model": "routemoa", "messages": [{"role": "user", "content": "Hello"}]}'
    """
    from routemoa.core.pool import Pool
    from routemoa.gateway.server import listen
    from routemoa.ledger import default_path

    one_thread()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn.access").setLevel(logging.INFO if verbose else logging.WARNING)
    if store_file and no_store:
        raise click.UsageError("--store and --no-store exclude each other.")
    pool = Pool.default(pool_file)
    path = None if no_store else Path(store_file).expanduser() if store_file else default_path()
    with listen(host, port) as listening:
        if not _loopback(host) and not len(pool.tenants):
            warning = (
                "may be reached from other machines; there is no authentication without [[tenant]] in the pool file"
            )
            click.echo(f"warning: {host} {warning}", err=True)
        if asyncio.run(_run(pool, listening, host, path, verbose)):
            raise click.Abort


async def _run(pool: Pool, listening: socket.socket, host: str, path: Path | None, verbose: bool) -> bool:
    """Serve until told to stop; whether that was at once. `path` is the store's; None keeps none."""
    from routemoa.clients.connect import connect
    from routemoa.gateway import create_app
    from routemoa.gateway.server import Server
    from routemoa.ledger import Store
    from routemoa.mixture.methods import METHODS, build_method

    store = None if path is None else Store(path, pool.tenants)
    server: Server | None = None
    client = connect(pool)
    try:
        methods = {name: build_method(pool, name, client) for name in METHODS}
        url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/v1"
        app = create_app(methods, pool, client, store)
        await client.ready()
        server = Server(app, lambda: _announce(url, pool), access_log=verbose)
        await server.serve([listening])
    finally:  # the application's own end, which closes both, is skipped where the server did not start or ends at once
        if server is not None and (cancelled := server.server_state.tasks):
            await asyncio.wait(list(cancelled), timeout=PATIENCE)  # each settles its calls
        await client.close()
        if store is not None:
            await store.aclose()
    return server.force_exit


def _announce(url: str, pool: Pool) -> None:
    key, shown = ("KEY", ' -H "Authorization: Bearer KEY"') if len(pool.tenants) else ("unused", "")
    click.echo(
        f"serving {len(pool)} models as routemoa at {url}\n"
        f'  OpenAI(base_url="{url}", api_key="{key}").chat.completions.create(model="routemoa", messages=[...])\n'
        f"  curl {url}/models{shown}",
        err=True,
    )


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
