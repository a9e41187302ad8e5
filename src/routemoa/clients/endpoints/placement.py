"""Choose the endpoint of a member for a call: health and priority, then load, then the prompt cache. Pure.

1. An endpoint that cools down, or that this call has tried, is left out.
2. The lowest `priority` goes first, and in it the endpoints of this region; the next ones only where none is left.
3. Of these, endpoints with about as few calls under way as the least busy one, by their weights, are near equal.
4. Among near equals the prompt's prefix decides (weighted rendezvous hashing): the same conversation goes where its
   prompt is cached, on every replica, without anything being shared. A new endpoint takes only its own share.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from routemoa.core.types import Message

__all__ = ["EndpointState", "choose_endpoint", "hash_body_prefix", "hash_prefix"]

MARGIN_CALLS = 2.0
"""Calls that an endpoint may have more than the least busy one, and still be near equal to it ..."""
MARGIN_SHARE = 0.25
"""... and this share of the least busy one's calls beyond that."""
MAX_PREFIX = 16_384
"""Characters of a text that are hashed."""
MAX_MESSAGES = 8
"""Messages that are hashed: those before the first answer."""


class EndpointState(Struct, frozen=True):
    """How one endpoint of a member stands now."""

    id: str
    """Tells it from the others, the same on every replica."""
    is_ready: bool
    """Whether it can take this call."""
    running: int
    """Its calls under way from this process."""
    weight: float = 1.0
    priority: int = 1
    is_far: bool = False
    """Whether it is in another region."""


def choose_endpoint(states: Sequence[EndpointState], prefix: bytes | None, share: float) -> int | None:
    """Return the index of the endpoint to call; None where none can take the call.

    Args:
        states: of the member's endpoints.
        prefix: the hash of how the prompt begins; None where it has no use for a prompt cache.
        share: random, in [0, 1): decides among near equals without a prefix.
    """
    ready = [i for i, s in enumerate(states) if s.is_ready]
    if len(ready) < 2:
        return ready[0] if ready else None
    tier = min((states[i].priority, states[i].is_far) for i in ready)
    ready = [i for i in ready if (states[i].priority, states[i].is_far) == tier]
    largest = max(states[i].weight for i in ready)
    loads = {i: states[i].running * largest / states[i].weight for i in ready}
    least = min(loads.values())
    if prefix is None:  # nothing is cached: the least busy one, with this call
        with_call = {i: (states[i].running + 1) * largest / states[i].weight for i in ready}
        lowest = min(with_call.values())
        equal = [i for i in ready if with_call[i] <= lowest]
        return equal[min(int(share * len(equal)), len(equal) - 1)]
    near = [i for i in ready if loads[i] <= least * (1.0 + MARGIN_SHARE) + MARGIN_CALLS]
    return max(near, key=lambda i: _rendezvous(prefix, states[i]))


def _rendezvous(prefix: bytes, state: EndpointState) -> float:
    """Return how well an endpoint suits a prefix; each is the best for a share of the prefixes, by its weight."""
    digest = hashlib.blake2b(state.id.encode("utf-8", "replace"), key=prefix, digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
    return -state.weight / math.log(uniform)


def hash_prefix(messages: Sequence[Message]) -> bytes | None:
    """Return the hash of how a prompt begins: what stands before the first answer; None for a prompt without text.

    It stays the same as a conversation goes on. Takes time that is bounded, however long the prompt is.
    """
    return _hash_texts([(m.role, m.content) for m in messages[:MAX_MESSAGES]])


def hash_body_prefix(body: Mapping[str, Any]) -> bytes | None:
    """Return the same hash for a caller's body; None where it is no chat."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return None
    head = [m for m in messages[:MAX_MESSAGES] if isinstance(m, Mapping)]
    return _hash_texts([(str(m.get("role")), _first_text(m.get("content"))) for m in head])


def _first_text(content: Any) -> str:
    """Return the texts of a message's content, without images and the like."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = (part.get("text") for part in content[:MAX_MESSAGES] if isinstance(part, Mapping))
    return "".join(text for text in texts if isinstance(text, str))


def _hash_texts(texts: Sequence[tuple[str, str]]) -> bytes | None:
    digest = hashlib.blake2b(digest_size=16)
    has_text = False
    for role, text in texts:
        if role not in ("system", "developer", "user"):
            break
        data = text[:MAX_PREFIX].encode("utf-8", "replace")
        has_text |= bool(data)
        digest.update(len(data).to_bytes(4, "big") + role[:1].encode() + data)
    return digest.digest() if has_text else None
