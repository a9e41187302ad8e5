"""The options that several commands of `routemoa pool` have."""

from __future__ import annotations

import click

__all__ = ["json_option", "pool_option"]

pool_option = click.option(
    "--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
