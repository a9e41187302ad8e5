"""Builds a message of Anthropic's API from the chunks of a chat completion, and its events on the way. Pure.

An answer is a list of blocks: a thought, text, uses of tools. As in a chat, another answer that takes the place of one
that was shown follows in the same text, announced by a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routemoa.core.types import CHARACTERS_PER_TOKEN
from routemoa.gateway.api import encode_named
from routemoa.gateway.errors import ErrorResponse
from routemoa.gateway.http_exchange.error_shapes import shape_error
from routemoa.gateway.http_exchange.response_ids import rename_id

__all__ = ["MessageTranslator"]

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
"""Finish reason -> the name that it has here."""
THOUGHT_FIELDS = ("reasoning_content", "reasoning")


class MessageTranslator:
    """One message, while its chunks come in.

    Args:
        head: `model` of the chat completion.
        estimate: tokens of the prompt, until they are known.
    """

    def __init__(self, head: Mapping[str, Any], estimate: int) -> None:
        self._head = {
            "id": rename_id(head["id"], "msg_"),
            "type": "message",
            "role": "assistant",
            "model": head["model"],
        }
        self._estimate = estimate
        self._has_begun = False
        self._blocks: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        """The block that text is added to."""
        self._texts: list[str] = []
        self._written = 0
        """Characters of the answer."""
        self._finish_reason: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self._explanation: Mapping[str, Any] | None = None

    def add(self, chunk: Mapping[str, Any]) -> bytes:
        """Take a chunk and return the events that follow from it."""
        out = self._begin()
        self._usage = chunk.get("usage") or self._usage
        note = chunk.get("routemoa") or {}
        if note and "event" not in note:
            self._explanation = note
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for field in THOUGHT_FIELDS:
                if delta.get(field):
                    out += self._add_text("thinking", delta[field])
                    break
            if delta.get("content"):  # a refusal is content as well
                out += self._add_text("text", delta["content"])
            for call in delta.get("tool_calls") or ():
                out += self._add_call(call)
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
        return out

    def end(self) -> bytes:
        """Return the last events."""
        out = self._begin() + self._close()
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": None}
        note = {} if self._explanation is None else {"routemoa": self._explanation}
        out += encode_named({"type": "message_delta", "delta": delta, "usage": self._count(), **note})
        return out + encode_named({"type": "message_stop"})

    def fail(self, response: ErrorResponse) -> bytes:
        """Return the last event of a stream that fails."""
        return encode_named(shape_error(response))

    def keep_alive(self) -> bytes:
        """Return bytes that keep a quiet stream open."""
        return self._begin() + encode_named({"type": "ping"})

    def build(self) -> dict[str, Any]:
        """Return the message so far."""
        message = {**self._head, "content": list(self._blocks), "stop_reason": self._stop_reason()}
        message |= {"stop_sequence": None, "usage": self._count()}
        return message | ({} if self._explanation is None else {"routemoa": self._explanation})

    def _begin(self) -> bytes:
        """Return the first event; nothing after that."""
        if self._has_begun:
            return b""
        self._has_begun = True
        usage = {"input_tokens": self._estimate, "output_tokens": 0}
        message = {**self._head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        return encode_named({"type": "message_start", "message": message})

    def _add_text(self, kind: str, text: str) -> bytes:
        """Add text to the open block, or to a new one of the kind."""
        out = b""
        if self._open is None or self._open["type"] != kind:
            out += self._close()
            signature = {"signature": ""} if kind == "thinking" else {}
            self._open = {"type": kind, kind: "", **signature}
            out += self._emit("content_block_start", content_block=self._open)
        self._texts.append(text)
        self._written += len(text)
        return out + self._emit("content_block_delta", delta={"type": f"{kind}_delta", kind: text})

    def _close(self) -> bytes:
        """Close the open block."""
        if self._open is None:
            return b""
        out = self._emit("content_block_stop")
        self._blocks.append({**self._open, self._open["type"]: "".join(self._texts)})
        self._open, self._texts = None, []
        return out

    def _add_call(self, call: Mapping[str, Any]) -> bytes:
        out = self._close()
        arguments = call["function"]["arguments"]
        block = {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": {}}
        out += self._emit("content_block_start", content_block=block)
        out += self._emit("content_block_delta", delta={"type": "input_json_delta", "partial_json": arguments})
        out += self._emit("content_block_stop")
        self._written += len(arguments)
        self._blocks.append({**block, "input": msgspec.json.decode(arguments)})
        return out

    def _emit(self, kind: str, **fields: Any) -> bytes:
        return encode_named({"type": kind, "index": len(self._blocks), **fields})

    def _stop_reason(self) -> str | None:
        return None if self._finish_reason is None else STOP_REASONS.get(self._finish_reason, "end_turn")

    def _count(self) -> dict[str, int]:
        """Return the tokens of all calls together; an estimate where they are unknown, as this API has no null."""
        usage = self._usage or {}
        prompt, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if prompt is None or written is None:
            return {"input_tokens": self._estimate, "output_tokens": self._written // CHARACTERS_PER_TOKEN}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        read = {} if cached is None else {"cache_read_input_tokens": cached}
        return {"input_tokens": max(0, prompt - (cached or 0)), "output_tokens": written, **read}
