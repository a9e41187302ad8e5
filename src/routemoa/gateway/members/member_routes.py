"""The routes of an endpoint to which requests for its model are passed through, and what bounds their cost. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from routemoa.core.errors import QueryError
from routemoa.core.types import CHAT_ROUTE
from routemoa.gateway.chat_api.bounds import BOUNDED_FIELDS, check_bounded

__all__ = ["CHAT", "COMPLETIONS", "EMBEDDINGS", "MemberRoute"]


class MemberRoute(Struct, frozen=True):
    """A route of an endpoint."""

    path: str
    """Under its base URL."""
    bounded_fields: Collection[str]
    """Fields whose cost is bounded by the bytes of the prompt and the token limit of the answer."""
    writes: bool = True
    """Whether the reply has tokens of its own."""

    def check(self, body: Mapping[str, Any]) -> None:
        """Check that a call with this body has a known worst case. Raises QueryError."""
        check_bounded(body, self.bounded_fields)
        prompts = body.get("prompt")
        if self.writes and isinstance(prompts, list) and len(prompts) > 1 and not _is_one_prompt(prompts):
            raise QueryError("'prompt': a request with a limit has one prompt; send each in its own", "prompt")
        if body.get("best_of") not in (None, 1):
            raise QueryError("'best_of': a request with a limit gets one answer; leave it out", "best_of")


def _is_one_prompt(prompts: list[Any]) -> bool:
    """Return whether a list is the tokens of one prompt."""
    return all(isinstance(token, int) for token in prompts)


CHAT = MemberRoute(CHAT_ROUTE, BOUNDED_FIELDS)
COMPLETIONS = MemberRoute("completions", BOUNDED_FIELDS | {"prompt", "suffix", "echo", "best_of"})
EMBEDDINGS = MemberRoute(
    "embeddings", {"model", "input", "encoding_format", "dimensions", "user", "input_type", "task"}, writes=False
)
