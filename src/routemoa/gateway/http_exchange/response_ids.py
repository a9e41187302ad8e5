"""The ids of responses: one number, behind the prefix of the API that answers; those of a response's items hold it."""

from __future__ import annotations

import re
from uuid import uuid4

__all__ = ["CHAT_PREFIX", "bare_id", "new_id", "new_item_id", "read_item_id", "rename_id"]

CHAT_PREFIX = "chatcmpl-"
PREFIXES = (CHAT_PREFIX, "resp_", "msg_")
_ITEM = re.compile(r"([a-z]+)_([0-9a-f]{32})([0-9a-f]{4})")


def new_id() -> str:
    """Return the id of a new chat completion."""
    return f"{CHAT_PREFIX}{uuid4().hex}"


def bare_id(id_: str) -> str:
    """Return the id of a response without the prefix of its API."""
    return next((id_.removeprefix(p) for p in PREFIXES if id_.startswith(p)), id_)


def rename_id(id_: str, prefix: str) -> str:
    """Return the id of a response with the prefix of another API."""
    return prefix + bare_id(id_)


def new_item_id(kind: str, response_id: str, number: int) -> str:
    """Return the id of an item of a response, by which a later request can refer to it."""
    return f"{kind}_{bare_id(response_id)}{number:04x}"


def read_item_id(id_: str) -> tuple[str, str, int] | None:
    """Return an item's kind, the bare id of its response, and its number; None where the id is none of ours."""
    found = _ITEM.fullmatch(id_)
    return None if found is None else (found[1], found[2], int(found[3], 16))
