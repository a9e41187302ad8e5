"""The options that several commands have."""

from __future__ import annotations

import click

__all__ = ["duplicates_option", "json_file_option", "json_option", "pool_option", "say", "yes_option"]


def say(line: str) -> None:
    """Print a line about how files are read on standard error."""
    click.echo(line, err=True)


pool_option = click.option(
    "--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool."
)
duplicates_option = click.option(
    "--allow-duplicates", is_flag=True, help="Keep lines that repeat an id, as id#2, id#3; else they are refused."
)
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask before calls that cost money.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
json_file_option = click.option("--json", "json_file", metavar="FILE", help="Write all figures to FILE.")
