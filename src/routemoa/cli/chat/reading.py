"""Reads the turns of a chat: with editing and history on a terminal, line by line from a pipe or a file."""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from routemoa.cli.chat.commands import COMMANDS
from routemoa.cli.terminal.lines import print_line

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

__all__ = ["LineReader", "PromptReader", "TurnReader", "make_reader"]

CONTINUED = "\\"
"""At the end of a line: the turn goes on in the next one."""


class TurnReader(Protocol):
    """Reads what the user writes."""

    async def read(self, prompt: str) -> str | None:
        """Return the next turn, which may have several lines; None at the end."""
        ...


def make_reader(methods: Iterable[str]) -> TurnReader:
    """Return the reader for standard input; `methods` completes `/method`."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return PromptReader(methods)
    return LineReader(prompts=sys.stdin.isatty())


class LineReader:
    """Reads lines of standard input in a thread, so that nothing else waits for them.

    Args:
        prompts: whether to write the prompt, to standard error.
    """

    def __init__(self, *, prompts: bool) -> None:
        self._prompts = prompts
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._input = sys.stdin.fileno()
        self._pending = ""
        self._is_over = False

    async def read(self, prompt: str) -> str | None:
        """Return the next turn; None at the end of the input."""
        lines: list[str] = []
        while True:
            if self._prompts:
                click.echo("  " if lines else prompt, nl=False, err=True)
            line = await self._read_line()
            if line is None:
                return "\n".join(lines) if lines else None
            lines.append(line.removesuffix(CONTINUED))
            if not line.endswith(CONTINUED):
                return "\n".join(lines)

    async def _read_line(self) -> str | None:
        """Read one line in a thread that an interrupt may leave behind."""
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str | None] = loop.create_future()

        def deliver(text: str | None) -> None:
            if not line.done():
                line.set_result(text)

        def read() -> None:
            text = self._wait_for_line()
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(deliver, text)

        threading.Thread(target=read, daemon=True).start()
        return await line

    def _wait_for_line(self) -> str | None:
        pieces = [self._pending]
        while "\n" not in pieces[-1] and not self._is_over:
            data = os.read(self._input, 65536)  # not sys.stdin: its lock would hang the end of the process
            self._is_over = not data
            pieces.append(self._decoder.decode(data, final=not data))
        line, newline, self._pending = "".join(pieces).partition("\n")
        return line.removesuffix("\r").removeprefix("\ufeff") if line or newline else None


class PromptReader:
    """Reads turns on a terminal: several lines, completion with Tab, and a history that outlives the session."""

    def __init__(self, methods: Iterable[str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import CompleteEvent, Completer, Completion
        from prompt_toolkit.document import Document

        names = list(methods)

        class CommandCompleter(Completer):
            def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
                for word, start in _complete(document.text_before_cursor, names):
                    yield Completion(word, start)

        self._session: Any = PromptSession(
            history=_open_history(),
            completer=CommandCompleter(),
            complete_while_typing=False,
            multiline=True,
            key_bindings=_bind_keys(),
            prompt_continuation="  ",
        )

    async def read(self, prompt: str) -> str | None:
        """Return the next turn; None after Ctrl-D. Ctrl-C begins the turn again."""
        while True:
            try:
                text: str = await self._session.prompt_async(prompt)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return None
            return text.replace(f"{CONTINUED}\n", "\n")


def _complete(text: str, methods: list[str]) -> list[tuple[str, int]]:
    """Return the completions of a line up to the cursor, each with its place relative to the cursor."""
    if not text.startswith("/") or "\n" in text:
        return []
    name, space, argument = text.partition(" ")
    if not space:
        return [(command, -len(name)) for command in COMMANDS if command.startswith(name)]
    return [(m, -len(argument)) for m in methods if name == "/method" and m.startswith(argument)]


def _bind_keys() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith(CONTINUED):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _open_history() -> History:
    """Return the history file in the user's state folder; one in memory where that cannot be written."""
    from platformdirs import user_state_path
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class SafeHistory(FileHistory):
        def store_string(self, string: str) -> None:
            with suppress(OSError):  # a full disk must not end the chat
                super().store_string(string)

    file: Path = user_state_path("routemoa") / "chat_history"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as e:
        print_line(f"note: what you write is not kept for the next chat: {file}: {e.strerror}", err=True)
        return InMemoryHistory()
    return SafeHistory(str(file))
