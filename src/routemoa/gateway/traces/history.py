"""Keeps the traces of answers, and continues a conversation from the id of its last response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from routemoa.core.errors import QueryError
from routemoa.core.tools import declare_calls
from routemoa.core.trace import Answer
from routemoa.core.types import Message
from routemoa.gateway.api import ApiRequest
from routemoa.gateway.chat_api.responses import ChatCompletion
from routemoa.gateway.response_ids import bare_id
from routemoa.gateway.traces.lookup import TraceLookup

__all__ = ["History"]

FIELD = "previous_response_id"


class History:
    """The answers of all callers; each sees its own.

    Args:
        kept: the traces.
    """

    def __init__(self, kept: TraceLookup) -> None:
        self._kept, self._store = kept, kept.store

    async def find_earlier(self, body: Mapping[str, Any], tenant: str | None) -> list[dict[str, Any]]:
        """Return the messages up to the response that a request continues; none where it continues none.

        Raises:
            QueryError: there is no such response of this caller.
        """
        if (id_ := body.get(FIELD)) is None or self._store is None or not self._store.settings.texts:
            return []
        if not isinstance(id_, str):
            raise QueryError(f"'{FIELD}' must be the id of a response", FIELD)
        found = await self._kept.find(bare_id(id_), tenant)
        if found is None:
            raise QueryError(f"Previous response with id '{id_[:80]}' not found.", FIELD)
        return [*map(_to_chat, found.answer.trace.query.messages), _to_turn(found.answer)]

    def keep(self, completion: ChatCompletion, request: ApiRequest, tenant: str | None) -> None:
        """Keep a whole answer, unless its caller does not want that; never waits."""
        if self._store is None or not request.is_stored:
            return
        answer, own = completion.answer, request.instructions
        if own:  # they hold for one response
            query = answer.trace.query
            kept = replace(answer.trace, query=replace(query, messages=query.messages[own:]))
            answer = Answer(answer.text, kept)
        self._store.add(bare_id(completion.head["id"]), answer, tenant)


def _to_chat(message: Message) -> dict[str, Any]:
    return dict(message.body) if message.body is not None else {"role": message.role, "content": message.content}


def _to_turn(answer: Answer) -> dict[str, Any]:
    """Return an answer as the assistant's turn."""
    calls = answer.trace.tool_calls
    turn: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    return {**turn, "tool_calls": declare_calls(calls)} if calls else {**turn, "content": answer.text}
