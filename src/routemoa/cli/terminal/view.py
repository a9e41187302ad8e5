"""What a method does, shown on the terminal while it does it. The view reads events and decides nothing."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from routemoa.cli.terminal.activity import Activity
from routemoa.cli.terminal.summary import (
    describe_code_agreement,
    describe_degradation,
    describe_failure,
    summarize_trace,
)
from routemoa.cli.terminal.table import fit_table
from routemoa.core import events
from routemoa.core.events import Event
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.plural import counted
from routemoa.core.text.printable import printable, printable_line
from routemoa.core.trace import Comparison, Failure, Proposal, Ranking
from routemoa.core.types import Scores

__all__ = ["QueryView", "summarize_trace"]

_COLORS = ("cyan", "magenta", "yellow", "green", "blue", "red")
_INDENT = 2
_OPTIONAL = ("performance", "$/M out", "seconds", "why")
"""Columns of a ranking that are left out, the first one first, where the terminal is narrow."""


class QueryView:
    """Prints the events of one query; text of a model is printed as data, never as markup.

    Args:
        pool: the models, each of which gets a color.
        console: where to print. On a terminal the ends of the running answers and a clock are shown.
        final: show the end of the final answer, too.
        leading: the leading answer is written to the same terminal: events that come meanwhile are shown after it.
        full: print every answer in full, and the events that a reader seldom needs.
    """

    def __init__(
        self, pool: Pool, console: Console, *, final: bool = False, leading: bool = False, full: bool = False
    ) -> None:
        self._pool = pool
        self._console = console
        self._colors = {m.name: _COLORS[i % len(_COLORS)] for i, m in enumerate(pool)}
        self._final = final
        self._full = full
        self._partial: dict[str, str] = {}  # the end of each answer that is being written
        self._repeated: set[str] = set()  # models that are called more than once at the same time
        self._leading = leading
        self._held_back: list[Event] = []  # while the leading answer is written
        self._layer: int | None = 1  # the one that events about limits concern; None once the layers are over
        self._has_answer = leading  # something of it is written
        self._activity = Activity()
        self._live = Live(
            console=console, transient=True, refresh_per_second=8, redirect_stdout=False, get_renderable=self._render
        )

    def show(self, event: Event) -> None:
        """Print one event, or hold it back until the leading answer is written."""
        self._activity.add(event)
        if not self._leading:
            self._print(event)
        elif isinstance(event, events.Reranked | events.Stopped | events.AnswerReplaced):  # the first layer is over
            self._leading = False
            if self._held_back:
                self._console.print()
            for earlier in self._held_back:
                self._print(earlier)
            self._print(event)
        elif self._held_back or isinstance(event, events.AnswerDelta):
            self._held_back.append(event)
        else:
            self._print(event)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _print(self, event: Event) -> None:
        match event:
            case events.Started():
                self._start_live()
                self._print_start(event)
            case events.Scored():
                self._print_ranking("prior: how likely each model is to answer well", event.ranking, event.prior)
            case events.Selected():
                self._layer = event.layer
                self._print_selection(event)
            case events.ProposalStarted() if self._full and event.quoted:
                shown = ", ".join(map(self._colored, event.quoted))
                self._print_line(f"  {self._colored(event.model)} is shown the answers of {shown}")
            case events.Skipped():
                self._print_line(f"  {self._colored(event.skip.model)} [yellow]{escape(event.skip.reason)}[/]")
            case events.ProposalDelta():
                self._update_partial(event.model, event.text)
            case events.ProposalFinished():
                self._print_proposal(event.proposal)
            case events.ProposalFailed():
                self._partial.pop(event.failure.model, None)
                self._print_failure(event.failure)
            case events.Judged():
                self._print_assessments(event)
            case events.CodeCompared():
                self._print_line(f"  {escape(describe_code_agreement(event.agreement))}")
            case events.Reranked():
                self._layer = event.layer + 1
                self._print_ranking("new ranking", event.ranking, event.scores, "posterior")
            case _:
                self._print_ending(event)

    def _print_ending(self, event: Event) -> None:
        """Print an event that belongs to no layer."""
        match event:
            case events.Stopped():
                self._layer = None
                self._partial = {}
                self._print_line(f"[bold]stops[/]: {escape(event.reason)}")
            case events.Compared():
                self._print_comparison(event.comparison)
            case events.CallStarted() | events.CallFinished() | events.AggregatorFailed():
                self._print_other_call(event)
            case events.Degraded():
                where = "" if self._layer is None else f"layer {self._layer} "
                line = describe_degradation(event.given_up, where)
                self._print_line(f"  [yellow]limits[/]: {escape(line)}")
            case events.AggregatorStarted():
                self._print_line(f"[bold]aggregator[/]: {self._colored(event.model)}")
                self._start_partial((event.model,))
            case events.AnswerDelta() if self._final:
                if self._partial:
                    self._update_partial(next(iter(self._partial)), event.text)
            case events.AnswerDelta():
                self._live.stop()
                if not self._has_answer and self._layer is None:
                    self._print_line("[bold]answer[/]")
                self._has_answer = True
            case events.Done() | events.AnswerReplaced():
                self._live.stop()
            case _:
                pass

    def _print_comparison(self, comparison: Comparison) -> None:
        first, second = map(self._colored, comparison.answers)
        winner = self._colored(comparison.winner)
        self._print_line(f"  {self._colored(comparison.judge)} compared {first} and {second}: {winner} stands")

    def _print_line(self, markup: str) -> None:
        self._console.print(markup, highlight=False)

    def _print_start(self, event: events.Started) -> None:
        if self._full:
            self._print_line(f"[bold]method[/]: {escape(event.method)}, seed {event.seed}")
            for model, source in event.prices.items():
                self._print_line(f"  price of {self._colored(model)}: {escape(source)}")

    def _start_live(self) -> None:
        if self._console.is_terminal and not self._leading:
            self._live.start()

    def _start_partial(self, models: tuple[str, ...]) -> None:
        self._partial = dict.fromkeys(models, "")
        self._repeated = {m for m in models if models.count(m) > 1}
        self._start_live()

    def _update_partial(self, model: str, text: str) -> None:
        """Keep the end of what a model has written so far."""
        if model in self._repeated:  # the pieces of its answers come mixed
            text = ""
        self._partial[model] = (self._partial.get(model, "") + text)[-self._console.width :]

    def _render(self) -> RenderableType:
        """Return what changes: the ends of the running answers, and the clock."""
        lines = []
        for model, end in list(self._partial.items()):
            room = max(20, self._console.width - cell_len(model) - 6)
            line = Text.assemble((f"  {model} ", self._colors.get(model, "")), (printable_line(end)[-room:], "dim"))
            line.truncate(self._console.width - 1)
            lines.append(line)
        return Group(*lines, self._activity)

    def _print_selection(self, event: events.Selected) -> None:
        times = {m: event.models.count(m) for m in event.models}
        names = ", ".join(self._colored(m) + (f" {n} times" if n > 1 else "") for m, n in times.items())
        note = f"{len(times)} of {counted(len(self._pool), 'model')}"
        if event.why:
            note = f"{event.why}; {note}"
        self._print_line(f"[bold]layer {event.layer}[/]: calls {names} [dim]({escape(note)})[/]")
        self._start_partial(event.models)

    def _print_proposal(self, proposal: Proposal) -> None:
        """Print an answer: its beginning, as far as the line goes, or the whole."""
        self._partial.pop(proposal.model, None)
        seconds = "" if proposal.latency is None else f" {proposal.latency:.1f} s"
        tokens = (
            ""
            if proposal.usage.completion_tokens is None
            else f", {counted(proposal.usage.completion_tokens, 'token')}"
        )
        text = Text.from_markup(f"  {self._colored(proposal.model)}[dim]{seconds}{tokens}[/]  ")
        if self._full:
            self._console.print(text)
            self._console.print(Padding(Text(printable(proposal.text).strip()), (0, 4)))
            return
        text.append(_shorten(printable_line(proposal.text), max(20, self._console.width - text.cell_len)))
        self._console.print(text, overflow="ellipsis", no_wrap=True)

    def _print_failure(self, failure: Failure) -> None:
        end, why = describe_failure(failure)
        style = "red" if end == "failed" else "yellow"
        self._print_line(f"  {self._colored(failure.model)} [{style}]{end}[/]: {escape(printable_line(why))}")
        if self._full and failure.partial:
            self._console.print(Padding(Text(printable(failure.partial).strip(), style="dim"), (0, 4)))

    def _print_assessments(self, event: events.Judged) -> None:
        for a in event.assessments:
            value = "[dim]unreadable[/]" if a.value is None else f"{a.value:.2f}"
            subject = "its own answer" if a.kind == "self" else f"the answer of {self._colored(a.subject)}"
            self._print_line(f"  {self._colored(a.judge)} judges {subject}: {value}")

    def _print_other_call(self, event: events.CallStarted | events.CallFinished | events.AggregatorFailed) -> None:
        """Print a call that belongs to no layer."""
        if isinstance(event, events.CallStarted):
            self._print_line(f"[bold]{escape(event.purpose)}[/]: calls {self._colored(event.model)}")
        elif event.failure:
            self._print_failure(event.failure)
        elif isinstance(event, events.CallFinished) and event.reply:
            self._print_proposal(event.reply)

    def _colored(self, model: str) -> str:
        return f"[{self._colors.get(model, 'white')}]{escape(model)}[/]"

    def _print_ranking(self, title: str, ranking: Ranking, scores: Scores, column: str = "prior") -> None:
        """Print a ranking, with the columns that fit."""
        heads = ["model", column, "performance", "$/M out", "seconds", "why"]
        rows = [
            [
                Text(r.model, style=self._colors.get(r.model, "white")),
                Text("unknown" if (score := scores.get(r.model)) is None else f"{score:.3f}"),
                Text(f"{r.performance:.3f}"),
                Text("unknown" if r.cost is None else f"{r.cost:g}"),
                Text("unknown" if r.latency is None else f"{r.latency:.1f}"),
                Text(r.why, style="dim"),
            ]
            for r in ranking
        ]
        if all(row[1].plain == row[2].plain for row in rows) or column != "prior":  # it says the same
            heads, rows = [heads[0], *heads[1:2], *heads[3:]], [[*row[:2], *row[3:]] for row in rows]
        width = self._console.width - 2 * _INDENT
        left = {"model", "why"}
        table, _ = fit_table(heads, rows, width, left=left, folded={"why"}, optional=_OPTIONAL)
        self._console.print(Text(title, style="bold"))
        self._console.print(Padding(table, (0, _INDENT)))


def _shorten(line: str, room: int) -> str:
    """Return the beginning of a line that fits, up to the end of a word where there is one."""
    if cell_len(line) <= room:
        return line
    cut = set_cell_size(line, room - 1)
    words = cut.rpartition(" ")[0]
    return (words if len(words) > len(cut) // 2 else cut.rstrip()) + "…"
