"""The options that several commands have."""

from __future__ import annotations

import click

__all__ = ["edited_pool_option", "json_file_option", "json_option", "pool_option", "yes_option"]

pool_option = click.option(
    "--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool."
)
edited_pool_option = click.option(
    "--pool", "pool_file", metavar="FILE", help="The pool file to edit; else $ROUTEMOA_POOL, else pool.toml."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask before calls that cost money.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
json_file_option = click.option("--json", "json_file", metavar="FILE", help="Write all figures to FILE.")
