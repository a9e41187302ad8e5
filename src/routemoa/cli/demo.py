"""`routemoa demo`: three queries of different kinds to the embedded pool, with everything shown."""

from __future__ import annotations

import asyncio
import re

import click
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from routemoa.cli.pool import fetch_missing
from routemoa.cli.terminal.session import check_writable, converse, write_whole
from routemoa.cli.terminal.view import View, summary
from routemoa.clients.connect import connect
from routemoa.core.pool import Pool
from routemoa.core.types import Query
from routemoa.mixture.engine import RouteMoA

__all__ = ["demo"]

SVG = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # no fonts from other hosts

QUESTIONS = (
    'How many times does the letter "n" occur in the word "banana"? Answer with the number only.',
    "Write a Python function is_palindrome(text) that ignores case, spaces and punctuation. Only the code.",
    "Why does the sea taste salty? Answer in two sentences.",
)


@click.command(context_settings={"max_content_width": 100})
@click.option("--pool", "pool_file", metavar="FILE", help="Another pool; by default the embedded one.")
@click.option("--svg", metavar="FILE", help="Also write the last question's picture of the terminal to FILE, as SVG.")
def demo(pool_file: str | None, svg: str | None) -> None:
    """Fetch the embedded models where they are missing, then ask three questions and show every step.

    Shown live: the prior, who was chosen and why, the answers arriving, the judgments, the new ranking, why it
    stopped, the final answer, tokens, seconds, and what a dense mixture of the same pool would have called.
    """
    check_writable(svg)
    pool = Pool.default(pool_file)
    if any(m.local for m in pool):
        fetch_missing(pool)
    console = Console(record=True, width=110 if svg else None)
    asyncio.run(_demo(pool, console, svg))


async def _demo(pool: Pool, console: Console, svg: str | None) -> None:
    client = connect(pool)
    method = RouteMoA(pool, client)
    try:
        for number, question in enumerate(QUESTIONS, 1):
            console.rule(f"question {number} of {len(QUESTIONS)}", align="left")
            console.print(Text(question, style="bold"))
            done = await converse(method, Query.from_text(question), View(pool, console, final=True))
            console.print("[bold]answer[/]")
            console.print(Padding(Text(done.text), (0, 2)))
            console.print(summary(done.trace, pool), style="dim", highlight=False)
            console.print()
            picture = console.export_svg(title="routemoa demo", code_format=SVG)  # of this question only
        if svg:
            write_whole(svg, picture.encode())
    finally:
        await client.close()
