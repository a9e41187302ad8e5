"""`routemoa demo`: answer three questions with the embedded pool and show every step."""

from __future__ import annotations

import asyncio
import re

import click
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from routemoa.cli.options import max_cost_option, pool_option, yes_option
from routemoa.cli.pool.fetch import fetch_missing
from routemoa.cli.terminal.confirm import confirm_questions
from routemoa.cli.terminal.files import check_writable, write_file
from routemoa.cli.terminal.session import open_run_client, run_query
from routemoa.cli.terminal.view import QueryView, summarize_trace
from routemoa.core.pool import Pool
from routemoa.core.types import Query
from routemoa.mixture.engine import RouteMoA

__all__ = ["demo"]

SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # no fonts from other hosts

QUESTIONS = (
    'How many times does the letter "n" occur in the word "banana"? Answer with the number only.',
    "Write a Python function is_palindrome(text) that ignores case, spaces and punctuation. Only the code.",
    "Why does the sea taste salty? Answer in two sentences.",
)


@click.command(context_settings={"max_content_width": 100})
@pool_option
@click.option("--svg", metavar="FILE", help="Also write a picture of the last question's output to FILE, as SVG.")
@max_cost_option
@yes_option
def demo(pool_file: str | None, svg: str | None, max_cost: float | None, yes: bool) -> None:
    """Answer three questions with the embedded models and show every step.

    Missing models are downloaded first. Shown live: the prior, the models that are called and why, the answers as they
    arrive, the judgments, the new ranking, why the mixture stops, the final answer, tokens and seconds, and how many
    calls a dense mixture of the same pool would have made.

    \b
    Examples:
      routemoa demo
      routemoa demo --pool pool.toml
    """
    check_writable(svg)
    pool = Pool.default(pool_file)
    confirm_questions(pool, QUESTIONS, assume_yes=yes, max_cost=max_cost)
    if any(m.local for m in pool):
        fetch_missing(pool)
    console = Console(record=True, width=110 if svg else None)
    asyncio.run(_answer_questions(pool, console, svg, max_cost))


async def _answer_questions(pool: Pool, console: Console, svg: str | None, max_cost: float | None) -> None:
    async with open_run_client(pool, "demo", max_cost, method="routemoa") as client:
        method = RouteMoA(pool, client)
        for number, question in enumerate(QUESTIONS, 1):
            console.rule(f"question {number} of {len(QUESTIONS)}", align="left")
            console.print(Text(question, style="bold"))
            trace = await run_query(method, Query.from_text(question), QueryView(pool, console, final=True))
            console.print("[bold]answer[/]")
            console.print(Padding(Text(trace.text), (0, 2)))
            console.print(summarize_trace(trace.trace, pool), style="dim", highlight=False)
            console.print()
            picture = console.export_svg(title="routemoa demo", code_format=SVG_FORMAT)  # of this question only
        if svg:
            write_file(svg, picture.encode())
