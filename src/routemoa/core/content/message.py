"""A turn of a conversation: its text, and what it holds beside that."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from routemoa.core.content.cache_marks import CacheMark
from routemoa.core.content.media import Modality, count_media_tokens, media_kinds, replace_media
from routemoa.core.text.unicode_text import mend_halves

__all__ = ["THOUGHT_FIELDS", "Message"]

THOUGHT_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thoughts", "thought")
"""Fields of a message beside its content: DeepSeek and vLLM; OpenRouter, Ollama and Groq; others."""


class Message(Struct, frozen=True, omit_defaults=True):
    """A turn of a conversation."""

    role: str
    """One of "system", "user", "assistant" and "tool"."""
    content: str
    """Its text."""
    marks: tuple[CacheMark, ...] = ()
    """In the order of their ends."""
    body: dict[str, Any] | None = None
    """The caller's own object, where it holds more than text: tool calls, the result of one, an image. Members are
    sent it as it is."""

    @property
    def sent_text(self) -> str:
        """Return all text of it that a member is sent: what a prompt's tokens are bounded by, beside `media_tokens`."""
        if self.body is None:
            return self.content
        return msgspec.json.encode(replace_media(self.body) if self.media else self.body).decode()

    @property
    def media(self) -> frozenset[Modality]:
        """Return what it holds beside text."""
        return media_kinds(self.body)

    @property
    def media_tokens(self) -> int:
        """Return the tokens of its images, audio and files at most."""
        return count_media_tokens(self.body)

    def with_text(self, text: str) -> Message:
        """Return it with more text behind its own; cache marks stay where they are."""
        body, content = self.body, self.content + text
        if body is None:
            return msgspec.structs.replace(self, content=content)
        parts = body.get("content")
        parts = parts if isinstance(parts, list) else [{"type": "text", "text": parts}] if parts else []
        body = {**body, "content": [*parts, {"type": "text", "text": text}]}
        return msgspec.structs.replace(self, content=content, body=body)

    @property
    def has_thoughts(self) -> bool:
        """Return whether it holds thoughts of its model beside its text."""
        return self.body is not None and any(field in self.body for field in THOUGHT_FIELDS)

    def without_thoughts(self) -> Message:
        """Return it without them."""
        if self.body is None or not self.has_thoughts:
            return self
        left = {key: value for key, value in self.body.items() if key not in THOUGHT_FIELDS}
        return msgspec.structs.replace(self, body=left)

    def without_media(self, kinds: Collection[str]) -> Message:
        """Return it with a note in the place of what it holds of these kinds."""
        if self.body is None or self.media.isdisjoint(kinds):
            return self
        return msgspec.structs.replace(self, body=replace_media(self.body, kinds))

    def __post_init__(self) -> None:
        """Mend halves of characters, which no endpoint and no file takes."""
        is_text = isinstance(self.content, str)  # what a caller gave that is none is told where a query is checked
        if is_text and (mended := mend_halves(self.content)) is not self.content:
            force_setattr(self, "content", mended)
