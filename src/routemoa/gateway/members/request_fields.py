"""Reads what a request for a member asks for, and what its error body is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routemoa.core.errors import ModelHTTPError, QueryError
from routemoa.gateway.members.member_routes import MemberRoute

__all__ = ["count_answers", "error_content_type", "lacks_usage", "prompt_texts"]


def prompt_texts(sent: Mapping[str, Any]) -> list[str]:
    """Return the texts of a body's messages; images and the like are not counted."""
    texts: list[str] = []
    messages = sent.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [content]
        texts += [t for p in parts if isinstance(t := p.get("text") if isinstance(p, dict) else p, str)]
    return texts


def lacks_usage(sent: Mapping[str, Any]) -> bool:
    """Return whether a body asks for a stream without its usage, so that the usage may be asked for."""
    options = sent.get("stream_options")
    if options is None:
        return sent.get("stream") is True
    return sent.get("stream") is True and isinstance(options, dict) and not options.get("include_usage")


def count_answers(sent: Mapping[str, Any], route: MemberRoute) -> int | None:
    """Return how many answers a body asks for; None where its prompt or its answers have no bound."""
    try:
        route.check({k: v for k, v in sent.items() if k != "n"} if "n" in sent else sent)
    except QueryError:
        return None
    count = sent.get("n")
    return count if isinstance(count, int) and count > 1 else 1


def error_content_type(error: ModelHTTPError) -> str:
    """Return the content type of an error body: JSON as its endpoint declares it, else plain text."""
    try:
        msgspec.json.decode(error.body)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return error.content_type if "json" in error.content_type else "application/json"
