"""Ids of tool calls that tell which member made the call, so that any replica can let it go on, without a store.

    new_call_id("large", key)                # "call_mrk4tj5b2qxwoyn7hd3a6f"
    find_caller("call_mrk4tj...", names, key)    # "large"; None for an id that is not ours, or forged

An id is "call_", five letters that stand for the member, nine that are random, and eight that sign both. The signature
keeps callers from choosing a member by its name's letters; replicas with the same pool file and keys share the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable

from routemoa.core.types import ModelSpec

__all__ = ["find_caller", "new_call_id", "pool_signing_key", "signing_key"]

PREFIX = "call_"
MEMBER_LETTERS, RANDOM_LETTERS, SIGNATURE_LETTERS = 5, 9, 8


def signing_key(parts: Iterable[str]) -> bytes:
    """Return the key that ids are signed with, made from what replicas share: the members' names and their keys."""
    return hashlib.blake2b("\0".join(parts).encode(), person=b"routemoa-calls").digest()


def pool_signing_key(models: Iterable[ModelSpec], purpose: str = "") -> bytes:
    """Return the key that all servers with a pool share: made from its members' names and their keys."""
    members = list(models)
    keys = [os.environ.get(p.api_key_env, "") if p.api_key_env else "" for m in members for p in m.places]
    return signing_key([*(m.name for m in members), *keys, *([purpose] if purpose else [])])


def new_call_id(member: str, key: bytes) -> str:
    """Return a new id of a call that a member made."""
    head = _member_letters(member) + _letters(secrets.token_bytes(8), RANDOM_LETTERS)
    return PREFIX + head + _sign(head, key)


def find_caller(id_: object, members: Iterable[str], key: bytes) -> str | None:
    """Return the member that made the call with an id; None where the id is another's, forged, or its member gone."""
    length = len(PREFIX) + MEMBER_LETTERS + RANDOM_LETTERS + SIGNATURE_LETTERS
    if not isinstance(id_, str) or len(id_) != length or not id_.startswith(PREFIX) or not id_.isascii():
        return None
    head, signature = id_[len(PREFIX) : -SIGNATURE_LETTERS], id_[-SIGNATURE_LETTERS:]
    if not hmac.compare_digest(signature, _sign(head, key)):
        return None
    return next((name for name in members if _member_letters(name) == head[:MEMBER_LETTERS]), None)


def _member_letters(member: str) -> str:
    return _letters(hashlib.blake2b(member.encode(), digest_size=8).digest(), MEMBER_LETTERS)


def _sign(head: str, key: bytes) -> str:
    return _letters(hashlib.blake2b(head.encode(), key=key, digest_size=8).digest(), SIGNATURE_LETTERS)


def _letters(data: bytes, count: int) -> str:
    return base64.b32encode(data).decode().lower()[:count]
