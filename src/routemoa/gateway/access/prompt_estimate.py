"""Estimates the tokens of a request's prompt, in any API, before the request is read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from routemoa.mixture.budget.context import usual_tokens

__all__ = ["IMAGE_TOKENS", "estimate_prompt"]

IMAGE_TOKENS = 1_600
"""Of an image, an audio clip or a file: about that of the largest image that Anthropic's models read."""
PROMPT_FIELDS = ("messages", "system", "instructions", "input", "prompt", "suffix", "tools", "functions")
MEDIA_KINDS = {"image", "image_url", "input_image", "input_audio", "document", "file", "input_file"}
MAX_VALUES = 50_000
"""That are looked at, which takes some 20 ms; what a larger prompt has beyond them counts once the usage is known."""


def estimate_prompt(body: Mapping[str, Any]) -> int:
    """Return an estimate: four ASCII characters to a token, one for any other character, a flat figure for an image."""
    texts: list[str] = []
    tokens = 0
    waiting: list[Any] = [body[name] for name in PROMPT_FIELDS if name in body]
    for _ in range(MAX_VALUES):
        if not waiting:
            break
        value = waiting.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, int):
            tokens += 1
        elif isinstance(value, list):
            if len(value) > MAX_VALUES and isinstance(value[0], int):  # a prompt in tokens
                tokens += len(value)
            else:
                waiting += value[:MAX_VALUES]
        elif isinstance(value, dict):
            if value.get("type") in MEDIA_KINDS:
                tokens += IMAGE_TOKENS
            else:
                waiting += islice(value.values(), MAX_VALUES)
    return tokens + usual_tokens(texts)
