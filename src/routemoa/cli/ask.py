"""`routemoa ask`: one question, one answer, and how it came about."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click
from msgspec.structs import replace
from rich.console import Console

from routemoa.cli.terminal.session import Writer, check_writable, converse
from routemoa.cli.terminal.threads import one_thread
from routemoa.cli.terminal.view import View, summary
from routemoa.clients.connect import connect
from routemoa.core.errors import AllModelsFailed, QueryError
from routemoa.core.pool import Pool, parse_limits
from routemoa.core.types import Limits, Query, StreamMode, to_json
from routemoa.ledger import Store, StoreError, default_path
from routemoa.mixture.methods import METHODS, build_method

__all__ = ["ask"]


@click.command(context_settings={"max_content_width": 100})
@click.argument("question", required=False)
@click.option("--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool.")
@click.option(
    "--method", default="routemoa", show_default=True, metavar="NAME", help=f"{', '.join(METHODS)}, or single:MODEL."
)
@click.option("--max-cost", type=float, metavar="DOLLARS", help="What all calls together may cost; never more.")
@click.option(
    "--max-seconds", type=float, metavar="SECONDS", help="Answer within this time, with what is there by then."
)
@click.option("--max-calls", type=int, metavar="N", help="Calls at most, retries included.")
@click.option("--max-output-tokens", type=int, metavar="N", help="Tokens that all models together may write.")
@click.option(
    "--stream-mode",
    type=click.Choice(["final", "leader"]),
    help="On a terminal: the final answer only, or the leading model's at once [default: leader].",
)
@click.option("--system", metavar="TEXT", help="System message that goes before the question.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: the text and its whole trace.")
@click.option("--trace", "trace_file", metavar="FILE", help="Also write text and trace to FILE, as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Print the answer only, not how it came about.")
def ask(
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
    """Ask a question; without QUESTION (or with -) it is read from standard input.

    The answer goes to standard output as it is written; what happens on the way goes to standard error. On a terminal
    the leading model's answer shows at once; where the others find a better one, that follows below it.

    A limit is kept whatever the models do: calls that do not fit are not made, and the trace says what was given up for
    it. `[limits]` in the pool file sets limits for all questions.

    \b
    Examples:
      routemoa ask "What is 17 * 23?"
      routemoa ask --max-cost 0.01 --max-seconds 20 "Compare TCP and UDP."
      git diff | routemoa ask --quiet --system "Review this change." -
      routemoa ask --json --method single:coder-1.5b "Say hello" | jq .trace.usage
    """
    one_thread()
    contract = parse_limits({k: v for k, v in limits.items() if v is not None}, "limits")
    query = Query.from_text(_read(question), system)
    check_writable(trace_file)
    pool = Pool.default(pool_file)
    console = Console(stderr=True)
    writer = None if as_json else Writer()
    query = replace(query, limits=contract.with_defaults(pool.limits).with_defaults(Limits(stream_mode=_mode(writer))))

    async def run() -> None:
        client, store = connect(pool), _store()
        try:
            leading = query.limits.stream_mode == "leader"
            view = None if quiet or as_json else View(pool, console, leading=leading)
            chosen = build_method(pool, method, client)
            tab = None if store is None else store.recorder(None, chosen.name)
            done = await converse(chosen, query, view, writer, trace_file=trace_file, tab=tab)
        except AllModelsFailed as e:
            e.add_note(f"the models are those of {pool.source}; try each with  routemoa pool check")
            raise
        finally:
            await client.close()
            if store is not None:
                await store.aclose()
        if as_json:
            click.echo(to_json(done.answer))
        elif view:
            console.print(summary(done.trace, pool), style="dim", highlight=False)

    asyncio.run(run())


def _store() -> Store | None:
    """The ledger; where it cannot be written, the question is answered all the same."""
    try:
        return Store(default_path())
    except StoreError as e:
        click.echo(f"warning: no ledger is kept of this: {e}", err=True)
        return None


def _mode(writer: Writer | None) -> StreamMode:
    """First token first where a person watches the answer come."""
    return "leader" if writer is not None and writer.live else "final"


def _read(question: str | None) -> str:
    if question is None and sys.stdin.isatty():
        raise QueryError('no question: write it as  routemoa ask "..."  or pipe it in')
    text = sys.stdin.read() if question in (None, "-") else question
    if not text or not text.strip():
        raise QueryError("the question is empty: write it as an argument or pipe it in")
    return text
