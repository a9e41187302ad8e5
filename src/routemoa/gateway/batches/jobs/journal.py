"""Keeps the calls of a job on disk: what each may cost before it is made, what it did cost, and answers of open rows.

However the process ends, no dollar is forgotten: a call that was under way counts as the most that it can have cost.
The calls of rows with a result are dropped from time to time, so the file stays as large as the rows under way are.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

import msgspec
from msgspec import Struct

from routemoa.core.types import Completion
from routemoa.datasets.appender import Appender
from routemoa.datasets.jsonl import BadLine, ErrorCollector, RecordsError, read_lines

__all__ = [
    "CALLS",
    "LOCK_SECONDS",
    "CallEnd",
    "CallJournal",
    "FinishedCalls",
    "Journal",
    "Spending",
    "gather_answers",
    "open_journal",
]

CALLS = "calls.jsonl"
LOCK_SECONDS = 30.0
"""That the keeper of a killed driver may take to let go of the journal."""
COMPACT_LINES = 20_000
"""Lines after which the file is written again without the calls of finished rows."""

ROUNDING = 1e-12
"""Dollars: what is less is no rest of a lease but an error of its sums."""

FinishedCalls = dict[str, deque[Completion]]
"""Digest of a request -> the answers to it that are paid for and not used yet."""


class Spending(Struct, frozen=True):
    """What the calls of a job have cost so far."""

    calls: int = 0
    cost: float = 0.0
    """Dollars of the calls whose cost is known."""
    uncertain: float = 0.0
    """Dollars that the other calls can have cost at most."""
    unpriced: int = 0
    """Calls without a price."""

    @property
    def most(self) -> float:
        """Dollars that count against a limit."""
        return self.cost + self.uncertain

    def __add__(self, other: Spending) -> Spending:
        return Spending(*map(sum, zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))


class CallEnd(Struct, frozen=True, omit_defaults=True):
    """How a call ended."""

    row: int
    cost: float | None
    """Dollars; None is unknown."""
    charged: float
    """Dollars that count: the cost, or the most that it can be."""
    request: str | None = None
    """The digest of the request, where there is an answer."""
    completion: Completion | None = None

    @property
    def spending(self) -> Spending:
        """Return what the call adds."""
        if self.cost is not None:
            return Spending(1, self.cost)
        return Spending(1, 0.0, self.charged, int(self.charged == 0.0))


class Journal(Protocol):
    """Where the calls of a job are written down."""

    def start(self, row: int, most: float | None) -> int:
        """Write that a call is about to be made, which costs so many dollars at most; return its number."""
        ...

    def end(self, number: int, end: CallEnd) -> None:
        """Write how a call ended."""
        ...

    def take_finished(self, row: int) -> FinishedCalls:
        """Return the answers of a row's calls that ended."""
        ...

    def finish_row(self, row: int) -> None:
        """Note that a row has its result."""
        ...


class _Line(Struct, frozen=True, omit_defaults=True):
    """A line of the file: totals of dropped lines, the start of a call, or its end."""

    total: Spending | None = None
    start: int | None = None
    row: int = 0
    most: float | None = None
    end: int | None = None
    call: CallEnd | None = None
    kept: CallEnd | None = None
    """An answer whose cost is part of the totals."""
    lease: float = 0.0
    """Dollars that another process may spend from now on, or gives back."""


class CallJournal:
    """A `Journal` in a file; one process at a time.

    Args:
        folder: holds calls.jsonl.
        has_result: tells which rows need no calls any more.

    Raises:
        RecordsError: the file cannot be read or written, or another process has it.
    """

    def __init__(self, folder: str | os.PathLike[str], has_result: Callable[[int], bool] = lambda _: False) -> None:
        self._path = Path(folder) / CALLS
        self._file = Appender(self._path)
        self.spending = Spending()
        self._ended: dict[int, list[CallEnd]] = {}
        """Answers of rows without a result."""
        self._open: dict[int, _Line] = {}
        self._leased = 0.0
        """Dollars that other processes may spend and have not reported."""
        self._next = 0
        self._lines = 0
        try:
            self._load(has_result)
            self._compact()
        except BaseException:
            self._file.close()
            raise

    def start(self, row: int, most: float | None) -> int:
        """Write that a call is about to be made, which costs so many dollars at most; return its number."""
        self._next += 1
        line = _Line(start=self._next, row=row, most=most)
        self._file.write(line)
        self._open[self._next] = line
        self._lines += 1
        return self._next

    def end(self, number: int, end: CallEnd) -> None:
        """Write how a call ended."""
        self._file.write(_Line(end=number, call=end))
        self._open.pop(number, None)
        self.spending += end.spending
        self._leased = max(0.0, self._leased - end.charged)
        if end.completion is not None:
            self._ended.setdefault(end.row, []).append(end)
        self._lines += 1
        if self._lines >= COMPACT_LINES:
            self._compact()

    def lease(self, dollars: float) -> None:
        """Write that another process may spend so many dollars, or gives them back: what it does not report counts."""
        self._file.write(_Line(lease=dollars))
        self._leased += dollars

    def forfeit(self, numbers: Sequence[int], lease: float) -> None:
        """Count the calls and the rest of the lease of a process that was lost, as the most that they can be."""
        for number in numbers:
            line = self._open.get(number)
            if line is not None:
                self.end(number, CallEnd(line.row, None, line.most or 0.0))
                lease -= line.most or 0.0
        if lease > ROUNDING:
            lost = Spending(0, 0.0, lease)
            self._file.write(_Line(total=lost, lease=-lease))
            self._leased -= lease
            self.spending += lost

    @property
    def paid_rows(self) -> list[int]:
        """Return the rows that have answers and no result."""
        return list(self._ended)

    def find_answers(self, rows: Sequence[int]) -> dict[int, list[CallEnd]]:
        """Return the calls of rows that ended with an answer."""
        return {row: self._ended[row] for row in rows if row in self._ended}

    def take_finished(self, row: int) -> FinishedCalls:
        """Return the answers of a row's calls that ended, in their order."""
        return gather_answers(self._ended.get(row, ()))

    def finish_row(self, row: int) -> None:
        """Note that a row has its result: its answers are dropped with the next compaction."""
        self._ended.pop(row, None)

    def close(self) -> None:
        """Write the file in its shortest form, and close it."""
        try:
            self._compact()
        finally:
            self._file.close()

    def _load(self, has_result: Callable[[int], bool]) -> None:
        errors = ErrorCollector()
        opened: dict[int, float | None] = {}
        leased = 0.0
        for number, data in read_lines(self._path, errors):
            try:
                line = msgspec.json.decode(data, type=_Line)
            except (msgspec.DecodeError, UnicodeDecodeError) as e:
                errors(BadLine(str(self._path), number, f"{e}; remove that line"))
                continue
            if line.total is not None:
                self.spending += line.total
            leased = max(0.0, leased + line.lease)
            if line.start is not None:
                opened[line.start] = line.most
            if line.end is not None and line.call is not None:
                opened.pop(line.end, None)
                self.spending += line.call.spending
                leased = max(0.0, leased - line.call.charged)
            answer = line.call or line.kept
            if answer is not None and answer.completion is not None and not has_result(answer.row):
                self._ended.setdefault(answer.row, []).append(answer)
        errors.raise_if_any()
        for most in opened.values():  # a process was killed while these were made
            self.spending += Spending(1, 0.0, most or 0.0, int(most is None))
        rest = leased - sum(most or 0.0 for most in opened.values())
        self.spending += Spending(0, 0.0, rest if rest > ROUNDING else 0.0)

    def _compact(self) -> None:
        """Replace the file by one of the totals, the calls under way and the answers of open rows, in one step."""
        kept = [_Line(kept=end) for ends in self._ended.values() for end in ends]
        lines = [_Line(total=self.spending, lease=self._leased), *self._open.values(), *kept]
        part = self._path.with_name(f"{self._path.name}.part")
        part.unlink(missing_ok=True)
        fresh = Appender(part)  # locked before it takes the other's place
        try:
            for line in lines:
                fresh.write(line)
            part.replace(self._path)
        except BaseException:  # the long form stays, and counts
            fresh.close()
            part.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file, self._lines = fresh, len(lines)


def open_journal(folder: Path, has_result: Callable[[int], bool], seconds: float = LOCK_SECONDS) -> CallJournal:
    """Open a journal that the keeper of a killed driver may hold for so many seconds more. Raises RecordsError."""
    until = monotonic() + seconds
    while True:
        try:
            return CallJournal(folder, has_result)
        except RecordsError:
            if monotonic() > until:
                raise
            sleep(0.5)


def gather_answers(ends: Sequence[CallEnd]) -> FinishedCalls:
    """Return the answers of calls by their requests."""
    found: FinishedCalls = {}
    for end in ends:
        if end.completion is not None and end.request is not None:
            found.setdefault(end.request, deque()).append(end.completion)
    return found
