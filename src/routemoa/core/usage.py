"""The tokens that calls used, as their endpoints counted them, and their sums. Missing is None, never 0."""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

__all__ = ["Usage", "add_optional"]

Number = TypeVar("Number", int, float)


class Usage(Struct, frozen=True, rename={"cache_write_tokens": "written_tokens"}):
    """Tokens of a call as the endpoint counted them. Adds with `+`; an unknown count stays unknown."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    """Of the prompt's tokens, those read from the provider's cache."""
    cache_write_tokens: int | None = None
    """Of the prompt's tokens, those written to the provider's cache."""
    reasoning_tokens: int | None = None
    """Of the completion's tokens, those of thoughts; a sum is over the calls that report them."""
    reported_cost: float | None = None
    """Dollars of the call, where the endpoint reports them; of one call only, sums leave it out."""
    problem: str = ""
    """Which figures of the endpoint could not be meant, or were too large; empty where all hold."""

    @property
    def is_zero(self) -> bool:
        """Return whether nothing was used."""
        return self.prompt_tokens == 0 and self.completion_tokens == 0 and not self.reported_cost

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            add_optional(self.prompt_tokens, other.prompt_tokens),
            add_optional(self.completion_tokens, other.completion_tokens),
            add_optional(self.cached_tokens, other.cached_tokens),
            add_optional(self.cache_write_tokens, other.cache_write_tokens),
            _add_known(self.reasoning_tokens, other.reasoning_tokens),
        )


def add_optional(a: Number | None, b: Number | None) -> Number | None:
    """Return the sum, or None where either part is unknown."""
    return None if a is None or b is None else a + b


def _add_known(a: int | None, b: int | None) -> int | None:
    return a if b is None else b if a is None else a + b
