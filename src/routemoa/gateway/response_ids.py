"""The ids of responses: one number, behind the prefix of the API that answers."""

from __future__ import annotations

from uuid import uuid4

__all__ = ["CHAT_PREFIX", "bare_id", "new_id", "rename_id"]

CHAT_PREFIX = "chatcmpl-"
PREFIXES = (CHAT_PREFIX, "resp_", "msg_")


def new_id() -> str:
    """Return the id of a new chat completion."""
    return f"{CHAT_PREFIX}{uuid4().hex}"


def bare_id(id_: str) -> str:
    """Return the id of a response without the prefix of its API."""
    return next((id_.removeprefix(p) for p in PREFIXES if id_.startswith(p)), id_)


def rename_id(id_: str, prefix: str) -> str:
    """Return the id of a response with the prefix of another API."""
    return prefix + bare_id(id_)
