"""What several servers share through Redis or PostgreSQL: their rates, their budgets, and what they have learned."""

from __future__ import annotations

from typing import NamedTuple

from routemoa.core.chat.conversations import ConversationMemory
from routemoa.core.chat.tool_ids import pool_signing_key
from routemoa.core.pool_file.pool import Pool
from routemoa.gateway.access.stored_rates import StoredRates
from routemoa.gateway.fleet.news_exchange import NewsExchange
from routemoa.ledger import BudgetStore
from routemoa.ledger.location import SharedUrl, StoreUrl
from routemoa.ledger.postgres.news import PostgresNews
from routemoa.ledger.postgres.rates import PostgresRates
from routemoa.ledger.redis.budgets import RedisBudgets
from routemoa.ledger.redis.news import RedisNews
from routemoa.ledger.redis.rates import RedisRates

__all__ = ["Fleet", "conversation_secret", "join_fleet"]


class Fleet(NamedTuple):
    """The shared parts, as one server uses them."""

    rates: StoredRates
    budgets: BudgetStore | None
    """None where they share a store, which holds them."""
    news: NewsExchange
    conversations: ConversationMemory
    """Where the workers of one server have none of their own."""


def join_fleet(url: SharedUrl | StoreUrl, pool: Pool) -> Fleet:
    """Return what servers with this Redis, or with this store, share. It connects when it is used.

    Raises:
        MissingExtra: the library is not installed.
        ConfigError: the URL is none.
    """
    conversations = ConversationMemory(secret=conversation_secret(pool))
    if isinstance(url, StoreUrl):
        return Fleet(StoredRates(PostgresRates(url)), None, NewsExchange(PostgresNews(url)), conversations)
    return Fleet(StoredRates(RedisRates(url)), RedisBudgets(url), NewsExchange(RedisNews(url)), conversations)


def conversation_secret(pool: Pool) -> bytes:
    """Return the key of the hashes of conversations, the same on all servers with a pool."""
    return pool_signing_key(pool, "conversations")
