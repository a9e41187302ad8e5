"""What a model's tokens cost: rates with tiers, for cached tokens and for requests, and where they come from. Pure.

Where a price depends on what an endpoint does not report, the dearest that can apply counts: a call never costs more
than is said here.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["POOL_FILE", "Price", "Rate", "Tier"]

POOL_FILE = "pool file"
MILLION = 1e6


class Tier(Struct, frozen=True):
    """Prompts of more than `start` tokens are charged at `rate`, with all their tokens and those of the answer."""

    start: int
    rate: float


class Rate(Struct, frozen=True, omit_defaults=True):
    """Dollars per million tokens; `tiers` stand in the order of their starts."""

    base: float
    tiers: tuple[Tier, ...] = ()

    def at(self, prompt: int) -> float:
        """The rate for a call whose prompt has so many tokens."""
        reached = [t.rate for t in self.tiers if prompt > t.start]
        return reached[-1] if reached else self.base

    def highest(self, prompt: int) -> float:
        """The dearest rate for a call whose prompt has at most so many tokens."""
        return max([self.base, *(t.rate for t in self.tiers if prompt > t.start)])


class Price(Struct, frozen=True, omit_defaults=True):
    """What a model costs: rates in dollars per million tokens, `request` in dollars for each call that was answered.

    `cached` is for prompt tokens that the provider read from its cache, `written` for those that it put there; without
    a rate of their own they cost as much as any other. `hour` says that `written` covers a cache kept for an hour, too.
    `date` is the day of which the price is known, as ISO writes it.
    """

    input: Rate
    output: Rate
    cached: Rate | None = None
    cache_write: Rate | None = None
    request: float = 0.0
    source: str = POOL_FILE
    date: str | None = None
    one_hour_cache: bool = False

    def __str__(self) -> str:
        return f"{self.source}, {self.date}" if self.date else self.source

    def cost(self, prompt: int, completion: int, cached: int = 0, written: int = 0) -> float:
        """Dollars of one call; `cached` and `written` are among the prompt's tokens."""
        cached = min(cached, prompt) if self.cached else 0
        written = min(written, prompt - cached) if self.cache_write else 0
        dollars = (prompt - cached - written) * self.input.at(prompt) / MILLION
        if self.cached and cached:
            dollars += cached * self.cached.at(prompt) / MILLION
        if self.cache_write and written:
            dollars += written * self.cache_write.at(prompt) / MILLION
        dollars += completion * self.output.at(prompt) / MILLION + self._asked(prompt, completion)
        # Sums of more parts are rounded more often: never above the bound for that.
        return min(dollars, self.worst_cost(prompt, completion))

    def worst_cost(self, prompt: int, completion: int) -> float:
        """Dollars at most of a call with at most so many tokens, whatever the cache did."""
        kinds = [self.input, *(rate for rate in (self.cached, self.cache_write) if rate)]
        read = prompt * max(rate.highest(prompt) for rate in kinds) / MILLION
        return read + (completion * self.output.highest(prompt) / MILLION + self._asked(prompt, completion))

    def _asked(self, prompt: int, completion: int) -> float:
        """A call that read nothing was refused, and nobody charges that."""
        return self.request if prompt or completion else 0.0
