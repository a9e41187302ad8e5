"""A line with a clock while a command computes, so that a terminal is never silent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["WorkingLine", "show_working"]


class WorkingLine:
    """What is being done. What is printed on standard error meanwhile stands above it."""

    def __init__(self, doing: str) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        columns = (SpinnerColumn("line"), text, TimeElapsedColumn())
        is_hidden = not sys.stderr.isatty()
        console = Console(stderr=True)
        self.bar = Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=is_hidden)
        self._task = self.bar.add_task(doing, total=None)

    def begin(self, doing: str) -> None:
        """Say what is done now."""
        self.bar.update(self._task, description=doing)


@contextmanager
def show_working(doing: str) -> Iterator[WorkingLine]:
    """Show what is being done as the last line of a terminal, until the block ends; elsewhere show nothing."""
    line = WorkingLine(doing)
    with line.bar:
        yield line
