"""`routemoa bench`: methods answer a task's questions live; every answer is kept as it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from routemoa import __version__
from routemoa.cli.collect import cost_in_words, on_terminal
from routemoa.cli.terminal.progress import Steps
from routemoa.cli.terminal.session import check_writable, write_whole
from routemoa.clients.connect import connect
from routemoa.core.errors import ConfigError, ModelError, RouteMoAError
from routemoa.core.pool import METHODS, Pool
from routemoa.core.types import ModelSpec
from routemoa.datasets.questions import Question

if TYPE_CHECKING:
    from routemoa.datasets.collector import Estimate
    from routemoa.evaluation.live.call_cache import CallCache
    from routemoa.evaluation.live.runner import WorkUnit
    from routemoa.evaluation.outcomes import Outcome, Run

__all__ = ["bench"]

DEFAULT = "routemoa,best-single,moa"
HELP = (
    "Of: "
    + ", ".join(METHODS)
    + ", single:NAME, routemoa-no-scorer (-self, -cross, -reranking, -early-stop, -aggregator)."
)


@click.command(context_settings={"max_content_width": 100})
@click.argument("task")
@click.option("--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool.")
@click.option("--methods", default=DEFAULT, show_default=True, metavar="LIST", help=HELP)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only N questions: the first; with --seed drawn.")
@click.option("--seed", type=int, metavar="S", help="Draws the questions, and goes to the models with every call.")
@click.option("--out", metavar="DIR", help="Where the run is kept; else bench-TASK.")
@click.option("--data", metavar="DIR", help="Folder with the task's JSONL file; else data/tasks, the cache, the hub.")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Answers at a time; else 4, or 1 if local.")
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), metavar="DOLLARS", help="Never spend more.")
@click.option("--judge", metavar="MODEL", help="Pool member that compares answers where the grader is 'judge'.")
@click.option("--retry", is_flag=True, help="Ask again where a method had no answer.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask whether the cost is all right.")
@click.option("--json", "json_file", metavar="FILE", help="Write all figures to FILE.")
def bench(
    *,
    task: str,
    pool_file: str | None,
    methods: str,
    limit: int | None,
    seed: int | None,
    out: str | None,
    data: str | None,
    concurrency: int | None,
    max_cost: float | None,
    judge: str | None,
    retry: bool,
    yes: bool,
    json_file: str | None,
) -> None:
    """Let methods answer TASK's questions live, side by side: who is right how often, and what does it take?

    TASK is arc-challenge, gsm8k, humaneval, math500, mbpp, mmlu-pro or race, or a JSONL file of your own: a line is
    {"id", "task", "query", "reference", "grader"} with grader exact, numeric, choice, contains, math, code, rouge, f1
    or judge.

    The same command goes on where an earlier one was stopped, and nothing is paid for twice: DIR/calls.jsonl holds
    every call. More questions or methods can be added to a folder; another pool or seed needs another one.

    \b
    Examples:
      routemoa bench gsm8k --limit 40                                    the embedded pool, no key
      routemoa bench mine.jsonl --pool pool.toml --max-cost 2 --out mine
      routemoa report mine --html mine.html
    """
    from routemoa.core.price_list import price_hint
    from routemoa.evaluation.live.cost_estimate import estimate_cost
    from routemoa.evaluation.live.resume import digest_pool, open_run
    from routemoa.evaluation.live.runner import plan_units
    from routemoa.evaluation.outcomes import Run

    check_writable(json_file)
    pool = Pool.default(pool_file)
    names = _methods(methods, pool)
    if max_cost is not None and (bare := [m.name for m in pool if None in (m.input_price, m.output_price)]):
        raise ConfigError(f"--max-cost needs prices, and {', '.join(bare)} has none; {price_hint(pool[bare[0]])}")
    asked = _asked(task, data, limit, seed)
    referee = _judge(judge, pool, asked)
    name = Path(task).name.removesuffix(".gz").removesuffix(".jsonl")
    folder = Path(out or f"bench-{name}")
    settings = {"pool": digest_pool(pool), "seed": seed, "judge": judge}
    members = tuple(m.name for m in pool)
    threads = concurrency or (1 if any(m.local for m in pool) else 4)
    run = Run(
        kind="live", name=name, methods=names, models=members, seed=seed or 0, limit=limit, settings=settings,
        notes=_notes(threads, pool), version=__version__,
    )  # fmt: skip
    have = open_run(folder, run, asked, retry=retry)
    units = plan_units(asked, names, have)
    costs = estimate_cost(units, pool, referee)
    click.echo(_announcement(len(asked), names, len(asked) * len(names) - len(units), costs), err=True)
    if units and costs.cost != 0 and not yes and on_terminal():
        click.confirm("Go on?", abort=True, err=True)
    try:
        if units:
            asyncio.run(_answer(pool, units, asked, folder, threads=threads, seed=seed, judge=referee, limit=max_cost))
    except (KeyboardInterrupt, RouteMoAError):
        click.echo(f"{folder} keeps what is there; the same command goes on from here", err=True)
        raise
    finally:
        figures = _figures(folder, run, asked)
        if json_file:
            write_whole(json_file, (json.dumps(figures, indent=1, sort_keys=True) + "\n").encode())
    click.echo(f"the page: routemoa report {folder} --html {folder}/report.html", err=True)


def _asked(task: str, data: str | None, limit: int | None, seed: int | None) -> list[Question]:
    """The questions; a sandbox or an extra that their graders lack is said before anything is spent."""
    from routemoa.evaluation.tasks.loading import load_questions, sample_questions

    asked = sample_questions(load_questions(task, data, lambda line: click.echo(line, err=True)), limit, seed)
    for question in {q.grader: q for q in asked}.values():
        question.grade("nothing")
    return asked


async def _answer(
    pool: Pool,
    units: Sequence[WorkUnit],
    asked: Sequence[Question],
    folder: Path,
    *,
    threads: int,
    seed: int | None,
    judge: ModelSpec | None,
    limit: float | None,
) -> None:
    from routemoa.evaluation.live.call_cache import CallCache
    from routemoa.evaluation.live.methods import build_live_methods
    from routemoa.evaluation.live.runner import LiveRun, run_units

    client = connect(pool)
    with CallCache(client, folder, limit) as till, Watch(len(units), till) as watch:
        try:
            for spec in (m for m in pool if m.local):  # loaded outside the clock
                try:
                    await client.address(spec)
                except ModelError as e:
                    watch.line(f"{e}; it counts as a model that fails")
            built = await build_live_methods(dict.fromkeys(u.method for u in units), pool, till, asked)
            await run_units(units, LiveRun(built, till, seed, judge), folder, concurrency=threads, on_outcome=watch)
        finally:
            await till.close()


class Watch(Steps):
    """Shows how the methods stand: right answers of this session, and dollars of the whole run."""

    def __init__(self, total: int, till: CallCache) -> None:
        super().__init__(total, "answering", "answers")
        self._till = till
        self._right: dict[str, list[float]] = {}

    def __call__(self, outcome: Outcome) -> None:
        """One method has answered one question."""
        right = self._right.setdefault(outcome.method, [])
        if outcome.right is not None:
            right.append(outcome.right)
        if outcome.failure and len(right) <= 3:
            self.line(f"{outcome.method}, {outcome.id}: {outcome.failure}")
        stand = [f"{m} {sum(r):g}/{len(r)}" for m, r in self._right.items()]
        unknown = f" and {self._till.unpriced:,} calls of unknown price" if self._till.unpriced else ""
        self.step(", ".join([*stand, f"${self._till.account.spent:,.4g}{unknown}"]))


def _methods(given: str, pool: Pool) -> tuple[str, ...]:
    """Raises ConfigError on one that there is not."""
    from routemoa.evaluation.live.methods import live_method_names

    known = live_method_names(pool)
    names = tuple(dict.fromkeys(n.strip() for n in given.split(",") if n.strip()))
    if unknown := [n for n in names if n not in known]:
        raise ConfigError(f"--methods: '{unknown[0]}' is unknown; known: {', '.join(known)}")
    if not names:
        raise ConfigError("--methods: name at least one")
    return names


def _judge(name: str | None, pool: Pool, asked: Sequence[Question]) -> ModelSpec | None:
    if name is not None and name not in pool:
        raise ConfigError(f"--judge: '{name}' is no model of the pool; it has {', '.join(m.name for m in pool)}")
    if name is None and any(q.grader == "judge" for q in asked):
        raise ConfigError("some questions are graded by a judge; name a model of the pool with --judge")
    return None if name is None else pool[name]


def _notes(threads: int, pool: Pool) -> tuple[str, ...]:
    local = sum(m.local for m in pool)
    notes = [f"live: {threads} question(s) at a time; seconds are those of this machine and these endpoints, once"]
    if local:
        notes.append(f"{local} of {len(pool)} models run on this machine: they cost seconds, not dollars")
    return tuple(notes)


def _announcement(questions: int, methods: Sequence[str], done: int, costs: Estimate) -> str:
    before = f", {done:,} answers kept from before" if done else ""
    said = f"{questions:,} questions, {len(methods)} methods ({', '.join(methods)}){before}"
    if not costs.calls:
        return f"{said}; nothing is left to do"
    tokens = f"{costs.prompt_tokens:,} tokens in and {costs.completion_tokens:,} out"
    return f"{said}: at most {costs.calls:,} calls, about {tokens}; cost at most: {cost_in_words(costs)}"


def _figures(folder: Path, run: Run, asked: Sequence[Question]) -> dict[str, Any]:
    """The table of what is there, printed and written into DIR/run.json."""
    from msgspec.structs import replace

    from routemoa.cli.evaluation.report import show
    from routemoa.evaluation.outcomes import read_outcomes, save_run
    from routemoa.evaluation.report.figures import build_report
    from routemoa.evaluation.statistics import summarize

    keys = {(q.task, q.id) for q in asked}
    mine = [o for o in read_outcomes(folder) if o.method in run.methods and (o.task, o.id) in keys]
    mine.sort(key=lambda o: (run.methods.index(o.method), o.task, o.id))  # not as they came in
    figures = summarize(mine, run.seed)
    save_run(folder, replace(run, summary=figures))
    if mine:
        show(build_report(run, mine, figures))
    return figures
