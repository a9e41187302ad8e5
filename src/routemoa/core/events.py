"""What a method says while it works. A trace is the fold of these (routemoa.core.trace); views are their readers."""

from __future__ import annotations

import re

from msgspec import Struct

from routemoa.core.trace import Alternative, Assessment, Degradation, Failure, Proposal, Ranking
from routemoa.core.types import Purpose, Query, Scores, Usage

__all__ = [
    "AggregatorFailed",
    "AggregatorStarted",
    "AnswerDelta",
    "AnswerReplaced",
    "AnyEvent",
    "CallFinished",
    "CallStarted",
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
    "Started",
    "Stopped",
]


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Event(Struct, frozen=True, tag_field="event", tag=_snake):
    """Base of what a method says while it works."""


class Started(Event, frozen=True):
    """A method takes up a query."""

    query: Query
    method: str
    seed: int | None = None  # of the orders in which judges are shown answers
    prices: dict[str, str] = {}  # where each model's price comes from, and of what day it is


class Scored(Event, frozen=True):
    """The scorer's prediction for every model of the pool, and the ranking it gives."""

    prior: Scores
    ranking: Ranking


class Selected(Event, frozen=True):
    """The models a layer is going to call, and why these."""

    layer: int
    models: tuple[str, ...]
    why: str = ""


class ProposalStarted(Event, frozen=True):
    """A proposer has been called; `quoted` names whose answers it is shown, in the order of their labels."""

    layer: int
    model: str
    quoted: tuple[str, ...] = ()
    purpose: Purpose = "proposal"


class ProposalDelta(Event, frozen=True):
    """A piece of a proposer's answer, never of its judgments."""

    layer: int
    model: str
    text: str


class ProposalFinished(Event, frozen=True):
    """A proposer has answered; its first token came after so many seconds, None where nobody knows."""

    layer: int
    proposal: Proposal
    first_token: float | None = None


class ProposalFailed(Event, frozen=True):
    """A proposer has failed."""

    layer: int
    failure: Failure


class Judged(Event, frozen=True):
    """One judge's assessments in a layer, out of its reply."""

    layer: int
    assessments: tuple[Assessment, ...]


class Reranked(Event, frozen=True):
    """The posterior after a layer's judgments, and the new ranking."""

    layer: int
    scores: Scores
    ranking: Ranking


class Stopped(Event, frozen=True):
    """No further layer runs, and why; `choice` is whose answer stands or leads, where there is any.

    `routes_not_taken` are estimates of what other methods would have taken for this query.
    """

    reason: str
    choice: str | None = None
    routes_not_taken: tuple[Alternative, ...] = ()


class CallStarted(Event, frozen=True):
    """A model is asked for something else than an answer, such as to moderate: a call all the same."""

    purpose: str
    model: str


class CallFinished(Event, frozen=True):
    """What came of such a call: a reply, whose text is no candidate answer, or a failure."""

    purpose: str
    reply: Proposal | None = None
    failure: Failure | None = None


class AggregatorStarted(Event, frozen=True):
    """A model begins to write the final answer."""

    model: str


class AggregatorFailed(Event, frozen=True):
    """The aggregator failed: what it had written so far is void."""

    failure: Failure


class AnswerDelta(Event, frozen=True):
    """A piece of the final answer."""

    text: str


class AnswerReplaced(Event, frozen=True, tag="continued"):
    """The leader's answer, streamed so far, does not stand (`why`): what follows takes its place.

    `marker` is the text that a reader who has seen the first answer is shown in between; the final answer lacks it.
    """

    why: str
    leader: str
    marker: str


class Degraded(Event, frozen=True, tag="gave_up"):
    """The contract left no room for something; where that is a hedge, a call that was announced is not made."""

    given_up: Degradation


class Done(Event, frozen=True):
    """The answer is complete, `latency` seconds after the start; with the aggregator's share, if one was called."""

    latency: float
    usage: Usage | None = None  # of the aggregator's call
    cost: float | None = None
    finish_reason: str | None = None
    charged: float | None = None  # dollars of the whole query that count against its contract


AnyEvent = (
    Started
    | Scored
    | Selected
    | ProposalStarted
    | ProposalDelta
    | ProposalFinished
    | ProposalFailed
    | Judged
    | Reranked
    | Stopped
    | CallStarted
    | CallFinished
    | AggregatorStarted
    | AggregatorFailed
    | AnswerDelta
    | AnswerReplaced
    | Degraded
    | Done
)
"""The union to decode into: `from_json(line, AnyEvent)`."""
