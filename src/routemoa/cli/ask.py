"""`routemoa ask`: one question, one answer, and how it came about."""

from __future__ import annotations

import asyncio
import sys

import click
from rich.console import Console

from routemoa.cli.session import Writer, check_writable, converse
from routemoa.cli.view import View, summary
from routemoa.config import METHODS, build
from routemoa.connect import connect
from routemoa.errors import NoModelLeft, QueryError
from routemoa.pool import Pool
from routemoa.types import Query, to_json

__all__ = ["ask"]


@click.command(context_settings={"max_content_width": 100})
@click.argument("question", required=False)
@click.option("--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool.")
@click.option(
    "--method", default="routemoa", show_default=True, metavar="NAME", help=f"{', '.join(METHODS)}, or single:MODEL."
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
) -> None:
    """Ask a question; without QUESTION (or with -) it is read from standard input.

    The answer goes to standard output as it is written; what happens on the way goes to standard error.

    \b
    Examples:
      routemoa ask "What is 17 * 23?"
      git diff | routemoa ask --quiet --system "Review this change." -
      routemoa ask --json --method single:coder-1.5b "Say hello" | jq .trace.usage
    """
    query = Query.of(_read(question), system)
    check_writable(trace_file)
    pool = Pool.default(pool_file)
    console = Console(stderr=True)

    async def run() -> None:
        client = connect(pool)
        try:
            view = None if quiet or as_json else View(pool, console)
            done = await converse(build(pool, method, client), query, view, None if as_json else Writer(), trace_file)
        except NoModelLeft as e:
            e.add_note(f"the models are those of {pool.source}; try each with  routemoa pool check")
            raise
        finally:
            await client.close()
        if as_json:
            click.echo(to_json(done.answer))
        elif view:
            console.print(summary(done.trace, pool), style="dim", highlight=False)

    asyncio.run(run())


def _read(question: str | None) -> str:
    if question is None and sys.stdin.isatty():
        raise QueryError('no question: write it as  routemoa ask "..."  or pipe it in')
    text = sys.stdin.read() if question in (None, "-") else question
    if not text or not text.strip():
        raise QueryError("the question is empty: write it as an argument or pipe it in")
    return text
