"""What lists and sums need of a trace: a few facts, so that thousands can be searched at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from routemoa.core.trace import Trace
from routemoa.core.types import CHARACTERS_PER_TOKEN, ModelSpec
from routemoa.core.usage import Usage
from routemoa.judging.answers.grouping import all_agree
from routemoa.ledger.traces import Feedback, StoredTrace
from routemoa.routing.decision import latest_answers

__all__ = ["Panel", "TraceFacts", "describe_trace", "estimate_costliest", "summarize_feedback"]

MAX_QUESTION = 300
"""Characters of a question that are kept: they are shown, searched and compared."""

Panel = Literal["one", "agreed", "differed"]
"""One member answered, or several did and said the same, or not."""


class TraceFacts(Struct, frozen=True):
    """One trace of a list; the field names are keys of the page's data. What is None is unknown."""

    id: str
    at: float
    """Seconds since the epoch."""
    tenant: str | None
    method: str
    choice: str | None
    calls: int
    cost: float | None
    """Dollars."""
    seconds: float | None
    question: str
    """The beginning of the last user turn; empty where texts are not kept."""
    panel: Panel | None
    """None where no member answered."""
    gave_up: bool
    """The limits left no room for something."""
    moa_cost: float | None
    """Dollars that dense MoA would have taken, by an estimate."""
    costliest_cost: float | None
    """Dollars that the most expensive member alone would have taken, by an estimate."""
    feedback: int = 0
    """How often something was said of it."""
    score: float | None = None
    """What its caller said last, in [0, 1]."""


def describe_trace(stored: StoredTrace, members: Sequence[ModelSpec]) -> TraceFacts:
    """Return the facts of a trace, without its feedback.

    Args:
        stored: the trace.
        members: of the pool, for what the most expensive one would have cost.
    """
    trace = stored.answer.trace
    answers = [a.text for a in latest_answers(trace)]
    turns = [m.content for m in trace.query.messages if m.role == "user"]
    return TraceFacts(
        id=stored.id,
        at=stored.at,
        tenant=stored.tenant,
        method=trace.method,
        choice=trace.choice,
        calls=trace.calls,
        cost=trace.cost,
        seconds=trace.latency,
        question=turns[-1][:MAX_QUESTION] if turns else "",
        panel=_describe_panel(answers),
        gave_up=bool(trace.given_up),
        moa_cost=next((a.cost for a in trace.routes_not_taken if a.method == "moa"), None),
        costliest_cost=estimate_costliest(trace, members),
    )


def estimate_costliest(trace: Trace, members: Iterable[ModelSpec]) -> float | None:
    """Return the dollars of the member that alone would have cost most; None where no member answered.

    A member that answered counts with what its first answer did cost, another one with the mean length of the answers
    at its own price; members without a price are left out.
    """
    answers = {p.model: p for layer in reversed(trace.layers) for p in layer.proposals}
    tokens = [p.usage.completion_tokens for p in answers.values() if p.usage.completion_tokens is not None]
    if not tokens:
        return None
    prompt = sum(len(m.content) for m in trace.query.messages) / CHARACTERS_PER_TOKEN
    usage = Usage(round(prompt), round(sum(tokens) / len(tokens)))
    costs = [answers[m.name].cost if m.name in answers else m.cost(usage) for m in members]
    return max((cost for cost in costs if cost is not None), default=None)


def summarize_feedback(said: Sequence[Feedback]) -> float | None:
    """Return the score that was given last; None where none was."""
    return next((each.score for each in reversed(said) if each.score is not None), None)


def _describe_panel(answers: Sequence[str]) -> Panel | None:
    if len(answers) < 2:
        return "one" if answers else None
    return "agreed" if all_agree(answers) else "differed"
