"""`routemoa batch`: its options, and what it says before and after."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from routemoa.cli.completion import complete_method
from routemoa.cli.options import json_option, max_cost_option, pool_option, yes_option
from routemoa.cli.ray_cluster import engine_options
from routemoa.cli.terminal.lines import print_line
from routemoa.core.errors import BudgetExceeded, RouteMoAError
from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.plural import counted
from routemoa.core.text.printable import printable

if TYPE_CHECKING:
    from routemoa.cli.batch.report import BatchReport
    from routemoa.cli.batch.run import Batch

__all__ = ["batch"]

MAX_REASONS = 3
SOME_FAILED = 3
"""The exit status where every row has a result and some of them failed."""


@click.command(context_settings={"max_content_width": 100})
@click.argument("source", metavar="IN")
@pool_option
@click.option(
    "--out", required=True, metavar="DIR", help="The folder that keeps the job; the same one goes on with it."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="Results in results.jsonl, or in Parquet shards (extra batch).",
)
@click.option(
    "--method",
    metavar="NAME",
    shell_complete=complete_method,
    help="Answers every row: a method or a model of the pool; else what each row names as its model, or routemoa.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    metavar="N",
    help="Rows at a time; else 16, 1 if local, 32 for each worker on Ray.",
)
@click.option(
    "--requests-per-minute",
    "calls_per_minute",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Make at most N calls to models a minute.",
)
@click.option(
    "--tokens-per-minute",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Use at most N tokens a minute, of prompts and answers.",
)
@max_cost_option
@engine_options
@click.option("--retry-failed", is_flag=True, help="Answer the rows again that failed.")
@click.option("--no-traces", is_flag=True, help="Keep no traces; results are a tenth as large.")
@yes_option
@json_option
def batch(**options: Any) -> None:  # click passes a keyword for each option: the fields of BatchOptions
    """Answer every row of IN, exactly once, and keep answers, traces, costs and errors in DIR.

    IN is an OpenAI batch file (lines with custom_id and body), lines of chat requests with messages, questions or
    records, CSV or Parquet, a folder of such files, or a URL that fsspec opens, such as s3://bucket/in/ (extra batch).

    DIR/results.jsonl has a line for each answered row, DIR/failed.jsonl one for each that failed, with its reason. For
    an OpenAI batch file DIR also has output.jsonl and errors.jsonl, as OpenAI writes them.

    The cost is estimated first. On a terminal you are asked whether to go on; without one, calls that may cost money
    need --max-cost or --yes. --max-cost is never passed: the most that a call can cost is set aside before it is made.

    A stopped job goes on with the same command, however it was stopped, and pays for no finished call twice. The exit
    status is 0 where every row is answered, 3 where some failed, 1 where the job stopped early.

    \b
    Examples:
      routemoa batch requests.jsonl --out answers --pool pool.toml --max-cost 5
      routemoa batch questions/ --out answers --format parquet --method routemoa
      routemoa batch requests.jsonl --out answers --pool pool.toml --retry-failed
      routemoa batch s3://bucket/in/ --out answers --engine ray --address auto
    """
    from routemoa.cli.batch.run import BatchOptions, open_batch

    chosen = BatchOptions(**options)
    with open_batch(chosen) as opened:
        _confirm(opened, chosen.yes, chosen.max_cost)
        report = opened.report
        try:
            if opened.remaining:
                opened.run()
        except (KeyboardInterrupt, RouteMoAError) as e:
            how = " with a higher --max-cost" if isinstance(e, BudgetExceeded) else ""
            kept = f"{report.finished:,} of {counted(report.rows, 'row')}"
            print_line(f"{chosen.out} keeps {kept}; run the same command again{how} to continue", err=True)
            raise
        finally:
            opened.finish()
            if chosen.as_json:
                click.echo(json.dumps(report.to_plain(), indent=2))
    if not chosen.as_json:
        _print_report(report, Path(chosen.out))
    if report.failed:
        sys.exit(SOME_FAILED)


def _confirm(opened: Batch, assume_yes: bool, max_cost: float | None) -> None:
    """Say what is about to be done and what it may cost, and get consent."""
    from routemoa.cli.terminal.confirm import confirm_cost, describe_cost

    report, estimate = opened.report, opened.estimate
    earlier = f", {report.finished:,} of them done before" if report.finished else ""
    work = f"{counted(report.rows, 'row')}{earlier}"
    if not opened.remaining:
        print_line(f"{work}; nothing is left to do", err=True)
        return
    tokens = f"about {estimate.prompt_tokens:,} tokens in and {estimate.completion_tokens:,} out"
    most = f"at most {counted(estimate.calls, 'call')}, {tokens}; cost at most: {describe_cost(estimate)}"
    confirm_cost(f"{work}: {most}", estimate, assume_yes=assume_yes, max_cost=max_cost)


def _print_report(report: BatchReport, folder: Path) -> None:
    unknown = (
        f", and up to {format_dollars(report.uncertain, 4)} for calls that were cut off" if report.uncertain else ""
    )
    unknown += f", and {counted(report.unpriced, 'call')} of unknown price" if report.unpriced else ""
    print_line(
        f"{report.answered:,} answered, {report.failed:,} failed of {counted(report.rows, 'row')}: "
        f"{counted(report.calls, 'call')}, {format_dollars(report.cost, 4)}{unknown}"
    )
    for name in report.files:
        print_line(f"  {folder / name}")
    for reason, count in report.reasons.most_common(MAX_REASONS):
        print_line(f"failed, {count:,} x {printable(reason)}", err=True)
    if (more := len(report.reasons) - MAX_REASONS) > 0:
        print_line(f"and {counted(more, 'other reason')}", err=True)
    if report.failed:
        print_line(f"why each row failed is in {folder / 'failed.jsonl'}; repeat them with --retry-failed", err=True)
