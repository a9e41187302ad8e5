"""Run the demo's questions and show what happens, with each term explained where it first appears."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from routemoa.cli.demo.questions import DemoQuestion, check_answer
from routemoa.cli.demo.summary import Outcome, next_steps, outcome_table
from routemoa.cli.terminal.files import write_file
from routemoa.cli.terminal.session import open_run_client, run_query
from routemoa.cli.terminal.view import QueryView, summarize_trace
from routemoa.core import events
from routemoa.core.errors import NoSandbox
from routemoa.core.events import Event
from routemoa.core.pool_file.pool import Pool
from routemoa.core.trace import Answer
from routemoa.core.types import Query, to_json
from routemoa.ledger.location import local_folder
from routemoa.mixture.engine import RouteMoA

__all__ = ["run_demo"]

SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)  # no fonts from other hosts

MEMBERS = """\
Four members, two small models on this machine: smollm2-135m, coder-1.5b, and coder-1.5b again under the prompts \
"steps" and "story". The same weights under another prompt make other mistakes."""
CHOSEN = """\
The three questions are chosen because they show the three ways it works; routemoa demo --random asks others."""

EXPLANATIONS: dict[type[Event], str] = {
    events.Scored: "scorer: what predicts the prior from the question, without calling a model.",
    events.Selected: "layer: the members that are called at the same time.",
    events.Judged: "self-assessment: how probable, on average, a model found each word that it wrote.",
    events.Reranked: "posterior: the same probability after the answers and judgments. Agreement is evidence.",
    events.AggregatorStarted: "aggregator: the model that writes one answer from several.",
}


class DemoView(QueryView):
    """Shows the events of a query, and explains each term once.

    Args:
        explained: the kinds of events that are explained already; it grows.
    """

    def __init__(self, pool: Pool, console: Console, explained: set[type[Event]]) -> None:
        super().__init__(pool, console, final=True)
        self._explained = explained

    def show(self, event: Event) -> None:
        """Print one event, its explanation first."""
        kind = type(event)
        if kind in EXPLANATIONS and kind not in self._explained:
            self._explained.add(kind)
            self._live.stop()
            self._console.print(Text(EXPLANATIONS[kind], style="italic dim"))
        super().show(event)


async def run_demo(
    pool: Pool,
    questions: Sequence[DemoQuestion],
    svg: str | None,
    *,
    is_own_pool: bool,
    max_cost: float | None = None,
) -> None:
    """Answer the questions one after the other, show each step and the checks, then the figures.

    Args:
        pool: answers.
        questions: to ask.
        svg: where to write a picture of the output.
        is_own_pool: whether it is the demo's own pool, of which other methods' figures are recorded.
        max_cost: the most dollars that all calls together may cost.
    """
    console = Console(record=svg is not None, width=100 if svg else None)
    started = perf_counter()
    if is_own_pool:
        console.print(Text(MEMBERS))
        console.print(Text(CHOSEN if all(q.shows for q in questions) else "The questions are drawn by chance."))
    explained = set[type[Event]]()
    outcomes: list[Outcome] = []
    answers: list[Answer] = []
    async with open_run_client(pool, "demo", max_cost, method="routemoa") as client:
        method = RouteMoA(pool, client)
        for number, question in enumerate(questions, 1):
            console.print()
            console.rule(f"{number} of {len(questions)}: {question.shows or question.kind}", align="left")
            console.print(Text(question.query, style="bold"))
            trace = await run_query(method, Query.from_text(question.query), DemoView(pool, console, explained))
            answers.append(trace.answer)
            console.print("[bold]answer[/]")
            console.print(Padding(Text(trace.text), (0, 2)))
            is_right = await _show_checks(console, question, trace.text)
            outcomes.append(Outcome(is_right, trace.trace))
            console.print(summarize_trace(trace.trace, pool), style="dim", highlight=False)
    place = _write_traces(answers)
    console.print()
    console.rule("the figures", align="left")
    console.print(outcome_table(outcomes, console.width, with_recorded=is_own_pool and all(q.shows for q in questions)))
    console.print(next_steps(place, perf_counter() - started))
    if svg:
        write_file(svg, console.export_svg(title="routemoa demo", code_format=SVG_FORMAT).encode())


async def _show_checks(console: Console, question: DemoQuestion, text: str) -> bool | None:
    """Print what is right and wrong about an answer; return whether all is right, None where it cannot be checked."""
    if question.examples:
        console.print("[bold]run[/] in a sandbox, against its examples", highlight=False)
    is_right = True
    try:
        for check in await asyncio.to_thread(lambda: list(check_answer(question, text))):
            mark = Text("  right  ", "green") if check.is_right else Text("  wrong  ", "red")
            console.print(mark.append(check.what, "default").append(f"  {check.detail}", "dim"))
            is_right &= check.is_right
    except NoSandbox as e:
        console.print(Text(f"  not run here: {e}", "yellow"))
        return None
    return is_right


def _write_traces(answers: Sequence[Answer]) -> Path:
    """Write the answers with their traces, a line each, beside the ledger; return the file."""
    place = local_folder() / "demo.jsonl"
    place.parent.mkdir(parents=True, exist_ok=True)
    write_file(str(place), b"".join(to_json(answer) + b"\n" for answer in answers))
    return place
