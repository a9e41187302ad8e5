"""What several servers share through a server of Redis: their rates, their budgets, and what they have learned."""

from __future__ import annotations

from typing import NamedTuple

from routemoa.gateway.access.stored_rates import StoredRates
from routemoa.ledger import BudgetStore
from routemoa.ledger.location import SharedUrl

__all__ = ["Fleet", "join_fleet"]


class Fleet(NamedTuple):
    """The shared parts, as one server uses them."""

    rates: StoredRates
    budgets: BudgetStore


def join_fleet(url: SharedUrl | None) -> Fleet | None:
    """Return what servers with this URL share; None where there is none. It connects when it is used.

    Raises:
        MissingExtra: the library is not installed.
        ConfigError: the URL is none.
    """
    if url is None:
        return None
    from routemoa.ledger.redis.budgets import RedisBudgets
    from routemoa.ledger.redis.rates import RedisRates

    return Fleet(StoredRates(RedisRates(url)), RedisBudgets(url))
