"""What lists and sums need of a trace: a few facts, so that thousands can be searched at once. Pure.

They are found once, when a trace is written, and kept beside it: a list unpacks no trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from routemoa.core.trace import Trace
from routemoa.core.types import CHARACTERS_PER_TOKEN, ModelSpec
from routemoa.core.usage import Usage
from routemoa.judging.answers.grouping import all_agree
from routemoa.ledger.trace_store.traces import Feedback, StoredTrace, TraceFactsText
from routemoa.routing.decision import latest_answers

__all__ = [
    "FACTS_VERSION",
    "KeptFacts",
    "Panel",
    "PanelCosts",
    "TraceFacts",
    "describe_trace",
    "estimate_costliest",
    "price_facts",
    "summarize_feedback",
    "write_facts",
]

FACTS_VERSION = 1
"""Counts up where a trace would be described in another way: what was kept before is then found again."""
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
    costliest_cost: float | None = None
    """Dollars that the most expensive member alone would have taken, by an estimate."""
    feedback: int = 0
    """How often something was said of it."""
    score: float | None = None
    """What its caller said last, in [0, 1]."""


class PanelCosts(Struct, frozen=True):
    """What the answers of a panel took, to estimate what a member would have cost that was not asked."""

    prompt_tokens: int
    """Of the question, by its length."""
    completion_tokens: int
    """The mean of the answers."""
    costs: dict[str, float | None]
    """Member -> dollars of its first answer; None is unknown."""


class KeptFacts(Struct, frozen=True, omit_defaults=True):
    """The facts as they are kept: they hold whatever the pool file says later."""

    facts: TraceFacts
    panel: PanelCosts | None
    """None where no member answered, or none said how long its answer was."""


def describe_trace(stored: StoredTrace) -> KeptFacts:
    """Return the facts of a trace, without its feedback."""
    trace = stored.answer.trace
    answers = [a.text for a in latest_answers(trace)]
    turns = [m.content for m in trace.query.messages if m.role == "user"]
    facts = TraceFacts(
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
    )
    return KeptFacts(facts, _sum_panel(trace))


def write_facts(stored: StoredTrace) -> TraceFactsText:
    """Return the facts of a trace as they are kept beside it."""
    return TraceFactsText(FACTS_VERSION, msgspec.json.encode(describe_trace(stored)).decode())


def price_facts(kept: KeptFacts, members: Iterable[ModelSpec]) -> TraceFacts:
    """Return the facts, with what the most expensive member of a pool would have cost."""
    return replace(kept.facts, costliest_cost=estimate_costliest(kept.panel, members))


def estimate_costliest(panel: PanelCosts | None, members: Iterable[ModelSpec]) -> float | None:
    """Return the dollars of the member that alone would have cost most; None where no member answered.

    A member that answered counts with what its first answer did cost, another one with the mean length of the answers
    at its own price; members without a price are left out.
    """
    if panel is None:
        return None
    usage = Usage(panel.prompt_tokens, panel.completion_tokens)
    costs = [panel.costs[m.name] if m.name in panel.costs else m.cost(usage) for m in members]
    return max((cost for cost in costs if cost is not None), default=None)


def summarize_feedback(said: Sequence[Feedback]) -> float | None:
    """Return the score that was given last; None where none was."""
    return next((each.score for each in reversed(said) if each.score is not None), None)


def _sum_panel(trace: Trace) -> PanelCosts | None:
    answers = {p.model: p for layer in reversed(trace.layers) for p in layer.proposals}
    tokens = [p.usage.completion_tokens for p in answers.values() if p.usage.completion_tokens is not None]
    if not tokens:
        return None
    prompt = sum(len(m.content) for m in trace.query.messages) / CHARACTERS_PER_TOKEN
    return PanelCosts(round(prompt), round(sum(tokens) / len(tokens)), {m: p.cost for m, p in answers.items()})


def _describe_panel(answers: Sequence[str]) -> Panel | None:
    if len(answers) < 2:
        return "one" if answers else None
    return "agreed" if all_agree(answers) else "differed"
