"""One query from the terminal: run a method, show its events, keep its trace whatever happens."""

from __future__ import annotations

import os
import re
import sys
from contextlib import aclosing
from pathlib import Path

from routemoa.cli.terminal.view import View
from routemoa.core.errors import ConfigError
from routemoa.core.events import AggregatorFailed, AnswerDelta, AnswerReplaced
from routemoa.core.protocols import CallRecorder, Method
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import Query, to_json

__all__ = ["Writer", "check_writable", "converse", "write_whole"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Writer:
    """Puts the answer on standard output: as it comes on a terminal, whole into a pipe or a file."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()

    def piece(self, text: str) -> None:
        """A piece of the answer."""
        if self.live:  # a terminal obeys control characters: a model's are left out
            sys.stdout.write(_CONTROL.sub("", text))
            sys.stdout.flush()

    def restart(self) -> None:
        """What was written so far is void; another answer follows."""
        if self.live:
            sys.stdout.write("\n\n")

    def end(self, text: str) -> None:
        """The answer is complete."""
        sys.stdout.write("\n" if self.live else text + "\n")
        sys.stdout.flush()


async def converse(
    method: Method,
    query: Query,
    view: View | None = None,
    writer: Writer | None = None,
    *,
    trace_file: str | None = None,
    tab: CallRecorder | None = None,
) -> TraceBuilder:
    """Run a method to its end; the trace so far is written to `trace_file` also when it fails or is interrupted."""
    so_far = TraceBuilder()
    try:
        async with aclosing(method.stream(query, tab)) as events:
            async for event in events:
                so_far.add(event)
                if view:
                    view.show(event)
                if writer and isinstance(event, AnswerDelta):
                    writer.piece(event.text)
                elif writer and isinstance(event, AnswerReplaced):
                    writer.piece(event.marker)
                elif writer and isinstance(event, AggregatorFailed):
                    writer.restart()
    finally:
        if view:
            view.close()
        if trace_file:
            write_whole(trace_file, to_json(so_far.answer) + b"\n")
    if writer:
        writer.end(so_far.text)
    return so_far


def check_writable(path: str | None) -> None:
    """Fail before anything is spent, not after."""
    if path and not os.access(Path(path).absolute().parent, os.W_OK):
        raise ConfigError(f"{path}: its folder does not exist or cannot be written to; choose another place")


def write_whole(path: str, data: bytes) -> None:
    """Write a file at once or not at all."""
    part = Path(f"{path}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
