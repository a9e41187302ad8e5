"""Tables as the commands print them: columns that do not fit are left out, and no word is cut.

A pipe has room for every column.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from routemoa.cli.terminal.lines import print_line
from routemoa.core.text.printable import printable_line

__all__ = ["fit_table", "make_console", "print_fitted", "print_table"]

PIPE_WIDTH = 400  # characters, so that nothing is folded or left out in a pipe or a file
GAP = 2  # characters between two columns
SHORT = 24  # characters of a cell that is never folded


def make_console() -> Console:
    """Return a console on standard output."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def fit_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Text]],
    width: int,
    *,
    left: Container[str],
    folded: Container[str],
    optional: Sequence[str] = (),
) -> tuple[Table, list[str]]:
    """Return a table that is at most `width` characters wide where that is possible, and the columns it leaves out.

    Args:
        heads: the columns. Heads and cells are data, never markup.
        rows: the cells of each row.
        width: characters of the terminal.
        left: the columns that are aligned to the left; the others hold numbers and are aligned to the right.
        folded: the columns that may be folded between words.
        optional: the columns that may be left out, the first one first.
    """
    columns = list(range(len(heads)))
    natural, least = _measure_columns(heads, rows, folded)
    dropped = [heads.index(head) for head in optional if head in heads]
    while dropped and _total(columns, least) > width:
        columns.remove(dropped.pop(0))
    widths = _share_width(columns, natural, least, width)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i in columns:
        table.add_column(
            Text(heads[i]), justify="left" if heads[i] in left else "right", width=widths[i], overflow="fold"
        )
    for row in rows:
        table.add_row(*(row[i] for i in columns))
    return table, [head for i, head in enumerate(heads) if i not in columns]


def print_fitted(console: Console, table: Table, dropped: Sequence[str]) -> None:
    """Print a table, and a line about the columns that did not fit."""
    console.print(table)
    if dropped:
        print_line(f"in a wider terminal also: {', '.join(dropped)}", err=True)


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    left: Container[str] | None = None,
    optional: Sequence[str] = (),
) -> None:
    """Print a table of text; the columns `left`, by default all, are aligned to the left."""
    cells = [[Text(printable_line(cell)) for cell in row] for row in rows]
    if title is not None:
        print_line(title)  # rich would fold a table's own title to the width of the table
    console = make_console()
    left = heads if left is None else left
    print_fitted(console, *fit_table(heads, cells, console.width, left=left, folded=heads, optional=optional))


def _measure_columns(
    heads: Sequence[str], rows: Sequence[Sequence[Text]], folded: Container[str]
) -> tuple[list[int], list[int]]:
    """Return for each column the characters of its longest cell, and the fewest that cut no word."""
    natural, least = [], []
    for i, head in enumerate(heads):
        cells = [head, *(row[i].plain for row in rows)]
        natural.append(max(map(cell_len, cells)))
        can_fold = head in folded
        parts = [part for cell in cells for part in (cell.split() if can_fold and cell_len(cell) > SHORT else [cell])]
        least.append(max(map(cell_len, parts), default=0))
    return natural, least


def _total(columns: Sequence[int], widths: Sequence[int]) -> int:
    """Return the characters of a table of these columns."""
    return sum(widths[i] for i in columns) + GAP * (len(columns) - 1)


def _share_width(columns: Sequence[int], natural: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Return the width of each column: the longest cell where all fit, else what is left beyond the least."""
    widths = list(least)
    room = width - _total(columns, least)
    wanting = [i for i in columns if natural[i] > least[i]]
    for n, i in enumerate(sorted(wanting, key=lambda i: natural[i] - least[i])):  # small wishes are granted whole
        given = max(0, min(natural[i] - least[i], room // (len(wanting) - n)))
        widths[i] += given
        room -= given
    return widths
