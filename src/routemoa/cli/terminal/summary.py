"""What led to an answer, in one line. Pure functions of the trace."""

from __future__ import annotations

from routemoa.core.failure_kind import FailureKind
from routemoa.core.pool_file.pool import Pool
from routemoa.core.text.dollars import format_dollars
from routemoa.core.text.plural import counted
from routemoa.core.trace import Agreement, Answer, Degradation, Failure, Trace
from routemoa.routing.decision import latest_answers
from routemoa.routing.state import group_proposals

__all__ = [
    "describe_agreement",
    "describe_code_agreement",
    "describe_cost",
    "describe_degradation",
    "describe_ending",
    "describe_failure",
    "describe_models",
    "describe_source",
    "models_left_out",
    "summarize_answer",
    "summarize_trace",
]


def summarize_answer(answer: Answer, hint: str) -> str:
    """Return the models that were asked, how far they agree, seconds, dollars, and `hint`: where to read more."""
    trace, agreement = answer.trace, describe_agreement(answer.trace)
    parts = [describe_models(trace), agreement]
    if "differ" in agreement:
        parts.append(describe_source(answer))
    if left_out := models_left_out(trace):
        parts.append(f"the limits left out {', '.join(left_out)}")
    elif any(d.what in ("aggregator", "ending") for d in trace.given_up):
        parts.append("shortened by the limits")
    parts.append("" if trace.latency is None else f"{trace.latency:.1f} s")
    parts += [describe_cost(trace), hint]
    return " · ".join(part for part in parts if part)


def describe_models(trace: Trace) -> str:
    """Return the models that were asked, and which of them failed or were not waited for."""
    answers = {p.model for layer in trace.layers for p in layer.proposals}
    called = [m for layer in trace.layers for m in (*layer.selected, *(p.model for p in layer.proposals))]
    answered = dict.fromkeys(m for m in called if m in answers)
    failures = [f for layer in trace.layers for f in layer.failures if f.model not in answered]
    cancelled = dict.fromkeys(f.model for f in failures if f.kind is FailureKind.CANCELLED)
    failed = dict.fromkeys(f.model for f in failures if f.kind not in (FailureKind.CANCELLED, FailureKind.UNAFFORDABLE))
    text = f"asked {', '.join(answered)}" if answered else "no answer"
    if len(answered) == 1 and not failed and not cancelled:
        text += " alone"
    text += f"; {', '.join(failed)} failed" if failed else ""
    return text + (f"; {', '.join(cancelled)} not waited for" if cancelled else "")


def describe_agreement(trace: Trace) -> str:
    """Return how many of the answers say the same, in words; empty where there are less than two."""
    answers = trace.layers[0].proposals if len(trace.layers) == 1 else latest_answers(trace)
    count = len(answers)
    if count < 2:
        return ""
    groups = group_proposals(trace, answers)
    largest = max((len(groups.members(g)) for g in set(groups.group_of) if g is not None), default=1)
    if largest == count:
        return "both agree" if count == 2 else f"all {count} agree"
    if largest == 1:
        return "they differ" if count == 2 else f"all {count} differ"
    return f"{largest} of {count} agree, {'the other differs' if count - largest == 1 else 'the others differ'}"


def describe_code_agreement(agreement: Agreement) -> str:
    """Return how code answers were compared, and which models' code does the same, in words."""
    groups = [
        ", ".join(m for m, g in zip(agreement.models, agreement.groups, strict=True) if g == group)
        for group in dict.fromkeys(agreement.groups)
    ]
    named = "; ".join(f"{names} fails" if names in agreement.failed else names for names in groups)
    return f"{agreement.note}: {named}" if named else agreement.note


def describe_source(answer: Answer) -> str:
    """Return where the text of an answer comes from, in words; empty where it is part of an answer."""
    trace = answer.trace
    if trace.aggregator:
        return f"written by {trace.aggregator}"
    proposals = [p for layer in reversed(trace.layers) for p in layer.proposals]
    models = [p.model for p in proposals if p.text.strip() == answer.text.strip()]
    model = trace.choice if trace.choice in models or not models else models[0]
    return f"the answer is {model}'s" if model else ""


def describe_cost(trace: Trace) -> str:
    """Return the dollars of a query; where they are unknown, the most that they can be."""
    if trace.cost is not None:
        return format_dollars(trace.cost)
    return "cost unknown" if trace.charged is None else f"at most {format_dollars(trace.charged)}"


def models_left_out(trace: Trace) -> tuple[str, ...]:
    """Return the models that the limits left no room for and that were not called in any layer."""
    failures = [f for layer in trace.layers for f in layer.failures]
    called = {p.model for layer in trace.layers for p in layer.proposals}
    called |= {f.model for f in failures if f.kind is not FailureKind.UNAFFORDABLE}
    wanted = [m for d in trace.given_up if d.what in ("models", "model") for m in d.models]
    refused = [f.model for f in failures if f.kind is FailureKind.UNAFFORDABLE]
    return tuple(dict.fromkeys(m for m in (*wanted, *refused) if m not in called))


def describe_degradation(degradation: Degradation, where: str = "") -> str:
    """Return what the limits left no room for, in words; `where` begins them, such as "layer 2 "."""
    names = ", ".join(degradation.models)
    phrases = {
        "models": f"{where}without {names}",
        "model": f"{where}without {names}",
        "aggregator": f"{names} does not write the answer",
        "hedge": f"{names} not called as a hedge",
        "ending": "the end of the answer is missing",
        "parameter": f"{names} was asked without it",
    }
    return f"{phrases[degradation.what]}: {degradation.why}"


def describe_failure(failure: Failure) -> tuple[str, str]:
    """Return how a call ended without an answer, in a word or two, and why."""
    ends = {FailureKind.UNAFFORDABLE: "not called", FailureKind.CANCELLED: "cancelled"}
    return ends.get(failure.kind, "failed"), failure.reason


def summarize_trace(trace: Trace, pool: Pool) -> str:
    """Return calls, tokens, seconds and dollars, and what a dense mixture of the same pool would have taken."""
    usage = trace.usage
    tokens = f"{_format_count(usage.prompt_tokens)} tokens read, {_format_count(usage.completion_tokens)} written"
    seconds = "" if trace.latency is None else f"{trace.latency:.1f} s, "
    actual = f"{counted(trace.calls, 'call')}, {tokens}, {seconds}{describe_cost(trace)}"
    dense = next((r for r in trace.routes_not_taken if r.method == "moa"), None)
    if dense is None:
        layers = pool.mixture.dense_layers
        return (
            f"{actual}; a dense MoA of this pool would have made {counted(len(pool) * layers + 1, 'call')} "
            f"({counted(len(pool), 'model')} x {counted(layers, 'layer')} + 1)"
        )
    parts = [counted(dense.calls, "call")]
    parts += [f"about {dense.latency:.1f} s"] if dense.latency is not None else []
    parts += [f"about {format_dollars(dense.cost)}"] if dense.cost else []
    return f"{actual}; a dense MoA of this pool would have taken {', '.join(parts)} (an estimate)"


def _format_count(tokens: int | None) -> str:
    return "unknown" if tokens is None else str(tokens)


def describe_ending(trace: Trace) -> str | None:
    """Return what is wrong with the end of the answer; None where it is complete."""
    if trace.refusal:
        return "this is a refusal, not an answer"
    return {
        "length": "the answer breaks off at its token limit (finish_reason length)",
        "content_filter": "a content filter of the endpoint cut the answer off (finish_reason content_filter)",
    }.get(trace.finish_reason or "")
