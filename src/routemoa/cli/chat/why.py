"""What led to an answer, as a small tree: `/why`. Pure functions of the trace."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree

from routemoa.cli.terminal.summary import (
    describe_agreement,
    describe_code_agreement,
    describe_cost,
    describe_degradation,
    describe_failure,
    describe_source,
)
from routemoa.core.text.plural import counted
from routemoa.core.text.printable import printable_line
from routemoa.core.trace import Answer, Layer, Proposal, Trace
from routemoa.judging.answers.grouping import final_answer, group_run_code
from routemoa.routing.decision import latest_answers
from routemoa.routing.state import group_proposals

__all__ = ["explain_answer"]

MAX_PRIORS = 6
"""Models whose prior is shown, the best ones."""
MAX_TEXT = 60
"""Characters of an answer that are shown."""


def explain_answer(answer: Answer) -> Tree:
    """Return the tree: prior, the calls of each layer and why, agreement, the reason to stop, the answer, the cost."""
    trace = answer.trace
    calls = counted(trace.calls, "call")
    seconds = "" if trace.latency is None else f", {trace.latency:.1f} s"
    tree = Tree(Text(f"{trace.method}: {calls}{seconds}, {describe_cost(trace)}", style="bold"))
    if trace.prior:
        tree.add(Text(f"prior, before any call: {_describe_prior(trace)}"))
    for number, layer in enumerate(trace.layers, 1):
        _add_layer(tree, number, layer)
    for failure in trace.failures:
        end, why = describe_failure(failure)
        tree.add(Text(f"{failure.model} {end}: {printable_line(why)}"))
    if agreement := describe_agreement(trace):
        groups = _describe_groups(trace)
        tree.add(Text(f"agreement: {agreement}{f': {groups}' if groups else ''}"))
    if trace.agreement is not None:
        tree.add(Text(describe_code_agreement(trace.agreement)))
    for degradation in trace.given_up:
        tree.add(Text(f"limits: {describe_degradation(degradation)}"))
    tree.add(Text(f"stopped: {trace.stop_reason or 'before the end'}"))
    if answer.text and (source := describe_source(answer)):
        tree.add(Text(source))
    return tree


def _describe_prior(trace: Trace) -> str:
    shown = [f"{r.model} {_format_score(trace.prior.get(r.model))}" for r in trace.ranking[:MAX_PRIORS]]
    rest = len(trace.ranking) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _add_layer(tree: Tree, number: int, layer: Layer) -> None:
    why = f": {layer.why}" if layer.why else ""
    branch = tree.add(Text(f"layer {number} called {', '.join(layer.selected)}{why}"))
    for proposal in layer.proposals:
        branch.add(Text(_describe_proposal(proposal, layer)))
    for failure in layer.failures:
        end, reason = describe_failure(failure)
        branch.add(Text(f"{failure.model} {end}: {printable_line(reason)}"))


def _describe_proposal(proposal: Proposal, layer: Layer) -> str:
    about = [a for a in layer.assessments if a.subject == proposal.model]
    scores = [f"{_format_score(a.value)} by {'itself' if a.kind == 'self' else a.judge}" for a in about]
    judged = f", judged {', '.join(scores)}" if scores else ""
    posterior = layer.scores.get(proposal.model)
    now = "" if posterior is None else f", now {posterior:.2f}"
    seconds = "" if proposal.latency is None else f", {proposal.latency:.1f} s"
    return f"{proposal.model}{seconds}{judged}{now}: {_shorten(proposal.text)}"


def _describe_groups(trace: Trace) -> str:
    """Return the results that were compared, each with its models; empty where texts or code were compared."""
    answers = trace.layers[0].proposals if len(trace.layers) == 1 else latest_answers(trace)
    place = {r.model: i for i, r in enumerate(trace.ranking)}
    answers = tuple(sorted(answers, key=lambda p: place.get(p.model, len(place))))
    if trace.query.tools is not None or group_run_code(trace, answers):
        return ""
    groups = group_proposals(trace, answers)
    if not groups.closed:
        return ""
    members: dict[int | None, list[Proposal]] = {}
    for proposal, group in zip(answers, groups.group_of, strict=True):
        members.setdefault(group, []).append(proposal)
    return "; ".join(
        f"{_shorten(final_answer(same[0].text) or 'no result')} by {', '.join(p.model for p in same)}"
        for same in members.values()
    )


def _shorten(text: str) -> str:
    line = printable_line(text)
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1].rpartition(" ")[0] + "…"


def _format_score(score: float | None) -> str:
    return "unknown" if score is None else f"{score:.2f}"
