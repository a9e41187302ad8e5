"""Tells other servers what this one has found out about its members, and takes over what they have. No request waits.

What is told is a hint: while the news cannot be exchanged each server learns for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from time import monotonic

from routemoa.clients.endpoints.breaker import Breaker
from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.core.chat.conversations import ConversationMemory
from routemoa.core.protocols import Method
from routemoa.core.types import ModelSpec
from routemoa.gateway.conversations import Conversations
from routemoa.gateway.fleet.news import (
    ClosedBreaker,
    Conversation,
    Learned,
    Measured,
    News,
    OpenedBreaker,
    decode_news,
    encode_news,
    name_member,
    restore_breaker,
    tell_breaker,
)
from routemoa.ledger import StoreError
from routemoa.ledger.news import NewsStore
from routemoa.mixture.engine import RouteMoA

__all__ = ["NewsExchange"]

NEWS_SECONDS = 0.5
"""Between two exchanges."""
REPEAT_SECONDS = 60.0
"""Between two times that all refused fields are told: to servers that have begun, and to a store that has forgotten."""
MAX_NEWS = 1000
"""Of one message; further ones are dropped: they are hints."""


class NewsExchange:
    """Exchanges while `watch` runs. A `MemoryListener`.

    Args:
        store: passes messages on.
    """

    def __init__(self, store: NewsStore) -> None:
        self._store = store
        self._memory = MemberMemory()
        self._places: dict[str, ModelSpec] = {}
        self._methods: dict[str, RouteMoA] = {}
        self._conversations: ConversationMemory | None = None
        self._news: list[News] = []
        self._breakers: dict[str, ModelSpec] = {}  # to be told as they are then
        self._learned: dict[str, ModelSpec] = {}
        self._answered: dict[str, float] = {}
        self._opened_elsewhere: set[str] = set()  # and not here since
        self._repeated = 0.0

    def follow(self, models: Iterable[ModelSpec], memory: MemberMemory, methods: Mapping[str, Method]) -> None:
        """Tell of these members and methods from now on, and take over what others tell of them."""
        self._places = {name_member(place): place for model in models for place in model.places}
        self._memory = memory
        memory.listener = self
        self._methods = {name: method for name, method in methods.items() if isinstance(method, RouteMoA)}
        for name, method in self._methods.items():
            method.latency.listener = lambda sample, name=name: self._note(Measured(name, sample))

    def follow_conversations(self, conversations: Conversations) -> None:
        """Tell of conversations that are answered, and remember those of others."""
        self._conversations = conversations.memory
        conversations.listener = lambda name, prompt: self._note(Conversation(name, prompt))

    # --- what is found out here

    def note_breaker(self, place: ModelSpec) -> None:
        """Hear that a breaker has opened or closed."""
        self._breakers[name_member(place)] = place
        self._opened_elsewhere.discard(name_member(place))

    def note_answer(self, place: ModelSpec) -> None:
        """Hear that a member answers."""
        self._answered[name_member(place)] = self._memory.clock()

    def note_learned(self, place: ModelSpec) -> None:
        """Hear that an endpoint refuses something."""
        self._learned[name_member(place)] = place

    def _note(self, news: News) -> None:
        if len(self._news) < MAX_NEWS:
            self._news.append(news)

    # --- beside the requests

    async def watch(self) -> None:
        """Exchange news, for ever."""
        while True:
            with suppress(StoreError):  # rates and budgets say so
                await self.exchange()
            await asyncio.sleep(NEWS_SECONDS)

    async def exchange(self) -> None:
        """Tell what is new, and take over what others have told. Raises StoreError."""
        for age, message in await self._store.exchange(encode_news(self._collect())):
            for news in decode_news(message):
                self._adopt(news, age)

    async def aclose(self) -> None:
        """Drop the connection."""
        await self._store.aclose()

    def _collect(self) -> list[News]:
        """Return what is to be told now."""
        if monotonic() - self._repeated > REPEAT_SECONDS or not self._repeated:
            self._repeated = monotonic()
            self._learned = {name: p for name, p in self._places.items() if any(self._memory.learned(p))}
        news, self._news = self._news, []
        now = self._memory.clock()
        news += [tell_breaker(place, self._memory.breaker(place), now) for place in self._breakers.values()]
        news += [Learned(name, *self._memory.learned(place)) for name, place in self._learned.items()]
        self._breakers, self._learned = {}, {}
        return news

    def _adopt(self, news: News, age: float) -> None:
        match news:
            case Measured():
                if (method := self._methods.get(news.method)) is not None:
                    method.latency.add(news.sample)
            case Conversation():
                if self._conversations is not None:
                    self._conversations.store(news.name, news.prompt)
            case Learned() if (place := self._places.get(news.member)) is not None:
                self._memory.adopt_learned(place, news.dialect, news.lacks)
            case OpenedBreaker() | ClosedBreaker() if (place := self._places.get(news.member)) is not None:
                self._adopt_breaker(place, news, age)

    def _adopt_breaker(self, place: ModelSpec, news: OpenedBreaker | ClosedBreaker, age: float) -> None:
        here, now = self._memory.breaker(place), self._memory.clock()
        if isinstance(news, OpenedBreaker):
            answered = self._answered.get(news.member, float("-inf"))
            if (opened := restore_breaker(news.breaker, here, age, now, answered)) is not None:
                self._memory.adopt_breaker(place, opened)
                self._opened_elsewhere.add(news.member)
        elif here.opened is not None and (news.member in self._opened_elsewhere or here.opened < now - age):
            self._memory.adopt_breaker(place, Breaker())
