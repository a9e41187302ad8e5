"""What a query led to: proposals, judgments, rankings and the reason to stop, as one `Trace`.

Pure data. `trace_builder` folds the events of a method into a trace.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from routemoa.core.failure_kind import KEY_STATUSES, FailureKind
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

TRUNCATED = frozenset({"length", "content_filter"})
"""The finish reasons of answers that break off."""
OWN_WORDS = (
    *("empty answer", "its answer is not the JSON", "it calls ", "it does not call ", "it makes more than "),
    "the arguments of ",
)
"""How reasons begin that say what is wrong with an answer, and repeat nothing else of its endpoint."""


class Proposal(Struct, frozen=True):
    """A model's candidate answer, without its judgments."""

    model: str
    text: str
    usage: Usage
    latency: float | None
    """Seconds."""
    cost: float | None
    """Dollars: what the endpoint reports, else our price times its tokens."""
    finish_reason: str | None = None
    """How it ended: "stop", "length", "content_filter" or "tool_calls"; None is unknown."""
    refusal: bool = False
    """Whether the model refused to answer; `text` is its refusal."""
    thought_length: int = 0
    """Characters of thoughts, which are not part of `text`."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The calls that it proposes, beside or instead of a text."""
    thought: str = ""
    """The beginning of its thoughts: shown to the caller where the answer is chosen, and to no model."""
    logprobs: tuple[dict[str, Any], ...] | None = None
    """Of its tokens, as OpenAI's API has them; only where the caller asked for them."""
    endpoint: str | None = None
    """The name of the endpoint that answered, where the member has several."""

    @property
    def is_truncated(self) -> bool:
        """Return whether the answer breaks off."""
        return self.finish_reason in TRUNCATED

    @property
    def is_complete(self) -> bool:
        """Return whether it is an answer with its end."""
        return not self.is_truncated and not self.refusal


class Failure(Struct, frozen=True):
    """A call that gave nothing usable."""

    model: str
    reason: str
    """May quote the endpoint: for logs and traces, not for callers of the server."""
    kind: FailureKind
    usage: Usage
    """Zero where the endpoint refused the call, unknown where it was cut short."""
    latency: float | None
    """Seconds."""
    cost: float | None
    """Dollars."""
    status: int | None = None
    """The HTTP status, where the endpoint refused the call."""
    partial: str = ""
    """The part of the answer that had arrived."""
    code: str | None = None
    """The endpoint's own code for the error, where it gave one."""
    retry_after: float | None = None
    """Seconds after which the endpoint wants to be called again, where it said so."""
    unanswered: bool = False
    """The endpoint broke before anything of an answer came, so that it reported no usage."""
    endpoint: str | None = None
    """The name of the endpoint that was called last, where the member has several."""

    @property
    def concerns_setup(self) -> bool:
        """Return whether the reason is about our endpoints and keys, not about the request."""
        status = self.status
        if self.kind is FailureKind.HTTP_ERROR:
            return status is None or status < 400 or status == 404 or status in KEY_STATUSES
        return self.kind in (FailureKind.UNREACHABLE, FailureKind.OTHER)

    @property
    def public_reason(self) -> str:
        """The reason as a caller of the server may read it: without addresses, keys and unreadable replies."""
        if self.concerns_setup:
            refused = f"its endpoint refused this server (HTTP {self.status})"
            return refused if self.status else "its endpoint cannot be reached"
        if self.kind is FailureKind.INVALID_RESPONSE and not self.reason.startswith(OWN_WORDS):
            return "its reply could not be read"
        return self.reason


class Skip(Struct, frozen=True):
    """A model that was not called in a query, though it might have been."""

    model: str
    kind: Literal["cooling", "context", "key", "weights", "tools", "modality"]
    """It cools down after failures, cannot hold the prompt, its key is not set, its weights are not fetched, or it
    cannot call tools or take an image, audio or a file."""
    reason: str
    """Begins with "skipped: "; our own words, which callers of the server may read."""
    retry_after: float | None = None
    """Seconds until it may be called; None where waiting does not help."""
    status: int | None = None
    """The HTTP status that it failed with before, if it did."""


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
