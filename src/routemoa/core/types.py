"""The vocabulary: models, queries, requests and completions.

Pure data, to and from JSON with `to_json` and `from_json`. What a query led to is in `trace`.
Missing is None: an unknown price, an absent usage figure or an unreadable score is never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from routemoa.core.content.answer_format import AnswerFormat
from routemoa.core.content.cache_marks import CachedPrompt
from routemoa.core.content.follow_up import complete_last_turn
from routemoa.core.content.media import Modality
from routemoa.core.content.message import Message
from routemoa.core.models.model_spec import ModelSpec
from routemoa.core.tools import ToolCall, ToolUse
from routemoa.core.usage import Usage

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "CHAT_ROUTE",
    "MAX_THOUGHT",
    "USUAL_TOKENS",
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
USUAL_TOKENS = 300
"""Tokens of an answer, where none was measured and nothing limits it."""

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
        if self == NO_LIMITS:
            return default
        own, other = msgspec.structs.astuple(self), msgspec.structs.astuple(default)
        return Limits(*(b if a is None else a for a, b in zip(own, other, strict=True)))


NO_LIMITS = Limits()


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
