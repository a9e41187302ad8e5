"""What a method does, shown on the terminal while it does it. The view reads events and decides nothing."""

from __future__ import annotations

from rich.console import Console, Group
from rich.control import strip_control_codes
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from routemoa.core import events
from routemoa.core.events import Event
from routemoa.core.pool import Pool
from routemoa.core.trace import Degradation, Failure, Proposal, Ranking, Trace
from routemoa.core.types import Scores

__all__ = ["QueryView", "describe_ending", "summarize_trace"]

_COLORS = ("cyan", "magenta", "yellow", "green", "blue", "red")


class QueryView:
    """Prints the events of one query; text of a model is printed as data, never as markup.

    Args:
        pool: the models, each of which gets a color.
        console: where to print. On a terminal the ends of the running answers are shown.
        final: show the end of the final answer, too.
        leading: the leading answer is written to the same terminal: events that come meanwhile are shown after it.
    """

    def __init__(self, pool: Pool, console: Console, *, final: bool = False, leading: bool = False) -> None:
        self._pool = pool
        self._console = console
        self._colors = {m.name: _COLORS[i % len(_COLORS)] for i, m in enumerate(pool)}
        self._final = final
        self._partial: dict[str, str] = {}  # the end of each answer that is being written
        self._repeated: set[str] = set()  # models that are called more than once at the same time
        self._leading = leading
        self._held_back: list[Event] = []  # while the leading answer is written
        self._live = Live(console=console, transient=True, refresh_per_second=8)

    def show(self, event: Event) -> None:
        """Print one event, or hold it back until the leading answer is written."""
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
            case events.Scored():
                title = "prior: how likely each model is to answer well"
                self._console.print(self._ranking_table(title, event.ranking, event.prior, "prior"))
            case events.Selected():
                self._print_selection(event)
            case events.ProposalDelta():
                self._update_partial(event.model, event.text)
            case events.ProposalFinished():
                self._print_proposal(event.proposal)
            case events.ProposalFailed():
                self._partial.pop(event.failure.model, None)
                self._print_failure(event.failure)
            case events.Judged():
                self._print_assessments(event)
            case events.Reranked():
                self._live.stop()
                self._console.print(self._ranking_table("new ranking", event.ranking, event.scores, "posterior"))
            case events.Stopped():
                self._live.stop()
                self._print_line(f"[bold]stops[/]: {escape(event.reason)}")
            case events.CallStarted() | events.CallFinished() | events.AggregatorFailed():
                self._live.stop()
                self._print_other_call(event)
            case events.Degraded():
                self._print_line(f"  [yellow]limits[/]: {escape(_describe_degradation(event.given_up))}")
            case events.AggregatorStarted():
                self._print_line(f"[bold]aggregator[/]: {self._colored(event.model)}")
                if self._final:
                    self._start_partial((event.model,))
            case events.AnswerDelta() if self._final and self._live.is_started:
                self._update_partial(next(iter(self._partial)), event.text)
            case events.Done():
                self._live.stop()
            case _:
                pass

    def _print_line(self, markup: str) -> None:
        self._console.print(markup, highlight=False)

    def _start_partial(self, models: tuple[str, ...]) -> None:
        self._partial = dict.fromkeys(models, "")
        self._repeated = {m for m in models if models.count(m) > 1}
        if self._console.is_terminal and not self._leading:
            self._live.start()

    def _update_partial(self, model: str, text: str) -> None:
        """Show the end of what a model has written so far."""
        if model in self._repeated:  # the pieces of its answers come mixed
            text = ""
        room = max(20, self._console.width - len(model) - 6)
        self._partial[model] = (self._partial.get(model, "") + text)[-room:]
        if self._live.is_started:
            lines = [
                Text.assemble((f"  {m} ", self._colors.get(m, "")), (_on_one_line(end), "dim"))
                for m, end in self._partial.items()
            ]
            self._live.update(Group(*lines))

    def _print_selection(self, event: events.Selected) -> None:
        times = {m: event.models.count(m) for m in event.models}
        names = ", ".join(self._colored(m) + (f" {n} times" if n > 1 else "") for m, n in times.items())
        note = f"{len(times)} of {len(self._pool)} models"
        if event.why:
            note = f"{event.why}; {note}"
        self._print_line(f"[bold]layer {event.layer}[/]: calls {names} [dim]({escape(note)})[/]")
        self._start_partial(event.models)

    def _print_proposal(self, proposal: Proposal) -> None:
        self._partial.pop(proposal.model, None)
        line = _on_one_line(proposal.text)
        seconds = "" if proposal.latency is None else f" {proposal.latency:.1f} s"
        tokens = "" if proposal.usage.completion_tokens is None else f", {proposal.usage.completion_tokens} tokens"
        room = max(20, self._console.width - len(proposal.model) - 24)
        text = Text.from_markup(f"  {self._colored(proposal.model)}[dim]{seconds}{tokens}[/]  ")
        text.append(line if len(line) <= room else line[: room - 1] + "…")
        self._console.print(text, overflow="ellipsis", no_wrap=True)

    def _print_failure(self, failure: Failure) -> None:
        self._print_line(f"  {self._colored(failure.model)} [red]failed[/]: {escape(failure.reason)}")

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

    def _ranking_table(self, title: str, ranking: Ranking, scores: Scores, column: str) -> Table:
        table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 2))
        table.add_column("model")
        table.add_column(column, justify="right")
        table.add_column("performance" if column == "prior" else "", justify="right")
        table.add_column("$/M out", justify="right")
        table.add_column("seconds", justify="right")
        table.add_column("why", style="dim")
        for ranked in ranking:
            score = scores.get(ranked.model)
            table.add_row(
                self._colored(ranked.model),
                "unknown" if score is None else f"{score:.3f}",
                f"{ranked.performance:.3f}" if column == "prior" else "",
                "unknown" if ranked.cost is None else f"{ranked.cost:g}",
                "unknown" if ranked.latency is None else f"{ranked.latency:.1f}",
                ranked.why,
            )
        return table


def summarize_trace(trace: Trace, pool: Pool) -> str:
    """Return calls, tokens, seconds and dollars, and what a dense mixture of the same pool would have taken."""
    usage = trace.usage
    tokens = f"{_format_count(usage.prompt_tokens)} tokens read, {_format_count(usage.completion_tokens)} written"
    cost = "cost unknown" if trace.cost is None else f"${trace.cost:.4g}"
    seconds = "" if trace.latency is None else f"{trace.latency:.1f} s, "
    actual = f"{trace.calls} call{'s' if trace.calls != 1 else ''}, {tokens}, {seconds}{cost}"
    dense = next((r for r in trace.routes_not_taken if r.method == "moa"), None)
    if dense is None:
        layers = pool.mixture.dense_layers
        return (
            f"{actual}; a dense MoA of this pool would have made {len(pool) * layers + 1} calls "
            f"({len(pool)} models x {layers} layers + 1)"
        )
    parts = [f"{dense.calls} calls"]
    parts += [f"about {dense.latency:.1f} s"] if dense.latency is not None else []
    parts += [f"about ${dense.cost:.4g}"] if dense.cost else []
    return f"{actual}; a dense MoA of this pool would have taken {', '.join(parts)} (an estimate)"


def describe_ending(trace: Trace) -> str | None:
    """Return what is wrong with the end of the answer; None where it is complete."""
    if trace.refusal:
        return "this is a refusal, not an answer"
    return {
        "length": "the answer breaks off at its token limit (finish_reason length)",
        "content_filter": "a content filter of the endpoint cut the answer off (finish_reason content_filter)",
    }.get(trace.finish_reason or "")


def _describe_degradation(degradation: Degradation) -> str:
    phrase = {
        "models": "{} not called",
        "model": "{} not called",
        "aggregator": "{} does not write the answer",
        "hedge": "{} not called as a hedge",
        "ending": "the end of the answer is missing",
    }[degradation.what]
    return f"{phrase.format(', '.join(degradation.models))}: {degradation.why}"


def _on_one_line(text: str) -> str:
    """Return the text on one line, without control characters."""
    return " ".join(strip_control_codes(text).split())


def _format_count(tokens: int | None) -> str:
    return "unknown" if tokens is None else str(tokens)
