"""Text to a vector without any model: hashed words and characters, weighed by how rare they are. Numpy only.

Words (one and two) and characters (three to five; one to three where letters are wide, as in Chinese) are hashed with
a sign into DIMENSIONS buckets (feature hashing: Weinberger et al., arXiv 0902.2206), so that the dot product of two
vectors is that of their TF-IDF vectors up to noise of about 1 / sqrt(DIMENSIONS).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIMENSIONS", "IDF_BUCKETS", "embed_lexical", "strip_solved_examples", "count_idf"]

DIMENSIONS = 4096
IDF_BUCKETS = 1 << 16  # buckets of the table of inverse document frequencies
MAX_CHARACTERS = 20_000  # characters that are read: the first and the last halves of what is longer
_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
_SOLVED_EXAMPLE = re.compile(r"(?<=\n)(?:Answer|A):[ \n]{0,3}[^\s:][^\n]{0,200}\n\s*\n")  # "Answer: B" and an empty line
_PRIMES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))

Floats = NDArray[np.float32]
Hashes = NDArray[np.uint64]


def embed_lexical(texts: Sequence[str], weights: Floats) -> Floats:
    """Unit vectors, len(texts) x DIMENSIONS; a text without any feature is the zero vector.

    Args:
        weights: RARITIES inverse document frequencies, from `rarity`.
    """
    out = np.zeros((len(texts), DIMENSIONS), np.float32)
    for i, text in enumerate(texts):
        hashes, counts = _hash_features(text)
        if not len(hashes):
            continue
        values = (1 + np.log(counts)) * weights[hashes % np.uint64(IDF_BUCKETS)]
        signs = 1.0 - 2.0 * ((hashes >> np.uint64(40)) & np.uint64(1)).astype(np.float32)
        buckets = ((hashes >> np.uint64(20)) % np.uint64(DIMENSIONS)).astype(np.intp)
        vector = np.bincount(buckets, values * signs, DIMENSIONS)
        out[i] = vector / (np.linalg.norm(vector) or 1.0)
    return out


def count_idf(texts: Iterable[str]) -> Floats:
    """Inverse document frequencies of the hashed features over `texts`: log((1 + n) / (1 + df)) + 1."""
    seen = np.zeros(IDF_BUCKETS, np.int64)
    count = 0
    for text in texts:
        count += 1
        hashes, _ = _hash_features(text)
        seen[np.unique(hashes % np.uint64(IDF_BUCKETS)).astype(np.intp)] += 1
    idf: Floats = (np.log((1 + count) / (1 + seen)) + 1).astype(np.float32)
    return idf


def _hash_features(text: str) -> tuple[Hashes, NDArray[np.int64]]:
    """The distinct features of a text as 64-bit hashes, with how often each occurs."""
    text = _cut_middle(strip_solved_examples(text)).lower()
    words = [zlib.crc32(w.encode("utf-8", "replace")) for w in _WORD.findall(text)]
    one = np.array(words, np.uint64)
    parts = [_mix(one, 1)]
    if len(one) > 1:
        parts.append(_mix(one[:-1] * _PRIMES[0] + one[1:], 2))
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    wide = bool(len(codes)) and float(np.mean(codes > 0x2E80)) > 0.2
    for n in (1, 2, 3) if wide else (3, 4, 5):
        if len(codes) >= n:
            rolled = np.zeros(len(codes) - n + 1, np.uint64)
            for i in range(n):
                rolled = rolled * _PRIMES[1] + codes[i : len(codes) - n + 1 + i]
            parts.append(_mix(rolled, 2 + n))
    hashes, counts = np.unique(np.concatenate(parts), return_counts=True)
    return hashes, counts.astype(np.int64)


def _mix(values: Hashes, kind: int) -> Hashes:
    """Spread the bits (splitmix64), differently for each kind of feature."""
    x = values + np.uint64(kind * int(_PRIMES[0]) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def strip_solved_examples(text: str) -> str:
    """The last question of a prompt that shows solved examples first: these say nothing about it."""
    asked = _SOLVED_EXAMPLE.split(text)[-1]
    return asked if asked.strip() else text


def _cut_middle(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS // 2] + " " + text[-MAX_CHARACTERS // 2 :]
