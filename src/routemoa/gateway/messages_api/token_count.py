"""Estimates the tokens of a prompt, which only a model's own tokenizer counts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from routemoa.gateway.access.prompt_estimate import IMAGE_TOKENS
from routemoa.mixture.budget.account import FRAME_TOKENS
from routemoa.mixture.budget.context import usual_tokens

__all__ = ["count_tokens"]


def count_tokens(body: Mapping[str, Any]) -> int:
    """Return an estimate for the body of a chat completion.

    Four ASCII characters are a token, and any other character is one. Each message adds what a chat template does.
    """
    texts: list[str] = []
    media = 0
    for message in body["messages"]:
        for part in _parts(message.get("content")):
            if isinstance(part, str):
                texts.append(part)
            else:
                media += 1
        if calls := message.get("tool_calls"):
            texts.append(msgspec.json.encode(calls).decode())
    if tools := body.get("tools"):
        texts.append(msgspec.json.encode(tools).decode())
    return usual_tokens(texts) + media * IMAGE_TOKENS + FRAME_TOKENS * len(body["messages"])


def _parts(content: Any) -> Iterator[str | Mapping[str, Any]]:
    """Yield the texts of a content, and its other parts."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield part["text"] if part["type"] == "text" else part
