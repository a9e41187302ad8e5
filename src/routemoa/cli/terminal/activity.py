"""What a method is doing right now, in a line with a clock that never stands still."""

from __future__ import annotations

from time import perf_counter

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from routemoa.core import events
from routemoa.core.events import Event

__all__ = ["Activity", "WaitingLine"]

MAX_NAMES = 4
"""Models that are named at once; of more their number is told."""


class Activity:
    """The fold of a query's events into a few words."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self._doing = "starting"
        self._layer = 1
        self._running: list[str] = []
        self._answered: list[str] = []
        self._is_calling = False

    def __rich__(self) -> Text:
        return Text(self.text, style="dim", no_wrap=True, overflow="ellipsis")

    @property
    def text(self) -> str:
        """Return what is going on, and the seconds since the start."""
        doing = self._doing
        if self._running:
            doing = f"asking {_join_names(self._running)}"
            doing += f", {_join_names(self._answered)} answered" if self._answered else ""
            doing = doing if self._layer == 1 else f"layer {self._layer}: {doing}"
        return f"{doing} ({perf_counter() - self._started:.0f} s)"

    @property
    def is_asking(self) -> bool:
        """Tell whether a model is being asked."""
        return bool(self._running) or self._is_calling

    def add(self, event: Event) -> None:
        """Fold one event in."""
        match event:
            case events.Started():
                self._doing = "choosing models"
            case events.Selected():
                self._layer, self._answered = event.layer, []
            case events.ProposalStarted():
                self._running.append(event.model)
            case events.ProposalFinished():
                self._end(event.proposal.model)
                self._answered.append(event.proposal.model)
            case events.ProposalFailed():
                self._end(event.failure.model)
            case events.CallStarted():
                self._doing, self._is_calling = f"{event.purpose}: asking {event.model}", True
            case events.AggregatorStarted():
                self._doing, self._is_calling = f"{event.model} writes the answer", True
            case events.Reranked() | events.CallFinished():
                self._doing, self._is_calling = "deciding", False
            case _:
                pass

    def _end(self, model: str) -> None:
        if model in self._running:
            self._running.remove(model)


class WaitingLine:
    """Shows an activity on a terminal, as its last line, until it is hidden; elsewhere it shows nothing."""

    def __init__(self, console: Console, activity: Activity) -> None:
        self._is_possible = console.is_terminal and not console.is_dumb_terminal
        self._spinner = Spinner("line", activity.__rich__(), style="dim")
        self._activity = activity
        self._live = Live(console=console, transient=True, refresh_per_second=8, get_renderable=self._render)

    def show(self) -> None:
        """Show the line, or leave it where it is."""
        if self._is_possible and not self._live.is_started:
            self._live.start(refresh=True)

    def hide(self) -> None:
        """Erase the line."""
        self._live.stop()

    def _render(self) -> Spinner:
        self._spinner.update(text=self._activity.__rich__())
        return self._spinner


def _join_names(names: list[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return ", ".join(distinct) if len(distinct) <= MAX_NAMES else f"{len(distinct)} models"
