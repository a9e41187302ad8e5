"""A mixture's events as an OpenAI chat completion, whole or in chunks. Pure.

Beyond OpenAI's fields stands one object of our own, `routemoa`: why it stopped, who answered, what it cost.
"""

from __future__ import annotations

from time import time
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from routemoa.events import AggregatorFailed, AnswerDelta, CallFinished, Continued, Done, Event, ProposalFailed
from routemoa.gateway.refusal import public
from routemoa.trace import Fold
from routemoa.types import StreamMode

__all__ = ["DONE", "KEEP_ALIVE", "Reply", "sse", "typed"]

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
FINISHES = {"stop", "length", "content_filter"}  # what the SDK knows and a mixture can mean


LATE = "\n\n---\n\nThe answer above could not be finished. This is the best one that is whole:\n\n"
"""What stands, for readers of plain text, between an answer that broke off and the one that takes its place."""


def sse(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def typed(event: Event) -> bytes:
    """One of a method's events as a server-sent event of its name; what endpoints said to us is not in it."""
    if isinstance(event, ProposalFailed | AggregatorFailed):
        event = replace(event, failure=public(event.failure))
    elif isinstance(event, CallFinished) and event.failure is not None:
        event = replace(event, failure=public(event.failure))
    return b"event: " + str(event.__struct_config__.tag).encode() + b"\n" + sse(event)


class Reply:
    """Takes a method's events; gives the completion, or the chunks of a stream."""

    def __init__(self, model: str, mode: StreamMode = "final") -> None:
        self._base = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time()), "model": model}
        self._fold = Fold()
        self._mode = mode
        self._finish: str | None = None
        self._sent = 0  # characters of content in the chunks so far
        self.complete = False

    def add(self, event: Event) -> str:
        """Take one event; the piece of the final answer it brings, often none."""
        self._fold.add(event)
        if isinstance(event, Done):
            self.complete = True
            self._finish = event.finish_reason
        return event.text if isinstance(event, AnswerDelta) else ""

    @property
    def begun(self) -> bool:
        """Whether a part of the answer is there that stands so far."""
        return bool(self._fold.text)

    def whole(self) -> dict[str, Any]:
        """The chat.completion object."""
        message = {"role": "assistant", "content": self._fold.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason()}
        head = {**self._base, "object": "chat.completion"}
        return {**head, "choices": [choice], "usage": self._usage(), "routemoa": self._account()}

    def head(self, usage_later: bool) -> bytes:
        """The first chunk: who speaks."""
        return self._chunk({"role": "assistant", "content": ""}, usage_later)

    def piece(self, text: str, usage_later: bool) -> bytes:
        """A chunk of text."""
        self._sent += len(text)
        return self._chunk({"content": text}, usage_later)

    def continued(self, event: Continued, usage_later: bool) -> bytes:
        """A chunk that says that another answer follows: in its text for everybody, beside it for those who know."""
        more = {"event": "continuation", "why": event.why, "leader": event.leader, "replaces": self._sent}
        self._sent += len(event.marker)
        return self._chunk({"content": event.marker}, usage_later, more={"routemoa": more})

    def tail(self, usage_later: bool) -> bytes:
        """How it ended, the token counts where they were asked for, and [DONE]."""
        end = self._chunk({}, usage_later, self._reason(), {"routemoa": self._account()})
        if usage_later:
            head = {**self._base, "object": "chat.completion.chunk"}
            end += sse({**head, "choices": [], "usage": self._usage()})
        return end + DONE

    def _chunk(
        self, delta: dict[str, str], usage_later: bool, finish: str | None = None, more: dict[str, Any] | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        head = {**self._base, "object": "chat.completion.chunk", "choices": [choice], **(more or {})}
        return sse({**head, "usage": None} if usage_later else head)

    def _reason(self) -> str:
        return self._finish if self._finish in FINISHES else "stop"

    def _usage(self) -> dict[str, Any] | None:
        """Tokens of all calls together; null when one call's are unknown, since a sum would claim too little."""
        usage = self._fold.trace.usage
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        cached = None if usage.cached_tokens is None else {"cached_tokens": usage.cached_tokens}
        details = {"prompt_tokens_details": cached} if cached else {}
        return {**counts, "total_tokens": usage.prompt_tokens + usage.completion_tokens, **details}

    def _account(self) -> dict[str, Any]:
        trace = self._fold.trace
        return {
            "stop_reason": trace.stop_reason,
            "calls": trace.calls,
            "cost": trace.cost,
            "latency": trace.latency,
            "choice": trace.choice,
            "aggregator": trace.aggregator,
            "proposers": list(dict.fromkeys(p.model for layer in trace.layers for p in layer.proposals)),
            "given_up": [msgspec.to_builtins(g) for g in trace.given_up],
            "charged": trace.charged,
            "prices": trace.prices,
            "stream_mode": self._mode,
            "routes_not_taken": [msgspec.to_builtins(route) for route in trace.routes_not_taken],
        }
