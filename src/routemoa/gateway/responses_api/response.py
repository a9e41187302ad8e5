"""Builds a response of the Responses API from the chunks of a chat completion, and its events on the way. Pure.

The output is a list of items: a thought, a message, calls of functions. An answer that was shown and does not stand is
an item that is `incomplete`; the finished response does not hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any

from routemoa.gateway.api import encode_named
from routemoa.gateway.chat_api.sse import KEEP_ALIVE_COMMENT
from routemoa.gateway.errors import ErrorResponse
from routemoa.gateway.http_exchange.response_ids import new_item_id, rename_id
from routemoa.gateway.responses_api.tools import CallerTool

__all__ = ["ResponseTranslator", "translate_usage"]

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reason -> why the response is incomplete."""
THOUGHT_FIELDS = ("reasoning_content", "reasoning")


class ResponseTranslator:
    """One response, while its chunks come in.

    Args:
        head: `created` and `model` of the chat completion.
        echo: fields that repeat the request.
        tools: of the request, by their names in a chat.
    """

    def __init__(self, head: Mapping[str, Any], echo: Mapping[str, Any], tools: Mapping[str, CallerTool]) -> None:
        self._id = rename_id(head["id"], "resp_")
        self._head, self._echo, self._tools = head, echo, tools
        self._number = 0
        self._has_begun = False
        self._count = 0
        """Of output items so far."""
        self._calls = 0
        """Of them, calls of tools."""
        self._output: list[dict[str, Any]] = []
        self._open: _TextItem | None = None
        self._finish_reason: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self._explanation: Mapping[str, Any] | None = None
        self._status = "in_progress"
        self._error: dict[str, Any] | None = None

    def add(self, chunk: Mapping[str, Any]) -> bytes:
        """Take a chunk and return the events that follow from it."""
        out = self._begin()
        self._usage = chunk.get("usage") or self._usage
        note = chunk.get("routemoa") or {}
        replaces = note.get("event") == "continuation"
        if note and not replaces:
            self._explanation = note
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for field in THOUGHT_FIELDS:
                if delta.get(field):
                    out += self._add_text("reasoning_text", delta[field])
                    break
            if delta.get("content"):
                out += self._add_text("output_text", delta["content"], choice.get("logprobs"))
            elif self._open is not None:  # a stream has the log-probabilities of all tokens at its end
                self._open.add("", choice.get("logprobs"))
            if replaces:  # the text said so, and is void with what came before
                out += self._close("incomplete")
            if delta.get("refusal"):
                out += self._add_text("refusal", delta["refusal"])
            for call in delta.get("tool_calls") or ():
                out += self._add_call(call)
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
        return out

    def end(self) -> bytes:
        """Return the last events."""
        reason = INCOMPLETE.get(self._finish_reason or "")
        status = "incomplete" if reason else "completed"
        out = self._begin() + self._close(status)
        self._status = status
        return out + self._emit(f"response.{status}", response=self.build())

    def fail(self, response: ErrorResponse) -> bytes:
        """Return the last events of a stream that fails: the failed response, and the error."""
        out = self._begin() + self._close("incomplete")
        error = response.body["error"]
        code = "rate_limit_exceeded" if response.status == 429 else "server_error"
        self._status, self._error = "failed", {"code": error["code"] or code, "message": error["message"]}
        out += self._emit("response.failed", response=self.build())
        flat = {key: error[key] for key in ("code", "message", "param")}
        return out + self._emit("error", **flat, error=error)

    def keep_alive(self) -> bytes:
        """Return bytes that keep a quiet stream open."""
        return self._begin() + KEEP_ALIVE_COMMENT

    def build(self) -> dict[str, Any]:
        """Return the response so far."""
        ended = self._status in ("completed", "incomplete")
        reason = INCOMPLETE.get(self._finish_reason or "") if self._status == "incomplete" else None
        response = {
            "id": self._id,
            "object": "response",
            "created_at": self._head["created"],
            "completed_at": int(time()) if self._status == "completed" else None,
            "status": self._status,
            "background": False,
            "error": self._error,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self._head["model"],
            "output": list(self._output),
            **self._echo,
            "usage": translate_usage(self._usage) if ended else None,
        }
        return response | ({} if self._explanation is None else {"routemoa": self._explanation})

    def _begin(self) -> bytes:
        """Return the first events; nothing after that."""
        if self._has_begun:
            return b""
        self._has_begun = True
        created = self._emit("response.created", response=self.build())
        return created + self._emit("response.in_progress", response=self.build())

    def _add_text(self, kind: str, text: str, logprobs: Any = None) -> bytes:
        """Add text to the open part, or to a new one of the kind."""
        out = b""
        if self._open is None or not self._open.takes(kind):
            out += self._close("completed")
            index, is_thought = self._next_index(), kind == "reasoning_text"
            id_ = new_item_id("rs" if is_thought else "msg", self._id, index)
            self._open = _TextItem(index, id_, is_thought=is_thought)
            out += self._emit("response.output_item.added", **self._open.place(), item=self._open.build("in_progress"))
        item = self._open
        if item.kind != kind:
            out += self._close_part(item)
            item.begin(kind)
            out += self._emit("response.content_part.added", **item.part_place(), part=item.part())
        tokens = item.add(text, logprobs)
        return out + self._emit(f"response.{kind}.delta", **item.part_place(), delta=text, **tokens)

    def _close_part(self, item: _TextItem) -> bytes:
        if item.kind is None:
            return b""
        part = item.part()
        name = "refusal" if item.kind == "refusal" else "text"
        tokens = {"logprobs": part["logprobs"]} if item.kind == "output_text" else {}
        done = self._emit(f"response.{item.kind}.done", **item.part_place(), **{name: part[name]}, **tokens)
        return done + self._emit("response.content_part.done", **item.part_place(), part=part)

    def _close(self, status: str) -> bytes:
        """Close the open item; one that is incomplete is void, unless the response ends so."""
        item, self._open = self._open, None
        if item is None:
            return b""
        out = self._close_part(item)
        built = item.build(status)
        if status == "completed" or self._finish_reason in INCOMPLETE:
            self._output.append(built)
        return out + self._emit("response.output_item.done", **item.place(), item=built)

    def _add_call(self, call: Mapping[str, Any]) -> bytes:
        out = self._close("completed")
        name = call["function"]["name"]
        tool = self._tools.get(name) or CallerTool(name, {})
        item = tool.describe_call(new_item_id("ctc" if tool.is_custom else "fc", self._id, self._calls), call)
        self._calls += 1
        key, event = ("input", "custom_tool_call_input") if tool.is_custom else ("arguments", "function_call_arguments")
        place = {"output_index": self._next_index()}
        part = {"item_id": item["id"], **place}
        started = {**item, key: "", "status": "in_progress"}
        out += self._emit("response.output_item.added", **place, item=started)
        out += self._emit(f"response.{event}.delta", **part, delta=item[key])
        named = {} if tool.is_custom else {"name": item["name"]}
        out += self._emit(f"response.{event}.done", **part, **named, **{key: item[key]})
        self._output.append(item)
        return out + self._emit("response.output_item.done", **place, item=item)

    def _next_index(self) -> int:
        self._count += 1
        return self._count - 1

    def _emit(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return encode_named({"type": kind, "sequence_number": self._number - 1, **fields})


class _TextItem:
    """An output item that is a message or a thought, with its parts."""

    def __init__(self, index: int, id_: str, *, is_thought: bool) -> None:
        self.index = index
        self.kind: str | None = None
        """Of the open part."""
        self._is_thought = is_thought
        self._id = id_
        self._parts: list[dict[str, Any]] = []
        self._texts: list[str] = []
        self._logprobs: list[Any] = []

    def takes(self, kind: str) -> bool:
        """Return whether a text of the kind belongs into this item."""
        return self._is_thought == (kind == "reasoning_text")

    def begin(self, kind: str) -> None:
        """Begin a part."""
        if self.kind is not None:
            self._parts.append(self.part())
        self.kind, self._texts, self._logprobs = kind, [], []

    def add(self, text: str, logprobs: Any) -> dict[str, Any]:
        """Add text to the open part, and return what its event holds beside it."""
        self._texts.append(text)
        if self.kind != "output_text":
            return {}
        content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
        self._logprobs += content or []
        return {"logprobs": content or []}

    def part(self) -> dict[str, Any]:
        """Return the open part."""
        text = "".join(self._texts)
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        if self.kind == "reasoning_text":
            return {"type": "reasoning_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(self._logprobs)}

    def place(self) -> dict[str, Any]:
        """Return where the item stands in the output."""
        return {"output_index": self.index}

    def part_place(self) -> dict[str, Any]:
        """Return where the open part stands."""
        return {"item_id": self._id, "output_index": self.index, "content_index": len(self._parts)}

    def build(self, status: str) -> dict[str, Any]:
        """Return the item."""
        content = [*self._parts, *([] if self.kind is None else [self.part()])]
        if self._is_thought:
            return {"type": "reasoning", "id": self._id, "summary": [], "content": content, "status": status}
        return {"type": "message", "id": self._id, "role": "assistant", "status": status, "content": content}


def translate_usage(usage: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the token counts of a chat completion in the shape of this API; None is unknown."""
    if usage is None or usage.get("prompt_tokens") is None or usage.get("completion_tokens") is None:
        return None
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached or 0},  # its clients take no null here
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": thought or 0},
        "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"],
    }
