"""Words in the log that are not ours: an endpoint may quote a prompt or an answer in what it says."""

from __future__ import annotations

__all__ = ["Quoted"]


class Quoted:
    """An argument of a line in the log.

    Args:
        words: that an endpoint said.
        instead: stands in their place in a log that is redacted.
    """

    def __init__(self, words: str, instead: str) -> None:
        self._words = words
        self.instead = instead

    def __str__(self) -> str:
        return self._words
