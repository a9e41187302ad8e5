"""What a model gave in a query: a `Proposal`, a `Failure`, or nothing because it was left out (`Skip`)."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from routemoa.core.failure_kind import KEY_STATUSES, FailureKind
from routemoa.core.tools import ToolCall
from routemoa.core.usage import Usage

__all__ = ["Failure", "Proposal", "Skip"]

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
