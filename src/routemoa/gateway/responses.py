"""A mixture's events as an OpenAI chat completion. Pure; `streams` gives it piece by piece.

Beyond OpenAI's fields stands one object of our own, `routemoa`: why it stopped, who answered, what it cost.
"""

from __future__ import annotations

from time import time
from typing import Any
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from routemoa.core.events import Done, Event
from routemoa.core.trace import Failure
from routemoa.core.trace_builder import TraceBuilder
from routemoa.core.types import StreamMode
from routemoa.gateway.errors import public

__all__ = ["ChatCompletion"]

FINISHES = {"stop", "length", "content_filter"}  # what the SDK knows and a mixture can mean


class ChatCompletion:
    """Takes a method's events; gives the completion.

    Attributes:
        base: what every chunk of it says, too.
        mode: how it is shown.
        complete: it is all there.
    """

    def __init__(self, model: str, mode: StreamMode = "final") -> None:
        self.base = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time()), "model": model}
        self.mode = mode
        self.is_complete = False
        self._fold = TraceBuilder()
        self._finish: str | None = None

    def add(self, event: Event) -> None:
        """Take one event."""
        self._fold.add(event)
        if isinstance(event, Done):
            self.is_complete = True
            self._finish = event.finish_reason

    @property
    def text(self) -> str:
        """The answer so far, as far as it stands."""
        return self._fold.text

    @property
    def finish_reason(self) -> str:
        """Why the text ends, in OpenAI's words."""
        return self._finish if self._finish in FINISHES else "stop"

    @property
    def failures(self) -> list[Failure]:
        """Every call that failed so far."""
        trace = self._fold.trace
        return [f for layer in trace.layers for f in layer.failures] + list(trace.failures)

    def to_completion(self) -> dict[str, Any]:
        """The chat.completion object."""
        message = {"role": "assistant", "content": self.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        head = {**self.base, "object": "chat.completion"}
        return {**head, "choices": [choice], "usage": self.usage(), "routemoa": self.explain()}

    def redact(self, why: str) -> str:
        """A reason without what endpoints said to us, should it quote a failure."""
        for failure in self.failures:
            why = why.replace(failure.reason, public(failure).reason) if failure.reason else why
        return why

    def usage(self) -> dict[str, Any] | None:
        """Tokens of all calls together; null when one call's are unknown, since a sum would claim too little."""
        usage = self._fold.trace.usage
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        counts = {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
        cached = None if usage.cached_tokens is None else {"cached_tokens": usage.cached_tokens}
        details = {"prompt_tokens_details": cached} if cached else {}
        return {**counts, "total_tokens": usage.prompt_tokens + usage.completion_tokens, **details}

    def explain(self) -> dict[str, Any]:
        """What led to the answer, and what it cost."""
        trace = self._fold.trace
        return {
            "stop_reason": trace.stop_reason,
            "calls": trace.calls,
            "cost": trace.cost,
            "latency": trace.latency,
            "choice": trace.choice,
            "aggregator": trace.aggregator,
            "proposers": list(dict.fromkeys(p.model for layer in trace.layers for p in layer.proposals)),
            "given_up": [msgspec.to_builtins(replace(g, why=self.redact(g.why))) for g in trace.given_up],
            "charged": trace.charged,
            "prices": trace.prices,
            "stream_mode": self.mode,
            "routes_not_taken": [msgspec.to_builtins(route) for route in trace.routes_not_taken],
        }
