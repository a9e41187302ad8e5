"""`routemoa ui`: the dashboard and playground in a browser, on a server of this machine."""

from __future__ import annotations

import click

from routemoa.cli.options import pool_option, store_option
from routemoa.cli.serve import serve
from routemoa.cli.serve_start import OPEN_PAGE

__all__ = ["ui"]

PORT = 8080


@click.command(context_settings={"max_content_width": 100})
@pool_option
@click.option(
    "--port", type=click.IntRange(0, 65535), help=f"The port to listen on.  [default: {PORT}, else any free one]"
)
@store_option
@click.option("--no-open", is_flag=True, help="Print the address; open no browser.")
@click.pass_context
def ui(ctx: click.Context, *, pool_file: str | None, port: int | None, store_file: str | None, no_open: bool) -> None:
    """Open the dashboard and playground in a browser.

    It starts  routemoa serve  on this machine alone, and the page is at its address: ask, watch the models at work,
    compare methods, judge an answer again without a call, and see traces and costs. Without --pool it is the embedded
    pool of small local models; fetch their weights with  routemoa pool fetch.

    Ctrl-C stops it.

    \b
    Examples:
      routemoa ui
      routemoa ui --pool pool.toml --no-open
    """
    ctx.meta[OPEN_PAGE] = not no_open
    chosen = port if port is not None else PORT if _is_free(PORT) else 0
    ctx.invoke(serve, pool_file=pool_file, port=chosen, store_file=store_file)


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
