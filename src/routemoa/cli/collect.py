"""`routemoa collect`: ask every model of a pool every question of a file, and keep what each answered as records."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from routemoa.cli.terminal.progress import Steps
from routemoa.cli.terminal.session import check_writable
from routemoa.clients.connect import connect
from routemoa.core.errors import QueryError
from routemoa.core.pool import Pool
from routemoa.core.types import to_plain
from routemoa.datasets import questions as task_file
from routemoa.datasets.collection import AnswerCollection, CollectedAnswer
from routemoa.datasets.collector import CollectCall, Estimate, ModelResult, estimate_calls, list_remaining_calls, collect_answers, summarize_models

__all__ = ["Watch", "announcement", "collect", "cost_in_words", "on_terminal", "run_calls"]

IN_A_ROW = 5  # failures of one model, after which it is said that something is wrong with it


@click.command(context_settings={"max_content_width": 100})
@click.argument("task", metavar="TASK.jsonl")
@click.option("--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool.")
@click.option("--out", required=True, metavar="RECORDS", help="Where the records go; gzip when it ends in .gz.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N questions.")
@click.option(
    "--concurrency", type=click.IntRange(1), default=4, show_default=True, metavar="N", help="Calls per endpoint."
)
@click.option("--retry", is_flag=True, help="Ask again where a call had failed.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask whether the cost is all right.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
def collect(
    *,
    task: str,
    pool_file: str | None,
    out: str,
    limit: int | None,
    concurrency: int,
    retry: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Ask every model of a pool every question, and keep answers, scores, costs and seconds as records.

    A line of TASK.jsonl is {"id", "task", "query", "reference"?, "grader"?} with grader exact, numeric, choice,
    contains, math, code, rouge or f1; lines of GSM8K and ARC are understood as they are. A call that fails is a null
    score, never a zero.

    The same command goes on where an earlier one was interrupted: answers are kept in RECORDS.part until their
    question is finished, and no answer is paid for twice.

    \b
    Examples:
      routemoa collect gsm8k_test.jsonl.gz --out gsm8k.records.jsonl --limit 100
      routemoa collect mine.jsonl --pool pool.toml --out mine.jsonl.gz --yes
    """
    check_writable(out)
    if Path(out).absolute() == Path(task).absolute():
        raise QueryError("--out is the task file itself; choose another place")
    pool = Pool.default(pool_file)
    asked = list(task_file.read_questions(task))[:limit]
    if not asked:
        raise QueryError(f"{task}: no question in it; see  routemoa collect --help")
    with AnswerCollection(out, asked, [m.name for m in pool], retry=retry) as gathered:
        calls = list_remaining_calls(asked, pool.models, gathered)
        costs = estimate_calls(calls)
        click.echo(announcement(len(asked), len(pool), gathered.finished_questions, costs), err=True)
        if calls and costs.cost != 0 and not yes and on_terminal():
            click.confirm("Go on?", abort=True, err=True)
        with Watch(calls) as watch:
            run_calls(pool, calls, gathered, concurrency, watch)
        results = summarize_models(asked, pool.models, gathered)
        finished = gathered.finished_questions
    if as_json:
        found: dict[str, object] = {"records": out, "questions": len(asked), "finished": finished, "calls": len(calls)}
        found["failures"] = watch.reasons
        models = {t.model: {k: v for k, v in to_plain(t).items() if k != "model"} for t in results}
        click.echo(json.dumps(found | {"estimate": to_plain(costs), "models": models}, indent=2))
    else:
        _print(results)
        for model, reasons in watch.reasons.items():
            for reason, count in reasons.most_common(3):
                click.echo(f"{model}: {count:,} x {reason}", err=True)
        click.echo(f"{finished:,} questions in {out}", err=True)


def on_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty()


def run_calls(
    pool: Pool, calls: Sequence[CollectCall], gathered: AnswerCollection, concurrency: int, watch: Watch
) -> None:
    """Make the calls; what was answered is kept also when it is interrupted."""

    async def work() -> None:
        client = connect(pool)
        try:
            await collect_answers(calls, client, gathered, concurrency=concurrency, on_answer=watch)
        finally:
            await client.close()

    try:
        asyncio.run(work())
    except KeyboardInterrupt:
        watch.line(f"{watch.done:,} of {len(calls):,} calls are kept; the same command goes on from here")
        raise


def announcement(questions: int, models: int, finished: int, costs: Estimate) -> str:
    """What is going to be done, and what it will cost."""
    before = f", {finished:,} of them finished before" if finished else ""
    said = f"{questions:,} questions{before}, {models} models: {costs.calls:,} calls"
    if not costs.calls:
        return f"{said}; nothing is left to do"
    tokens = f"about {costs.prompt_tokens:,} tokens in and {costs.completion_tokens:,} out"
    return f"{said}, {tokens}; cost: {cost_in_words(costs)}"


def cost_in_words(costs: Estimate) -> str:
    """The dollars of an estimate."""
    if costs.cost is None:
        price = f"unknown: no price for {', '.join(costs.unpriced)}"
        return price + (f"; the others about ${costs.known_cost:,.4g}" if costs.known_cost else "")
    return f"about ${costs.cost:,.4g}" if costs.cost else "nothing"


class Watch(Steps):
    """Shows how far a collection is, and says when a model fails again and again."""

    def __init__(self, calls: Sequence[CollectCall]) -> None:
        super().__init__(len(calls), "asking", "calls")
        self._row: dict[str, int] = {}
        self.reasons: dict[str, Counter[str]] = {}
        self.failed = 0

    def __call__(self, outcome: CollectedAnswer) -> None:
        """One call has ended."""
        self.failed += bool(outcome.failure)
        if outcome.failure:
            self.reasons.setdefault(outcome.model, Counter())[outcome.failure] += 1
        row = self._row[outcome.model] = self._row.get(outcome.model, 0) + 1 if outcome.failure else 0
        if row == IN_A_ROW:
            self.line(
                f"{outcome.model}: {IN_A_ROW} calls in a row failed, the last with {outcome.failure}; Ctrl-C and mend "
                "it, or go on and ask again later with --retry"
            )
        self.step(f"{self.failed:,} failed" if self.failed else "")


def _print(results: Sequence[ModelResult]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("model", "accuracy", "graded", "answered", "failed", "dollars", "seconds each"):
        table.add_column(head, justify="left" if head == "model" else "right")
    for t in results:
        accuracy = "-" if t.accuracy is None else f"{t.accuracy:.3f}"
        dollars = "unknown" if t.cost is None else f"{t.cost:.4f}"
        seconds = "-" if t.seconds is None else f"{t.seconds:.2f}"
        row = (t.model, accuracy, str(t.graded), str(t.answered), str(t.failed), dollars, seconds)
        table.add_row(*map(Text, row))  # names are data, not markup
    console.print(table)
