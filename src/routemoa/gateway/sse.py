"""A mixture's events as a stream of server-sent events: OpenAI's chunks, or each event under its own name. Pure."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from routemoa.core.events import (
    AggregatorFailed,
    AnswerDelta,
    AnswerReplaced,
    CallFinished,
    Degraded,
    Event,
    ProposalFailed,
    Scored,
    Started,
)
from routemoa.gateway.errors import OUR_END, Interrupted, public
from routemoa.gateway.responses import ChatCompletion

__all__ = ["KEEP_ALIVE_COMMENT", "ChunkEncoder", "EventEncoder", "StreamEncoder", "encode_sse"]

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE_COMMENT = b": keep-alive\n\n"
LATE = "\n\n---\n\nThe answer above could not be finished in time. This one takes its place:\n\n"
"""What stands, for readers of plain text, between an answer that broke off and the one that takes its place."""


def encode_sse(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


class StreamEncoder(Protocol):
    """A stream in the making: both give the bytes to be sent now, often none."""

    def encode_event(self, event: Event) -> bytes:
        """One of the method's events. Raises Interrupted: what was shown is void, and nothing can take its place."""
        ...

    def encode_end(self) -> bytes:
        """The method is done."""
        ...


class ChunkEncoder:
    """Chunks of a chat completion. The text of a `leader` stream may be replaced further on; it says so then."""

    def __init__(self, reply: ChatCompletion, *, usage_later: bool) -> None:
        self._reply = reply
        self._usage_later = usage_later  # the token counts were asked for; null until the end, as OpenAI has it
        self._begun = False
        self._sent = 0  # characters of content so far

    def take(self, event: Event) -> bytes:
        """One of the method's events; text, or that other text follows."""
        void = bool(self._reply.text)  # what an aggregator that fails has written by then
        self._reply.add(event)
        match event:
            case AnswerDelta() if event.text:
                return self._text(event.text)
            case AnswerReplaced() if self._sent:
                return self._continued(event.why, event.leader, event.marker)
            case AggregatorFailed() if void and self._sent:
                if event.failure.kind not in OUR_END:
                    raise Interrupted(event.failure)
                return self._continued(event.failure.reason, event.failure.model, LATE)
        return b""

    def end(self) -> bytes:
        """How it ended, the token counts where they were asked for, and [DONE]."""
        out = self._head() + self._chunk({}, self._reply.finish_reason, {"routemoa": self._reply.explain()})
        if self._usage_later:
            out += encode_sse(
                {**self._reply.base, "object": "chat.completion.chunk", "choices": [], "usage": self._reply.usage()}
            )
        return out + DONE

    def _head(self) -> bytes:
        """The first chunk, once: who speaks."""
        begun, self._begun = self._begun, True
        return b"" if begun else self._chunk({"role": "assistant", "content": ""})

    def _text(self, text: str, more: dict[str, Any] | None = None) -> bytes:
        self._sent += len(text)
        return self._head() + self._chunk({"content": text}, more=more)

    def _continued(self, why: str, leader: str, marker: str) -> bytes:
        """Another answer follows: said in the text for everybody, beside it for those who know."""
        about = {"event": "continuation", "why": self._reply.redact(why), "leader": leader, "replaces": self._sent}
        return self._text(marker, {"routemoa": about})

    def _chunk(self, delta: dict[str, str], finish: str | None = None, more: dict[str, Any] | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        head = {**self._reply.base, "object": "chat.completion.chunk", "choices": [choice], **(more or {})}
        return encode_sse({**head, "usage": None} if self._usage_later else head)


class EventEncoder:
    """Every event, under its own name; what endpoints said to us is not in it.

    What comes before a model is chosen goes out together with the choice: a contract too small for any still has its
    status then.
    """

    def __init__(self, reply: ChatCompletion) -> None:
        self._reply = reply
        self._early = b""

    def take(self, event: Event) -> bytes:
        """One of the method's events."""
        self._reply.add(event)
        if isinstance(event, ProposalFailed | AggregatorFailed | CallFinished) and event.failure is not None:
            event = replace(event, failure=public(event.failure))
        elif isinstance(event, AnswerReplaced):
            event = replace(event, why=self._reply.redact(event.why))
        elif isinstance(event, Degraded):
            event = replace(event, given_up=replace(event.given_up, why=self._reply.redact(event.given_up.why)))
        early, data = self._early, b"event: " + str(event.__struct_config__.tag).encode() + b"\n" + encode_sse(event)
        self._early = early + data if isinstance(event, Started | Scored) else b""
        return b"" if self._early else early + data

    def end(self) -> bytes:
        """Nothing more follows."""
        return self._early + DONE
