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

from routemoa.core.answer_format import AnswerFormat
from routemoa.core.cache_marks import CachedPrompt
from routemoa.core.endpoint import Endpoint
from routemoa.core.follow_up import complete_last_turn
from routemoa.core.media import Modality
from routemoa.core.message import Message
from routemoa.core.patience import Patience
from routemoa.core.pricing import Price, Rate
from routemoa.core.tools import ToolCall, ToolUse
from routemoa.core.usage import Usage

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "CHAT_ROUTE",
    "MAX_THOUGHT",
    "Address",
    "Completion",
    "Limits",
    "Message",
    "ModelSpec",
    "PreferenceName",
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

CHAT_ROUTE = "chat/completions"
"""Under the base URL of an endpoint."""

CHARACTERS_PER_TOKEN = 4
"""Characters of a text to a token, roughly: used only where nothing was counted."""

MAX_THOUGHT = 64 * 1024
"""Characters of a model's thoughts that are kept."""

Scores = dict[str, float | None]
"""Model name -> estimated probability in [0, 1] of answering well; None is unknown."""

PreferenceName = Literal["quality", "balanced", "cheap", "fast"]
"""The user's trade-off of quality, cost and time, by its name in `[mixture]`."""

StreamMode = Literal["final", "leader", "events"]
"""What a stream shows: the final answer, the leading answer at once, or everything that happens."""

Purpose = Literal["proposal", "judge", "aggregator", "hedge", "retry", "direct"]
"""What a call is for; "direct" is a member of the pool that a caller named as its model."""


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
    tools: bool | None = None
    """Whether it can call tools; None is unknown: it is tried, and a refusal is remembered."""
    modalities: tuple[Modality, ...] | None = None
    """What it takes: "text", "image", "audio", "file". None is unknown: it is tried, and a refusal is remembered."""
    efforts: tuple[str, ...] = ()
    """Its levels of `reasoning_effort`, each a candidate."""
    endpoints: tuple[Endpoint, ...] = ()
    """The places where it answers, if they are several (`clients.placement` chooses); `endpoint` is the first's URL."""
    member: str | None = msgspec.field(name="-member", default=None)
    """The entry that it is a candidate of, set where that has several; not a key of the table."""
    list_price: Price | None = msgspec.field(name="-listed", default=None)
    """Set by `price_list`; not a key of the table."""
    place: str | None = msgspec.field(name="-place", default=None)
    """The name of the endpoint that this stands for (`places`); not a key of the table."""

    @cached_property
    def places(self) -> tuple[ModelSpec, ...]:
        """The member at each of its endpoints; of one with a single `endpoint`, itself."""
        if not self.endpoints:
            return (self,)
        own = {key: getattr(self, key) for key in ("model", "api_key_env", "headers", "rename", "omit")}
        return tuple(
            msgspec.structs.replace(self, endpoints=(), place=e.name or str(number), **e.settings(own))
            for number, e in enumerate(self.endpoints, 1)
        )

    def at(self, place: str | None) -> ModelSpec:
        """Return the member at the endpoint of that name; None, or a name that it lacks, is the member itself."""
        return next((p for p in self.places if p.place == place), self)

    @property
    def local(self) -> bool:
        """Return whether the embedded runtime serves it."""
        return self.endpoint == "local"

    @cached_property
    def price(self) -> Price | None:
        """The list price, else the pool file's, else that of the most expensive of its endpoints, else unknown."""
        if self.list_price is not None:
            return self.list_price
        if self.input_price is None or self.output_price is None:
            prices = [place.price for place in self.places if self.endpoints]
            known = [price for price in prices if price is not None]
            return max(known, key=lambda p: p.output.base) if known and len(known) == len(prices) else None
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
        if self.endpoints:  # wherever it is made
            costs = [p.worst_cost(prompt_tokens, completion_tokens) for p in self.places]
            return None if None in costs else max(c for c in costs if c is not None)
        return None if self.price is None else self.price.worst_cost(prompt_tokens, completion_tokens)


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

    @property
    def are_set(self) -> bool:
        """Return whether anything is limited; a stream mode is no limit."""
        limits = (self.max_cost, self.max_seconds, self.max_calls, self.max_output_tokens)
        return any(limit is not None for limit in limits)

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
    tools: ToolUse | None = None
    """The tools that models may call instead of answering."""
    answer_format: AnswerFormat | None = None
    """The form of the answer, where it is not any text."""
    cached: CachedPrompt | None = None
    """What is known of the conversation's last answer (`core.conversations`); None for a first turn."""
    choices: int = 1
    """How many answers are asked for."""
    prefer: PreferenceName | None = None
    """The caller's trade-off, in place of the pool file's."""

    @classmethod
    def from_text(cls, text: str, system: str | None = None) -> Query:
        """Return a query of one turn."""
        head = (Message("system", system),) if system else ()
        return cls((*head, Message("user", text)))

    @property
    def media(self) -> frozenset[Modality]:
        """Return what the conversation holds beside text."""
        return frozenset().union(*(m.media for m in self.messages))

    @property
    def question(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def asked(self) -> str:
        """The last user turn, after the earlier ones that it refers to."""
        turns = [m.content for m in self.messages if m.role == "user"]
        return complete_last_turn(turns) if turns else ""

    @property
    def text(self) -> str:
        """The text that a scorer reads: what is asked; without a user turn, what else there is."""
        asked = self.asked
        return asked if asked.strip() else "\n\n".join(m.content for m in self.messages)


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
    tools: ToolUse | None = None
    answer_format: AnswerFormat | None = None


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
    tool_calls: tuple[ToolCall, ...] = ()
    thought: str = ""
    """The beginning of its thoughts, as long as `MAX_THOUGHT` characters at most."""
    logprobs: tuple[dict[str, Any], ...] | None = None
    """The entries of `tokens` as OpenAI's API has them, `top_logprobs` included."""
    endpoint: str | None = None
    """The name of the endpoint that answered, where its member has several."""


class Thinking(Struct, frozen=True):
    """A piece of a stream: the model thinks, and has not answered yet, or goes on to think."""

    characters: int
    """Of its thoughts since the last piece."""
    text: str = ""
    """What can be shown of them by now; it may lag behind, and ends after `MAX_THOUGHT` characters."""


class Address(Struct, frozen=True):
    """Where a model answers now."""

    url: str
    model: str
    """The model's name there."""
    key: str | None = None
    route: str = CHAT_ROUTE
    """Under `url`."""

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
