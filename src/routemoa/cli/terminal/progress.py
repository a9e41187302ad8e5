"""Progress on standard error: bars on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import TransferSpeedColumn as SpeedColumn

__all__ = ["Bars", "Steps"]


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


class Steps:
    """One bar that counts, with words that change; a line for each tenth where there is no terminal. For `with`."""

    def __init__(self, total: int, verb: str, unit: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._task = self._bar.add_task(verb, total=total)
        self._verb, self._unit = verb, unit
        self.total, self.done = total, 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, words: str = "") -> None:
        """One more is done; `words` say how it stands."""
        self.done += 1
        words = f", {words}" if words else ""
        self._bar.update(self._task, completed=self.done, description=self._verb + words)
        if self._bar.disable and self.done * 10 // self.total > (self.done - 1) * 10 // self.total:
            self.line(f"{self.done:,} of {self.total:,} {self._unit}{words}")

    def line(self, text: str) -> None:
        """A line of text, above the bar where there is one."""
        if self._bar.disable:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)
