"""Messages between the processes of a database: each is heard once, by all others, in its order."""

from __future__ import annotations

import asyncio

from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.news import PostgresNews


async def test_each_hears_what_the_others_say_once(database: StoreUrl) -> None:
    speakers = [PostgresNews(database) for _ in range(4)]
    said = [[f"{s}-{i}".encode() for i in range(25)] for s in range(4)]

    async def speak(number: int) -> list[bytes]:
        heard = [await speakers[number].exchange(message) for message in said[number]]
        return [message for found in heard for _, message in found]

    heard = await asyncio.gather(*(speak(number) for number in range(4)))
    for number, (speaker, found) in enumerate(zip(speakers, heard, strict=True)):
        last = await speaker.exchange(b"")
        assert all(0.0 <= age < 60.0 for age, _ in last)
        found += [message for _, message in last]
        for other in range(4):
            mine = [] if other == number else said[other]
            assert [m for m in found if m.startswith(f"{other}-".encode())] == mine
    late = PostgresNews(database)
    assert len(await late.exchange(b"")) == 100, "one that has just begun hears the last minutes"
    assert await late.exchange(b"") == []
    for speaker in [*speakers, late]:
        await speaker.aclose()
