"""What routers could gain and do gain, on the terminal: of `scorer evaluate` and `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routemoa.cli.terminal.lines import print_line
from routemoa.evaluation.formatting import format_interval, format_percent, format_points, format_whole_percent
from routemoa.evaluation.headroom import CHOICE_MODELS

__all__ = ["print_headroom", "warn_of_no_gain"]


def print_headroom(figures: Mapping[str, Any] | None) -> None:
    """Print 1 - beta with its interval, and what each router closes of the gap to it; `figures` as in the JSON."""
    if figures is None:
        return
    models = f", of the best {CHOICE_MODELS} in multiple choice" if figures["multiple_choice"] else ""
    print_line("")
    print_line(
        f"1 - beta (some model right{models}): {format_percent(figures['one_minus_beta'])}, 95 % "
        f"{format_interval(figures['one_minus_beta_ci95'])}; best single {figures['best_single_model']}: "
        f"{format_percent(figures['best_single'])}"
    )
    if figures["gains"]:
        print_line("over the best single model, and the share of the gap to 1 - beta that is closed:")
    for name, gain in figures["gains"].items():
        low, high = gain["ci95"]
        line = f"  {name}: {format_points(gain['gain'])} points ({format_points(low)} to {format_points(high)})"
        if closed := figures["gap_closed"].get(name):
            low, high = closed["ci95"]
            share, low, high = (format_whole_percent(value) for value in (closed["share"], low, high))
            line += f", {share} of the gap ({low} to {high})"
        print_line(line)


def warn_of_no_gain(figures: Mapping[str, Any] | None) -> list[str]:
    """Return the sentence that says that no router helps, as a warning, where there is one."""
    sentence = figures["no_router_helps"] if figures else None
    return [sentence] if sentence else []
