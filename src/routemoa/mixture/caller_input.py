"""What callers give a mixture: questions with their limits, seeds, and parts of their own."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from routemoa.core.chat.messages import to_query
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import parse_limits
from routemoa.core.types import Message, Query

__all__ = ["Messages", "Question", "check_plug_in", "find_seed", "read_question"]

Messages = Sequence[Message | Mapping[str, Any]]
"""A conversation: `Message`s, or OpenAI's objects with `role` and `content`."""
Question = str | Query | Messages


def read_question(question: object, messages: object, limits: dict[str, Any]) -> Query:
    """Return a question, or a conversation, with the limits that it is asked with. Raises QueryError, ConfigError."""
    query = to_query(question, messages)
    return replace(query, limits=parse_limits(limits, "limits").with_defaults(query.limits)) if limits else query


def find_seed(query: Query) -> int:
    """Return the caller's seed, else one made from the query's text, so that a query can be repeated."""
    seed = query.parameters.get("seed")
    return seed if isinstance(seed, int) else zlib.crc32(query.text.encode())


def check_plug_in(value: object, name: str, protocol: str, *methods: str) -> None:
    """Raise ConfigError where a part that the caller brought cannot be one; None passes."""
    if value is not None and not all(callable(getattr(value, method, None)) for method in methods):
        raise ConfigError(
            f"{name} is of type {type(value).__name__}; it must be a {protocol}, with {' and '.join(methods)}"
        )
