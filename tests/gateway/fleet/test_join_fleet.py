"""Servers with one PostgreSQL know the same of their members, and where a conversation is cached."""

from __future__ import annotations

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.clients.faults import Fault
from routemoa.core.failure_kind import FailureKind
from routemoa.gateway.conversations import Conversations
from routemoa.gateway.fleet import join_fleet
from routemoa.ledger.location import StoreUrl
from tests.conftest import MakePool


async def test_servers_with_one_database_know_the_same(database: StoreUrl, make_pool: MakePool) -> None:
    pool = make_pool("a", "b")
    one, other = join_fleet(database, pool), join_fleet(database, pool)
    memories = MemberMemory(), MemberMemory()
    for fleet, memory in zip((one, other), memories, strict=True):
        fleet.news.follow(pool, memory, {})
        fleet.news.follow_conversations(Conversations(fleet.conversations))
        await fleet.news.exchange()
    memories[0].note_fault(pool.models[0], Fault(FailureKind.HTTP_ERROR, 503, opens_at_once=True), memories[0].clock())
    for fleet in (one, other):
        await fleet.news.exchange()
    assert [memories[1].health(m).phase for m in pool] == ["open", "closed"]
    name = one.conversations.hash_messages((), "routemoa", None)
    assert name == other.conversations.hash_messages((), "routemoa", None), "with one key"
    for fleet in (one, other):
        await fleet.news.aclose()
        await fleet.rates.aclose()
