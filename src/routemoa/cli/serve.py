"""`routemoa serve`: serve the mixture and the models of a pool as an OpenAI-compatible API."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from routemoa.cli.options import load_pool, pool_option
from routemoa.cli.terminal.threads import use_one_thread
from routemoa.cli.terminal.warn import print_warnings
from routemoa.core.plural import counted

if TYPE_CHECKING:
    from routemoa.core.pool import Pool

__all__ = ["serve"]

CANCEL_SECONDS = 1.0  # for cancelled answers to settle their calls


@click.command(context_settings={"max_content_width": 100})
@pool_option
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to listen on.")
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on; 0 takes any free port and prints it.",
)
@click.option("--store", "store_file", metavar="FILE", help="Ledger file; else $ROUTEMOA_STORE, else your own ledger.")
@click.option("--no-store", is_flag=True, help="Do not keep a ledger. Budgets of tenants need one.")
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let web pages of ORIGIN use the server (CORS), such as https://chat.example.com; '*' is any. Repeatable.",
)
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A further name of this server. Repeatable.")
@click.option("--insecure", is_flag=True, help="Let other machines in although the pool file has no [[tenant]] keys.")
@click.option("--verbose", "-v", is_flag=True, help="Log a line for each request, without its text.")
def serve(  # one parameter for each option
    *,
    pool_file: str | None,
    host: str,
    port: int,
    store_file: str | None,
    no_store: bool,
    origins: tuple[str, ...],
    hosts: tuple[str, ...],
    insecure: bool,
    verbose: bool,
) -> None:
    """Serve the mixture and the models of a pool as an OpenAI-compatible API.

    A request names what answers it as its "model": routemoa, a baseline (moa, smoa, self-moa, best-single, random,
    cascade) or a model of the pool.

    Every call is written to the ledger; show it with  routemoa ledger. With [[tenant]] tables in the pool file each
    request needs a tenant's key, and budgets are enforced. Without them there is no authentication, and the server only
    listens on this machine, unless --insecure says otherwise.

    Web pages that programs on this machine serve may use a server on this machine; others need --allow-origin. Caps and
    deadlines of connections are set in `[server]` of the pool file.

    Ctrl-C or SIGTERM stops the server once running answers are complete; a second Ctrl-C stops it at once.

    \b
    Examples:
      routemoa serve --pool pool.toml
      curl http://127.0.0.1:8080/v1/chat/completions \\
        -H "Content-Type: application/json" \\
        -d '{"model": "routemoa",
             "messages": [{"role": "user", "content": "Hello"}]}'
    """
    from routemoa.gateway.guards.descriptors import raise_limit
    from routemoa.gateway.guards.event_loop import ServerLoop
    from routemoa.gateway.server import listen
    from routemoa.ledger import default_path

    use_one_thread()
    _set_up_log(verbose)
    if store_file and no_store:
        raise click.UsageError("--store and --no-store exclude each other.")
    pool = _with_options(load_pool(pool_file), origins, hosts)
    if not _is_loopback(host) and not len(pool.tenants):
        _check_insecure(host, insecure)
    path = None if no_store else Path(store_file).expanduser() if store_file else default_path()
    with listen(host, port) as listening:
        raise_limit()
        with asyncio.Runner(loop_factory=None if sys.platform == "win32" else ServerLoop) as runner:
            if runner.run(_serve_until_stopped(pool, listening, host, path, verbose)):
                raise click.Abort


async def _serve_until_stopped(
    pool: Pool, listening: socket.socket, host: str, path: Path | None, verbose: bool
) -> bool:
    """Serve until a signal stops it; return whether it was forced to stop at once.

    Args:
        pool: the models.
        listening: a bound socket.
        host: its address, as the user wrote it.
        path: of the ledger; None keeps none.
        verbose: log each request.
    """
    from routemoa.clients.connect import connect
    from routemoa.gateway import create_app
    from routemoa.gateway.server import Server
    from routemoa.ledger import Store
    from routemoa.mixture.method_registry import METHODS, build_method

    store = None if path is None else Store(path, pool.tenants)
    server: Server | None = None
    client = connect(pool)
    try:
        methods = {name: build_method(pool, name, client) for name in METHODS}
        url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/v1"
        app = create_app(methods, pool, client, store, loopback=_is_loopback(host))
        await client.ready()
        server = Server(app, lambda: _announce(url, pool), pool.server, access_log=verbose)
        await server.serve([listening])
    finally:  # the application closes both, too, but not where the server did not start or is forced to stop
        if server is not None and (cancelled := server.server_state.tasks):
            await asyncio.wait(list(cancelled), timeout=CANCEL_SECONDS)
        await client.close()
        if store is not None:
            await store.aclose()
    return server.force_exit


def _set_up_log(verbose: bool) -> None:
    """Log warnings, and with `verbose` requests, in bounded lines and a bounded number of them."""
    from routemoa.gateway.guards.log_limits import LineFormatter, RepeatFilter

    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("uvicorn.access").setLevel(logging.INFO if verbose else logging.WARNING)


def _with_options(pool: Pool, origins: tuple[str, ...], hosts: tuple[str, ...]) -> Pool:
    """Return the pool with the origins and names of the command line beside those of its file."""
    from routemoa.core.server_table import check_origin_name

    checked = tuple(check_origin_name(origin, "--allow-origin") for origin in origins)
    server = msgspec.structs.replace(
        pool.server,
        allow_origins=(*pool.server.allow_origins, *checked),
        allow_hosts=(*pool.server.allow_hosts, *hosts),
    )
    return dataclasses.replace(pool, server=server)


def _check_insecure(host: str, insecure: bool) -> None:
    """Warn that other machines may reach a server without keys. Raises UsageError unless that is wanted."""
    what = "other machines may reach it, and there is no authentication without [[tenant]] in the pool file"
    if not insecure:
        fix = "add a [[tenant]], or keep the address 127.0.0.1, or start it with --insecure behind a proxy of your own"
        raise click.UsageError(f"--host {host}: {what}: {fix}.")
    click.echo(f"warning: listening on {host}: {what}", err=True)


def _announce(url: str, pool: Pool) -> None:
    from routemoa.mixture.pool_warnings import list_pool_warnings

    key, header = ("KEY", ' -H "Authorization: Bearer KEY"') if len(pool.tenants) else ("unused", "")
    click.echo(
        f"serving {counted(len(pool), 'model')} as routemoa at {url}\n"
        f'  OpenAI(base_url="{url}", api_key="{key}").chat.completions.create(model="routemoa", messages=[...])\n'
        f"  curl {url}/models{header}",
        err=True,
    )
    print_warnings(list_pool_warnings(pool))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
