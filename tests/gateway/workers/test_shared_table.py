"""A table in a shared file: entries are found again, the locked wait, and the oldest make room."""

from __future__ import annotations

import asyncio
from pathlib import Path

from routemoa.core.content.cache_marks import CachedPrompt
from routemoa.gateway.workers.shared_conversations import SharedConversations
from routemoa.gateway.workers.shared_table import PROBES, SharedTable, digest_name


def open_two(path: Path, size: int = 8, places: int = 64) -> tuple[SharedTable, SharedTable]:
    return SharedTable(path, size, places), SharedTable(path, size, places)


def test_what_one_writes_the_other_reads_until_its_time(tmp_path: Path) -> None:
    one, other = open_two(tmp_path / "t")
    names = [digest_name(f"n{i}") for i in range(40)]
    for i, name in enumerate(names):
        one.write(name, i.to_bytes(8, "big"), until=100.0 + i)
    assert [int.from_bytes(other.read(name, 90.0) or b"", "big") for name in names] == list(range(40))
    assert other.read(names[0], 100.0) is None
    assert other.read(digest_name("x"), 0.0) is None
    one.write(names[0], b"newer...", until=200.0)
    assert other.read(names[0], 150.0) == b"newer..."
    assert set(other.digests()) == set(names)
    for table in (one, other):
        table.close()
        table.close()


def test_a_full_table_forgets_what_it_would_forget_first(tmp_path: Path) -> None:
    table, other = open_two(tmp_path / "t", places=PROBES)
    names = [digest_name(f"n{i}") for i in range(PROBES + 1)]
    for i, name in enumerate(names):
        table.write(name, bytes(8), until=1000.0 - i if i < PROBES else 5000.0)
    kept = [name for name in names if other.read(name, 0.0) is not None]
    assert kept == [*names[: PROBES - 1], names[PROBES]]
    table.close()
    other.close()


async def test_a_lock_is_waited_for_without_blocking(tmp_path: Path) -> None:
    one, other = open_two(tmp_path / "t")
    assert one.try_lock()
    assert not other.try_lock()
    waiting = asyncio.create_task(other.lock())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    one.unlock()
    await asyncio.wait_for(waiting, 1)
    assert not one.try_lock()
    other.close()
    assert one.try_lock(), "a process that is gone holds no lock"
    one.close()


def test_a_conversation_goes_on_at_another_worker(tmp_path: Path) -> None:
    one, other = (SharedConversations(tmp_path / "c", b"secret" * 5) for _ in range(2))
    name = one.hash_messages((), "routemoa", None)
    assert name == other.hash_messages((), "routemoa", None)
    assert other.find(name) is None
    one.store(name, CachedPrompt("a", ("b", "c" * 1000)))
    assert other.find(name) == CachedPrompt("a", ("b",)), "as many readers as have room"
    one.store(name, CachedPrompt("x" * 1000))
    assert other.find(name) == CachedPrompt("a", ("b",))
    one.close()
    other.close()
