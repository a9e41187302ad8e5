"""Tells whether questions are among those that something was trained on: figures on them flatter it. Pure.

A question is recognised by its text without case, spaces and punctuation, whatever its id.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Iterable, Sequence

__all__ = ["hash_query", "pack_hashes", "unpack_hashes", "warn_of_overlap"]

HASH_BYTES = 6
"""Two of a million different questions share a hash with probability 0.2 %."""
COMPARED_CHARACTERS = 2000
"""A scorer's folder keeps no more of a question."""


def hash_query(text: str) -> bytes:
    """Return the hash by which a question is recognised."""
    folded = re.sub(r"[\W_]+", "", text[:COMPARED_CHARACTERS].casefold()) or text.strip()
    return hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def pack_hashes(texts: Iterable[str]) -> str:
    """Return the hashes of questions as one text: eight characters for each different question, sorted."""
    return base64.b64encode(b"".join(sorted({hash_query(text) for text in texts}))).decode()


def unpack_hashes(packed: str) -> frozenset[bytes]:
    """Return the hashes in a text that `pack_hashes` made; none where it is damaged, as where there is none."""
    try:
        data = base64.b64decode(packed, validate=True)
    except ValueError:
        return frozenset()
    return frozenset(data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES))


def warn_of_overlap(questions: Sequence[Collection[str]], trained: Collection[bytes], subject: str) -> str | None:
    """Return a warning where questions are among those that `subject` was trained on; None where none is.

    Args:
        questions: the texts of each: as a scorer reads it, and as it was sent where that differs.
        trained: hashes of the training questions.
        subject: what was trained, such as "the scorer in my-scorer".
    """
    seen = sum(any(hash_query(text) in trained for text in texts) for texts in questions)
    if not seen:
        return None
    total = len(questions)
    count = f"all {total:,} questions are" if seen == total else f"{seen:,} of {total:,} questions are"
    count = "the question is" if total == 1 else count
    return f"{count} among those that {subject} was trained on: these figures flatter it; evaluate on other questions"
