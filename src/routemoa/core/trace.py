"""What a query led to: proposals, judgments, rankings and the reason to stop, as one `Trace`.

Pure data. `trace_builder` folds the events of a method into a trace.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from routemoa.core.proposal import Failure, Proposal, Skip
from routemoa.core.stop_reason import StopReason
from routemoa.core.tools import ToolCall
from routemoa.core.types import Query, Scores
from routemoa.core.usage import Usage

__all__ = [
    "Agreement",
    "Alternative",
    "Answer",
    "Assessment",
    "Degradation",
    "Failure",
    "Layer",
    "Proposal",
    "RankedModel",
    "Ranking",
    "Skip",
    "Trace",
    "upgrade_trace",
]


class Assessment(Struct, frozen=True):
    """A judgment of an answer."""

    judge: str
    subject: str
    kind: Literal["self", "cross"]
    value: float | None
    """In [0, 1]; None where the judge's reply could not be parsed."""


class Comparison(Struct, frozen=True):
    """A judge's comparison of two answers to an open question, in both orders."""

    judge: str
    answers: tuple[str, str]
    """The models whose answers were compared; the first one stood before."""
    verdicts: tuple[str | None, str | None]
    """What the judge preferred of the two answers that it was shown, "first", "second" or "tie", in the order of
    `answers`, then in the other one; None where its reply could not be read."""
    winner: str
    """The model whose answer stands."""


class RankedModel(Struct, frozen=True):
    """A model's place in a ranking."""

    model: str
    performance: float
    """In [0, 1]."""
    cost: float | None
    """Dollars per million output tokens."""
    latency: float | None
    """Seconds."""
    why: str
    """Why it ranks behind the model above it."""


Ranking = tuple[RankedModel, ...]


class Agreement(Struct, frozen=True, omit_defaults=True):
    """How the code answers to a query were compared after a layer: by what they do, or as text, and why."""

    note: str
    """Our own words: callers of the server may read it."""
    models: tuple[str, ...] = ()
    """The models whose latest answers were run; none where they are compared as text."""
    groups: tuple[int, ...] = ()
    """For each of them, the group of answers that do the same."""
    failed: tuple[str, ...] = ()
    """The models whose answers crash or miss an example of the question."""


class Layer(Struct, frozen=True):
    """What happened in a layer."""

    selected: tuple[str, ...] = ()
    """The models that were called first."""
    proposals: tuple[Proposal, ...] = ()
    failures: tuple[Failure, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    scores: Scores = {}
    """The posterior after the layer's judgments."""
    ranking: Ranking = ()
    """The ranking after the layer's judgments."""
    why: str = ""
    """Why these models were called."""
    quoted: dict[str, tuple[str, ...]] = {}
    """Proposer -> the models whose answers it was shown, in the order of the labels A, B, C."""
    agreement: Agreement | None = None
    """How code answers so far were compared; None where the answers are no code."""


class Alternative(Struct, frozen=True):
    """An estimate of what another method would have taken for this query."""

    method: str
    calls: int
    cost: float | None
    """Dollars."""
    latency: float | None
    """Seconds."""
    estimate: bool = True


class Degradation(Struct, frozen=True):
    """Something that the limits left no room for, or that a model does not support."""

    what: Literal["models", "model", "aggregator", "hedge", "ending", "choices", "parameter"]
    """Models of a panel, an expensive model for a cheaper one, the aggregator, a hedge, the end of the answer, some of
    several answers, or parameters that a model's endpoint refuses."""
    why: str
    """Our own words: it never quotes an endpoint, so callers of the server may read it."""
    models: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    """The caller's parameters that these models were not sent."""


class Trace(Struct, frozen=True):
    """Everything that led to an answer."""

    query: Query
    method: str
    prior: Scores = {}
    ranking: Ranking = ()
    """The ranking by the prior."""
    layers: tuple[Layer, ...] = ()
    stop_reason: str | None = None
    """The text of a `StopReason`."""
    choice: str | None = None
    """The model whose answer was chosen, or leads those that the aggregator was given."""
    comparisons: tuple[Comparison, ...] = ()
    """Of the answers to an open question, by a judge."""
    aggregator: str | None = None
    failures: tuple[Failure, ...] = ()
    """Of aggregators and moderators; a layer keeps its own."""
    usage: Usage = Usage(0, 0, 0, 0)
    calls: int = 0
    cost: float | None = 0.0
    """Dollars."""
    charged: float | None = None
    """Dollars counted against the limits: never less than the calls can have cost."""
    latency: float | None = None
    """Seconds."""
    finish_reason: str | None = None
    """How the answer ended: "stop", "length", "content_filter" or "tool_calls"; None is unknown."""
    refusal: bool = False
    """Whether the answer is a refusal."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls of tools that the caller is asked to make."""
    seed: int | None = None
    """Of the orders in which answers were shown to their judges."""
    routes_not_taken: tuple[Alternative, ...] = ()
    given_up: tuple[Degradation, ...] = ()
    skipped: tuple[Skip, ...] = ()
    """The models that were not called: they cool down after failures, or cannot hold the prompt."""
    prices: dict[str, str] = {}
    """Model -> where its price comes from, and its date; or that its endpoint reports what a call costs."""

    @property
    def agreement(self) -> Agreement | None:
        """Return how the code answers so far were compared last; None where the answers are no code."""
        return next((layer.agreement for layer in reversed(self.layers) if layer.agreement is not None), None)

    @property
    def stop(self) -> StopReason | None:
        """The reason to stop, parsed."""
        return None if self.stop_reason is None else StopReason.parse(self.stop_reason)


class Answer(Struct, frozen=True):
    """A text and how it came about."""

    text: str
    trace: Trace

    def __str__(self) -> str:
        return self.text


def upgrade_trace(plain: dict[str, Any]) -> dict[str, Any]:
    """Return a trace's JSON object with the current names; traces before November 26, 2026 have `contract`."""
    query = plain.get("query")
    if not isinstance(query, dict) or "contract" not in query:
        return plain
    renamed = {"limits" if key == "contract" else key: value for key, value in query.items()}
    return {**plain, "query": renamed}
