"""The vocabulary: models, queries, requests and completions.

Pure data, to and from JSON with `to_json` and `from_json`. What a query led to is in `trace`.
Missing is None: an unknown price, an absent usage figure or an unreadable score is never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from routemoa.core.pricing import Price, Rate
from routemoa.core.unicode_text import mend_halves
from routemoa.core.usage import Usage

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "Address",
    "CacheControl",
    "CacheMark",
    "Completion",
    "Limits",
    "Message",
    "ModelSpec",
    "Patience",
    "Purpose",
    "Query",
    "Request",
    "Scores",
    "StreamMode",
    "Thinking",
    "Token",
    "from_json",
    "to_json",
    "to_plain",
]

T = TypeVar("T")

CHARACTERS_PER_TOKEN = 4
"""Characters of a text to a token, roughly: used only where nothing was counted."""

Scores = dict[str, float | None]
"""Model name -> estimated probability in [0, 1] of answering well; None is unknown."""

StreamMode = Literal["final", "leader", "events"]
"""What a stream shows: the final answer, the leading answer at once, or everything that happens."""

Purpose = Literal["proposal", "judge", "aggregator", "hedge", "retry", "direct"]
"""What a call is for; "direct" is a member of the pool that a caller named as its model."""


class Patience(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Seconds to wait for an endpoint; None is as the pool has it, or its default. The `[patience]` table."""

    connect: float | None = None
    """To connect."""
    first: float | None = None
    """From the request to the first byte of the response, for each attempt."""
    between: float | None = None
    """Between two pieces of a response."""
    total: float | None = None
    """For a whole call, its repetition included."""

    def with_defaults(self, default: Patience) -> Patience:
        """Return this patience, with `default` where a time is unset."""
        own, other = msgspec.structs.astuple(self), msgspec.structs.astuple(default)
        return Patience(*(b if a is None else a for a, b in zip(own, other, strict=True)))


class ModelSpec(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """A member of the pool, as its `[[model]]` table describes it (docs/reference/configuration.md).

    Prices are dollars per million tokens. None is unknown.
    """

    name: str
    endpoint: str
    """A base URL, or "local" for the embedded runtime. A provider's name is replaced by its URL as the file is read."""
    model: str = ""
    """The endpoint's own name for the model; the pool fills in `name` where it is left out."""
    api_key_env: str | None = None
    """The environment variable that holds the key."""
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    """For prompt tokens read from the provider's cache; `input_price` where unset."""
    cache_write_price: float | None = None
    """For prompt tokens written to the provider's cache; `input_price` where unset."""
    request_price: float | None = None
    """Dollars for each answered call."""
    context: int | None = None
    """Tokens of prompt and answer together."""
    latency: float | None = None
    """Seconds of a usual call, until calls have been measured."""
    prior: float | None = None
    """Probability in [0, 1] of a good answer, until a scorer predicts it."""
    system: str | None = None
    parameters: dict[str, Any] = {}
    json_schema: bool = False
    """The endpoint honours `response_format` with a JSON schema."""
    cache_control: bool | None = None
    """The endpoint wants cache marks in the prompt; None decides by the host."""
    headers: dict[str, str] = {}
    """Sent with every call."""
    rename: dict[str, str] = {}
    """Field of a request -> the endpoint's name for it."""
    omit: tuple[str, ...] = ()
    """Fields that the endpoint refuses: not sent unless `parameters` has them."""
    patience: Patience = Patience()
    """How long to wait for it."""
    samples: int = 1
    """How often one query may ask it: each time is a candidate (`candidates`)."""
    efforts: tuple[str, ...] = ()
    """Its levels of `reasoning_effort`, each a candidate."""
    member: str | None = msgspec.field(name="-member", default=None)
    """The entry that it is a candidate of, set where that has several; not a key of the table."""
    list_price: Price | None = msgspec.field(name="-listed", default=None)
    """Set by `price_list`; not a key of the table."""

    @property
    def local(self) -> bool:
        """Return whether the embedded runtime serves it."""
        return self.endpoint == "local"

    @cached_property
    def price(self) -> Price | None:
        """The list price, else the pool file's, else unknown."""
        if self.list_price is not None:
            return self.list_price
        if self.input_price is None or self.output_price is None:
            return None
        cached = None if self.cached_price is None else Rate(self.cached_price)
        cache_write = None if self.cache_write_price is None else Rate(self.cache_write_price)
        return Price(Rate(self.input_price), Rate(self.output_price), cached, cache_write, self.request_price or 0.0)

    def cost(self, usage: Usage) -> float | None:
        """Return the dollars of a call, or None where they are unknown.

        What the endpoint reports goes before our price times the tokens; a zero only where no price is known.
        """
        if usage.reported_cost is not None and (usage.reported_cost > 0.0 or self.price is None):
            return usage.reported_cost
        price, prompt, completion = self.price, usage.prompt_tokens, usage.completion_tokens
        if price is None or prompt is None or completion is None:
            return None
        return price.cost(prompt, completion, usage.cached_tokens or 0, usage.cache_write_tokens or 0)

    def worst_cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return the most dollars that a call with at most so many tokens can cost; None without a price."""
        return None if self.price is None else self.price.worst_cost(prompt_tokens, completion_tokens)


class CacheControl(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An entry for the provider's prompt cache."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None
    """How long to keep it; None is the provider's default."""


class CacheMark(Struct, frozen=True):
    """A request to cache the prompt up to a place in a message."""

    end: int
    """Characters of the message before the mark."""
    control: CacheControl


class Message(Struct, frozen=True, omit_defaults=True):
    """A turn of a conversation."""

    role: str
    """One of "system", "user" and "assistant"."""
    content: str
    marks: tuple[CacheMark, ...] = ()
    """In the order of their ends."""

    def __post_init__(self) -> None:
        """Mend halves of characters, which no endpoint and no file takes."""
        is_text = isinstance(self.content, str)  # what a caller gave that is none is told where a query is checked
        if is_text and (mended := mend_halves(self.content)) is not self.content:
            force_setattr(self, "content", mended)


class Limits(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a request may take, all its calls together; None is no limit. Keys of `[limits]` and of a request."""

    max_cost: float | None = None
    """Dollars."""
    max_seconds: float | None = None
    """From the question to the end of the answer."""
    max_calls: int | None = None
    max_output_tokens: int | None = None
    """Written by all models together."""
    stream_mode: StreamMode | None = None

    def with_defaults(self, default: Limits) -> Limits:
        """Return these limits, with `default` where one is unset."""
        own, other = msgspec.structs.astuple(self), msgspec.structs.astuple(default)
        return Limits(*(b if a is None else a for a, b in zip(own, other, strict=True)))


class Query(Struct, frozen=True, omit_defaults=True):
    """A conversation to answer."""

    messages: tuple[Message, ...]
    parameters: dict[str, Any] = {}
    """Sampling parameters that the caller set."""
    limits: Limits = Limits()

    @classmethod
    def from_text(cls, text: str, system: str | None = None) -> Query:
        """Return a query of one turn."""
        head = (Message("system", system),) if system else ()
        return cls((*head, Message("user", text)))

    @property
    def question(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def text(self) -> str:
        """The text that a scorer reads: the last user turn, then the system text, then the earlier turns."""
        last = max((i for i, m in enumerate(self.messages) if m.role == "user"), default=len(self.messages) - 1)
        rest = [m for i, m in enumerate(self.messages) if i != last]
        ordered = [m for m in rest if m.role == "system"] + [m for m in rest if m.role != "system"]
        return "\n\n".join(m.content for m in (self.messages[last], *ordered)) if self.messages else ""


class Token(Struct, frozen=True):
    """A produced token with its natural-log probability."""

    text: str
    logprob: float


class Request(Struct, frozen=True):
    """A call to a model, before the member's own settings are applied."""

    messages: tuple[Message, ...]
    parameters: dict[str, Any] = {}
    logprobs: bool = False
    schema: dict[str, Any] | None = None
    """Ask for one JSON object of this schema; only where `ModelSpec.json_schema`."""
    purpose: Purpose = "proposal"


class Completion(Struct, frozen=True):
    """The result of a call."""

    text: str
    usage: Usage = Usage()
    finish_reason: str | None = None
    """How the text ended: "stop", "length", "content_filter" or "tool_calls"; None is unknown."""
    latency: float | None = None
    """Seconds until the end."""
    first_token: float | None = None
    """Seconds until the first token."""
    tokens: tuple[Token, ...] | None = None
    """Only where log-probabilities were asked for and given."""
    refusal: bool = False
    """Whether the model refused to answer: `text` is its refusal."""
    thought_length: int = 0
    """Characters of thoughts, which are not part of `text`."""


class Thinking(Struct, frozen=True):
    """A piece of a stream: the model thinks, and has not answered yet, or goes on to think."""

    characters: int
    """Of its thoughts since the last piece."""


class Address(Struct, frozen=True):
    """Where a model answers now."""

    url: str
    model: str
    """The model's name there."""
    key: str | None = None

    def __repr__(self) -> str:
        return f"Address({self.url!r}, {self.model!r}, key={'set' if self.key else None})"


def to_json(value: Any) -> bytes:
    """Encode any type of the vocabulary as JSON."""
    return msgspec.json.encode(value)


def from_json(data: bytes | str, type_: type[T]) -> T:
    """Decode what `to_json` encoded.

    Raises:
        msgspec.ValidationError: the data is not a `type_`.
    """
    return msgspec.json.decode(data, type=type_)


def to_plain(value: Any) -> Mapping[str, Any]:
    """Return plain dicts, lists, strings and numbers, as JSON has them."""
    plain: Mapping[str, Any] = msgspec.to_builtins(value)
    return plain
