"""Encodes a method's events as server-sent events: OpenAI's chunks, or each event under its own name. Pure."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from routemoa.core.errors import AnswerInterrupted
from routemoa.core.events import (
    AggregatorFailed,
    AnswerDelta,
    AnswerReplaced,
    AnswerThought,
    CallFinished,
    Done,
    Event,
    ProposalFailed,
    ProposalFinished,
    Scored,
    Skipped,
    Started,
)
from routemoa.core.failure_kind import FailureKind
from routemoa.core.tools import declare_calls
from routemoa.core.trace import Failure, Proposal
from routemoa.core.usage import Usage
from routemoa.gateway.chat_api.responses import ChatCompletion, read_finish_reason, shape_logprobs
from routemoa.gateway.failures import LIMIT_KINDS
from routemoa.mixture.calls.leader_stream import BROKEN_MARKER, THOUGHT_MARKER

__all__ = ["KEEP_ALIVE_COMMENT", "ChunkEncoder", "EventEncoder", "StreamEncoder", "encode_sse"]

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE_COMMENT = b": keep-alive\n\n"
UNFINISHED_MARKER = "\n\n---\n\nThe answer above could not be finished in time. This one takes its place:\n\n"
"""Stands, for readers of plain text, between an answer that broke off and the one that replaces it."""


def encode_sse(data: Any) -> bytes:
    """Encode one server-sent event."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


class StreamEncoder(Protocol):
    """Turns events into the bytes of a stream."""

    def encode_event(self, event: Event) -> bytes:
        """Return the bytes to send after an event, often none.

        Raises:
            AnswerInterrupted: the text sent so far is void, and nothing can replace it.
        """
        ...

    def encode_end(self) -> bytes:
        """Return the bytes to send when the method is done."""
        ...


class ChunkEncoder:
    """Encodes chunks of a chat completion.

    In the mode "leader" text that was sent may be replaced: a chunk says so, and the new text follows. In the mode
    "final" a stream contains one answer: where that breaks off, so does the stream.

    Args:
        completion: takes the events.
        include_usage: the caller asked for the token counts; they are null until the end, as OpenAI has it.
    """

    def __init__(self, completion: ChatCompletion, *, include_usage: bool) -> None:
        self._completion = completion
        self._include_usage = include_usage
        self._role_sent = False
        self._sent_characters = 0

    def encode_event(self, event: Event) -> bytes:
        """Return the chunks of an event: text, or that other text replaces it."""
        failed = isinstance(event, AggregatorFailed)
        had_text = failed and bool(self._completion.text)  # it is void once the event is added
        self._completion.add(event)
        match event:
            case AnswerThought():
                return self._role_chunk() + self._chunk({"reasoning_content": event.text})
            case AnswerDelta() if event.text:
                return self._text_chunk(event.text)
            case AnswerReplaced() if self._sent_characters:
                if event.marker not in (
                    BROKEN_MARKER,
                    THOUGHT_MARKER,
                ):  # what broke off, or was a thought, is no answer
                    self._check_replaceable(Failure(event.leader, event.why, FailureKind.OTHER, Usage(), None, None))
                return self._continuation_chunk(event.why, event.leader, event.marker)
            case AggregatorFailed(failure=failure, kept=False) if had_text and self._sent_characters:
                if failure.kind not in LIMIT_KINDS:
                    raise AnswerInterrupted(failure)
                self._check_replaceable(failure)
                return self._continuation_chunk(failure.public_reason, failure.model, UNFINISHED_MARKER)
        return b""

    def encode_end(self) -> bytes:
        """Return the last chunks: a refusal, calls of tools, the finish reason, the token counts where they were asked
        for, [DONE]."""
        completion = self._completion
        out = self._role_chunk()
        if completion.is_refusal:  # its text was sent as content, which every client shows
            out += self._chunk({"refusal": completion.text})
        if completion.tool_calls:
            calls = [{"index": i, **call} for i, call in enumerate(declare_calls(completion.tool_calls))]
            out += self._chunk({"tool_calls": calls})
        if (logprobs := completion.logprobs) is not None:
            out += self._chunk({}, logprobs=logprobs)
        for index, answer in enumerate(completion.further, 1):
            out += self._further_chunks(index, answer)
        out += self._chunk({}, completion.finish_reason, {"routemoa": completion.explain()})
        if self._include_usage:
            head = {**completion.head, "object": "chat.completion.chunk"}
            out += encode_sse({**head, "choices": [], "usage": completion.usage()})
        return out + DONE

    def _role_chunk(self) -> bytes:
        """Return the first chunk, which names the role; nothing after that."""
        sent, self._role_sent = self._role_sent, True
        return b"" if sent else self._chunk({"role": "assistant", "content": ""})

    def _text_chunk(self, text: str, extra: dict[str, Any] | None = None) -> bytes:
        self._sent_characters += len(text)
        return self._role_chunk() + self._chunk({"content": text}, extra=extra)

    def _check_replaceable(self, failure: Failure) -> None:
        """Raise AnswerInterrupted where a reader takes all text as final, so that nothing may replace what was sent."""
        if self._completion.mode == "final":
            raise AnswerInterrupted(failure)

    def _continuation_chunk(self, why: str, leader: str, marker: str) -> bytes:
        """Announce another answer: in the text for every reader, in `routemoa` for clients that know it."""
        announcement = {"event": "continuation", "why": why, "leader": leader, "replaces": self._sent_characters}
        return self._text_chunk(marker, {"routemoa": announcement})

    def _further_chunks(self, index: int, answer: Proposal) -> bytes:
        """Return the chunks of a further answer, where the caller asked for several."""
        out = self._chunk({"role": "assistant", "content": ""}, index=index)
        if answer.thought:
            out += self._chunk({"reasoning_content": answer.thought}, index=index)
        if answer.text or answer.logprobs:
            out += self._chunk({"content": answer.text}, logprobs=shape_logprobs(answer.logprobs), index=index)
        if answer.refusal:
            out += self._chunk({"refusal": answer.text}, index=index)
        if answer.tool_calls:
            calls = [{"index": i, **call} for i, call in enumerate(declare_calls(answer.tool_calls))]
            out += self._chunk({"tool_calls": calls}, index=index)
        ending = "tool_calls" if answer.tool_calls else read_finish_reason(answer.finish_reason)
        return out + self._chunk({}, ending, index=index)

    def _chunk(
        self,
        delta: dict[str, Any],
        finish_reason: str | None = None,
        extra: dict[str, Any] | None = None,
        *,
        logprobs: dict[str, Any] | None = None,
        index: int = 0,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = {**self._completion.head, "object": "chat.completion.chunk", "choices": [choice], **(extra or {})}
        return encode_sse({**chunk, "usage": None} if self._include_usage else chunk)


class EventEncoder:
    """Encodes every event under its own name, with the public reasons of failures.

    What comes before the first layer waits for it, so that limits too small for any call still get an HTTP status.
    """

    def __init__(self, completion: ChatCompletion) -> None:
        self._completion = completion
        self._waiting = b""

    def encode_event(self, event: Event) -> bytes:
        """Return the event, with those that waited for it."""
        self._completion.add(event)
        if isinstance(event, AnswerThought):  # events show no thoughts
            return b""
        event = _without_thought(_without_private_reason(event))
        name = str(event.__struct_config__.tag).encode()
        data = self._waiting + b"event: " + name + b"\n" + encode_sse(self._add_summary(event))
        self._waiting = data if isinstance(event, Started | Scored | Skipped) else b""
        return b"" if self._waiting else data

    def encode_end(self) -> bytes:
        """Return the end of the stream."""
        return self._waiting + DONE

    def _add_summary(self, event: Event) -> Event | dict[str, Any]:
        """Return the event; the last one with the id of the response and the object `routemoa`."""
        if not isinstance(event, Done):
            return event
        return {**msgspec.to_builtins(event), "id": self._completion.head["id"], "routemoa": self._completion.explain()}


def _without_private_reason(event: Event) -> Event:
    """Return the event with the public reason of its failure, where it has one."""
    if isinstance(event, ProposalFailed | AggregatorFailed | CallFinished) and event.failure is not None:
        return replace(event, failure=replace(event.failure, reason=event.failure.public_reason))
    return event


def _without_thought(event: Event) -> Event:
    """Return the event without the thoughts of a proposal."""
    if isinstance(event, ProposalFinished) and event.proposal.thought:
        return replace(event, proposal=replace(event.proposal, thought=""))
    if isinstance(event, CallFinished) and event.reply is not None and event.reply.thought:
        return replace(event, reply=replace(event.reply, thought=""))
    if isinstance(event, Done) and event.choices:
        return replace(event, choices=tuple(replace(choice, thought="") for choice in event.choices))
    return event
