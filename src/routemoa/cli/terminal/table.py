"""Tables as the commands print them: as wide as the terminal, in a pipe as wide as they need."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["make_console", "make_table", "print_table"]

PIPE_WIDTH = 400  # characters, so that nothing is folded or cut in a pipe or a file


def make_console() -> Console:
    """Return a console on standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def make_table(heads: Sequence[str], *, left: Container[str], folded: Container[str]) -> Table:
    """Return a table without rows.

    Args:
        heads: the columns. Heads and cells are data: pass cells as `Text`, so that no name is read as markup.
        left: the columns that are aligned to the left; the others hold numbers and are aligned to the right.
        folded: the columns whose cells may be folded where the terminal is narrow.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in heads:
        table.add_column(
            Text(head), justify="left" if head in left else "right", no_wrap=head not in folded, overflow="fold"
        )
    return table


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    left: Container[str] | None = None,
) -> None:
    """Print a table of text; the columns `left`, by default all, are aligned to the left."""
    table = make_table(heads, left=heads if left is None else left, folded=heads)
    for row in rows:
        table.add_row(*map(Text, row))
    if title is not None:
        click.echo(title)  # rich would fold a table's own title to the width of the table
    make_console().print(table)
