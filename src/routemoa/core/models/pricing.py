"""Prices of models: rates with tiers, for cached tokens and for requests, and where they come from. Pure.

Where a price depends on something that endpoints do not report, the highest that can apply counts: a call never costs
more than these figures.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["POOL_FILE", "Price", "Rate", "Tier"]

POOL_FILE = "pool file"
MILLION = 1e6


class Tier(Struct, frozen=True):
    """A rate for long prompts; it applies to all tokens of the call."""

    start: int
    """Prompts with more tokens than this are charged at `rate`."""
    rate: float
    """Dollars per million tokens."""


class Rate(Struct, frozen=True, omit_defaults=True):
    """A price of tokens."""

    base: float
    """Dollars per million tokens."""
    tiers: tuple[Tier, ...] = ()
    """In the order of their starts."""

    def at(self, prompt: int) -> float:
        """Return the rate for a call whose prompt has `prompt` tokens."""
        rate = self.base
        for tier in self.tiers:
            if prompt > tier.start:
                rate = tier.rate
        return rate

    def highest(self, prompt: int) -> float:
        """Return the highest rate for a call whose prompt has at most `prompt` tokens."""
        return max([self.base, *(t.rate for t in self.tiers if prompt > t.start)]) if self.tiers else self.base


class Price(Struct, frozen=True, omit_defaults=True):
    """The price of a model."""

    input: Rate
    output: Rate
    cached: Rate | None = None
    """For prompt tokens read from the provider's cache; `input` where it is None."""
    cache_write: Rate | None = None
    """For prompt tokens written to the provider's cache; `input` where it is None."""
    request: float = 0.0
    """Dollars for each answered call."""
    source: str = POOL_FILE
    date: str | None = None
    """The day on which the price was known, as an ISO date."""
    one_hour_cache: bool = False
    """Whether `cache_write` also covers a cache that is kept for an hour."""

    def __str__(self) -> str:
        return f"{self.source}, {self.date}" if self.date else self.source

    def cost(self, prompt: int, completion: int, cached: int = 0, written: int = 0) -> float:
        """Return the dollars of one call; `cached` and `written` are part of the prompt's tokens."""
        cached = min(cached, prompt) if self.cached else 0
        written = min(written, prompt - cached) if self.cache_write else 0
        answer = self._answer_cost(self.output.at(prompt), prompt, completion)
        if not cached and not written:
            return prompt * self.input.at(prompt) / MILLION + answer
        dollars = (prompt - cached - written) * self.input.at(prompt) / MILLION
        if self.cached and cached:
            dollars += cached * self.cached.at(prompt) / MILLION
        if self.cache_write and written:
            dollars += written * self.cache_write.at(prompt) / MILLION
        # A sum of more parts is rounded more often, which must not lift it above the bound.
        return min(dollars + answer, self.worst_cost(prompt, completion))

    def worst_cost(self, prompt: int, completion: int) -> float:
        """Return the most dollars that a call with at most so many tokens can cost, whatever the cache did."""
        rate = self.input.highest(prompt)
        for kind in (self.cached, self.cache_write):
            if kind:
                rate = max(rate, kind.highest(prompt))
        return prompt * rate / MILLION + self._answer_cost(self.output.highest(prompt), prompt, completion)

    def _answer_cost(self, rate: float, prompt: int, completion: int) -> float:
        """Return the dollars for the answer and the request itself; a call without tokens was refused, and is free."""
        return completion * rate / MILLION + (self.request if prompt or completion else 0.0)
