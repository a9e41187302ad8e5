"""Secrets that callers send: how new ones are made, how they are kept, and what they may look like. Pure."""

from __future__ import annotations

import hashlib
import secrets
import string

from routemoa.core.errors import ConfigError

__all__ = ["KEY_HEAD", "check_secret", "digest_secret", "make_key", "show_prefix"]

KEY_HEAD = "rmk_"
"""With which every key that we make begins, so that scanners for leaked secrets can find it."""
KEY_CHARACTERS = 43
"""Drawn from 62 letters and digits: 256 bits."""
SHOWN_CHARACTERS = 6
"""Of a key, after its head: they tell keys apart and leave 220 bits unknown."""


def make_key() -> str:
    """Return a new random key."""
    alphabet = string.ascii_letters + string.digits
    return KEY_HEAD + "".join(secrets.choice(alphabet) for _ in range(KEY_CHARACTERS))


def show_prefix(key: str) -> str:
    """Return the part of a key of ours that may be shown."""
    return key[: len(KEY_HEAD) + SHOWN_CHARACTERS]


def digest_secret(secret: str) -> bytes:
    """Return what is kept of a secret: its SHA-256.

    A slow hash and a salt protect passwords, which can be guessed. A key of ours is 256 random bits: there is nothing
    to guess, no two are equal, and every request has to be checked at once. A secret that an operator chose is kept in
    memory only.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def check_secret(secret: str, where: str) -> None:
    """Check that a secret can be sent in a header. Raises ConfigError."""
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError(f"{where} cannot be a bearer token; use letters, digits and -._~+/")
