"""A table of text, as the commands print it."""

from __future__ import annotations

import sys

import click

__all__ = ["print_table"]


def print_table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """A table as wide as the terminal; in a pipe as wide as it needs, so that nothing is cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 400)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # names are data, not markup
    click.echo(title)  # a table's own title would be folded to its width
    console.print(table)
