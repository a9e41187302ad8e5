"""The options that several commands have."""

from __future__ import annotations

import math

import click

__all__ = ["json_file_option", "json_option", "max_cost_option", "pool_option", "yes_option"]


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


pool_option = click.option(
    "--pool", "pool_file", metavar="FILE", help="Pool file; else $ROUTEMOA_POOL, else the embedded pool."
)
yes_option = click.option(
    "--yes", "-y", is_flag=True, help="Do not ask before calls that may cost money; without a terminal, make them."
)
max_cost_option = click.option(
    "--max-cost", type=Dollars(), metavar="DOLLARS", help="The most to spend in all, earlier parts of the run included."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table.")
json_file_option = click.option("--json", "json_file", metavar="FILE", help="Write all figures to FILE.")
