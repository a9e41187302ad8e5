"""Run one query from the terminal: show its events, write its answer, and keep its trace even where it fails."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Protocol

from rich.console import Console

from routemoa.cli.terminal.activity import Activity, WaitingLine
from routemoa.cli.terminal.files import write_file
from routemoa.cli.terminal.lines import WordFolder, print_line, terminal_width
from routemoa.clients.connect import connect
from routemoa.core.events import AggregatorFailed, AnswerDelta, AnswerReplaced, Event, ProposalFinished, Stopped
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import CallRecorder, Method
from routemoa.core.text.printable import PrintableStream
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import ModelSpec, Query, to_json
from routemoa.ledger import Store, StoreError, default_path
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["AnswerWriter", "EventView", "open_ledger", "open_run_client", "run_query"]


MAX_BLANKS = 8
"""Characters of white space around an answer that is still recognized."""


class EventView(Protocol):
    """Shows events."""

    def show(self, event: Event) -> None:
        """Show one event."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def open_ledger() -> Store | None:
    """Return the ledger, or None where it cannot be written: the questions are answered all the same."""
    try:
        return Store(default_path())
    except StoreError as e:
        print_line(f"warning: the calls are not written to the ledger: {e}", err=True)
        return None


@asynccontextmanager
async def open_run_client(
    pool: Pool,
    purpose: str,
    max_cost: float | None = None,
    *,
    method: str | None = None,
    spent: float = 0.0,
    on_unknown_cost: Callable[[float], None] = lambda _: None,
) -> AsyncIterator[RunClient]:
    """Connect to a pool for a run of many questions, within one limit; every call is written to the ledger.

    Args:
        pool: the models.
        purpose: of the run, as the ledger's `purpose`, such as "collect".
        max_cost: dollars for the whole run; None is no limit.
        method: as the ledger's `method`; by default each call's own model alone.
        spent: dollars of the run's earlier parts.
        on_unknown_cost: called with the dollars counted for an attempt whose cost is unknown.
    """
    store = open_ledger()

    def new_recorder(model: ModelSpec) -> CallRecorder | None:
        return None if store is None else store.recorder(None, method or f"single:{model.name}", purpose)

    client = RunClient(connect(pool), max_cost, spent=spent, new_recorder=new_recorder, on_unknown_cost=on_unknown_cost)
    try:
        yield client
    finally:
        await client.close()
        if store is not None:
            await store.aclose()


class AnswerWriter:
    """Writes the answer to standard output: piece by piece on a terminal, at once into a pipe or a file.

    While nothing is written, a line on a terminal says what is going on; it is erased when the answer begins.

    Args:
        console: where to show that line, on standard error; None shows none.
        silent: write no answer.
    """

    def __init__(self, console: Console | None = None, *, silent: bool = False) -> None:
        self.live = sys.stdout.isatty() and not silent
        self._silent = silent
        self._activity = Activity()
        self._waiting = None if console is None else WaitingLine(console, self._activity)
        self._safe = PrintableStream()
        self._folder = WordFolder(terminal_width(sys.stdout), markdown=True)
        self._shown: list[str] = []
        """The pieces of the answer that is being written."""
        self._length = 0
        """Characters of these pieces."""
        self._complete: set[str] = set()
        """The proposals so far: an answer that is one of them is complete while other models are asked."""
        self._is_whole = False
        """Whether what is written is one of them."""
        self._is_deciding = True
        self._at_line_start = True

    def begin(self) -> None:
        """Show what is going on from now on."""
        if self._waiting:
            self._waiting.show()

    def add(self, event: Event) -> None:
        """Follow one event."""
        self._activity.add(event)
        match event:
            case AnswerDelta():
                self._write(event.text)
            case AnswerReplaced():
                self._restart(event.marker)
            case AggregatorFailed():
                self._restart("\n\n" if self._shown else "")
            case Stopped():
                self._is_deciding = False
            case ProposalFinished():
                self._complete.add(event.proposal.text.strip())
            case _:
                pass
        self._wait_for_others()

    def finish(self, text: str) -> None:
        """End the answer, of which `text` is the whole."""
        self.close()
        if not self.live and not self._silent:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def close(self) -> None:
        """Leave the terminal as it was, at the beginning of a line."""
        if self._waiting:
            self._waiting.hide()
        self._print_rest()
        self._end_line()

    def _write(self, piece: str) -> None:
        """Write a piece of the answer."""
        if self.live:
            if self._waiting:
                self._waiting.hide()
            self._shown.append(piece)
            self._length += len(piece)
            self._is_whole = False
            self._print(self._folder.feed(self._safe.feed(piece)))

    def _restart(self, marker: str) -> None:
        """Begin another answer after `marker`, in place of the one so far."""
        if self.live:
            if self._waiting:
                self._waiting.hide()
            self._print_rest()
            self._print(marker[1:] if self._at_line_start and self._shown else marker)
            self._folder.reset()
            self._shown, self._length = [], 0
            self.begin()

    def _wait_for_others(self) -> None:
        """Show what is going on once the leading answer is complete and others are still asked."""
        if self._is_deciding and not self._is_whole and any(self._is_all_of(text) for text in self._complete):
            self._is_whole = True
            self._print_rest()
            self._end_line()
        if self._is_deciding and self._is_whole and self._activity.is_asking:
            self.begin()

    def _is_all_of(self, text: str) -> bool:
        """Return whether a proposal is what is shown; its length is compared first, as this is asked at each piece."""
        return len(text) <= self._length <= len(text) + MAX_BLANKS and "".join(self._shown).strip() == text

    def _print(self, text: str) -> None:
        if self.live and text:
            self._at_line_start = text.endswith("\n")
            sys.stdout.write(text)
            sys.stdout.flush()

    def _print_rest(self) -> None:
        """Print what was held back, since more might have come."""
        self._print(self._folder.feed(self._safe.finish()) + self._folder.finish())

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._print("\n")
            self._folder.reset()


async def run_query(
    method: Method,
    query: Query,
    view: EventView | None = None,
    writer: AnswerWriter | None = None,
    *,
    trace: TraceBuilder | None = None,
    trace_file: str | None = None,
    recorder: CallRecorder | None = None,
) -> TraceBuilder:
    """Run a method to its end and return its trace.

    Args:
        method: answers the query.
        query: what to answer.
        view: shows the events.
        writer: writes the answer.
        trace: takes the events, for a caller that needs them even where the query fails.
        trace_file: where to write text and trace as JSON, also those of a run that fails or is interrupted.
        recorder: writes the calls to the ledger.
    """
    trace = TraceBuilder() if trace is None else trace
    try:
        async with aclosing(method.stream(query, recorder)) as events:
            async for event in events:
                trace.add(event)
                if view:
                    view.show(event)
                if writer:
                    writer.add(event)
    finally:
        if view:
            view.close()
        if writer:
            writer.close()
        if trace_file:
            write_file(trace_file, to_json(trace.answer) + b"\n")
    if writer:
        writer.finish(trace.text)
    return trace
