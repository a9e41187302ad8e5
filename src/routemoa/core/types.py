"""The vocabulary: what goes into a mixture and what comes out.

Pure data, to and from JSON with `to_json` and `from_json`; a trace survives the round trip unchanged.
Missing is None: an unknown price, an absent usage figure or an unreadable score is never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from routemoa.core.pricing import Price, Rate

__all__ = [
    "Address",
    "Answer",
    "Assessment",
    "CacheControl",
    "Completion",
    "Contract",
    "Failure",
    "GivenUp",
    "Layer",
    "Mark",
    "Message",
    "ModelSpec",
    "Proposal",
    "Purpose",
    "Query",
    "RankedModel",
    "Ranking",
    "Request",
    "Route",
    "Scores",
    "StreamMode",
    "Token",
    "Trace",
    "Usage",
    "from_json",
    "plus",
    "to_json",
    "to_plain",
]

T = TypeVar("T")

CHARACTERS = 4  # of a text to a token, roughly: where nobody counted

Scores = dict[str, float | None]
"""Model name -> estimated probability in [0, 1] of answering well; None where nobody knows."""


class ModelSpec(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One member of the pool, as its `[[model]]` table describes it (names are public, docs/configuration.md).

    Prices are dollars per million tokens (`request_price`: dollars a call), `context` is in tokens, `latency` in
    seconds; None is unknown.
    """

    name: str
    endpoint: str
    model: str = ""  # the endpoint's own name for it; Pool fills in `name`
    api_key_env: str | None = None
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None  # of prompt tokens read from the provider's cache; default: input_price
    written_price: float | None = None  # ... and of those put there
    request_price: float | None = None
    context: int | None = None
    latency: float | None = None
    prior: float | None = None
    system: str | None = None
    parameters: dict[str, Any] = {}
    structured: bool = False  # the endpoint honours `response_format` with a JSON schema
    cache_control: bool | None = None  # it wants marks in the prompt that say what to cache; None: as its host is known
    listed: Price | None = msgspec.field(name="-listed", default=None)  # by `price_list`; no key of the table

    @property
    def local(self) -> bool:
        """Whether the embedded runtime serves it."""
        return self.endpoint == "local"

    @property
    def price(self) -> Price | None:
        """The pool file's price, else the one listed by the price library, else unknown."""
        if self.listed is not None:
            return self.listed
        if self.input_price is None or self.output_price is None:
            return None
        cached = None if self.cached_price is None else Rate(self.cached_price)
        written = None if self.written_price is None else Rate(self.written_price)
        return Price(Rate(self.input_price), Rate(self.output_price), cached, written, self.request_price or 0.0)

    def cost(self, usage: Usage) -> float | None:
        """Dollars for `usage`, or None when a price or a token count that matters is unknown."""
        price, prompt, completion = self.price, usage.prompt_tokens, usage.completion_tokens
        if price is None or prompt is None or completion is None:
            return None
        return price.of(prompt, completion, usage.cached_tokens or 0, usage.written_tokens or 0)

    def worst_cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Dollars at most of one call with at most so many tokens, whatever the provider's cache did; None: unknown."""
        return None if self.price is None else self.price.worst(prompt_tokens, completion_tokens)


class CacheControl(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a mark asks of the provider's prompt cache; `ttl` is how long to keep it (default: the provider's)."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class Mark(Struct, frozen=True):
    """A caller's wish to cache the prompt up to here: the first `end` characters of a message, and all before it."""

    end: int
    control: CacheControl


class Message(Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation; `role` is system, user or assistant, `marks` stand in the order of their ends."""

    role: str
    content: str
    marks: tuple[Mark, ...] = ()


StreamMode = Literal["final", "leader", "events"]
"""What a stream shows: the final answer, the leading answer at once, or everything that happens."""

Purpose = Literal["proposal", "judge", "aggregator", "hedge", "retry", "direct"]
"""What a call is for; "direct" is a member of the pool that a caller asked for by its name."""


class Contract(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one request may take, all its calls together; None is no limit. Keys of `[contract]` and of a request.

    `max_cost` in dollars, `max_seconds` from the question to the answer's end, `max_output_tokens` written by all
    models together. `stream_mode` says what a stream shows.
    """

    max_cost: float | None = None
    max_seconds: float | None = None
    max_calls: int | None = None
    max_output_tokens: int | None = None
    stream_mode: StreamMode | None = None

    def over(self, default: Contract) -> Contract:
        """This one, with `default` where it says nothing."""
        return Contract(*(b if a is None else a for a, b in zip(_fields(self), _fields(default), strict=True)))


def _fields(contract: Contract) -> tuple[Any, ...]:
    return msgspec.structs.astuple(contract)


class Query(Struct, frozen=True, omit_defaults=True):
    """What is asked: a conversation, the sampling parameters the caller set, and what answering may take."""

    messages: tuple[Message, ...]
    parameters: dict[str, Any] = {}
    contract: Contract = Contract()

    @classmethod
    def of(cls, text: str, system: str | None = None) -> Query:
        """A one-turn query."""
        head = (Message("system", system),) if system else ()
        return cls((*head, Message("user", text)))

    @property
    def text(self) -> str:
        """What a scorer reads: the last user turn first, then the system text, then the earlier turns."""
        last = max((i for i, m in enumerate(self.messages) if m.role == "user"), default=len(self.messages) - 1)
        rest = [m for i, m in enumerate(self.messages) if i != last]
        ordered = [m for m in rest if m.role == "system"] + [m for m in rest if m.role != "system"]
        return "\n\n".join(m.content for m in (self.messages[last], *ordered)) if self.messages else ""


class Usage(Struct, frozen=True):
    """Tokens of a call as the endpoint counted them. Adds with `+`; a missing figure stays missing."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None  # of the prompt's, those read from the provider's cache
    written_tokens: int | None = None  # ... and those put there, which some charge more for

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            plus(self.prompt_tokens, other.prompt_tokens),
            plus(self.completion_tokens, other.completion_tokens),
            plus(self.cached_tokens, other.cached_tokens),
            plus(self.written_tokens, other.written_tokens),
        )


N = TypeVar("N", int, float)


def plus(a: N | None, b: N | None) -> N | None:
    """Sum that is unknown when either part is."""
    return None if a is None or b is None else a + b


class Token(Struct, frozen=True):
    """One produced token with its natural-log probability."""

    text: str
    logprob: float


class Request(Struct, frozen=True):
    """One call to one model: what its endpoint is asked, before the member's own settings are laid over it."""

    messages: tuple[Message, ...]
    parameters: dict[str, Any] = {}
    logprobs: bool = False
    schema: dict[str, Any] | None = None  # ask for one JSON object of this schema; only where spec.structured
    purpose: Purpose = "proposal"


class Completion(Struct, frozen=True):
    """What one call gave: text, tokens, and seconds until the first token and until the end."""

    text: str
    usage: Usage = Usage()
    finish_reason: str | None = None
    latency: float | None = None
    first_token: float | None = None
    tokens: tuple[Token, ...] | None = None  # only when logprobs were asked for and given


class Proposal(Struct, frozen=True):
    """One model's candidate answer, without its judgments. `cost` in dollars, `latency` in seconds."""

    model: str
    text: str
    usage: Usage
    latency: float | None
    cost: float | None


class Failure(Struct, frozen=True):
    """A call that gave nothing usable. `usage` is zero where the endpoint refused, unknown where it was cut short."""

    model: str
    reason: str
    kind: str  # the name of the error class
    usage: Usage
    latency: float | None
    cost: float | None
    status: int | None = None  # the HTTP status, where the endpoint refused
    partial: str = ""  # what of the answer had come by then


class Assessment(Struct, frozen=True):
    """A judgment in [0, 1] of one answer; None where the judge's words could not be read."""

    judge: str
    subject: str
    kind: Literal["self", "cross"]
    value: float | None


class RankedModel(Struct, frozen=True):
    """A model's place: `performance` in [0, 1], `cost` in dollars per million output tokens, `latency` in seconds."""

    model: str
    performance: float
    cost: float | None
    latency: float | None
    why: str


Ranking = tuple[RankedModel, ...]


class Layer(Struct, frozen=True):
    """What happened in one layer. `selected` were called first; `scores` and `ranking` come after the judgments.

    `quoted` says whose answers each proposer was shown, in the order of the labels A, B, C that it saw.
    """

    selected: tuple[str, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    failures: tuple[Failure, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    scores: Scores = {}
    ranking: Ranking = ()
    why: str = ""  # for what reason these were called
    quoted: dict[str, tuple[str, ...]] = {}


class Route(Struct, frozen=True):
    """What another method would have taken for this query, always an estimate: dollars, seconds; None unknown."""

    method: str
    calls: int
    cost: float | None
    latency: float | None
    estimate: bool = True


class GivenUp(Struct, frozen=True):
    """What a contract left no room for: models of a panel, a dear model for a cheaper one, the aggregator, ..."""

    what: Literal["models", "model", "aggregator", "hedge", "ending"]
    why: str
    models: tuple[str, ...] = ()


class Trace(Struct, frozen=True):
    """Everything that led to an answer: the fold of a method's events. `cost` in dollars, `latency` in seconds."""

    query: Query
    method: str
    prior: Scores = {}
    ranking: Ranking = ()  # from the prior: who was to be called first, and why
    layers: tuple[Layer, ...] = ()
    stop_reason: str | None = None
    choice: str | None = None  # whose answer stands, or leads those that the aggregator was given
    aggregator: str | None = None
    failures: tuple[Failure, ...] = ()  # of aggregators; a layer keeps its own
    usage: Usage = Usage(0, 0, 0, 0)
    calls: int = 0
    cost: float | None = 0.0
    charged: float | None = None  # dollars counted against the contract: never less than what the calls can have cost
    latency: float | None = None
    seed: int | None = None  # of the orders in which answers were shown to their judges
    routes_not_taken: tuple[Route, ...] = ()
    given_up: tuple[GivenUp, ...] = ()
    prices: dict[str, str] = {}  # where each model's price comes from, and of what day it is


class Answer(Struct, frozen=True):
    """A text and how it came about."""

    text: str
    trace: Trace

    def __str__(self) -> str:
        return self.text


class Address(Struct, frozen=True):
    """Where a model answers right now: base URL, the name it has there, and the key to show."""

    url: str
    model: str
    key: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.url!r}, {self.model!r}, key={'set' if self.key else None})"


def to_json(value: Any) -> bytes:
    """Any type of this module as JSON."""
    return msgspec.json.encode(value)


def from_json(data: bytes | str, type_: type[T]) -> T:
    """The inverse of `to_json`.

    Raises:
        msgspec.ValidationError: the data is not a `type_`.
    """
    return msgspec.json.decode(data, type=type_)


def to_plain(value: Any) -> Mapping[str, Any]:
    """As JSON objects of plain Python."""
    plain: Mapping[str, Any] = msgspec.to_builtins(value)
    return plain
