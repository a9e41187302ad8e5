"""The `routemoa` command. Each subcommand has its own file, which is imported only when the command is used."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

import click

from routemoa import __version__
from routemoa.cli.command_group import COMPLETION_VARIABLE, SuggestingGroup
from routemoa.core.errors import ConfigError, QueryError, RouteMoAError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["cli", "main"]


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk, a quota or a limit of file sizes says where standard output, or a file of ours, finds no room."""


class LazyCommand(NamedTuple):
    """Where a subcommand is, and its line in --help."""

    location: str
    """Module and attribute, "module:attribute"."""
    summary: str


COMMANDS = {
    "ask": LazyCommand("routemoa.cli.ask:ask", "Answer a question with the mixture, or with one model."),
    "batch": LazyCommand("routemoa.cli.batch.command:batch", "Answer every row of a file, exactly once each."),
    "bench": LazyCommand("routemoa.cli.evaluation.bench:bench", "Compare methods live on the questions of a task."),
    "chat": LazyCommand("routemoa.cli.chat.command:chat", "Talk with the mixture, in several turns."),
    "collect": LazyCommand("routemoa.cli.collect:collect", "Ask every model every question of a file; keep records."),
    "completion": LazyCommand("routemoa.cli.completion:completion", "Print a script that completes commands with Tab."),
    "demo": LazyCommand(
        "routemoa.cli.demo.command:demo", "See it work: three questions to small local models, step by step."
    ),
    "evaluate": LazyCommand(
        "routemoa.cli.evaluation.evaluate:evaluate", "Replay methods on recorded answers, without calling a model."
    ),
    "grade": LazyCommand("routemoa.cli.evaluation.grade:grade", "Grade recorded answers against their references."),
    "init": LazyCommand(
        "routemoa.cli.init.command:init", "Write a pool file of the keys, servers and model files that are there."
    ),
    "judge": LazyCommand("routemoa.cli.judge.commands:judge", "Fit and calibrate judges; re-judge saved traces."),
    "keys": LazyCommand("routemoa.cli.keys:keys", "Make, list, revoke and rotate the keys of a server."),
    "learn": LazyCommand("routemoa.cli.learning.learn:learn", "Learn from feedback; take over what is better."),
    "ledger": LazyCommand("routemoa.cli.ledger.command:ledger", "Show the calls that were made and what they cost."),
    "mcp": LazyCommand("routemoa.cli.mcp:mcp", "Serve the mixture as tools to agents (Model Context Protocol)."),
    "pool": LazyCommand(
        "routemoa.cli.pool.commands:pool", "Show and edit a pool file, check its models, fetch weights."
    ),
    "report": LazyCommand("routemoa.cli.evaluation.report:report", "Report what a run found, as a table or a page."),
    "scorer": LazyCommand(
        "routemoa.cli.scorer.commands:scorer", "Train a scorer on records, evaluate it, explain a prediction."
    ),
    "serve": LazyCommand("routemoa.cli.serve:serve", "Serve the mixture as an OpenAI-compatible API."),
    "store": LazyCommand("routemoa.cli.store:store", "Check, upgrade and copy the store of calls, keys and traces."),
    "traces": LazyCommand(
        "routemoa.cli.learning.traces:traces", "Show and export kept traces; say which models drift."
    ),
    "tune": LazyCommand("routemoa.cli.tune.command:tune", "Choose on records how to keep a quality at the least cost."),
    "ui": LazyCommand("routemoa.cli.ui:ui", "Open the dashboard and playground in a browser."),
}


class LazyGroup(SuggestingGroup):
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the commands and options that begin with `incomplete`, without importing a command."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(n, help=c.summary) for n, c in COMMANDS.items() if n.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

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
      routemoa demo                          see it work on small local models
      routemoa ask "Why is the sky blue?"    ask the embedded pool
      routemoa chat                          talk with it, in several turns
      routemoa ui                            ask in a browser, and watch
      routemoa init                          write pool.toml of what you have
      routemoa ask --pool pool.toml "..."    ask your own models
      routemoa serve --pool pool.toml        the same, for any OpenAI client

    The pool is --pool FILE, else the file named by $ROUTEMOA_POOL, else the embedded one. A pool.toml in the current
    folder is used where it is named.
    """


def main() -> None:
    """Run the command; an error is one line on standard error.

    Exit codes: 1 failed, 2 wrong use, 130 interrupted, 141 the reader of standard output is gone.
    """
    if COMPLETION_VARIABLE in os.environ:
        from routemoa.cli.completion import register_shells

        register_shells()
    _open_streams()
    try:
        cli(standalone_mode=False, complete_var=COMPLETION_VARIABLE)
    except click.ClickException as e:
        message = io.StringIO()
        e.show(message)
        _print_error(message.getvalue())
        sys.exit(e.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except RouteMoAError as e:
        from routemoa.core.text.printable import printable  # the error may quote an endpoint

        _print_error(printable("; ".join([f"routemoa: {e}", *getattr(e, "__notes__", [])])))
        sys.exit(2 if isinstance(e, (ConfigError, QueryError)) else 1)
    except BrokenPipeError:
        _discard_output()
        sys.exit(141)
    except OSError as e:
        if e.errno not in NO_ROOM:
            raise
        _discard_output()
        place = f"{e.filename}: " if e.filename else ""
        _print_error(f"routemoa: {place}{e.strerror}: make room, or write elsewhere; then run the command again")
        sys.exit(1)


def _discard_output() -> None:
    """Let what is left in standard output's buffer go nowhere: it cannot be written, and the exit would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(text: str) -> None:
    from routemoa.cli.terminal.lines import print_line

    print_line(text.rstrip("\n"), err=True)


def _open_streams() -> None:
    """Make the standard streams usable: a closed one is empty, and a character that one lacks costs no answer."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (until the process ends)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
