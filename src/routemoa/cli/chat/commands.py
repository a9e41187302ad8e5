"""The commands of a chat, which begin with a slash."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from rich.text import Text

from routemoa import __version__
from routemoa.cli.chat.conversation import Conversation
from routemoa.cli.chat.why import explain_answer
from routemoa.cli.conversation_file import read_conversation, write_conversation
from routemoa.cli.terminal.files import check_writable
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.table import fit_table, make_console
from routemoa.core.errors import ConfigError, QueryError
from routemoa.core.text.plural import counted
from routemoa.core.types import ModelSpec
from routemoa.mixture.method_registry import method_names

__all__ = ["COMMANDS", "ChatCommands", "Command"]


class Command(NamedTuple):
    """A command of a chat."""

    usage: str
    summary: str


COMMANDS = {
    "/why": Command("/why", "show how the last answer came about"),
    "/models": Command("/models", "list the models"),
    "/method": Command("/method [NAME]", "show the methods, or answer with another one from now on"),
    "/retry": Command("/retry", "ask the last question again"),
    "/clear": Command("/clear", "start a new conversation"),
    "/save": Command("/save FILE", "write the conversation to FILE; chat --resume FILE goes on with it"),
    "/help": Command("/help", "show this list"),
    "/quit": Command("/quit", "leave; so does Ctrl-D"),
}
HELP = """\
A line that ends with \\ goes on in the next one; on a terminal Alt-Enter begins a new line, too.
Ctrl-C stops an answer. A question that begins with a slash is asked with a space before it."""


class ChatCommands:
    """Carries out the commands of one conversation; what they show goes to standard output.

    Args:
        conversation: what they are about.
        file: where `/save` without a name writes; None is nowhere yet.
    """

    def __init__(self, conversation: Conversation, file: str | None = None) -> None:
        self._conversation = conversation
        self.failures = 0
        self._file = file
        self._run: dict[str, Callable[[str], Awaitable[None] | None]] = {
            "/why": self._show_why,
            "/models": self._show_models,
            "/method": self._use_method,
            "/retry": lambda _: conversation.retry(),
            "/clear": self._clear,
            "/save": self._save,
            "/help": self._show_help,
        }

    async def run(self, line: str) -> bool:
        """Carry out a line that begins with a slash; return whether the chat goes on."""
        name, _, argument = line.strip().partition(" ")
        if name == "/quit":
            return False
        try:
            if name not in self._run:
                raise QueryError(_unknown_command(name))
            if (work := self._run[name](argument.strip())) is not None:
                await work
        except (ConfigError, QueryError) as e:
            self.failures += 1
            print_line(str(e), err=True)
        return True

    def _show_why(self, _: str) -> None:
        turn = self._conversation.last
        if turn is None or not turn.trace.trace.method:
            raise QueryError("nothing was asked in this chat yet")
        make_console().print(explain_answer(turn.trace.answer), highlight=False)

    def _show_models(self, _: str) -> None:
        console, pool = make_console(), self._conversation.pool
        heads = ["model", "prior", "$/M in / out", "context", "endpoint"]
        rows = [[Text(cell) for cell in _describe_model(m)] for m in pool]
        left, optional = {"model", "endpoint"}, ["endpoint", "context", "$/M in / out"]
        if pool.scorer:  # it predicts a prior for each question
            heads, rows = [heads[0], *heads[2:]], [[row[0], *row[2:]] for row in rows]
        table, _dropped = fit_table(heads, rows, console.width, left=left, folded=(), optional=optional)
        console.print(table)

    def _use_method(self, name: str) -> None:
        if name:
            self._conversation.use_method(name)
        print_line(f"method: {self._conversation.method.name}")
        if not name:
            print_line(f"known: {', '.join(method_names(self._conversation.pool))}")

    def _clear(self, _: str) -> None:
        self._conversation.clear()
        print_line("a new conversation", err=True)

    def _save(self, argument: str) -> None:
        file = str(Path(argument).expanduser()) if argument else self._file
        if file is None:
            raise QueryError("name a file: /save FILE")
        _check_replaceable(file)
        conversation = self._conversation
        if not conversation.messages:
            raise QueryError("there is nothing to save yet")
        notes = {
            "version": __version__,
            "saved": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "pool": conversation.pool.source,
            "method": conversation.method.name,
            "cost": conversation.spending.dollars if conversation.spending.is_exact else None,
        }
        try:
            write_conversation(file, conversation.messages, notes)
        except OSError as e:
            raise ConfigError(f"{file}: it cannot be written: {e.strerror}") from e
        self._file = file
        print_line(f"{file}: {counted(len(conversation.messages), 'message')}", err=True)

    def _show_help(self, _: str) -> None:
        width = max(len(c.usage) for c in COMMANDS.values())
        for command in COMMANDS.values():
            print_line(f"  {command.usage:{width}}  {command.summary}", indent=" " * (width + 4))
        print_line(HELP, indent="")


def _unknown_command(name: str) -> str:
    close = get_close_matches(name, COMMANDS, 1)
    hint = f"did you mean {close[0]}?" if close else "/help lists them; begin with a space to ask this as a question"
    return f"there is no command {name}; {hint}"


def _describe_model(m: ModelSpec) -> list[str]:
    prices = ["-" if price is None else f"{price:g}" for price in (m.input_price, m.output_price)]
    prior = "-" if m.prior is None else f"{m.prior:.2f}"
    return [m.name, prior, " / ".join(prices), "-" if m.context is None else f"{m.context:,}", m.endpoint]


def _check_replaceable(file: str) -> None:
    """Raise ConfigError where a file cannot be written, or is no conversation and would be lost."""
    check_writable(file)
    if not Path(file).exists():
        return
    try:
        read_conversation(file)
    except QueryError as e:
        raise ConfigError(f"{file}: it exists and holds no conversation; choose another name") from e
