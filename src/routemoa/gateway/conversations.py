"""Remembers for the server which model answered a conversation last; long ones are hashed off the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from routemoa.core.chat.conversations import ConversationMemory, answered_part, cached_prompt
from routemoa.core.content.cache_marks import CachedPrompt
from routemoa.core.system.large_work import LARGE, run_large
from routemoa.core.trace import Answer
from routemoa.core.types import Message, Query

__all__ = ["Conversations"]


class Conversations:
    """The conversations of all callers; each sees its own."""

    def __init__(self, memory: ConversationMemory | None = None) -> None:
        self.memory = memory or ConversationMemory()
        self.listener: Callable[[bytes, CachedPrompt], None] | None = None
        """Hears of each conversation that is remembered here."""

    async def attach(self, query: Query, method: str, sender: str | None) -> Query:
        """Return the query with what is known of its conversation's last answer by this method for this sender."""
        if not (earlier := answered_part(query.messages)):
            return query
        return replace(query, cached=self.memory.find(await self._hash(earlier, method, sender)))

    async def remember(self, answer: Answer, sender: str | None) -> None:
        """Remember a whole answer for the sender's next turn."""
        if (prompt := cached_prompt(answer.trace)) is not None:
            messages = (*answer.trace.query.messages, Message("assistant", answer.text))
            name = await self._hash(messages, answer.trace.method, sender)
            self.memory.store(name, prompt)
            if self.listener is not None:
                self.listener(name, prompt)

    async def _hash(self, messages: Sequence[Message], method: str, sender: str | None) -> bytes:
        if sum(len(m.content) for m in messages) > LARGE or any(m.body is not None for m in messages):
            return await run_large(self.memory.hash_messages, messages, method, sender)
        return self.memory.hash_messages(messages, method, sender)
