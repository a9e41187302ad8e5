"""The `routemoa` command. Each subcommand lives in its own file and is imported only when it is used."""

from __future__ import annotations

import importlib
import os
import sys

import click

from routemoa import __version__
from routemoa.core.errors import ConfigError, QueryError, RouteMoAError

__all__ = ["cli", "main"]

COMMANDS = {
    "ask": ("routemoa.cli.ask:ask", "Ask the mixture (or one model) a question."),
    "bench": ("routemoa.cli.evaluation.bench:bench", "Let methods answer a task's questions live, side by side."),
    "collect": ("routemoa.cli.collect:collect", "Ask every model of a pool every question of a file; keep records."),
    "demo": ("routemoa.cli.demo:demo", "Three queries to the embedded pool, with everything shown."),
    "evaluate": (
        "routemoa.cli.evaluation.evaluate:evaluate",
        "Replay methods on recorded answers, without a call.",
    ),
    "grade": ("routemoa.cli.evaluation.grade:grade", "Grade recorded answers against their references."),
    "judge": ("routemoa.cli.judge:judge", "Fit the judging on graded traces; judge saved traces again."),
    "ledger": ("routemoa.cli.ledger.command:ledger", "Every call that was made, what it cost, and sums of them."),
    "pool": ("routemoa.cli.pool.commands:pool", "Show a pool file, probe its models, fetch weights."),
    "report": ("routemoa.cli.evaluation.report:report", "A page, or a table, of what an evaluation found."),
    "scorer": ("routemoa.cli.scorer.commands:scorer", "Train a scorer on records, evaluate it, explain a prediction."),
    "serve": ("routemoa.cli.serve:serve", "Serve the mixture as an OpenAI-compatible API."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and loads them on use, so that --help stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file that holds `cmd_name`."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="routemoa")
def cli() -> None:
    """A mixture of language models behind one model name.

    Only the models likely to answer well are called. They answer, judge themselves and each other, are ranked
    anew, and an aggregator writes the answer.

    \b
    Start here:
      routemoa demo                            see it work on three small local models
      routemoa ask "Why is the sky blue?"      ask the embedded pool
      routemoa ask --pool pool.toml "..."      ask your own models
      routemoa serve --pool pool.toml          the same over HTTP, for any OpenAI client

    The pool is --pool FILE, else the file named by $ROUTEMOA_POOL, else the embedded one.
    """


def main() -> None:
    """Entry point: errors become one line on standard error. Exit codes: 1 failed, 2 wrong use, 130 interrupted."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except RouteMoAError as e:
        click.echo("; ".join([f"routemoa: {e}", *getattr(e, "__notes__", [])]), err=True)
        sys.exit(2 if isinstance(e, (ConfigError, QueryError)) else 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
