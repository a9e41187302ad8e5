"""The `routemoa` command. Each subcommand has its own file, which is imported only when the command is used."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NamedTuple

import click

from routemoa import __version__
from routemoa.core.errors import ConfigError, QueryError, RouteMoAError

__all__ = ["cli", "main"]


class LazyCommand(NamedTuple):
    """Where a subcommand is, and its line in --help."""

    location: str
    """Module and attribute, "module:attribute"."""
    summary: str


COMMANDS = {
    "ask": LazyCommand("routemoa.cli.ask:ask", "Answer a question with the mixture, or with one model."),
    "bench": LazyCommand("routemoa.cli.evaluation.bench:bench", "Compare methods live on the questions of a task."),
    "collect": LazyCommand("routemoa.cli.collect:collect", "Ask every model every question of a file; keep records."),
    "demo": LazyCommand("routemoa.cli.demo:demo", "Answer three questions with the embedded pool, step by step."),
    "evaluate": LazyCommand(
        "routemoa.cli.evaluation.evaluate:evaluate", "Replay methods on recorded answers, without calling a model."
    ),
    "grade": LazyCommand("routemoa.cli.evaluation.grade:grade", "Grade recorded answers against their references."),
    "init": LazyCommand(
        "routemoa.cli.init.command:init", "Write a pool file of the keys, servers and model files that are there."
    ),
    "judge": LazyCommand("routemoa.cli.judge:judge", "Fit a judge model on graded traces; re-judge saved traces."),
    "ledger": LazyCommand("routemoa.cli.ledger.command:ledger", "Show the calls that were made and what they cost."),
    "pool": LazyCommand(
        "routemoa.cli.pool.commands:pool", "Show and edit a pool file, check its models, fetch weights."
    ),
    "report": LazyCommand("routemoa.cli.evaluation.report:report", "Report what a run found, as a table or a page."),
    "scorer": LazyCommand(
        "routemoa.cli.scorer.commands:scorer", "Train a scorer on records, evaluate it, explain a prediction."
    ),
    "serve": LazyCommand("routemoa.cli.serve:serve", "Serve the mixture as an OpenAI-compatible API."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is used, so that --help takes no time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of COMMANDS."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].location.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="routemoa")
def cli() -> None:
    """A mixture of language models behind one model name.

    Only the models that are likely to answer well are called. They answer, judge their own answers and each other's,
    and are ranked again. Where the best answer suffices it is returned, else an aggregator writes one from the best.

    \b
    Start here:
      routemoa demo                            see it work on three small local models
      routemoa ask "Why is the sky blue?"      ask the embedded pool
      routemoa init                            write pool.toml: your keys, local servers and model files
      routemoa ask --pool pool.toml "..."      ask your own models
      routemoa serve --pool pool.toml          the same over HTTP, for any OpenAI client

    The pool is --pool FILE, else the file named by $ROUTEMOA_POOL, else the embedded one.
    """


def main() -> None:
    """Run the command; an error is one line on standard error.

    Exit codes: 1 failed, 2 wrong use, 130 interrupted, 141 the reader of standard output is gone.
    """
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
