"""Reads the chunks that most of a stream consists of, which hold a piece of text and nothing else. Pure.

Such a chunk is no error, ends nothing and counts nothing, so that none of that has to be looked for: the decoder itself
checks the form, field by field. A chunk with any field that is not listed here, or with a value of another type, is
read in full instead.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["read_plain_text"]

MAX_BYTES = 16 * 1024
"""Of a chunk; a larger one is read in full, within the bounds of that."""


class _Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str | None = None
    role: str | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning_content: None = None
    reasoning: None = None
    reasoning_details: None = None
    audio: None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _Delta
    index: Literal[0] | None = None
    finish_reason: None = None
    native_finish_reason: None = None
    stop_reason: None = None
    matched_stop: None = None
    logprobs: None = None
    usage: None = None


class _PlainChunk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    choices: tuple[_Choice]
    object: Literal["chat.completion.chunk"]
    id: str | None = None
    created: int | float | None = None
    model: str | None = None
    provider: str | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    obfuscation: str | None = None
    usage: None = None
    error: None = None
    prompt_token_ids: None = None


_decode = msgspec.json.Decoder(_PlainChunk).decode


def read_plain_text(data: bytes | str) -> str | None:
    """Return the text of a chunk that holds a piece of it, or none, and nothing else; None for any other chunk."""
    if len(data) > MAX_BYTES:
        return None
    try:
        chunk = _decode(data)
    except (ValueError, RecursionError):
        return None
    return chunk.choices[0].delta.content or ""
