"""Run one query from the terminal: show its events, write its answer, and keep its trace even where it fails."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import click

from routemoa.cli.terminal.files import write_file
from routemoa.cli.terminal.view import QueryView
from routemoa.clients.connect import connect
from routemoa.core.events import AggregatorFailed, AnswerDelta, AnswerReplaced
from routemoa.core.pool import Pool
from routemoa.core.protocols import CallRecorder, Method
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import ModelSpec, Query, to_json
from routemoa.ledger import Store, StoreError, default_path
from routemoa.mixture.budget.run_client import RunClient

__all__ = ["AnswerWriter", "open_ledger", "open_run_client", "run_query"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def open_ledger() -> Store | None:
    """Return the ledger, or None where it cannot be written: the questions are answered all the same."""
    try:
        return Store(default_path())
    except StoreError as e:
        click.echo(f"warning: the calls are not written to the ledger: {e}", err=True)
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
    """Writes the answer to standard output: piece by piece on a terminal, at once into a pipe or a file."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()

    def write(self, piece: str) -> None:
        """Write a piece of the answer."""
        if self.live:  # a terminal obeys control characters: those that a model writes are left out
            sys.stdout.write(_CONTROL.sub("", piece))
            sys.stdout.flush()

    def restart(self) -> None:
        """Begin another answer, which takes the place of the one so far."""
        if self.live:
            sys.stdout.write("\n\n")

    def finish(self, text: str) -> None:
        """End the answer, of which `text` is the whole."""
        sys.stdout.write("\n" if self.live else text + "\n")
        sys.stdout.flush()


async def run_query(
    method: Method,
    query: Query,
    view: QueryView | None = None,
    writer: AnswerWriter | None = None,
    *,
    trace_file: str | None = None,
    recorder: CallRecorder | None = None,
) -> TraceBuilder:
    """Run a method to its end and return its trace.

    Args:
        method: answers the query.
        query: what to answer.
        view: shows the events.
        writer: writes the answer.
        trace_file: where to write text and trace as JSON, also those of a run that fails or is interrupted.
        recorder: writes the calls to the ledger.
    """
    trace = TraceBuilder()
    try:
        async with aclosing(method.stream(query, recorder)) as events:
            async for event in events:
                trace.add(event)
                if view:
                    view.show(event)
                if writer and isinstance(event, AnswerDelta):
                    writer.write(event.text)
                elif writer and isinstance(event, AnswerReplaced):
                    writer.write(event.marker)
                elif writer and isinstance(event, AggregatorFailed):
                    writer.restart()
    finally:
        if view:
            view.close()
        if trace_file:
            write_file(trace_file, to_json(trace.answer) + b"\n")
    if writer:
        writer.finish(trace.text)
    return trace
