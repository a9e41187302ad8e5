"""`routemoa bench`: let methods answer a task's questions live, side by side; every answer is kept as it arrives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from routemoa import __version__
from routemoa.cli.completion import complete_methods, complete_model
from routemoa.cli.evaluation.bench_options import Benchmark, BenchOptions, check_options
from routemoa.cli.options import duplicates_option, json_file_option, max_cost_option, pool_option, yes_option
from routemoa.cli.ray_cluster import engine_options
from routemoa.cli.terminal.confirm import confirm_cost, describe_cost
from routemoa.cli.terminal.files import STDOUT, check_writable, check_writable_folder, write_figures
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.warn import print_warnings
from routemoa.core.errors import BudgetExceeded, RouteMoAError
from routemoa.core.pool_file.pool import METHODS, Pool
from routemoa.core.text.plural import counted
from routemoa.datasets.questions import Question

if TYPE_CHECKING:
    from routemoa.datasets.collector import Estimate
    from routemoa.evaluation.outcomes import Run

__all__ = ["bench"]

DEFAULT_METHODS = "routemoa,best-single,moa"
METHODS_HELP = (
    "Of: "
    + ", ".join(METHODS)
    + ", single:NAME, routemoa-no-scorer (-self, -cross, -reranking, -early-stop, -aggregator), "
    "routemoa-alone, routemoa-synthesize, routemoa-select."
)


@click.command(context_settings={"max_content_width": 100})
@click.argument("task")
@pool_option
@click.option(
    "--methods",
    default=DEFAULT_METHODS,
    show_default=True,
    metavar="LIST",
    shell_complete=complete_methods,
    help=METHODS_HELP,
)
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help="Ask N questions: the first, or with --seed a random draw."
)
@click.option("--seed", type=int, metavar="S", help="Seed for drawing questions; models get it with every call, too.")
@click.option("--out", metavar="DIR", help="The folder that keeps the run; else bench-TASK.")
@click.option("--data", metavar="DIR", help="Folder with the task's JSONL file; else data/tasks, the cache, the hub.")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Answers at a time; else 4, or 1 if local.")
@max_cost_option
@click.option(
    "--judge",
    metavar="MODEL",
    shell_complete=complete_model,
    help="Model of the pool that compares answers where the grader is 'judge'.",
)
@click.option("--retry", is_flag=True, help="Repeat the questions that a method failed to answer.")
@engine_options
@duplicates_option
@yes_option
@json_file_option
def bench(**options: Any) -> None:  # click passes a keyword for each option: the fields of BenchOptions
    """Let methods answer TASK's questions live, and compare their accuracy, cost and latency.

    TASK is arc-challenge, gsm8k, humaneval, math500, mbpp, mmlu-pro or race, or a file of your own as JSON lines, CSV
    or Parquet (extra [parquet]): {"id", "task", "query", "reference", "grader"} with grader exact, numeric, choice,
    contains, math, code, rouge, f1 or judge.

    The cost is estimated first. On a terminal you are asked whether to go on; without one, calls that may cost money
    need --max-cost or --yes. --max-cost is never passed: the most that a call can cost is set aside before it is made.

    A stopped run continues with the same command and pays for nothing twice: DIR/calls.jsonl holds every call. A folder
    takes more questions and methods later; another pool or seed needs another folder.

    --engine ray answers and grades on a cluster; either engine goes on with what the other one began.

    \b
    Examples:
      routemoa bench gsm8k --limit 40             the embedded pool, no key
      routemoa bench mine.jsonl --pool pool.toml --max-cost 2 --out mine
      routemoa report mine --html mine.html
    """
    _run_benchmark(BenchOptions(**options))


def _run_benchmark(options: BenchOptions) -> None:
    from routemoa.cli.evaluation.bench_run import answer_questions
    from routemoa.evaluation.live.cost_estimate import estimate_cost
    from routemoa.evaluation.live.resume import find_answered, start_run
    from routemoa.evaluation.live.runner import plan_units

    check_writable(options.json_file)
    check_writable_folder(options.out)
    benchmark = check_options(options)
    folder, run = benchmark.folder, _describe_run(benchmark, options)
    answered = find_answered(folder, run, benchmark.questions, retry=options.retry)
    units = plan_units(benchmark.questions, benchmark.methods, answered)
    costs = estimate_cost(units, benchmark.pool, benchmark.judge)
    print_warnings(benchmark.warnings)
    announcement = _announce(benchmark, len(units), costs)
    confirm_cost(announcement, costs, assume_yes=options.yes, max_cost=options.max_cost)
    start_run(folder, run, retry=options.retry)
    try:
        if units:
            answer_questions(benchmark, units)
    except (KeyboardInterrupt, RouteMoAError) as e:
        how = " with a higher --max-cost" if isinstance(e, BudgetExceeded) else ""
        print_line(f"{folder} keeps the answers so far; run the same command again{how} to continue", err=True)
        raise
    finally:
        figures = _summarize(folder, run, benchmark.questions, shows=options.json_file != STDOUT)
        if options.json_file:
            write_figures(options.json_file, (json.dumps(figures, indent=1, sort_keys=True) + "\n").encode())
    print_line(f"for the page run  routemoa report {folder} --html {folder}/report.html", err=True)


def _describe_run(benchmark: Benchmark, options: BenchOptions) -> Run:
    """Return what run.json says of the run."""
    from routemoa.evaluation.live.resume import digest_pool
    from routemoa.evaluation.outcomes import Run

    return Run(
        kind="live",
        name=options.task_name,
        methods=benchmark.methods,
        models=tuple(m.name for m in benchmark.pool),
        seed=benchmark.seed or 0,
        limit=options.limit,
        settings={"pool": digest_pool(benchmark.pool), "seed": benchmark.seed, "judge": options.judge},
        notes=_list_notes(benchmark.concurrency, benchmark.pool),
        warnings=benchmark.warnings,
        version=__version__,
    )


def _list_notes(concurrency: int, pool: Pool) -> tuple[str, ...]:
    """Return the caveats of a live run."""
    local = sum(m.local for m in pool)
    notes = [
        f"live: {counted(concurrency, 'question')} at a time; seconds are those of this machine "
        "and these endpoints, once"
    ]
    if local:
        notes.append(f"{local} of {counted(len(pool), 'model')} run on this machine: they cost seconds, not dollars")
    return tuple(notes)


def _announce(benchmark: Benchmark, remaining: int, costs: Estimate) -> str:
    """Return what is about to be done and what it may cost; `remaining` answers are missing."""
    questions, methods = len(benchmark.questions), benchmark.methods
    answered = questions * len(methods) - remaining
    earlier = f", {counted(answered, 'answer')} kept from before" if answered else ""
    work = f"{counted(questions, 'question')}, {counted(len(methods), 'method')} ({', '.join(methods)}){earlier}"
    if not costs.calls:
        return f"{work}; nothing is left to do"
    tokens = f"{costs.prompt_tokens:,} tokens in and {costs.completion_tokens:,} out"
    return f"{work}: at most {counted(costs.calls, 'call')}, about {tokens}; cost at most: {describe_cost(costs)}"


def _summarize(folder: Path, run: Run, questions: Sequence[Question], *, shows: bool) -> dict[str, Any]:
    """Print the table of the answers so far where it `shows`, write it into DIR/run.json and return its figures."""
    from msgspec.structs import replace

    from routemoa.cli.evaluation.report import print_page
    from routemoa.evaluation.outcomes import read_outcomes, save_run
    from routemoa.evaluation.report.figures import build_report
    from routemoa.evaluation.statistics import summarize

    keys = {(q.task, q.id) for q in questions}
    selected = [o for o in read_outcomes(folder) if o.method in run.methods and (o.task, o.id) in keys]
    selected.sort(key=lambda o: (run.methods.index(o.method), o.task, o.id))  # not in the order of arrival
    figures = summarize(selected, run.seed)
    save_run(folder, replace(run, summary=figures))
    if not selected:
        return figures | {"warnings": list(run.warnings)}
    report = build_report(run, selected, figures)
    if shows:
        print_page(report)
    return figures | {"warnings": list(report.warnings)}
