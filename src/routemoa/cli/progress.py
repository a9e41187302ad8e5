"""Download progress on standard error: bars in bytes on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn

__all__ = ["Bars"]


class Bars:
    """A bar for each file; use it in a `with` block."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            SpeedColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """A line of text between the bars."""
        self._line(line)

    def add(self, name: str, total: int) -> Callable[[int, int], None]:
        """A new bar, and the function that moves it: (bytes done, bytes in all)."""
        self._tasks[name] = task = self._bars.add_task(name, total=total)
        tenths = 0

        def move(done: int, total: int) -> None:
            nonlocal tenths
            self._bars.update(task, completed=done, total=total)
            if self._bars.disable and done * 10 // total > tenths:
                tenths = done * 10 // total
                self._line(f"{name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

        return move

    def end(self, name: str, good: bool) -> None:
        """The file is there, or is not to be had."""
        self._bars.update(self._tasks[name], description=name if good else f"{name}: failed")
        if self._bars.disable and good:
            self._line(f"{name}: fetched and verified")

    def _line(self, line: str) -> None:
        if self._bars.disable:
            print(line, file=sys.stderr, flush=True)
        else:
            self._bars.console.print(line, markup=False, highlight=False)
