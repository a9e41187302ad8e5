"""`routemoa ask`: answer one question and show how the answer came about."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

import click
from msgspec.structs import replace
from rich.console import Console

from routemoa.cli.options import pool_option
from routemoa.cli.terminal.files import check_writable
from routemoa.cli.terminal.session import AnswerWriter, run_query
from routemoa.cli.terminal.threads import use_one_thread
from routemoa.cli.terminal.view import QueryView, summarize_trace
from routemoa.clients.connect import connect
from routemoa.core.errors import AllModelsFailed, QueryError
from routemoa.core.pool import Pool, parse_limits
from routemoa.core.types import Limits, Query, StreamMode, to_json
from routemoa.ledger import Store, StoreError, default_path
from routemoa.mixture.method_registry import METHODS, build_method

__all__ = ["ask"]


@dataclass(frozen=True)
class AskOptions:
    """The options of `routemoa ask` but its limits."""

    pool_file: str | None
    method: str
    system: str | None
    as_json: bool
    trace_file: str | None
    quiet: bool


@click.command(context_settings={"max_content_width": 100})
@click.argument("question", required=False)
@pool_option
@click.option(
    "--method", default="routemoa", show_default=True, metavar="NAME", help=f"{', '.join(METHODS)}, or single:MODEL."
)
@click.option("--max-cost", type=float, metavar="DOLLARS", help="The most that all calls together may cost.")
@click.option("--max-seconds", type=float, metavar="SECONDS", help="Answer within this time, with the answers so far.")
@click.option("--max-calls", type=int, metavar="N", help="The most calls to make, retries included.")
@click.option("--max-output-tokens", type=int, metavar="N", help="The most tokens that all models together may write.")
@click.option(
    "--stream-mode",
    type=click.Choice(["final", "leader"]),
    help="On a terminal: show final text only, or the leading model's answer at once [default: final].",
)
@click.option("--system", metavar="TEXT", help="System message before the question.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the text and its whole trace.")
@click.option("--trace", "trace_file", metavar="FILE", help="Also write text and trace to FILE, as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Print the answer only.")
def ask(  # one parameter for the question, the options of AskOptions, and limits by their names in `[limits]`
    *,
    question: str | None,
    pool_file: str | None,
    method: str,
    system: str | None,
    as_json: bool,
    trace_file: str | None,
    quiet: bool,
    **limits: Any,
) -> None:
    """Answer a question with a mixture of models, or with one model.

    Without QUESTION, or with -, the question is read from standard input. The answer goes to standard output,
    everything else to standard error. On a terminal the answer of a model that is asked alone appears as it is written.
    With --stream-mode leader the leading model's answer always does; where the other models lead to a better answer,
    that follows below it.

    Limits always hold: a call that does not fit is not made, and the trace says what was left out. `[limits]` in the
    pool file sets limits for all questions.

    \b
    Examples:
      routemoa ask "What is 17 * 23?"
      routemoa ask --max-cost 0.01 --max-seconds 20 "Compare TCP and UDP."
      git diff | routemoa ask --quiet --system "Review this change." -
      routemoa ask --json --method single:coder-1.5b "Say hello" | jq .trace.usage
    """
    use_one_thread()
    options = AskOptions(pool_file, method, system, as_json, trace_file, quiet)
    own_limits = parse_limits({k: v for k, v in limits.items() if v is not None}, "limits")
    query = Query.from_text(_read_question(question), system)
    check_writable(trace_file)
    pool = Pool.default(pool_file)
    writer = None if as_json else AnswerWriter()
    defaults = pool.limits.with_defaults(Limits(stream_mode=_default_stream_mode(writer)))
    asyncio.run(_answer(replace(query, limits=own_limits.with_defaults(defaults)), pool, writer, options))


async def _answer(query: Query, pool: Pool, writer: AnswerWriter | None, options: AskOptions) -> None:
    client, store = connect(pool), _open_ledger()
    console = Console(stderr=True)
    view = None
    if not options.quiet and not options.as_json:
        view = QueryView(pool, console, leading=query.limits.stream_mode in ("leader", "final"))
    try:
        method = build_method(pool, options.method, client)
        recorder = None if store is None else store.recorder(None, method.name)
        trace = await run_query(method, query, view, writer, trace_file=options.trace_file, recorder=recorder)
    except AllModelsFailed as e:
        e.add_note(f"the models are those of {pool.source}; try each with  routemoa pool check")
        raise
    finally:
        await client.close()
        if store is not None:
            await store.aclose()
    if options.as_json:
        click.echo(to_json(trace.answer))
    elif view:
        console.print(summarize_trace(trace.trace, pool), style="dim", highlight=False)


def _open_ledger() -> Store | None:
    """Return the ledger, or None where it cannot be written: the question is answered all the same."""
    try:
        return Store(default_path())
    except StoreError as e:
        click.echo(f"warning: the calls are not written to the ledger: {e}", err=True)
        return None


def _default_stream_mode(writer: AnswerWriter | None) -> StreamMode | None:
    """Return "final" where a person watches the answer arrive; None where nothing is shown before the end."""
    return "final" if writer is not None and writer.live else None


def _read_question(question: str | None) -> str:
    if question is None and sys.stdin.isatty():
        raise QueryError('no question: write it as  routemoa ask "..."  or pipe it in')
    text = sys.stdin.read() if question in (None, "-") else question
    if not text or not text.strip():
        raise QueryError("the question is empty: write it as an argument or pipe it in")
    return text
