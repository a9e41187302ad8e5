"""The wire format of OpenAI-compatible endpoints: request bodies, completions, events, errors. Pure functions.

Chat completions follow the OpenAI API reference; endpoints differ, so reading
is tolerant, and a figure that is absent or impossible is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import msgspec

from routemoa.clients.dialect import TOKEN_LIMITS, to_dialect
from routemoa.core.errors import InvalidResponse, ModelHTTPError
from routemoa.core.printable import printable_line
from routemoa.core.types import CacheControl, Completion, Message, ModelSpec, Request, Token, Usage

__all__ = [
    "TOKEN_LIMITS",
    "CompletionBuilder",
    "apply_member_settings",
    "build_body",
    "chat_url",
    "decode_json",
    "error_code",
    "error_text",
    "is_token_limit",
    "make_http_error",
    "one_line",
    "parse_completion",
    "parse_object",
    "supports_cache_control",
]

CACHE_READ_FIELDS = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
"""Prompt tokens read from the provider's cache: OpenAI, vLLM, llama.cpp and others; DeepSeek; Anthropic."""
CACHE_WRITE_FIELDS = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
"""Prompt tokens written to the provider's cache."""
CACHE_CONTROL_HOSTS = {"openrouter.ai", "api.openrouter.ai", "api.anthropic.com"}
"""Hosts that want `cache_control` on parts of a prompt: where they cache what it says, and no more."""
HINTS = {
    401: "check the key in {key}",
    403: "check the key in {key} and what it may use",
    404: "check `endpoint` and `model` in the pool file",
}
MAX_ERROR_TEXT = 300  # characters of what an endpoint said, in an error


def build_body(spec: ModelSpec, request: Request, model: str, *, stream: bool) -> dict[str, Any]:
    """Return the JSON of one call, with the member's own settings over the caller's."""
    marked = supports_cache_control(spec)
    hour = spec.price is None or spec.price.one_hour_cache
    messages = [{"role": m.role, "content": _content(m, hour) if marked else m.content} for m in request.messages]
    body: dict[str, Any] = {**request.parameters, "messages": messages, "stream": stream}
    if request.logprobs:
        body["logprobs"] = True
    if request.schema is not None:
        shape = {"name": "reply", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": shape}
    if stream:
        body["stream_options"] = {"include_usage": True}
    return apply_member_settings(spec, body, model)


def supports_cache_control(spec: ModelSpec) -> bool:
    """Return whether an endpoint gets cache marks: as its `cache_control` says, else by its host.

    Writing a cache often costs more than reading the prompt: a known price must include that of writing.
    """
    if spec.cache_control is not None:
        return spec.cache_control
    known = spec.price is None or spec.price.cache_write is not None
    return known and urlsplit(spec.endpoint).hostname in CACHE_CONTROL_HOSTS


def _content(message: Message, hour: bool) -> str | list[dict[str, Any]]:
    """Return a message's text; where there are marks, in parts that each end at a mark.

    `hour`: a cache may be kept for an hour; else it is kept for as long as the provider does by itself.
    """
    if not message.marks:
        return message.content
    parts: list[dict[str, Any]] = []
    start = 0
    for mark in message.marks:
        text = message.content[start : mark.end]
        control = mark.control if hour or mark.control.ttl != "1h" else CacheControl("ephemeral")
        parts.append({"type": "text", "text": text, "cache_control": msgspec.to_builtins(control)})
        start = mark.end
    rest = message.content[start:]
    return [*parts, {"type": "text", "text": rest}] if rest else parts


def apply_member_settings(spec: ModelSpec, body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return a body with the member's name, system text and parameters, in its endpoint's dialect.

    The member's settings win, since the pool's owner wrote them; of two token limits the smaller one does.
    """
    out = {**body, **spec.parameters, "model": model}
    # The two caps are one setting under its old and its new name, and endpoints refuse a call that has both.
    if own := [cap for cap in TOKEN_LIMITS if _is_count(spec.parameters.get(cap))]:
        values = [v for part in (body, spec.parameters) for cap in TOKEN_LIMITS if _is_count(v := part.get(cap))]
        out = {k: v for k, v in out.items() if k not in TOKEN_LIMITS} | {own[0]: min(values)}
    if spec.system:
        out["messages"] = _with_system(spec.system, body.get("messages"))
    return dict(to_dialect(spec, out))


def _with_system(system: str, messages: Any) -> Any:
    """Return the messages with one system message: the member's text first, then the caller's."""
    if not isinstance(messages, list):
        return messages
    first = messages[0] if messages else None
    if isinstance(first, dict) and first.get("role") == "system":
        content = first.get("content")
        if isinstance(content, str):
            return [{**first, "content": f"{system}\n\n{content}"}, *messages[1:]]
        if isinstance(content, list):
            return [{**first, "content": [{"type": "text", "text": f"{system}\n\n"}, *content]}, *messages[1:]]
    return [{"role": "system", "content": system}, *messages]


class CompletionBuilder:
    """Folds the chunks of a streamed completion."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.finish_reason: str | None = None
        self._pieces: list[str] = []
        self._tokens: list[Token] | None = None

    def add(self, chunk: Mapping[str, Any]) -> str:
        """Add a chunk; return its text."""
        if isinstance(usage := chunk.get("usage"), dict) and usage:
            self.usage = parse_usage(usage)
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"]
        if (tokens := parse_logprobs(choice.get("logprobs"))) is not None:
            self._tokens = (self._tokens or []) + tokens
        delta = choice.get("delta")
        text = content_text(delta.get("content")) if isinstance(delta, dict) else ""
        self._pieces.append(text)
        return text

    def completion(self, latency: float, first_token: float | None) -> Completion:
        """Return the whole; `latency` and `first_token` are seconds since the call began."""
        tokens = None if self._tokens is None else tuple(self._tokens)
        return Completion("".join(self._pieces), self.usage, self.finish_reason, latency, first_token, tokens)


def parse_completion(body: Mapping[str, Any], latency: float) -> Completion | None:
    """Read a completion that came in one piece; None when the body is none."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return None
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    tokens = parse_logprobs(choice.get("logprobs"))
    reason = choice.get("finish_reason")
    return Completion(
        content_text(message.get("content")),
        parse_usage(body.get("usage")),
        reason if isinstance(reason, str) else None,
        latency,
        latency,
        None if tokens is None else tuple(tokens),
    )


def content_text(content: Any) -> str:
    """Return a message's content as text: a string, or the text parts of a list."""
    if isinstance(content, list):
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
    return content if isinstance(content, str) else ""


def parse_usage(usage: Any) -> Usage:
    """Read token counts; what is absent, negative, no whole number or more than the whole prompt is None."""
    given = usage if isinstance(usage, dict) else {}
    details = given.get("prompt_tokens_details")
    merged = {**given, **details} if isinstance(details, dict) else given
    prompt = _count(given.get("prompt_tokens"))
    cached = _part(prompt, (merged.get(name) for name in CACHE_READ_FIELDS))
    left = None if prompt is None else prompt - (cached or 0)
    return Usage(
        prompt, _count(given.get("completion_tokens")), cached, _part(left, (merged.get(n) for n in CACHE_WRITE_FIELDS))
    )


def _part(whole: int | None, values: Iterable[Any]) -> int | None:
    """Return the first figure that is there, if it can be a part of the whole."""
    found = next((v for v in values if v is not None), None)
    return found if _is_count(found) and whole is not None and found <= whole else None


def is_token_limit(value: Any) -> TypeGuard[int]:
    """Return whether a value of one of TOKEN_LIMITS limits anything."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _count(value: Any) -> int | None:
    return value if _is_count(value) else None


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def parse_logprobs(logprobs: Any) -> list[Token] | None:
    """Read the token log-probabilities of a choice; None when there are none."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return None
    return [
        Token(str(t.get("token") or ""), float(t["logprob"]))
        for t in content
        if isinstance(t, dict) and isinstance(t.get("logprob"), int | float) and abs(t["logprob"]) < 2**53
    ]


def chat_url(base: str) -> str:
    """Return the URL of chat completions under an endpoint's base URL; its query stays behind the path."""
    path, mark, query = base.partition("?")
    return f"{path.rstrip('/')}/chat/completions{mark}{query}"


def decode_json(data: bytes | str) -> Any:
    """Decode JSON to plain Python; what is no JSON comes back as text."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data.decode("utf-8", "replace") if isinstance(data, bytes) else data


def error_text(body: Any, key: str | None = None) -> str:
    """Return the message of an OpenAI-shaped error body, or what comes closest, on one line."""
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    return one_line(str(message if message is not None else error), key)


def error_code(body: Any) -> str | None:
    """Return the code of an OpenAI-shaped error body; None where it has none, or only repeats its status."""
    error = body.get("error", body) if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, str) and isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        code = error["type"]  # llama.cpp has no code beside the status
    return code[:100] if isinstance(code, str) and not code.isdigit() else None


def parse_object(model: str, data: bytes | str, key: str | None = None) -> dict[str, Any]:
    """Read the JSON object of a reply whose status was 200.

    Raises:
        Garbled: it is none, or holds an error.
        Refused: it holds an error with an HTTP status.
    """
    found = decode_json(data)
    if not isinstance(found, dict):
        raise InvalidResponse(model, f"not a JSON object: {error_text(found, key)}")
    if error := found.get("error"):  # some endpoints send "error": null along with every chunk
        code = error.get("code") if isinstance(error, dict) else None
        said = error_text(found, key)
        if isinstance(code, int) and 400 <= code < 600:
            raise ModelHTTPError(model, f"HTTP {code} in the reply: {said}", status=code)
        raise InvalidResponse(model, f"error in the reply: {said}")
    return found


def make_http_error(spec: ModelSpec, status: int, body: bytes, key: str | None, after: float | None) -> ModelHTTPError:
    """Return the error for an HTTP `status` that is no success; `after` is in seconds. The key is removed."""
    for form in {key, key.replace("/", "\\/")} if key else ():  # as it is, and as some write it in JSON
        body = body.replace(form.encode(), b"[key]")
    said = error_text(decode_json(body), key)
    hint = HINTS.get(status, "").format(key=spec.api_key_env or "api_key_env")
    if status < 400:
        hint = "it redirects elsewhere; put the final URL into `endpoint`"
    reason = f"HTTP {status}" + (f": {said}" if said else "") + (f"; {hint}" if hint else "")
    return ModelHTTPError(
        spec.name, reason, status=status, retry_after=after, body=body, code=error_code(decode_json(body))
    )


def one_line(text: str, key: str | None = None) -> str:
    """Return one line of bounded length without the key, which is removed first so that no part of it survives.

    Escape sequences are left out, too: a terminal would obey them.
    """
    text = text.replace(key, "[key]") if key else text
    flat = printable_line(text[: 10 * MAX_ERROR_TEXT])
    return flat[: MAX_ERROR_TEXT - 3] + "..." if len(flat) > MAX_ERROR_TEXT else flat
