"""The wire format of OpenAI-compatible endpoints: request bodies, completions, events, errors. Pure functions.

Chat completions follow the OpenAI API reference; endpoints differ, so reading
is tolerant, and a figure that is absent or impossible is None.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import msgspec

from routemoa.clients.protocol.dialect import TOKEN_LIMITS, drop_marks, to_dialect
from routemoa.clients.protocol.sse import SSEEvent
from routemoa.clients.replies.completion import first_choice
from routemoa.clients.replies.errors import (
    NO_STATUS,
    ReportedError,
    decode_json,
    describe_body,
    error_code,
    error_text,
    find_error,
    one_line,
)
from routemoa.clients.replies.redaction import cut_key, redact_body
from routemoa.clients.replies.usage import is_count
from routemoa.clients.retry import read_retry_after
from routemoa.core.content.cache_marks import CacheControl
from routemoa.core.errors import InvalidResponse, ModelHTTPError
from routemoa.core.failure_kind import KEY_STATUSES
from routemoa.core.types import CHAT_ROUTE, Message, ModelSpec, Request
from routemoa.core.usage import Usage

__all__ = [
    "TOKEN_LIMITS",
    "apply_member_settings",
    "build_body",
    "decode_json",
    "digest_request",
    "error_code",
    "error_text",
    "has_answer",
    "is_token_limit",
    "make_http_error",
    "make_reported_error",
    "one_line",
    "parse_body",
    "parse_chunk",
    "route_url",
    "supports_cache_control",
]

CACHE_CONTROL_HOSTS = {"openrouter.ai", "api.openrouter.ai", "api.anthropic.com"}
"""Hosts that want `cache_control` on parts of a prompt: where they cache what it says, and no more."""
HINTS = {
    401: "check the key in {key}",
    403: "check the key in {key} and what it may use",
    404: "check `endpoint` and `model` in the pool file",
}


def build_body(spec: ModelSpec, request: Request, model: str, *, stream: bool) -> dict[str, Any]:
    """Return the JSON of one call, with the member's own settings over the caller's."""
    marked = supports_cache_control(spec)
    hour = spec.price is None or spec.price.one_hour_cache
    messages = [_to_wire(m, hour) if marked else _to_wire(m) for m in request.messages]
    body: dict[str, Any] = {**request.parameters, "messages": messages, "stream": stream}
    if request.tools is not None:
        body |= request.tools.to_body()
    if request.logprobs:
        body["logprobs"] = True
    if request.answer_format is not None:
        body["response_format"] = request.answer_format.body
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


def _to_wire(message: Message, hour: bool | None = None) -> Mapping[str, Any]:
    """Return a message as members are sent it; with `hour` its cache marks as well."""
    if message.body is not None:
        return drop_marks(message.body) if hour is None and _has_marks(message.body) else message.body
    return {"role": message.role, "content": message.content if hour is None else _content(message, hour)}


def _has_marks(body: Mapping[str, Any]) -> bool:
    """Return whether a part of a message's content carries a cache mark."""
    content = body.get("content")
    return isinstance(content, list) and any(isinstance(p, dict) and "cache_control" in p for p in content)


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


def apply_member_settings(
    spec: ModelSpec, body: Mapping[str, Any], model: str, route: str = CHAT_ROUTE
) -> dict[str, Any]:
    """Return a body with the member's name, system text and parameters, in its endpoint's dialect.

    The member's settings win, since the pool's owner wrote them; of two token limits the smaller one does. They are for
    chats: another route gets the name alone.
    """
    if route != CHAT_ROUTE:
        return {**body, "model": model}
    out = {**body, **spec.parameters, "model": model}
    # The two caps are one setting under its old and its new name, and endpoints refuse a call that has both.
    if spec.parameters and (own := [cap for cap in TOKEN_LIMITS if is_count(spec.parameters.get(cap))]):
        values = [v for part in (body, spec.parameters) for cap in TOKEN_LIMITS if is_count(v := part.get(cap))]
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


def is_token_limit(value: Any) -> TypeGuard[int]:
    """Return whether a value of one of TOKEN_LIMITS limits anything."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def route_url(base: str, route: str = CHAT_ROUTE) -> str:
    """Return the URL of a route under an endpoint's base URL; its query stays behind the path."""
    path, mark, query = base.partition("?")
    return f"{path.rstrip('/')}/{route}{mark}{query}"


def make_http_error(spec: ModelSpec, status: int, body: bytes, key: str | None, after: float | None) -> ModelHTTPError:
    """Return the error for an HTTP `status` that is no success; `after` is in seconds. The key is removed."""
    body = redact_body(body, key)
    said = error_text(decode_json(body), key)
    hint = HINTS.get(status, "").format(key=spec.api_key_env)
    if status in KEY_STATUSES and spec.api_key_env is None:
        hint = "name the environment variable that holds the key as `api_key_env`"
    if status < 400:
        hint = "it redirects elsewhere; put the final URL into `endpoint`"
    reason = f"HTTP {status}" + (f": {said}" if said else "") + (f"; {hint}" if hint else "")
    return ModelHTTPError(
        spec.name, reason, status=status, retry_after=after, body=body, code=error_code(decode_json(body), key)
    )


def make_reported_error(model: str, error: ReportedError, body: bytes = b"") -> ModelHTTPError:
    """Return the error that a reply with a good status holds: nothing was answered, nothing is billed."""
    reason = f"HTTP {error.status} in the reply" if error.status else "error in the reply"
    return ModelHTTPError(
        model,
        f"{reason}: {error.message}",
        status=error.status or NO_STATUS,
        retry_after=read_retry_after({}, body or error.message.encode()),
        body=body,
        code=error.code,
    )


def parse_chunk(model: str, event: SSEEvent, key: str | None = None) -> dict[str, Any]:
    """Read one chunk of a stream.

    Raises:
        ModelHTTPError: it is an error.
        InvalidResponse: it is no JSON object.
    """
    found = decode_json(event.data)
    if error := find_error(found, event.name, key):
        raise make_reported_error(model, error)
    if not isinstance(found, dict):
        raise InvalidResponse(model, f"not a JSON object: {error_text(found, key)}")
    return found


def has_answer(body: Mapping[str, Any]) -> bool:
    """Return whether a decoded reply holds an answer: a choice, or embeddings."""
    data = body.get("data")
    return bool(first_choice(body)) or (body.get("object") == "list" and isinstance(data, list) and bool(data))


def parse_body(model: str, data: bytes, key: str | None = None) -> dict[str, Any]:
    """Read a reply in one piece, which has an answer.

    Raises:
        ModelHTTPError: it is an error, a page, or empty.
        InvalidResponse: it is JSON that is cut off, or no completion.
    """
    if error := describe_body(data, key):
        raise make_reported_error(model, error, cut_key(data, key))
    found = decode_json(data)
    if error := find_error(found, key=key):
        raise make_reported_error(model, error, cut_key(data, key))
    if not isinstance(found, dict):
        raise InvalidResponse(model, f"not a JSON object: {error_text(found, key)}")
    if not has_answer(found):
        reason = f"no completion in the reply: {error_text(found, key)}"
        raise InvalidResponse(model, reason, usage=Usage(0, 0, 0, 0))
    return found


def digest_request(model: ModelSpec, request: Request) -> str:
    """Return a digest of everything that the endpoint receives: equal requests are the same call."""
    fields = msgspec.to_builtins(request)
    del fields["purpose"]  # does not reach the endpoint
    data = msgspec.json.encode([model.name, model.model, model.system, model.parameters, fields], order="sorted")
    return hashlib.sha256(data).hexdigest()[:16]
