"""`routemoa serve`: serve the mixture and the models of a pool as an OpenAI-compatible API."""

from __future__ import annotations

import click

from routemoa.cli.options import pool_option, store_option
from routemoa.cli.serve_process import run_server
from routemoa.cli.serve_start import ServeOptions, announce, check_insecure
from routemoa.cli.serve_workers import run_workers
from routemoa.cli.terminal.threads import use_one_thread
from routemoa.core.tables.server_table import MAX_WORKERS

__all__ = ["serve"]


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
@store_option
@click.option("--no-store", is_flag=True, help="Do not keep a ledger. Budgets of tenants need one.")
@click.option(
    "--allow-origin",
    "--cors-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let web pages of ORIGIN use the server (CORS), such as https://chat.example.com; '*' is any. Repeatable.",
)
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A further name of this server. Repeatable.")
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    metavar="N",
    help="Processes behind the one port, one for a core; else workers in [server] of the pool file, else 1.",
)
@click.option("--insecure", is_flag=True, help="Let other machines in although there are no keys.")
@click.option("--verbose", "-v", is_flag=True, help="Log a line for each request, without its text.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log lines, or one JSON object a line with the request's id.",
)
@click.option(
    "--otel",
    is_flag=True,
    help="Send OpenTelemetry traces (extra otel) to $OTEL_EXPORTER_OTLP_ENDPOINT, by default http://localhost:4318.",
)
@click.option(
    "--watch/--no-watch",
    default=True,
    show_default=True,
    help="Read the pool file again when it changes; SIGHUP does in any case.",
)
def serve(  # one parameter for each option
    *,
    pool_file: str | None,
    host: str,
    port: int,
    store_file: str | None,
    no_store: bool,
    origins: tuple[str, ...],
    hosts: tuple[str, ...],
    workers: int | None,
    insecure: bool,
    verbose: bool,
    log_format: str,
    otel: bool,
    watch: bool,
) -> None:
    """Serve the mixture and the models of a pool as an OpenAI-compatible API.

    A request names what answers it as its "model": routemoa, a baseline (moa, smoa, self-moa, best-single, random,
    cascade) or a model of the pool.

    A model whose key is not set, or whose weights are not fetched, is left out with a warning, as long as one is left.

    Every call is written to the ledger; show it with  routemoa ledger. With keys (routemoa keys create) or [[tenant]]
    tables in the pool file each request needs one, and budgets are enforced. Without them there is no authentication,
    and the server only listens on this machine, unless --insecure says otherwise.

    Web pages that programs on this machine serve may use a server on this machine; others need --allow-origin. Caps and
    deadlines of connections are set in `[server]` of the pool file.

    A changed pool file is checked and taken over; running requests end as they began. One that is wrong is refused, and
    the log says why.

    One process uses one core: --workers starts several behind the one port. Budgets, keys, rates and metrics are those
    of all, and one that dies is replaced.

    Ctrl-C or SIGTERM stops the server once running answers are complete; a second Ctrl-C stops it at once.

    \b
    Examples:
      routemoa serve --pool pool.toml     # a browser shows http://127.0.0.1:8080/
      curl http://127.0.0.1:8080/v1/chat/completions \\
        -H "Content-Type: application/json" \\
        -d '{"model": "routemoa",
             "messages": [{"role": "user", "content": "Hello"}]}'
    """
    use_one_thread()
    if store_file and no_store:
        raise click.UsageError("--store and --no-store exclude each other.")
    options = ServeOptions(pool_file, host, store_file, no_store, origins, hosts, verbose, log_format, otel, watch)
    if _serve_pool(options, port, workers, insecure=insecure):
        raise click.Abort


def _serve_pool(options: ServeOptions, port: int, workers: int | None, *, insecure: bool) -> bool:
    """Serve the pool in this process or in several; return whether a signal forced an end at once."""
    from routemoa.gateway.guards.descriptors import raise_limit
    from routemoa.gateway.lifecycle.server import listen
    from routemoa.gateway.lifecycle.startup import find_access, is_loopback

    host, pool = options.host, options.read_pool(quiet=False)
    options.set_up_log(pool)
    access = find_access(pool, options.path)
    if not (is_loopback(host) or access.needs_key):
        check_insecure(host, insecure)
    with listen(host, port) as listening:
        raise_limit()
        url = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/v1"
        count = workers or pool.server.workers

        def ready() -> None:
            announce(url, pool, access, count)

        if count > 1:
            return run_workers(options, pool, listening, count, ready)
        return run_server(options, pool, listening, access.admin_key, ready=ready)
