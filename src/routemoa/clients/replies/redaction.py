"""Cuts the key of an endpoint out of what it replies, also where it is escaped or comes in pieces. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["LONGEST_ESCAPE", "KeyCutter", "cut_key", "cut_text", "redact", "redact_body"]

PLACEHOLDER = "[key]"
MIN_KEY_LENGTH = 8
"""Characters. Shorter keys ("EMPTY", "none") are words that answers contain, too: only errors lose those."""
ESCAPED = '/"\\'
"""Characters that JSON may write with a backslash before them."""
LONGEST_ESCAPE = 7
"""Characters of an escaped one: \\u0041, after two backslashes where JSON stands in JSON."""


def redact(text: str, key: str | None) -> str:
    """Return a text of ours or of an error without the key, however short that is."""
    return _cut(text, key) if key else text


def redact_body(body: bytes, key: str | None) -> bytes:
    """Return the body of an HTTP error, or its beginning, without the key, however short that is."""
    return cut_key(body.replace(key.encode(), PLACEHOLDER.encode()), key) if key else body


def cut_key(data: bytes, key: str | None) -> bytes:
    """Return a body without the key, as it is and as JSON or a URL may write it; a key that is too short stays."""
    cutter = KeyCutter(key)
    return (cutter.feed(data.decode("latin-1")) + cutter.end()).encode("latin-1")


def cut_text(text: str, key: str | None) -> str:
    """Return a whole text without the key, as it is and as JSON or a URL may write it; a short key stays."""
    cutter = KeyCutter(key)
    return cutter.feed(text) + cutter.end()


class KeyCutter:
    """Cuts the key out of a text that comes in pieces.

    What may be the beginning of the key waits for more; nothing else does.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key if key and len(key) >= MIN_KEY_LENGTH else ""
        self._waiting = ""

    @property
    def has_key(self) -> bool:
        """Return whether there is anything to cut out."""
        return bool(self._key)

    def feed(self, piece: str) -> str:
        """Return the text that certainly holds no part of the key."""
        if not self._key:
            return piece
        text = _cut(self._waiting + piece, self._key)
        safe = self._safe_length(text)
        self._waiting = text[safe:]
        return text[:safe]

    def end(self) -> str:
        """Return what waited; half of a key is cut out as well."""
        rest, self._waiting = self._waiting, ""
        return PLACEHOLDER if len(rest) > max(MIN_KEY_LENGTH, len(self._key) // 2) else rest

    def _safe_length(self, text: str) -> int:
        """Return where the longest end of the text begins that may become the key."""
        earliest = max(0, len(text) - LONGEST_ESCAPE * len(self._key))
        starts = [m.start() for m in _first_characters(self._key[:1]).finditer(text, earliest)]
        return next((i for i in starts if _may_become(self._key, text, i)), len(text))


@lru_cache(maxsize=256)
def _first_characters(first: str) -> re.Pattern[str]:
    """Return what finds the places where a key may begin that begins so."""
    return re.compile(re.escape(first) + r"|\\|%")


def _cut(text: str, key: str) -> str:
    text = text.replace(key, PLACEHOLDER)
    may_escape = "%" in text or "\\u" in text or any("\\" + c in text for c in ESCAPED if c in key)
    return _pattern(key).sub(PLACEHOLDER, text) if may_escape else text


def _may_become(key: str, text: str, at: int) -> bool:
    """Return whether the text from `at` on is the beginning of the key, the last character perhaps half an escape."""
    if text[at] == key[0] and not ("\\" in text[at:] or "%" in text[at:]):
        return key.startswith(text[at:])
    for character in key:
        if at >= len(text):
            return True
        found = _character(character).match(text, at)
        if found is None:
            rest = text[at:]
            return len(rest) < LONGEST_ESCAPE and any(form.startswith(rest.lower()) for form in _forms(character))
        at = found.end()
    return False


@lru_cache(maxsize=1024)
def _forms(character: str) -> tuple[str, ...]:
    """Return the ways to write a character, in lower case, but for itself."""
    hexadecimal = f"{ord(character):x}"
    forms = [f"\\u{hexadecimal:0>4}", f"\\\\u{hexadecimal:0>4}"]
    if ord(character) < 256:
        forms.append(f"%{hexadecimal:0>2}")
    if character in ESCAPED:
        forms.append("\\" + character)
    return tuple(forms)


@lru_cache(maxsize=1024)
def _character(character: str) -> re.Pattern[str]:
    return re.compile(_character_pattern(character))


def _character_pattern(character: str) -> str:
    return f"(?:{re.escape(character)}|(?i:{'|'.join(map(re.escape, _forms(character)))}))"


@lru_cache(maxsize=64)
def _pattern(key: str) -> re.Pattern[str]:
    return re.compile("".join(map(_character_pattern, key)))
