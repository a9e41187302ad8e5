"""The group of commands `routemoa pool`."""

from __future__ import annotations

import click

from routemoa.cli.pool.check import check
from routemoa.cli.pool.fetch import fetch
from routemoa.cli.pool.join import join
from routemoa.cli.pool.prices import prices
from routemoa.cli.pool.show import show

__all__ = ["pool"]


@click.group(context_settings={"max_content_width": 100})
def pool() -> None:
    """Show a pool file and its prices, check its models, fetch weights, add a model to the scorer."""


for command in (show, prices, check, fetch, join):
    pool.add_command(command)
