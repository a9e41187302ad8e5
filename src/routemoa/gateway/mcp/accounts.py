"""What the tools tell of an answer and of how it came about: plain objects, from a trace. Pure."""

from __future__ import annotations

from typing import Any

from routemoa.core.trace import Answer, Failure, Layer, Proposal, Trace
from routemoa.routing.state import group_panel

__all__ = ["explain_trace", "tell_answer", "tell_panel"]

MAX_TEXT = 20_000
"""Characters of an answer in a comparison or an explanation."""


def tell_answer(answer: Answer, trace_id: str) -> dict[str, Any]:
    """Return an answer, the models that were asked, and what it took: dollars, seconds."""
    trace = answer.trace
    return {
        "answer": answer.text,
        "trace_id": trace_id,
        "chosen": trace.choice,
        "written_by": trace.aggregator,
        "models": list(dict.fromkeys(p.model for layer in trace.layers for p in layer.proposals)),
        "stop_reason": trace.stop_reason,
        **_totals(trace),
    }


def tell_panel(answer: Answer, trace_id: str) -> dict[str, Any]:
    """Return what each member said, and the groups of members that say the same, the largest first."""
    trace = answer.trace
    proposals = [p for layer in trace.layers for p in layer.proposals]
    groups = group_panel(trace)
    agreeing: dict[int, list[str]] = {}
    for proposal, group in zip(proposals, groups.group_of, strict=True):
        if group is not None:
            agreeing.setdefault(group, []).append(proposal.model)
    return {
        "answers": {p.model: _cut(p.text) for p in proposals},
        "agree": sorted(agreeing.values(), key=lambda models: -len(models)) if groups.closed else None,
        "note": "" if groups.closed else "the answers are texts: none can confirm another",
        "chosen": trace.choice,
        "failed": _tell_failures([f for layer in trace.layers for f in layer.failures]),
        "trace_id": trace_id,
        **_totals(trace),
    }


def explain_trace(trace: Trace) -> dict[str, Any]:
    """Return how an answer came about: the prior, each layer with its answers and posterior, why it stopped."""
    return {
        "question": _cut(trace.query.question),
        "method": trace.method,
        "prior": trace.prior,
        "ranking": [{"model": r.model, "performance": r.performance, "why": r.why} for r in trace.ranking],
        "layers": [_explain_layer(layer) for layer in trace.layers],
        "stop_reason": trace.stop_reason,
        "chosen": trace.choice,
        "written_by": trace.aggregator,
        "given_up": [f"{g.what}: {g.why}" for g in trace.given_up],
        "skipped": {s.model: s.reason for s in trace.skipped},
        "would_have_taken": [
            {"method": r.method, "calls": r.calls, "dollars": r.cost, "seconds": r.latency}
            for r in trace.routes_not_taken
        ],
        **_totals(trace),
    }


def _explain_layer(layer: Layer) -> dict[str, Any]:
    return {
        "models": list(layer.selected),
        "why": layer.why,
        "answers": {p.model: _explain_proposal(p) for p in layer.proposals},
        "failed": _tell_failures(layer.failures),
        "posterior": layer.scores,
    }


def _explain_proposal(proposal: Proposal) -> dict[str, Any]:
    seconds = None if proposal.latency is None else round(proposal.latency, 3)
    return {"text": _cut(proposal.text), "seconds": seconds, "dollars": proposal.cost, "ended": proposal.finish_reason}


def _tell_failures(failures: list[Failure] | tuple[Failure, ...]) -> dict[str, str]:
    return {f.model: f.public_reason for f in failures}


def _totals(trace: Trace) -> dict[str, Any]:
    seconds = None if trace.latency is None else round(trace.latency, 3)
    return {"calls": trace.calls, "dollars": trace.cost, "seconds": seconds}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} [... {len(text) - MAX_TEXT} characters left out]"
