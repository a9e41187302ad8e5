"""One run of `routemoa init`: what it has found and done so far, and what it says about it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from routemoa.cli.init.discovery import Finding
from routemoa.cli.init.pool_text import PoolModel, summarize_prices
from routemoa.cli.init.presets import PRESETS, PresetName, Source, describe_left_out
from routemoa.cli.init.trial import QUESTION, Failure, ProbeResults, TrialAnswer
from routemoa.cli.terminal.confirm import is_interactive
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.table import print_table
from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.plural import counted

__all__ = ["Run"]


@dataclass
class Run:
    """What the command has found and done so far; `--json` prints it."""

    target: Path
    today: date
    as_json: bool
    assume_yes: bool
    preset: PresetName = "balanced"
    findings: Sequence[Finding] = ()
    left_out: dict[str, Counter[str]] = field(default_factory=dict)
    """Endpoint -> how many of its models the presets do not take, by reason."""
    models: list[PoolModel] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    results: ProbeResults = field(default_factory=ProbeResults)
    answer: TrialAnswer | None = None
    warned: set[str] = field(default_factory=set)

    @property
    def asks(self) -> bool:
        """Return whether questions may be asked."""
        return not self.assume_yes and not self.as_json and is_interactive()

    @property
    def sources(self) -> list[Source]:
        """Return what was found that can be used."""
        return [f.source for f in self.findings if f.source is not None]

    @property
    def works(self) -> bool:
        """Return whether a model of the file answers, as far as any was asked."""
        return not self.results.probes or any(self.results.has_answered(m.candidate) for m in self.models)

    def say(self, line: str = "") -> None:
        """Print a line for people."""
        if not self.as_json:
            print_line(line)

    def wait(self, doing: str) -> AbstractContextManager[object]:
        """Show what is waited for, on a terminal."""
        if self.as_json or not sys.stderr.isatty():
            return nullcontext()
        return Console(stderr=True).status(doing)

    def warn_once(self, line: str) -> None:
        """Print a line about what went wrong, if it was not printed before."""
        if line not in self.warned:
            self.warned.add(line)
            print_line(line, err=True)

    def show_findings(self) -> None:
        """Print what was found, and a line for each thing that stands in the way."""
        rows = [
            [f.title, f.where, counted(len(f.source.models), "model")] for f in self.findings if f.source is not None
        ]
        if rows and not self.as_json:
            print_table(["found", "", ""], rows)
        for finding in self.findings:
            if finding.problem:
                self.warn_once(finding.problem)

    def show_presets(self, choices: Iterable[tuple[PresetName, Sequence[PoolModel]]]) -> None:
        """Print what each preset would take, and what asking all its models once costs."""
        rows = [[name, ", ".join(m.name for m in models), _format_total(models)] for name, models in choices]
        self.say()
        print_table(["preset", "models", "dollars"], rows)
        self.say("dollars: all its models asked once, 500 tokens in and 500 out")

    def show_models(self) -> None:
        """Print the models of the file."""
        rows = []
        for model in self.models:
            listed = model.candidate.listed
            known = listed.input_price is not None and listed.output_price is not None
            prices = f"{listed.input_price:g} / {listed.output_price:g}" if known else "unknown"
            score = model.candidate.score
            prior = "-" if score is None else f"{score.score / 100:.2f}"
            rows.append([model.name, model.candidate.source.endpoint, model.candidate.name.family, prices, prior])
        self.say()
        if not self.as_json:
            title = f"written: {self.target}, preset {self.preset}, {counted(len(rows), 'model')}"
            print_table(["name", "endpoint", "family", "$/M in / out", "prior"], rows, title=title)

    def show_trial(self) -> None:
        """Print which models answered, and the mixture's answer."""
        for model in self.models:
            probe = self.results.probes.get((model.candidate.source.endpoint, model.candidate.listed.id))
            if probe is not None and probe.ok and probe.latency is not None:
                self.say(f"  {model.name}: answers, first token after {probe.latency:.2f} s")
        if self.answer is None:
            return
        if self.answer.problem or self.answer.trace is None:
            print_line(f"the question was not answered: {self.answer.problem}", err=True)
            return
        trace = self.answer.trace
        cost = "cost unknown" if trace.cost is None else format_dollars(trace.cost, 4)
        seconds = "" if trace.latency is None else f", {trace.latency:.1f} s"
        self.say(f"  asked: {QUESTION}")
        self.say(f"  answer: {self.answer.text}")
        calls = counted(trace.calls, "call")
        reason = (trace.stop_reason or "").partition(";")[0]
        self.say(f"  {calls}{seconds}, {cost}; stopped: {reason}")

    def show_next_steps(self) -> None:
        """Print commands that work as pasted."""
        file = f"--pool {self.target}"
        self.say()
        self.say("Next:")
        self.say(f'  routemoa ask {file} "Why is the sky blue?"')
        self.say(f"  routemoa serve {file}")
        self.say("  routemoa pool --help                 # add, remove, update, show, check")

    def list_remarks(self) -> list[str]:
        """Return lines for the head of the file: what was left out of the lists, and what is thin about the pool."""
        lines = [
            f"{source.provider.title}: {counted(len(source.models), 'model')} listed; "
            f"left out: {describe_left_out(counts)}"
            for source in self.sources
            if (counts := self.left_out.get(source.endpoint))
        ]
        families = {m.candidate.name.family for m in self.models}
        if len(families) == 1 and len(self.models) > 1:
            lines.append("One family only: its models err together. Another provider's key makes a better pool.")
        elif len(self.models) == 1:
            lines.append("One model only: nothing to mix yet. Another key or local model makes it a pool.")
        return lines

    def list_failures(self) -> list[str]:
        """Return lines for the end of the file: what did not answer, and how to take it back in."""
        lines = []
        for failure in self.failures:
            source, listed = failure.candidate.source, failure.candidate.listed
            name = f"{source.endpoint}/{listed.id}" if source.endpoint == source.provider.name else listed.id
            lines.append(f"Left out on {self.today}, since it did not answer ({failure.reason[:120]}):")
            lines.append(f"  routemoa pool add {name}")
        return lines

    def to_plain(self) -> dict[str, Any]:
        """Return all of it as a JSON object."""
        found = [
            {
                "title": f.title,
                "where": f.where,
                "endpoint": None if f.source is None else f.source.endpoint,
                "models": None if f.source is None else len(f.source.models),
                "problem": f.problem,
            }
            for f in self.findings
        ]
        models = [
            {
                "name": m.name,
                "endpoint": m.candidate.source.endpoint,
                "model": m.candidate.listed.id,
                "family": m.candidate.name.family,
                "input_price": m.candidate.listed.input_price,
                "output_price": m.candidate.listed.output_price,
            }
            for m in self.models
        ]
        answer = None
        if self.answer is not None:
            trace = self.answer.trace
            answer = {
                "question": QUESTION,
                "text": self.answer.text,
                "problem": self.answer.problem,
                "calls": None if trace is None else trace.calls,
                "cost": None if trace is None else trace.cost,
            }
        return {
            "file": str(self.target) if self.models else None,
            "preset": self.preset,
            "ceiling": PRESETS[self.preset].ceiling,
            "found": found,
            "models": models,
            "failures": [{"model": f.candidate.listed.id, "reason": f.reason} for f in self.failures],
            "probes": [probe.to_plain() for probe in self.results.probes.values()],
            "answer": answer,
        }


def _format_total(models: Sequence[PoolModel]) -> str:
    costs = summarize_prices(models).values()
    known = [c for c in costs if c is not None]
    if not known:
        return "unknown"
    return f"{sum(known):.2g}" + (" and more: some prices are unknown" if len(known) < len(costs) else "")
