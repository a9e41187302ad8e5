"""What servers tell one another through a real Redis: failures, refused fields, speeds, conversations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from routemoa.clients.endpoints.breaker import Breaker
from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.clients.faults import Fault
from routemoa.clients.protocol.dialect import Dialect
from routemoa.core.chat.conversations import ConversationMemory
from routemoa.core.content.cache_marks import CachedPrompt
from routemoa.core.failure_kind import FailureKind
from routemoa.gateway.conversations import Conversations
from routemoa.gateway.fleet.news import decode_news, restore_breaker
from routemoa.gateway.fleet.news_exchange import NewsExchange
from routemoa.ledger import StoreError
from routemoa.ledger.location import SharedUrl
from routemoa.ledger.redis.news import RedisNews
from routemoa.mixture.engine import RouteMoA
from routemoa.routing.latency import LatencySample
from routemoa.testing import ScriptedClient
from tests.conftest import MakePool
from tests.ledger.redis.server import RedisServer

DOWN = Fault(FailureKind.HTTP_ERROR, 503, opens_at_once=True)


class Server:
    """One server's memory of its members."""

    def __init__(self, url: SharedUrl, pool: Any) -> None:
        self.models = list(pool)
        self.memory, self.conversations = MemberMemory(), Conversations(ConversationMemory(secret=b"s"))
        self.method = RouteMoA(pool, ScriptedClient({}))
        self.news = NewsExchange(RedisNews(url))
        self.news.follow(self.models, self.memory, {"routemoa": self.method})
        self.news.follow_conversations(self.conversations)

    def fail(self) -> None:
        self.memory.note_fault(self.models[0], DOWN, self.memory.clock())

    @property
    def phase(self) -> str:
        return self.memory.health(self.models[0]).phase


@asynccontextmanager
async def servers(url: SharedUrl, pool: Any, count: int = 2) -> AsyncGenerator[list[Server]]:
    all_ = [Server(url, pool) for _ in range(count)]
    yield all_
    for server in all_:
        await server.news.aclose()


async def exchange(*all_: Server) -> None:
    for server in all_:
        await server.news.exchange()


async def test_what_one_server_learns_all_know(redis_server: RedisServer, make_pool: MakePool) -> None:
    url, pool = redis_server.new_url(), make_pool("a", "b")
    async with servers(url, pool) as (one, two):
        await exchange(one, two)
        one.fail()
        one.memory.learn(one.models[1], Dialect(frozenset({"seed"}), {"max_tokens": "max_completion_tokens"}))
        one.memory.note_lack(one.models[1], "tools")
        one.method.latency.listener(LatencySample("a", 100, 2.0, 0.5))  # type: ignore[misc]
        one.conversations.listener(b"\x00name", CachedPrompt("a", ("b",)))  # type: ignore[misc]
        assert two.phase == "closed"
        await exchange(one, two)
        assert two.phase == "open"
        waits = [s.memory.breaker(s.models[0]).wait(s.memory.clock()) for s in (one, two)]
        assert waits[1] == pytest.approx(waits[0], abs=0.5)
        assert two.memory.dialect(two.models[1]) == one.memory.dialect(one.models[1])
        assert two.memory.lacks(two.models[1], "tools")
        assert two.method.latency.estimates().seconds["a"] == 2.0
        assert two.conversations.memory.find(b"\x00name") == CachedPrompt("a", ("b",))
        one.memory.force(one.models[:1])
        one.memory.succeed(one.models[0], one.memory.clock())
        await exchange(one, two)
        assert (one.phase, two.phase) == ("closed", "closed"), "it answers again"
        late = Server(url, pool)
        await exchange(late)
        assert late.memory.dialect(late.models[1]) == one.memory.dialect(one.models[1]), "who comes later hears of it"
        assert late.phase == "closed"
        stored = redis_server.execute("DBSIZE", database=int(url.secret.rpartition("/")[2]))
        assert stored == "1"
        await late.news.aclose()


async def test_a_server_that_gets_answers_does_not_believe_that_a_member_is_down(
    redis_server: RedisServer, make_pool: MakePool
) -> None:
    async with servers(redis_server.new_url(), make_pool("a")) as (one, two):
        one.fail()
        await exchange(one)
        two.memory.succeed(two.models[0], two.memory.clock())
        await exchange(two)
        assert two.phase == "closed"
        redis_server.kill()
        for server in (one, two):
            with pytest.raises(StoreError, match="redis://"):
                await exchange(server)
        await asyncio.to_thread(redis_server.start)
        one.fail()
        two.news._answered.clear()  # its answers are long ago
        await exchange(one, two)
        assert two.phase == "open"


def test_news_that_is_late_or_unknown_changes_nothing() -> None:
    told, here = Breaker(3, 1, -1.0, 9.0, fault=DOWN), Breaker()
    opened = restore_breaker(told, here, 2.0, 100.0, 0.0)
    assert opened is not None
    assert (opened.opened, opened.until) == (97.0, 107.0)
    assert restore_breaker(told, here, 12.0, 100.0, 0.0) is None, "it is over"
    assert restore_breaker(told, replace(opened, until=200.0), 2.0, 100.0, 0.0) is None
    assert decode_news(b'[["of another version"]]') == []
