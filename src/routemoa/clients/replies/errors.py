"""The one answer to "is this an error?": for a body, a chunk of a stream and the name of an event. Pure.

Endpoints, gateways and proxies report errors with a status of 200, too, each in its own shape:

    {"error": "..."}, {"error": {"message", "code", "type"}}, [{"error": ...}]         OpenAI and most; Ollama; Gemini
    {"object": "error", "message", "code"}, {"type": "error", "error": {...}}          vLLM; Anthropic
    {"detail": ...}, {"title", "status"}, {"message"}, {"code", "msg"}                 FastAPI; RFC 9457; Cohere; others
    {"errors": [...]}, {"success": false}, {"base_resp": {"status_code"}}, {"fault"}   Cloudflare; MiniMax; Apigee
    {"choices": [{"error": ..., "finish_reason": "error"}]}, `event: error`            OpenRouter; llama.cpp
    an HTML page, plain text, nothing at all                                           proxies
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.clients.replies.redaction import LONGEST_ESCAPE, redact
from routemoa.core.text.json_bounds import SMALL, TooManyValues, decode_bounded
from routemoa.core.text.printable import printable_line

__all__ = [
    "NO_STATUS",
    "ReportedError",
    "decode_json",
    "describe_body",
    "error_code",
    "error_text",
    "find_error",
    "is_error_event",
    "one_line",
]

MAX_ERROR_TEXT = 300
"""Characters of what an endpoint said, in an error."""
NO_STATUS = 502
"""Counts as the status of an error that names none."""
MAX_LISTED = 3
"""Errors of a list that are told."""

ERROR_EVENTS = {"error", "err", "exception", "failure", "failed", "fatal", "response.failed", "response.error"}
MESSAGE_FIELDS = (
    *("message", "detail", "msg", "error_description", "error_msg", "error_message", "errorMessage", "errorMsg"),
    *("err_msg", "status_msg", "faultstring", "reason", "title", "error", "description", "text"),
)
"""Fields that say what is wrong, in the order in which they are believed."""
SIGNS = {
    *("detail", "message", "msg", "error_msg", "error_message", "errorMessage", "errorMsg", "err_msg", "error_code"),
    *("errcode", "errorCode", "fault", "faultstring", "title", "Message"),
}
"""Fields of an object without `choices` that make it an error."""
STATUS_FIELDS = ("code", "status", "status_code", "statusCode", "http_status", "error_code", "errorCode")
STATUS_OF_NAME = {
    400: "invalid_request bad_request invalid_argument invalid_parameter context_length invalid_prompt unprocessable "
    "validation content_policy content_filter data_inspection",
    401: "authentication unauthenticated unauthorized invalid_api_key incorrect_api_key",
    402: "payment insufficient_balance billing",
    403: "permission forbidden access_denied",
    404: "not_found model_not_exist no_such_model",
    408: "request_timeout",
    429: "rate_limit too_many_requests resource_exhausted insufficient_quota quota_exceeded throttl",
    503: "overloaded unavailable capacity loading",
    504: "timeout deadline_exceeded",
    500: "server_error internal api_error",
}
"""HTTP status -> parts of the names that endpoints give to such errors, in their own `type`, `code` or `status`."""
_STATUS = re.compile(r"[45]\d\d")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_TITLE = re.compile(r"<title[^<>]{0,100}>([^<]{1,200})", re.IGNORECASE)
_HTML = re.compile(r"<(?:!doctype|html|head|body|\?xml|title|h1|center|pre)\b", re.IGNORECASE)


class ReportedError(Struct, frozen=True):
    """An error in an endpoint's own words."""

    message: str
    """One line of bounded length, without the key."""
    status: int | None = None
    """The HTTP status that the error stands for; None where it names none."""
    code: str | None = None
    """The endpoint's own code for the error, without the key; None where it has none."""


def is_error_event(name: str) -> bool:
    """Return whether the name of a server-sent event says that its data is an error."""
    return name.strip().lower() in ERROR_EVENTS


def find_error(value: Any, event: str = "", key: str | None = None) -> ReportedError | None:
    """Return the error in a decoded body or chunk; None where it holds none.

    Args:
        value: as it was decoded; text where it is no JSON.
        event: the name of the server-sent event that it came in.
        key: is removed from the message.
    """
    if event and is_error_event(event):
        return _report(_innermost(value), key)
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return find_error(value[0], key=key)  # Gemini
    if not isinstance(value, dict):
        return None
    found = _find_part(value)
    return None if found is None else _report(found, key, value)


def _find_part(body: Mapping[str, Any]) -> Any:
    """Return the part of a body that is the error, None without one."""
    if (error := body.get("error")) not in (None, False, "", {}, []):
        return error if isinstance(error, dict | str | list) else body  # {"error": true, "message": ...}
    if errors := body.get("errors") or body.get("fault"):
        return errors
    if body.get("object") == "error" or body.get("type") == "error":
        return body
    choices = body.get("choices")
    if isinstance(choices, list) and choices:
        return _find_in_choice(choices[0])
    base = body.get("base_resp")
    if isinstance(base, dict) and base.get("status_code") not in (None, 0, "0", "200", 200):
        return base
    if isinstance(choices, list):  # an empty list: a chunk of token counts, or of a content filter
        return None
    if body.get("success") is False or body.get("ok") is False or body.get("status") in ("error", "fail", "failed"):
        return body
    return body if any(body.get(name) for name in SIGNS) else None


def _find_in_choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return None
    if (error := choice.get("error")) not in (None, False, "", {}, []):
        return error
    if str(choice.get("finish_reason")).lower() == "error":
        return choice.get("native_finish_reason") or "the endpoint broke off (finish_reason error)"
    return None


def _innermost(value: Any) -> Any:
    if isinstance(value, dict) and (part := _find_part(value)) is not None:
        return part
    return value if value not in (None, "", {}) else "an error event without a reason"


def _report(part: Any, key: str | None, body: Mapping[str, Any] | None = None) -> ReportedError:
    places = [p for p in (part, body) if isinstance(p, dict)]
    status = next((s for place in places for s in _statuses(place)), None)
    code = next((c for place in places if (c := error_code(place, key)) is not None), None)
    return ReportedError(one_line(_message(part), key) or "no reason given", status, code)


def _statuses(place: Mapping[str, Any]) -> Iterator[int]:
    """Yield the HTTP statuses that an error names: numbers first, then what its names stand for."""
    metadata = place.get("metadata")
    names = [
        place.get("type"),
        place.get("error_type"),
        metadata.get("error_type") if isinstance(metadata, dict) else 0,
    ]
    for field in STATUS_FIELDS:
        value = place.get(field)
        if isinstance(value, str) and _STATUS.fullmatch(value):
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            yield value
        names.append(value)
    flat = ["_".join(_WORD.findall(name[:100])).lower() for name in names if isinstance(name, str)]
    for status, parts in STATUS_OF_NAME.items():
        if any(part in name for name in flat for part in parts.split()):
            yield status


def _message(part: Any) -> str:
    """Return what an error says, however deep it is."""
    for _ in range(4):
        if isinstance(part, list):
            return "; ".join(_message(p) for p in part[:MAX_LISTED])
        if not isinstance(part, dict):
            break
        found = next((part[name] for name in MESSAGE_FIELDS if part.get(name) not in (None, "", {}, [])), None)
        if found is None:
            named = next((part[n] for n in ("code", "type", "status") if isinstance(part.get(n), str | int)), None)
            return "an object with " + ", ".join(map(str, list(part)[:MAX_LISTED])) if named is None else str(named)
        part = found
    return str(part) if isinstance(part, str | int | float) else type(part).__name__


def describe_body(data: bytes, key: str | None = None) -> ReportedError | None:
    """Return the error that the body of a reply is in its whole, where it is no JSON; None where it may be JSON.

    JSON that is cut off is none: the endpoint may have answered.
    """
    if data[:1] in (b"{", b"["):
        return None
    text = data[: 64 * 1024].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not text:
        return ReportedError("the reply is empty")
    if text[0] in "{[":
        return None
    if _HTML.match(text):
        title = _TITLE.search(text)
        said = f': "{one_line(html.unescape(title[1]), key)}"' if title else ""
        return ReportedError(f"an HTML page in place of an answer{said}; check `endpoint`: it often ends in /v1")
    return ReportedError(f"not JSON: {one_line(text, key)}")


def error_text(body: Any, key: str | None = None) -> str:
    """Return what the body of an HTTP error says, on one line; HTML is shortened to its title."""
    if isinstance(body, str) and _HTML.match(body.lstrip("\ufeff \t\r\n")):
        title = _TITLE.search(body)
        return one_line(html.unescape(title[1]) if title else re.sub(r"<[^<>]{0,200}>", " ", body[:2000]), key)
    part = _find_part(body) if isinstance(body, dict) else None
    return one_line(_message(body if part is None else part), key)


def error_code(body: Any, key: str | None = None) -> str | None:
    """Return the code of an OpenAI-shaped error body; None where it has none, or only repeats its status."""
    error = body.get("error", body) if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, str) and isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        code = error["type"]  # llama.cpp has no code beside the status
    return one_line(code, key)[:100] if isinstance(code, str) and code and not code.isdigit() else None


def decode_json(data: bytes | str) -> Any:
    """Decode JSON to plain Python; what is no JSON comes back as text."""
    data = data.removeprefix(b"\xef\xbb\xbf") if isinstance(data, bytes) else data.removeprefix("\ufeff")
    try:
        if len(data) > SMALL:
            return decode_bounded(data if isinstance(data, bytes) else data.encode())
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, TooManyValues, RecursionError) as e:
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
        return text if isinstance(e, TooManyValues | RecursionError) else _decode_leniently(text)


def _decode_leniently(text: str) -> Any:
    """Decode what is JSON but for numbers that are none and halves of characters; what is no JSON comes back."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return text


def one_line(text: str, key: str | None = None) -> str:
    """Return one line of bounded length without the key, of which no part survives; the work is bounded as well.

    Escape sequences are left out, too: a terminal would obey them.
    """
    longest_key = LONGEST_ESCAPE * len(key or "")
    begun = text[: 10 * MAX_ERROR_TEXT + longest_key]
    kept = redact(begun, key)
    kept = kept[:-longest_key] if longest_key and len(begun) < len(text) else kept  # it may end in half a key
    flat = printable_line(kept)
    return flat[: MAX_ERROR_TEXT - 3] + "..." if len(flat) > MAX_ERROR_TEXT else flat
