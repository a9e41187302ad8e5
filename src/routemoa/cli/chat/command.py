"""`routemoa chat`: a conversation with a mixture of models, in the terminal or from a pipe."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console

from routemoa.cli.chat.commands import ChatCommands
from routemoa.cli.chat.conversation import Conversation
from routemoa.cli.chat.reading import TurnReader, make_reader
from routemoa.cli.conversation_file import read_conversation, with_system
from routemoa.cli.options import answer_options, load_pool, pool_option, read_limits
from routemoa.cli.terminal.session import open_ledger
from routemoa.cli.terminal.threads import use_one_thread
from routemoa.cli.terminal.warn import print_warnings
from routemoa.clients.connect import connect
from routemoa.clients.weights.absent import without_missing_weights
from routemoa.core.errors import QueryError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.plural import counted
from routemoa.core.types import Limits, Message, PreferenceName
from routemoa.mixture.method import check_preference
from routemoa.mixture.method_registry import method_names
from routemoa.mixture.pool_warnings import warn_of_absent_models

__all__ = ["chat"]


@dataclass(frozen=True)
class ChatOptions:
    """The options of `routemoa chat`."""

    method: str
    prefer: PreferenceName | None
    limits: Limits
    """Of each turn."""
    messages: tuple[Message, ...]
    """That the conversation begins with."""
    file: str | None
    """Where `/save` without a name writes."""


@click.command(context_settings={"max_content_width": 100})
@pool_option
@answer_options
@click.option("--resume", "file", metavar="FILE", help="Go on with a conversation that /save has written.")
def chat(
    *,
    pool_file: str | None,
    method: str,
    prefer: PreferenceName | None,
    system: str | None,
    file: str | None,
    **limits: Any,
) -> None:
    """Talk with a mixture of models: each turn is answered as `routemoa ask` answers a question.

    Later turns send the whole conversation. The limits hold for each turn. Below an answer a line says which models
    were asked, whether they agree, and what the chat has cost so far; /why shows how the answer came about, /help lists
    all commands. Ctrl-C stops an answer, Ctrl-D leaves. A model or a turn that fails does not end the chat. What is
    written at a terminal is kept for the arrow keys of the next chat, in the user's state folder.

    Without a terminal each line of standard input is a turn or a command, and the answers go to standard output. The
    exit code is 1 where a turn failed, 2 where a command was wrong or the input is empty, and 130 where Ctrl-C stopped
    every answer.

    \b
    Examples:
      routemoa chat --pool pool.toml
      routemoa chat --method moa --max-cost 0.05 --system "Answer in French."
      routemoa chat --resume talk.json
      printf 'Name a prime.\\nAnd the next one?\\n/why\\n' | routemoa chat
    """
    use_one_thread()
    pool = without_missing_weights(load_pool(pool_file))
    print_warnings(warn_of_absent_models(pool))
    earlier = with_system(read_conversation(file) if file else (), system)
    if method != "routemoa":
        check_preference(prefer, method)
    options = ChatOptions(method, prefer, read_limits(limits).with_defaults(pool.limits), earlier, file)
    code = asyncio.run(_talk(pool, options))
    if code and not sys.stdin.isatty():
        sys.exit(code)


async def _talk(pool: Pool, options: ChatOptions) -> int:
    """Answer one turn after the other and return the exit code. Raises QueryError where a pipe is empty."""
    client, store = connect(pool), open_ledger()
    console = Console(stderr=True)
    try:
        conversation = Conversation(
            pool,
            client,
            store,
            console,
            method=options.method,
            prefer=options.prefer,
            limits=options.limits,
            messages=options.messages,
        )
        reader = make_reader(method_names(pool))
        if sys.stdin.isatty():
            _greet(conversation)
        commands = ChatCommands(conversation, options.file)
        if not await _answer_turns(conversation, reader, commands) and not sys.stdin.isatty():
            raise QueryError("no question: pipe in one a line, or run  routemoa chat  at a terminal")
        return _choose_exit_code(conversation, commands)
    finally:
        await client.close()
        if store is not None:
            await store.aclose()


async def _answer_turns(conversation: Conversation, reader: TurnReader, commands: ChatCommands) -> int:
    """Answer until the input ends; return the number of turns and commands."""
    count = 0
    while True:
        name = conversation.method.name
        line = await reader.read("> " if name == "routemoa" else f"{name}> ")
        if line is None:
            return count
        count += bool(line.strip())
        if line.startswith("/"):
            if not await commands.run(line):
                return count
        elif line.strip():
            await conversation.ask(line.strip())


def _choose_exit_code(conversation: Conversation, commands: ChatCommands) -> int:
    """Return the exit code that `routemoa ask` has for the same: a script must see what went wrong."""
    if conversation.failures:
        return 1
    if commands.failures:
        return 2
    return 130 if conversation.turns and not conversation.answered else 0


def _greet(conversation: Conversation) -> None:
    pool, messages = conversation.pool, conversation.messages
    earlier = f", after {counted(len(messages), 'message')}" if messages else ""
    unanswered = conversation.last is not None and not conversation.last.is_kept
    earlier += " and a question without an answer (/retry asks it)" if unanswered else ""
    line = f"{counted(len(pool), 'model')} of {pool.source}{earlier}\n/help lists the commands, Ctrl-D leaves"
    conversation.console.print(line, style="dim", highlight=False, markup=False)
