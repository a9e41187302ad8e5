"""Builds an OpenAI chat completion from a method's events. Pure; `sse` encodes the same piece by piece.

One object is not OpenAI's: `routemoa` holds the reason to stop, the models that answered, and the cost.
"""

from __future__ import annotations

from time import time
from typing import Any
from uuid import uuid4

import msgspec

from routemoa.core.events import Done, Event
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import StreamMode

__all__ = ["ChatCompletion"]

FINISH_REASONS = {"stop", "length", "content_filter", "tool_calls"}
"""Those that OpenAI's SDK knows."""


class ChatCompletion:
    """The completion of one request, while its events come in."""

    def __init__(self, model: str, mode: StreamMode = "final") -> None:
        self.head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time()), "model": model}
        """The fields that the completion and each of its chunks share."""
        self.mode = mode
        self.is_complete = False
        """Whether the method has ended with Done."""
        self._builder = TraceBuilder()
        self.is_refusal = False
        """Whether the answer is a model's refusal."""
        self._finish_reason: str | None = None

    def add(self, event: Event) -> None:
        """Add an event of the method."""
        self._builder.add(event)
        if isinstance(event, Done):
            self.is_complete = True
            self._finish_reason, self.is_refusal = event.finish_reason, event.refusal

    @property
    def text(self) -> str:
        """The answer so far, without what was replaced."""
        return self._builder.text

    @property
    def finish_reason(self) -> str:
        """Return why the text ends, as OpenAI names it."""
        return self._finish_reason if self._finish_reason in FINISH_REASONS else "stop"

    def to_completion(self) -> dict[str, Any]:
        """Return the `chat.completion` object."""
        message = {"role": "assistant", "content": self.text, "refusal": self.text if self.is_refusal else None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        head = {**self.head, "object": "chat.completion"}
        return {**head, "choices": [choice], "usage": self.usage(), "routemoa": self.explain()}

    def usage(self) -> dict[str, Any] | None:
        """Return the tokens of all calls together; None where one call's are unknown, as a sum would be too small."""
        usage = self._builder.trace.usage
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        details: dict[str, dict[str, int]] = {}
        if usage.cached_tokens is not None:
            details["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
        if usage.reasoning_tokens is not None:
            details["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
        return {**counts, "total_tokens": usage.prompt_tokens + usage.completion_tokens, **details}

    def explain(self) -> dict[str, Any]:
        """Return the object `routemoa`: how the answer came about, and its cost."""
        trace = self._builder.trace
        return {
            "stop_reason": trace.stop_reason,
            "calls": trace.calls,
            "cost": trace.cost,
            "latency": trace.latency,
            "choice": trace.choice,
            "aggregator": trace.aggregator,
            "proposers": list(dict.fromkeys(p.model for layer in trace.layers for p in layer.proposals)),
            "given_up": msgspec.to_builtins(trace.given_up),
            "skipped": {s.model: s.reason for s in trace.skipped},
            "charged": trace.charged,
            "prices": trace.prices,
            "stream_mode": self.mode,
            "routes_not_taken": msgspec.to_builtins(trace.routes_not_taken),
        }
