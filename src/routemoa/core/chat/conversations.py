"""Remember which model answered the last turn of a conversation, without its text. No I/O.

A request holds messages and no name of a conversation. What comes back in the next one is the prompt that was read and
the answer that was given: their keyed hash is the name. So a conversation is found where the providers' caches find it,
and nowhere else: a changed system text or a shortened history is another prompt.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from routemoa.core.content.cache_marks import CachedPrompt
from routemoa.core.trace import Answer, Trace
from routemoa.core.types import Message, Query

__all__ = ["ConversationMemory", "cached_prompt"]

CACHE_SECONDS = 300.0
"""How long providers keep a prompt that is not read again, at least."""
MAX_CONVERSATIONS = 10_000
"""Conversations that are remembered: about 3 MB. The one that was not used for longest is forgotten first."""
MAX_READERS = 8
"""Models that are remembered for a conversation."""


class _Remembered(NamedTuple):
    until: float
    """On the memory's clock."""
    prompt: CachedPrompt


class ConversationMemory:
    """Finds the last answer's model by a hash of the conversation. It holds hashes and names of models, no text.

    Args:
        seconds: after which an answer is forgotten.
        size: answers that are remembered.
        clock: returns seconds.
        secret: the key of the hashes; by default one of this memory's own.
    """

    def __init__(
        self,
        seconds: float = CACHE_SECONDS,
        size: int = MAX_CONVERSATIONS,
        clock: Callable[[], float] = monotonic,
        secret: bytes | None = None,
    ) -> None:
        self._seconds, self._size, self._clock = seconds, size, clock
        self._secret = secrets.token_bytes(32) if secret is None else secret
        self._known: OrderedDict[bytes, _Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def attach(self, query: Query, method: str, sender: str | None = None) -> Query:
        """Return the query with what is known of its conversation's last answer.

        Args:
            query: of a caller.
            method: that answers it; the conversations of another one are others.
            sender: the tenant; the conversations of another one are others.
        """
        earlier = answered_part(query.messages)
        if not earlier or query.cached is not None:
            return query
        return replace(query, cached=self.find(self.hash_messages(earlier, method, sender)))

    def remember(self, answer: Answer, sender: str | None = None) -> None:
        """Remember a whole answer for the next turn."""
        if (prompt := cached_prompt(answer.trace)) is not None:
            messages = (*answer.trace.query.messages, Message("assistant", answer.text))
            self.store(self.hash_messages(messages, answer.trace.method, sender), prompt)

    def hash_messages(self, messages: Sequence[Message], method: str, sender: str | None) -> bytes:
        """Return the name of a conversation: takes time linear in its length, and changes nothing."""
        digest = hashlib.blake2b(key=self._secret, digest_size=16)
        for part in (sender or "", method, *(part for m in messages for part in (m.role, _message_text(m)))):
            data = part.encode("utf-8", "replace")
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
        return digest.digest()

    def find(self, name: bytes) -> CachedPrompt | None:
        """Return what is remembered under a name, unless it is too old."""
        known = self._known.get(name)
        return known.prompt if known is not None and known.until > self._clock() else None

    def store(self, name: bytes, prompt: CachedPrompt) -> None:
        """Remember something under a name, and forget the oldest where that is one too many."""
        self._known.pop(name, None)
        self._known[name] = _Remembered(self._clock() + self._seconds, prompt)
        while len(self._known) > self._size or next(iter(self._known.values())).until <= self._clock():
            self._known.popitem(last=False)


def _message_text(message: Message) -> str:
    """Return what tells a message from others: clients may strip the text of an answer."""
    return message.content.strip() if message.body is None else msgspec.json.encode(message.body).decode()


def answered_part(messages: Sequence[Message]) -> Sequence[Message]:
    """Return a conversation up to its last answer; empty where it has none."""
    last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
    return messages[: last + 1]


def cached_prompt(trace: Trace) -> CachedPrompt | None:
    """Return which models have read the prompt of an answered query, and which of them wrote; None where none did."""
    writer = trace.aggregator or trace.choice
    if writer is None or trace.tool_calls:  # the id of a tool's call tells which model made it
        return None
    readers = dict.fromkeys(p.model for layer in trace.layers for p in layer.proposals if p.model != writer)
    return CachedPrompt(writer, tuple(readers)[:MAX_READERS])
