"""The end of the demo: the mixture's figures beside those of other methods, and what to do next."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from routemoa.core.trace import Trace

__all__ = ["MethodFigures", "Outcome", "Recorded", "next_steps", "outcome_table", "read_recorded"]


class Outcome(msgspec.Struct, frozen=True):
    """A question as it was answered now."""

    is_right: bool | None
    """None where it could not be checked."""
    trace: Trace


class MethodFigures(msgspec.Struct, frozen=True):
    """What a method did on some questions, in all."""

    method: str
    right: int
    questions: int
    calls: int
    tokens: int
    seconds: float


class Recorded(msgspec.Struct, frozen=True):
    """Figures that were recorded before, since dense mixtures take minutes: benchmarks/demo.py wrote them."""

    date: str
    machine: str
    demo: tuple[MethodFigures, ...]
    """Other methods on the demo's three questions."""
    short96: tuple[MethodFigures, ...]
    """The embedded pool on 96 short questions."""


def read_recorded() -> Recorded:
    """Return the figures that ship with the package."""
    return msgspec.json.decode(
        resources.files("routemoa.cli.demo").joinpath("recorded.json").read_bytes(), type=Recorded
    )


def outcome_table(outcomes: Sequence[Outcome], width: int, *, with_recorded: bool) -> Group:
    """Return the tables of figures: these questions, and with `with_recorded` what was recorded before."""
    now = _sum_outcomes(outcomes)
    if not with_recorded:
        return Group(_table("these questions", [now], width))
    recorded = read_recorded()
    note = (
        f"recorded: {recorded.date}, {recorded.machine}; those seconds are not of this machine today; "
        "a method with fewer questions was stopped after these."
    )
    return Group(
        _table("these three questions", [now, *map(_mark_recorded, recorded.demo)], width),
        Text(),
        _table("96 short questions, three models (the embedded pool)", map(_mark_recorded, recorded.short96), width),
        Text(note, style="dim"),
        Text(_compare(recorded.short96)),
    )


def _mark_recorded(figures: MethodFigures) -> MethodFigures:
    return msgspec.structs.replace(figures, method=f"{figures.method}, recorded")


def _compare(recorded: Sequence[MethodFigures]) -> str:
    """Return in a sentence what a mixture brings, which three questions cannot show."""
    mixture, single = recorded[0], recorded[1]
    return (
        f"Three questions show how it works; what it brings shows on the {mixture.questions}: {mixture.right} right "
        f"with the mixture, {single.right} with the best single model, at "
        f"{mixture.calls / mixture.questions:.2f} calls a question."
    )


def next_steps(traces: Path, seconds: float) -> Group:
    """Return what to try next, in commands that work as pasted, and where the traces are."""
    command = _own_command()
    return Group(
        Text(),
        Text("next", style="bold"),
        Text(f'  {command} ask "Why is the sky blue?"      # the same models, your question'),
        Text(f"  {command} init                            # a pool of your own models"),
        Text(f"  {command} serve                           # an OpenAI-compatible server"),
        Text(),
        Text(f"traces of the three answers: {traces}", style="dim"),
        Text(f"{seconds:.0f} s in all", style="dim"),
    )


def _own_command() -> str:
    """Return how to call this program from here: its name where it is on the PATH, else its path."""
    program = Path(sys.argv[0])
    found = shutil.which("routemoa")
    if found or program.name != "routemoa":
        return "routemoa" if found else f"{shlex.quote(sys.executable)} -m routemoa"
    path = program.absolute()
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def _sum_outcomes(outcomes: Sequence[Outcome]) -> MethodFigures:
    traces = [o.trace for o in outcomes]
    tokens = sum((t.usage.prompt_tokens or 0) + (t.usage.completion_tokens or 0) for t in traces)
    right = sum(o.is_right is True for o in outcomes)
    checked = sum(o.is_right is not None for o in outcomes)
    seconds = sum(t.latency or 0.0 for t in traces)
    return MethodFigures("the mixture, now", right, checked, sum(t.calls for t in traces), tokens, seconds)


def _table(title: str, rows: Iterable[MethodFigures], width: int) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2), width=min(width, 78))
    table.add_column("method")
    for column in ("right", "calls", "tokens", "seconds"):
        table.add_column(column, justify="right")
    for row in rows:
        right = f"{row.right} of {row.questions}"
        table.add_row(row.method, right, str(row.calls), f"{row.tokens:,}", f"{row.seconds:.1f}")
    return table
