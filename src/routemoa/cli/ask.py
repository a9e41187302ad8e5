"""`routemoa ask`: answer one question; on request, show how the answer came about."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from msgspec.structs import replace
from rich.console import Console

from routemoa.cli.conversation_file import read_conversation, with_system
from routemoa.cli.options import answer_options, load_pool, pool_option, read_limits
from routemoa.cli.terminal.call_log import LoggedClient
from routemoa.cli.terminal.files import check_writable
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.session import AnswerWriter, open_ledger, run_query
from routemoa.cli.terminal.summary import describe_ending, summarize_answer, summarize_trace
from routemoa.cli.terminal.threads import use_one_thread
from routemoa.cli.terminal.view import QueryView
from routemoa.cli.terminal.warn import print_warnings
from routemoa.clients.connect import connect
from routemoa.clients.weights.absent import without_missing_weights
from routemoa.core.errors import AllModelsFailed, QueryError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.unicode_text import decode_text
from routemoa.core.types import Limits, Message, PreferenceName, Query, to_json
from routemoa.mixture.method_registry import build_method
from routemoa.mixture.pool_warnings import warn_of_absent_models

__all__ = ["ask"]


@dataclass(frozen=True)
class AskOptions:
    """The options of `routemoa ask` but what it is asked and its limits."""

    pool_file: str | None
    method: str
    as_json: bool
    trace_file: str | None
    quiet: bool
    verbosity: int
    """0 shows a line, 1 the steps, 2 every call word for word."""


@click.command(context_settings={"max_content_width": 100})
@click.argument("words", nargs=-1, metavar="[QUESTION]")
@pool_option
@answer_options
@click.option(
    "--messages",
    "messages_file",
    metavar="FILE",
    help='A conversation to answer, as JSON: [{"role": "user", "content": "..."}, ...] or {"messages": [...]}. '
    "QUESTION, where there is one, is its last turn.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the text and its whole trace.")
@click.option("--trace", "trace_file", metavar="FILE", help="Also write text and trace to FILE, as JSON.")
@click.option("--verbose", "-v", count=True, help="Show the steps; -vv also every call, word for word.")
@click.option("--quiet", "-q", is_flag=True, help="Print the answer only.")
def ask(  # one parameter for the question, the options of AskOptions, and limits by their names in `[limits]`
    *,
    words: tuple[str, ...],
    pool_file: str | None,
    method: str,
    prefer: PreferenceName | None,
    system: str | None,
    messages_file: str | None,
    as_json: bool,
    trace_file: str | None,
    verbose: int,
    quiet: bool,
    **limits: Any,
) -> None:
    """Answer a question with a mixture of models, or with one model.

    Without QUESTION, or with -, the question is read from standard input. The answer goes to standard output. One line
    on standard error says which models were asked, whether they agree, the seconds and the dollars; -v shows how the
    answer came about. On a terminal the answer of a model that is asked alone appears as it is written. With
    --stream-mode leader the leading model's answer always does; where the other models lead to a better answer, that
    follows below it.

    Limits always hold: a call that does not fit is not made, and -v says what was left out. `[limits]` in the pool file
    sets limits for all questions.

    \b
    Examples:
      routemoa ask "What is 17 * 23?"
      routemoa ask -v "What is 17 * 23?"           how the answer came about
      routemoa ask --max-cost 0.01 --max-seconds 20 "Compare TCP and UDP."
      routemoa ask --prefer quality "Is 2027 a prime?"
      git diff | routemoa ask --quiet --system "Review this change." -
      routemoa ask --messages conversation.json "And in one sentence?"
      routemoa ask --json --method single:coder-1.5b "Say hello" | jq .trace.usage
    """
    use_one_thread()
    if len(words) > 1:
        raise click.UsageError(f"Quote the question:  routemoa ask {shlex.quote(' '.join(words))}")
    question = words[0] if words else None
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose exclude each other.")
    options = AskOptions(pool_file, method, as_json, trace_file, quiet, verbose)
    own_limits = read_limits(limits)
    query = Query(_read_messages(question, messages_file, system), prefer=prefer)
    check_writable(trace_file)
    pool = without_missing_weights(load_pool(pool_file, quiet=quiet))
    print_warnings(() if quiet else warn_of_absent_models(pool))
    console = Console(stderr=True)
    writer = AnswerWriter(None if quiet or verbose else console, silent=as_json)
    streams = writer.live and not verbose  # a person watches the answer, not the steps
    defaults = pool.limits.with_defaults(Limits(stream_mode="final" if streams else None))
    query = replace(query, limits=own_limits.with_defaults(defaults))
    asyncio.run(_answer(query, pool, writer, console, options))


async def _answer(query: Query, pool: Pool, writer: AnswerWriter, console: Console, options: AskOptions) -> None:
    full = options.verbosity > 1
    view = None
    if options.verbosity:
        leading = writer.live and query.limits.stream_mode is not None
        view = QueryView(pool, console, final=not writer.live, leading=leading, full=full)
    writer.begin()
    client = connect(pool, partial(LoggedClient, console)) if full else connect(pool)
    store = open_ledger()
    try:
        method = build_method(pool, options.method, client)
        recorder = None if store is None else store.recorder(None, method.name)
        trace = await run_query(method, query, view, writer, trace_file=options.trace_file, recorder=recorder)
    except AllModelsFailed as e:
        given = "" if options.pool_file is None else f" --pool {shlex.quote(options.pool_file)}"
        e.add_note(f"the models are those of {pool.source}; try each with  routemoa pool check{given}")
        raise
    finally:
        writer.close()
        await client.close()
        if store is not None:
            await store.aclose()
    if options.as_json:
        click.echo(to_json(trace.answer))
        return
    if (ending := describe_ending(trace.trace)) is not None:
        print_line(f"note: {ending}", err=True)
    if view:
        console.print(summarize_trace(trace.trace, pool), style="dim", highlight=False)
    elif not options.quiet and not options.as_json:
        line = summarize_answer(trace.answer, "why: -v")
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _read_messages(question: str | None, messages_file: str | None, system: str | None) -> tuple[Message, ...]:
    """Return what is to be answered: a file's messages, a question, or both in this order, after the system message."""
    if messages_file is None:
        return with_system([Message("user", _read_question(question))], system)
    if messages_file == "-" == question:
        raise QueryError("messages and question cannot both be read from standard input; give one of them a file")
    messages = read_conversation(messages_file)
    tail = () if question is None else (Message("user", _read_question(question)),)
    return with_system([*messages, *tail], system)


def _read_question(question: str | None) -> str:
    if question is None and sys.stdin.isatty():
        raise QueryError('no question: write it as  routemoa ask "..."  or pipe it in')
    # An argument that is not in the terminal's encoding comes with its bytes escaped.
    text = decode_text(sys.stdin.buffer.read() if question in (None, "-") else os.fsencode(question))
    if not text or not text.strip():
        raise QueryError("the question is empty: write it as an argument or pipe it in")
    return text
