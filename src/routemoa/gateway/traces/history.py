"""Keeps the traces of answers, and continues a conversation from the id of its last response, or those of its items."""

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
from routemoa.gateway.http_exchange.response_ids import bare_id, read_item_id
from routemoa.gateway.traces.lookup import TraceLookup

__all__ = ["History"]

Messages = list[dict[str, Any]]
"""As a chat has them."""

FIELD = "previous_response_id"
LEFT_OUT = {"type": "reasoning"}
"""An item that no model is sent."""
MAX_REFERRED = 256
"""Responses that the items of one request may be of."""


class History:
    """The answers of all callers; each sees its own.

    Args:
        kept: the traces.
    """

    def __init__(self, kept: TraceLookup) -> None:
        self._kept, self._store = kept, kept.store

    async def recall(self, body: Mapping[str, Any], tenant: str | None) -> tuple[Mapping[str, Any], Messages]:
        """Return a request with the items of `input` that it only refers to, and the messages up to the response that
        it continues; both as they are where no answers are kept.

        Raises:
            QueryError: there is no such response, or item, of this caller.
        """
        if self._store is None or not self._store.settings.texts:
            return body, []
        items = body.get("input")
        if isinstance(items, list) and any(map(_is_reference, items)):
            body = {**body, "input": await self._fill_in(items, tenant)}
        return body, await self._find_earlier(body.get(FIELD), tenant)

    async def _find_earlier(self, id_: Any, tenant: str | None) -> Messages:
        if id_ is None:
            return []
        if not isinstance(id_, str):
            raise QueryError(f"'{FIELD}' must be the id of a response", FIELD)
        found = await self._kept.find(bare_id(id_), tenant)
        if found is None:
            raise QueryError(f"Previous response with id '{id_[:80]}' not found.", FIELD)
        return [*map(_to_chat, found.answer.trace.query.messages), _to_turn(found.answer)]

    async def _fill_in(self, items: list[Any], tenant: str | None) -> list[Any]:
        """Return items with those in the place of references to them; a text that stands in several is told once."""
        answers: dict[str, Answer] = {}
        told: set[str] = set()
        filled = []
        for i, item in enumerate(items):
            if not _is_reference(item):
                filled.append(item)
                continue
            id_ = str(item.get("id"))[:80]
            kind, response, number = read_item_id(id_) or ("", "", 0)
            is_new = response and response not in answers and len(answers) < MAX_REFERRED
            if is_new and (found := await self._kept.find(response, tenant)) is not None:
                answers[response] = found.answer
            made = _to_item(answers[response], kind, number) if response in answers else None
            if made is None:
                raise QueryError(f"Item with id '{id_}' not found.", f"input[{i}]")
            filled.append(LEFT_OUT if kind == "msg" and response in told else made)
            told |= {response} if kind == "msg" else set()
        return filled

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


def _is_reference(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "item_reference"


def _to_item(answer: Answer, kind: str, number: int) -> dict[str, Any] | None:
    """Return an item of an answer's response; None where it has none of that number."""
    calls = answer.trace.tool_calls
    if kind in ("fc", "ctc") and number < len(calls):
        call = calls[number]
        return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
    if kind == "msg":
        return {"type": "message", "role": "assistant", "content": answer.text}
    return LEFT_OUT if kind == "rs" else None
