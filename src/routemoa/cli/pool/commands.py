"""The group of commands `routemoa pool`."""

from __future__ import annotations

import click

from routemoa.cli.command_group import SuggestingGroup
from routemoa.cli.pool.add import add
from routemoa.cli.pool.check import check
from routemoa.cli.pool.fetch import fetch
from routemoa.cli.pool.join import join
from routemoa.cli.pool.prices import prices
from routemoa.cli.pool.remove import remove
from routemoa.cli.pool.show import show
from routemoa.cli.pool.update import update

__all__ = ["pool"]


@click.group(cls=SuggestingGroup, context_settings={"max_content_width": 100})
def pool() -> None:
    """Show a pool file and its prices, check its models, add and remove models, take over new prices, fetch weights."""


for command in (show, prices, check, add, remove, update, fetch, join):
    pool.add_command(command)
