"""The events of a method at work. `trace_builder` folds them into a trace; views and streams read them."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from routemoa.core.tools import ToolCall
from routemoa.core.trace import (
    Agreement,
    Alternative,
    Assessment,
    Comparison,
    Degradation,
    Failure,
    Proposal,
    Ranking,
    Skip,
)
from routemoa.core.types import Purpose, Query, Scores
from routemoa.core.usage import Usage

__all__ = [
    "AggregatorFailed",
    "AggregatorStarted",
    "AnswerDelta",
    "AnswerReplaced",
    "AnswerThought",
    "AnyEvent",
    "CallFinished",
    "CallStarted",
    "CodeCompared",
    "Compared",
    "Degraded",
    "Done",
    "Event",
    "Judged",
    "ProposalDelta",
    "ProposalFailed",
    "ProposalFinished",
    "ProposalStarted",
    "Reranked",
    "Scored",
    "Selected",
    "Skipped",
    "Started",
    "Stopped",
]


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Event(Struct, frozen=True, tag_field="event", tag=_snake):
    """Base of all events."""


class Started(Event, frozen=True):
    """A method begins to answer a query."""

    query: Query
    method: str
    seed: int | None = None
    """Of the orders in which judges are shown answers."""
    prices: dict[str, str] = {}
    """Model -> where its price comes from, and its date."""


class Scored(Event, frozen=True):
    """The scorer's prediction for every model of the pool."""

    prior: Scores
    ranking: Ranking
    """The ranking by the prior."""


class Selected(Event, frozen=True):
    """The models that a layer is going to call."""

    layer: int
    models: tuple[str, ...]
    why: str = ""
    """Why these models."""


class Skipped(Event, frozen=True):
    """A model is not called in this query: it cools down after failures, or cannot hold the prompt."""

    skip: Skip


class ProposalStarted(Event, frozen=True):
    """A proposer has been called."""

    layer: int
    model: str
    quoted: tuple[str, ...] = ()
    """The models whose answers it is shown, in the order of the labels A, B, C."""
    purpose: Purpose = "proposal"


class ProposalDelta(Event, frozen=True):
    """A piece of a proposer's answer, never of its judgments."""

    layer: int
    model: str
    text: str


class ProposalFinished(Event, frozen=True):
    """A proposer has answered."""

    layer: int
    proposal: Proposal
    first_token: float | None = None
    """Seconds until the first token; None is unknown."""


class ProposalFailed(Event, frozen=True):
    """A proposer has failed."""

    layer: int
    failure: Failure


class Judged(Event, frozen=True):
    """The assessments in one judge's reply."""

    layer: int
    assessments: tuple[Assessment, ...]


class CodeCompared(Event, frozen=True):
    """The code answers so far were run and compared, or are compared as text."""

    layer: int
    agreement: Agreement


class Reranked(Event, frozen=True):
    """The posterior and the ranking after a layer's judgments."""

    layer: int
    scores: Scores
    ranking: Ranking


class Stopped(Event, frozen=True):
    """No further layer runs."""

    reason: str
    """The text of a `StopReason`."""
    choice: str | None = None
    """The model whose answer was chosen, or leads those that the aggregator is given."""
    routes_not_taken: tuple[Alternative, ...] = ()
    """Estimates of what other methods would have taken for this query."""


class CallStarted(Event, frozen=True):
    """A model is called for something other than an answer, such as to moderate."""

    purpose: str
    model: str


class CallFinished(Event, frozen=True):
    """The end of a call that a CallStarted announced: either a reply or a failure."""

    purpose: str
    reply: Proposal | None = None
    """Its text is not a candidate answer."""
    failure: Failure | None = None


class Compared(Event, frozen=True):
    """A judge has compared two answers to an open question."""

    comparison: Comparison


class AggregatorStarted(Event, frozen=True):
    """A model begins to write the final answer."""

    model: str


class AggregatorFailed(Event, frozen=True):
    """The aggregator has failed: its text so far is void."""

    failure: Failure
    kept: bool = False
    """Whether its text stays all the same: it was shown to a caller, for whom nothing may replace it."""


class AnswerDelta(Event, frozen=True):
    """A piece of the final answer."""

    text: str


class AnswerThought(Event, frozen=True):
    """A piece of the thoughts of the model whose answer is shown, which are no part of the answer."""

    text: str


class AnswerReplaced(Event, frozen=True, tag="continued"):
    """The leader's answer, streamed so far, does not stand: the text that follows replaces it."""

    why: str
    leader: str
    """The model whose answer is replaced."""
    marker: str
    """The text to show between the two answers; the final answer does not contain it."""


class Degraded(Event, frozen=True, tag="gave_up"):
    """The limits left no room for something, or a model does not support it."""

    given_up: Degradation
    """Where it is a hedge, a call that was announced is not made."""


class Done(Event, frozen=True):
    """The answer is complete."""

    latency: float
    """Seconds since the start."""
    usage: Usage | None = None
    """Of the aggregator's call, if one was made."""
    cost: float | None = None
    """Dollars of the aggregator's call."""
    finish_reason: str | None = None
    """How the answer ended: "stop", "length", "content_filter" or "tool_calls"; None is unknown."""
    charged: float | None = None
    """Dollars of the whole query, counted against its limits."""
    refusal: bool = False
    """Whether the answer is a refusal."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls of tools that the caller is asked to make."""
    logprobs: tuple[dict[str, Any], ...] | None = None
    """Of the answer's tokens, as OpenAI's API has them; only where the caller asked for them."""
    choices: tuple[Proposal, ...] = ()
    """Further answers, best first, where the caller asked for several."""
    counted: Usage | None = None
    """Of all calls, those that were cancelled included; None is unknown."""
    usage_estimated: bool = False
    """Whether a part of `counted` is an estimate, since an endpoint reported nothing."""


AnyEvent = (
    Started
    | Scored
    | Selected
    | Skipped
    | ProposalStarted
    | ProposalDelta
    | ProposalFinished
    | ProposalFailed
    | Judged
    | CodeCompared
    | Compared
    | Reranked
    | Stopped
    | CallStarted
    | CallFinished
    | AggregatorStarted
    | AggregatorFailed
    | AnswerDelta
    | AnswerThought
    | AnswerReplaced
    | Degraded
    | Done
)
"""The union to decode into: `from_json(line, AnyEvent)`."""
