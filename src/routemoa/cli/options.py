"""The options that several commands have."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from routemoa.cli.completion import complete_method
from routemoa.cli.terminal.lines import print_line

__all__ = [
    "STORE_HELP",
    "answer_options",
    "duplicates_option",
    "edited_pool_option",
    "json_file_option",
    "json_option",
    "load_pool",
    "max_cost_option",
    "pool_option",
    "read_limits",
    "say",
    "store_option",
    "yes_option",
]

if TYPE_CHECKING:
    from routemoa.core.pool_file.pool import Pool

POOL_FILE = "pool.toml"
F = TypeVar("F", bound=Callable[..., Any])


class Dollars(click.FloatRange):
    """An amount of money above 0, and not infinite."""

    def __init__(self) -> None:
        super().__init__(0, min_open=True)

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the amount. Raises BadParameter."""
        dollars: float = super().convert(value, param, ctx)
        if not math.isfinite(dollars):
            self.fail(f"{value} is not an amount of dollars.", param, ctx)
        return dollars


def say(line: str) -> None:
    """Print a line about how files are read on standard error."""
    print_line(line, err=True)


pool_option = click.option(
    "--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool."
)
edited_pool_option = click.option(
    "--pool", "pool_file", metavar="FILE", help="The pool file to edit; else $ROUTEMOA_POOL, else pool.toml."
)
STORE_HELP = "Ledger: a file or postgresql://USER@HOST/DB; else $ROUTEMOA_STORE, else your own."
store_option = click.option("--store", "store_file", metavar="FILE|URL", help=STORE_HELP)
yes_option = click.option(
    "--yes", "-y", is_flag=True, help="Do not ask before calls that may cost money; without a terminal, make them."
)
max_cost_option = click.option(
    "--max-cost", type=Dollars(), metavar="DOLLARS", help="The most to spend in all, earlier parts of the run included."
)
duplicates_option = click.option(
    "--allow-duplicates", is_flag=True, help="Keep lines that repeat an id, as id#2, id#3; else they are refused."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
json_file_option = click.option(
    "--json", "json_file", metavar="FILE", help="Write all figures to FILE; - prints them, and no table."
)

_ANSWER_OPTIONS = (
    click.option(
        "--method",
        default="routemoa",
        show_default=True,
        metavar="NAME",
        shell_complete=complete_method,
        help="routemoa, moa, smoa, self-moa, best-single, random, cascade, or single:MODEL.",
    ),
    click.option(
        "--prefer",
        type=click.Choice(["quality", "balanced", "cheap", "fast"]),
        metavar="NAME",
        help="quality, balanced, cheap or fast, in place of the pool file's.",
    ),
    click.option("--max-cost", type=float, metavar="DOLLARS", help="The most that all calls together may cost."),
    click.option(
        "--max-seconds", type=float, metavar="SECONDS", help="Answer within this time, with the answers so far."
    ),
    click.option("--max-calls", type=int, metavar="N", help="The most calls to make, retries included."),
    click.option(
        "--max-output-tokens", type=int, metavar="N", help="The most tokens that all models together may write."
    ),
    click.option(
        "--stream-mode",
        type=click.Choice(["final", "leader"]),
        help="On a terminal: show final text only, or the leading model's answer at once [default: final].",
    ),
    click.option("--system", metavar="TEXT", help="System message before the conversation."),
)


def answer_options(command: F) -> F:
    """Add how a question is answered: method, preference, limits by their names in `[limits]`, and system message."""
    for option in reversed(_ANSWER_OPTIONS):
        command = option(command)
    return command


def load_pool(
    pool_file: str | None, *, needs_keys: bool = True, needs_learned: bool = True, quiet: bool = False
) -> Pool:
    """Return the pool of `pool_option`; say so where a pool.toml in this folder is not used. Raises ConfigError.

    It is not used unless it is named: a file that came with a folder could send your keys anywhere.
    """
    from routemoa.core.pool_file.pool import Pool

    if not (pool_file or os.environ.get("ROUTEMOA_POOL") or quiet) and Path(POOL_FILE).is_file():
        say(f"note: {POOL_FILE} is here and not used; use it with  --pool {POOL_FILE}")
    return Pool.default(pool_file, needs_keys=needs_keys, needs_learned=needs_learned)


def read_limits(options: Mapping[str, Any]) -> Any:
    """Return the `Limits` that the options of `answer_options` set. Raises ConfigError."""
    from routemoa.core.pool_file.pool import parse_limits

    return parse_limits({key: value for key, value in options.items() if value is not None}, "limits")
