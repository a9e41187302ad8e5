"""What we say to OpenAI-compatible endpoints, and what they say to us. Pure functions over JSON and bytes.

Server-sent events: WHATWG HTML, section 9.2. Chat completions: the OpenAI API reference; endpoints differ, so reading
is tolerant, and a figure that is absent or absurd is None.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from routemoa.types import Completion, ModelSpec, Request, Token, Usage

__all__ = [
    "EventParser",
    "StreamedCompletion",
    "chat_url",
    "decode",
    "error_text",
    "overlay",
    "read_completion",
    "request_body",
]

CAPS = ("max_tokens", "max_completion_tokens")


def request_body(spec: ModelSpec, request: Request, model: str, *, stream: bool) -> dict[str, Any]:
    """The JSON of one call, with the member's own settings laid over the caller's."""
    messages = [{"role": m.role, "content": m.content} for m in request.messages]
    body: dict[str, Any] = {"messages": messages, **request.parameters}
    if request.logprobs:
        body["logprobs"] = True
    if request.schema is not None:
        shape = {"name": "reply", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return overlay(spec, body, model)


def overlay(spec: ModelSpec, body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A body with the member's name, system text and parameters laid over it.

    The member's settings win, since the pool's owner wrote them; of two caps on the output the smaller one does.
    """
    out = {**body, **spec.parameters, "model": model}
    for cap in CAPS:
        values = [v for v in (body.get(cap), spec.parameters.get(cap)) if isinstance(v, int)]
        if values:
            out[cap] = min(values)
    if spec.system:
        out["messages"] = _with_system(spec.system, body.get("messages"))
    return out


def _with_system(system: str, messages: Any) -> Any:
    """One system message: the member's text first, then the caller's."""
    if not isinstance(messages, list):
        return messages
    first = messages[0] if messages else None
    if isinstance(first, dict) and first.get("role") == "system" and isinstance(first.get("content"), str):
        return [{**first, "content": f"{system}\n\n{first['content']}"}, *messages[1:]]
    return [{"role": "system", "content": system}, *messages]


class EventParser:
    """Bytes in, the data of whole server-sent events out, wherever the bytes were cut."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[str]:
        """The events that `chunk` completes."""
        self._pending += self._decoder.decode(chunk)
        # A lone CR at the very end may be half of a CRLF: wait for what follows.
        whole = self._pending[:-1] if self._pending.endswith("\r") else self._pending
        *lines, rest = re.split(r"\r\n|\n|\r", whole)
        self._pending = rest + self._pending[len(whole) :]
        return [event for line in lines if (event := self._line(line)) is not None]

    def end(self) -> list[str]:
        """The last event of a stream whose final blank line never came."""
        return [*self.feed(b"\n"), *self.feed(b"\n")]

    def _line(self, line: str) -> str | None:
        if line:
            field, _, value = line.partition(":")
            if field == "data":
                self._data.append(value.removeprefix(" "))
            return None  # comments (no field name) and other fields carry nothing for us
        if not self._data:
            return None
        event = "\n".join(self._data)
        self._data.clear()
        return event


class StreamedCompletion:
    """Folds the chunks of a streamed completion."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.finish_reason: str | None = None
        self._pieces: list[str] = []
        self._tokens: list[Token] | None = None

    def add(self, chunk: Mapping[str, Any]) -> str:
        """The text that one chunk adds."""
        if isinstance(chunk.get("usage"), dict):
            self.usage = read_usage(chunk["usage"])
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"]
        if (tokens := read_tokens(choice.get("logprobs"))) is not None:
            self._tokens = (self._tokens or []) + tokens
        delta = choice.get("delta")
        text = read_text(delta.get("content")) if isinstance(delta, dict) else ""
        self._pieces.append(text)
        return text

    def completion(self, latency: float, first_token: float | None) -> Completion:
        """The whole, `latency` seconds after the call began."""
        tokens = None if self._tokens is None else tuple(self._tokens)
        return Completion("".join(self._pieces), self.usage, self.finish_reason, latency, first_token, tokens)


def read_completion(body: Mapping[str, Any], latency: float) -> Completion | None:
    """A completion that came in one piece; None when the body is none."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    tokens = read_tokens(choice.get("logprobs"))
    reason = choice.get("finish_reason")
    return Completion(
        read_text(message.get("content")),
        read_usage(body.get("usage")),
        reason if isinstance(reason, str) else None,
        latency,
        latency,
        None if tokens is None else tuple(tokens),
    )


def read_text(content: Any) -> str:
    """A message's content as text: a string, or the text parts of a list."""
    if isinstance(content, list):
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
    return content if isinstance(content, str) else ""


def read_usage(usage: Any) -> Usage:
    """Token counts; what is absent, negative or no whole number is None."""
    given = usage if isinstance(usage, dict) else {}
    return Usage(_count(given.get("prompt_tokens")), _count(given.get("completion_tokens")))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def read_tokens(logprobs: Any) -> list[Token] | None:
    """Token log-probabilities of a choice, or None when there are none."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None
    return [
        Token(str(t.get("token") or ""), float(t["logprob"]))
        for t in content
        if isinstance(t, dict) and isinstance(t.get("logprob"), int | float)
    ]


def chat_url(base: str) -> str:
    """Where chat completions are, under an endpoint's base URL; its query stays behind the path."""
    path, mark, query = base.partition("?")
    return f"{path.rstrip('/')}/chat/completions{mark}{query}"


def decode(data: bytes | str) -> Any:
    """JSON as plain Python; what is no JSON comes back as text."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data.decode("utf-8", "replace") if isinstance(data, bytes) else data


def error_text(body: Any) -> str:
    """The message of an OpenAI-shaped error body, or what comes closest to it, on one line."""
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    text = " ".join(str(message if message is not None else error).split())
    return text[:297] + "..." if len(text) > 300 else text
