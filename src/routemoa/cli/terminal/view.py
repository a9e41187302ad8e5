"""The terminal view: a reader of a method's events. Nothing here decides anything."""

from __future__ import annotations

from rich.console import Console, Group
from rich.control import strip_control_codes
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from routemoa.core import events as t
from routemoa.core.events import Event
from routemoa.core.pool import Pool
from routemoa.core.trace import Degradation, Failure, Proposal, Ranking, Trace
from routemoa.core.types import Scores

__all__ = ["View", "summary"]

_HUES = ("cyan", "magenta", "yellow", "green", "blue", "red")


class View:
    """Prints what a method does, while it does it; what a model writes is printed as data, never as markup.

    On a terminal the ends of the answers are seen arriving; with `final`, that of the final answer too. With `leading`
    the first answer is written on the same terminal by somebody else as it comes: what happens meanwhile is told after.
    """

    def __init__(self, pool: Pool, console: Console, *, final: bool = False, leading: bool = False) -> None:
        self._pool = pool
        self._out = console
        self._hue = {m.name: _HUES[i % len(_HUES)] for i, m in enumerate(pool)}
        self._final = final
        self._arriving: dict[str, str] = {}
        self._several: set[str] = set()  # models that are asked more than once at the same time
        self._leading = leading
        self._kept: list[Event] = []  # what happened while the leading answer was written
        self._live = Live(console=console, transient=True, refresh_per_second=8)

    def show(self, event: Event) -> None:
        """Print one event."""
        if not self._leading:
            self._show(event)
        elif isinstance(event, t.Reranked | t.Stopped | t.AnswerReplaced):  # the first layer is over
            self._leading = False
            if self._kept:
                self._out.print()
            for kept in self._kept:
                self._show(kept)
            self._show(event)
        elif self._kept or isinstance(event, t.AnswerDelta):
            self._kept.append(event)
        else:
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case t.Scored():
                self._out.print(self._table("prior: who is likely to answer well", event.ranking, event.prior, "prior"))
            case t.Selected():
                self._selected(event)
            case t.ProposalDelta():
                self._arrive(event.model, event.text)
            case t.ProposalFinished():
                self._finished(event.proposal)
            case t.ProposalFailed():
                self._arriving.pop(event.failure.model, None)
                self._failed(event.failure)
            case t.Judged():
                for a in event.assessments:
                    value = "[dim]unreadable[/]" if a.value is None else f"{a.value:.2f}"
                    whom = "its own answer" if a.kind == "self" else f"the answer of {self._name(a.subject)}"
                    self._out.print(f"  {self._name(a.judge)} judges {whom}: {value}", highlight=False)
            case t.Reranked():
                self._live.stop()
                self._out.print(self._table("new ranking", event.ranking, event.scores, "posterior"))
            case t.Stopped():
                self._live.stop()
                self._out.print(f"[bold]stops[/]: {escape(event.reason)}", highlight=False)
            case t.CallStarted() | t.CallFinished() | t.AggregatorFailed():
                self._live.stop()
                self._beside(event)
            case t.Degraded():
                self._out.print(f"  [yellow]given up[/]: {escape(_given_up(event.given_up))}", highlight=False)
            case t.AggregatorStarted():
                self._out.print(f"[bold]aggregator[/]: {self._name(event.model)}", highlight=False)
                if self._final:
                    self._start((event.model,))
            case t.AnswerDelta() if self._final and self._live.is_started:
                self._arrive(next(iter(self._arriving)), event.text)
            case t.Done():
                self._live.stop()
            case _:
                pass

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _start(self, models: tuple[str, ...]) -> None:
        self._arriving = dict.fromkeys(models, "")
        self._several = {m for m in models if models.count(m) > 1}
        if self._out.is_terminal and not self._leading:
            self._live.start()

    def _arrive(self, model: str, text: str) -> None:
        """Show the end of what a model has written so far."""
        if model in self._several:  # pieces of several answers, which no reader could tell apart
            text = ""
        room = max(20, self._out.width - len(model) - 6)
        self._arriving[model] = (self._arriving.get(model, "") + text)[-room:]
        if self._live.is_started:
            lines = [
                Text.assemble((f"  {m} ", self._hue.get(m, "")), (_flat(a), "dim")) for m, a in self._arriving.items()
            ]
            self._live.update(Group(*lines))

    def _beside(self, event: t.CallStarted | t.CallFinished | t.AggregatorFailed) -> None:
        """A call that belongs to no layer."""
        if isinstance(event, t.CallStarted):
            self._out.print(f"[bold]{escape(event.purpose)}[/]: asks {self._name(event.model)}", highlight=False)
        elif event.failure:
            self._failed(event.failure)
        elif isinstance(event, t.CallFinished) and event.reply:
            self._finished(event.reply)

    def _failed(self, failure: Failure) -> None:
        self._out.print(f"  {self._name(failure.model)} [red]failed[/]: {escape(failure.reason)}", highlight=False)

    def _name(self, model: str) -> str:
        return f"[{self._hue.get(model, 'white')}]{escape(model)}[/]"

    def _selected(self, event: t.Selected) -> None:
        times = {m: event.models.count(m) for m in event.models}
        names = ", ".join(self._name(m) + (f" {n} times" if n > 1 else "") for m, n in times.items())
        note = f"{len(times)} of {len(self._pool)} are called"
        if event.why:
            note = f"{event.why}; {note}"
        self._out.print(f"[bold]layer {event.layer}[/]: asks {names} [dim]({escape(note)})[/]", highlight=False)
        self._start(event.models)

    def _finished(self, p: Proposal) -> None:
        self._arriving.pop(p.model, None)
        line = _flat(p.text)
        seconds = "" if p.latency is None else f" {p.latency:.1f} s"
        tokens = "" if p.usage.completion_tokens is None else f", {p.usage.completion_tokens} tokens"
        room = max(20, self._out.width - len(p.model) - 24)
        text = Text.from_markup(f"  {self._name(p.model)}[dim]{seconds}{tokens}[/]  ")
        text.append(line if len(line) <= room else line[: room - 1] + "…")
        self._out.print(text, overflow="ellipsis", no_wrap=True)

    def _table(self, title: str, ranking: Ranking, scores: Scores, column: str) -> Table:
        table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 2))
        table.add_column("model")
        table.add_column(column, justify="right")
        table.add_column("performance" if column == "prior" else "", justify="right")
        table.add_column("$/M out", justify="right")
        table.add_column("seconds", justify="right")
        table.add_column("why", style="dim")
        for r in ranking:
            score = scores.get(r.model)
            table.add_row(
                self._name(r.model),
                "unknown" if score is None else f"{score:.3f}",
                f"{r.performance:.3f}" if column == "prior" else "",
                "unknown" if r.cost is None else f"{r.cost:g}",
                "unknown" if r.latency is None else f"{r.latency:.1f}",
                r.why,
            )
        return table


def _given_up(given: Degradation) -> str:
    """In words."""
    what = {
        "models": "{} not called",
        "model": "{} not called",
        "aggregator": "{} does not write the answer",
        "hedge": "{} not asked as well",
        "ending": "the answer's end",
    }[given.what]
    return f"{what.format(', '.join(given.models))}: {given.why}"


def summary(trace: Trace, pool: Pool) -> str:
    """Calls, tokens, seconds and dollars, and what a dense mixture of the same pool would have taken."""
    used = trace.usage
    tokens = f"{_count(used.prompt_tokens)} tokens read, {_count(used.completion_tokens)} written"
    cost = "cost unknown" if trace.cost is None else f"${trace.cost:.4g}"
    seconds = "" if trace.latency is None else f"{trace.latency:.1f} s, "
    done = f"{trace.calls} call{'s' if trace.calls != 1 else ''}, {tokens}, {seconds}{cost}"
    dense = next((r for r in trace.routes_not_taken if r.method == "moa"), None)
    if dense is None:
        count = pool.mixture.dense_layers
        return (
            f"{done}; a dense MoA of this pool would have made {len(pool) * count + 1} calls "
            f"({len(pool)} models x {count} layers + 1)"
        )
    parts = [f"{dense.calls} calls"]
    parts += [f"about {dense.latency:.1f} s"] if dense.latency is not None else []
    parts += [f"about ${dense.cost:.4g}"] if dense.cost else []
    return f"{done}; a dense MoA of this pool would have taken {', '.join(parts)} (an estimate)"


def _flat(text: str) -> str:
    """On one line, without control characters."""
    return " ".join(strip_control_codes(text).split())


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else str(tokens)
