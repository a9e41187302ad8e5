"""Progress on standard error: bars on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import TransferSpeedColumn as SpeedColumn
from rich.text import Text

from routemoa.core.text.printable import printable

__all__ = ["AnswerProgress", "DownloadProgress", "SourceCounts", "StepProgress"]

SHORTEST_BAR, LONGEST_BAR = 8, 40
"""Characters."""
COLUMN_GAPS = 3


class _Bars:
    """Bars on a terminal, and lines of text above them; elsewhere only the lines. Use it in a `with` block."""

    def __init__(self, *columns: ProgressColumn) -> None:
        self._bars = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def print_line(self, line: str) -> None:
        """Print a line of text, above the bars where there are any."""
        line = printable(line)  # it may quote an endpoint
        if self._bars.disable:
            print(line, file=sys.stderr, flush=True)
        else:
            self._bars.console.print(line, markup=False, highlight=False)


class _Megabytes(ProgressColumn):
    """What has come of a file, in MB: they move where gigabytes stand still."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / 1e6:,.0f}/{(task.total or 0) / 1e6:,.0f} MB", "progress.download", no_wrap=True)


class DownloadProgress(_Bars):
    """A bar for each file that is downloaded."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            _Megabytes(),
            SpeedColumn(),
            TimeRemainingColumn(),
        )
        super().__init__(*columns, TimeElapsedColumn())
        self._tasks: dict[str, TaskID] = {}

    def add_file(self, name: str, total: int) -> Callable[[int, int], None]:
        """Add a bar and return the function that moves it: (bytes done, bytes in all)."""
        self._tasks[name] = task = self._bars.add_task(name, total=total)
        tenths = 0

        def move(done: int, total: int) -> None:
            nonlocal tenths
            self._bars.update(task, completed=done, total=total)
            if self._bars.disable and done * 10 // total > tenths:
                tenths = done * 10 // total
                self.print_line(f"{name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

        return move

    def begin_stage(self, name: str, stage: str) -> None:
        """Say what is done with a file now; its bar starts again."""
        self._bars.reset(self._tasks[name], description=f"{name}: {stage}")
        if self._bars.disable:
            self.print_line(f"{name}: {stage}")

    def finish_file(self, name: str, *, succeeded: bool) -> None:
        """Mark a file as downloaded or failed."""
        self._bars.update(self._tasks[name], description=name if succeeded else f"{name}: failed")
        if self._bars.disable and succeeded:
            self.print_line(f"{name}: fetched and verified")


class StepProgress(_Bars):
    """One bar that counts steps, beside a status that changes.

    Args:
        total: steps.
        verb: what goes on, such as "grading".
        unit: what is counted, in the plural.
    """

    def __init__(self, total: int, verb: str, unit: str) -> None:
        self._bar = BarColumn()
        text = TextColumn("{task.description}", markup=False)
        super().__init__(text, self._bar, MofNCompleteColumn(), TimeRemainingColumn())
        self._task = self._bars.add_task(verb, total=total, visible=total > 0)
        self._verb, self._unit = verb, unit
        self.total, self.done = total, 0

    def advance(self, status: str = "", steps: int = 1) -> None:
        """Count steps and show the status."""
        before = self.done
        self.done += steps
        suffix = f", {status}" if status else ""
        self._bars.update(self._task, completed=self.done, description=self._fit(self._verb + suffix))
        if self._bars.disable and self.done * 10 // self.total > before * 10 // self.total:
            self.print_line(f"{self.done:,} of {self.total:,} {self._unit}{suffix}")

    def _fit(self, text: str) -> str:
        """Return the text, cut where the count beside it would not fit, and give the bar what room is left."""
        room = self._bars.console.width - 2 * len(str(self.total)) - len("/ 0:00:00") - COLUMN_GAPS
        room -= SHORTEST_BAR
        self._bar.bar_width = max(SHORTEST_BAR, min(LONGEST_BAR, SHORTEST_BAR + room - len(text)))
        return text if len(text) <= room else text[: max(0, room - 1)] + "…"


@dataclass
class SourceCounts:
    """What one source of answers, a model or a method, has given so far."""

    graded: int = 0
    score: float = 0.0
    """The sum over the graded answers."""
    failures: Counter[str] = field(default_factory=Counter)
    """Reason -> how often."""
    failures_in_a_row: int = 0


class AnswerProgress(StepProgress):
    """Progress of a run that collects answers from several sources, with the counts of each in `sources`."""

    def __init__(self, total: int, verb: str, unit: str) -> None:
        super().__init__(total, verb, unit)
        self.sources: dict[str, SourceCounts] = {}

    @property
    def failed(self) -> int:
        """Return how many answers failed, of all sources."""
        return sum(counts.failures.total() for counts in self.sources.values())

    def count(self, source: str, score: float | None, failure: str | None) -> SourceCounts:
        """Count one answer and return its source's counts.

        Args:
            source: the model or method that answered.
            score: of the answer, in [0, 1]; None where it was not graded.
            failure: why there is no answer; None where there is one.
        """
        counts = self.sources.setdefault(source, SourceCounts())
        if score is not None:
            counts.graded += 1
            counts.score += score
        if failure:
            counts.failures[failure] += 1
        counts.failures_in_a_row = counts.failures_in_a_row + 1 if failure else 0
        return counts
