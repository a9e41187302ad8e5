"""Embed texts without a model: hashed n-grams of words and characters, weighted by inverse document frequency.

The n-grams are of one and two words, and of three to five characters (one to three where letters are wide, as in
Chinese). Each is hashed with a sign into one of DIMENSIONS buckets (feature hashing: Weinberger et al., arXiv
0902.2206), so that the dot product of two vectors is that of their TF-IDF vectors, up to noise of about
1 / sqrt(DIMENSIONS).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIMENSIONS", "IDF_BUCKETS", "count_idf", "embed_lexical", "strip_solved_examples"]

DIMENSIONS = 4096
IDF_BUCKETS = 1 << 16
"""Buckets of the table of inverse document frequencies."""
MAX_CHARACTERS = 20_000
"""A longer text is read at its beginning and its end, half of this each."""
_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
_SOLVED_EXAMPLE = (
    re.compile(  # "Answer: B" on a line of its own, or "Answer:" at a line's end and "B" below; an empty line
        r"(?:(?<=\n)(?:Answer|A):|(?<!\S)Answer:(?=[ ]{0,2}\n))[ \n]{0,3}[^\s:][^\n]{0,200}\n\s*\n"
    )
)
_PRIMES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))

Floats = NDArray[np.float32]
Hashes = NDArray[np.uint64]


def embed_lexical(texts: Sequence[str], idf: Floats) -> Floats:
    """Return unit vectors, N x DIMENSIONS; a text without any feature gives the zero vector.

    `idf` holds IDF_BUCKETS inverse document frequencies, from `count_idf`.
    """
    out = np.zeros((len(texts), DIMENSIONS), np.float32)
    for i, text in enumerate(texts):
        hashes, counts = _hash_features(text)
        if not len(hashes):
            continue
        values = (1 + np.log(counts)) * idf[hashes % np.uint64(IDF_BUCKETS)]
        signs = 1.0 - 2.0 * ((hashes >> np.uint64(40)) & np.uint64(1)).astype(np.float32)
        buckets = ((hashes >> np.uint64(20)) % np.uint64(DIMENSIONS)).astype(np.intp)
        vector = np.bincount(buckets, values * signs, DIMENSIONS)
        out[i] = vector / (np.linalg.norm(vector) or 1.0)
    return out


def count_idf(texts: Iterable[str]) -> Floats:
    """Return the inverse document frequencies of the hashed features, IDF_BUCKETS: log((1 + n) / (1 + df)) + 1."""
    document_counts = np.zeros(IDF_BUCKETS, np.int64)
    count = 0
    for text in texts:
        count += 1
        hashes, _ = _hash_features(text)
        document_counts[np.unique(hashes % np.uint64(IDF_BUCKETS)).astype(np.intp)] += 1
    idf: Floats = (np.log((1 + count) / (1 + document_counts)) + 1).astype(np.float32)
    return idf


def strip_solved_examples(text: str) -> str:
    """Return the last question of a prompt that shows solved examples before it: these say nothing about it."""
    last = _SOLVED_EXAMPLE.split(text)[-1]
    return last if last.strip() else text


def _hash_features(text: str) -> tuple[Hashes, NDArray[np.int64]]:
    """Return the distinct features of a text as 64-bit hashes, and how often each occurs."""
    text = _cut_middle(strip_solved_examples(text)).lower()
    words = [zlib.crc32(w.encode("utf-8", "replace")) for w in _WORD.findall(text)]
    unigrams = np.array(words, np.uint64)
    parts = [_mix_bits(unigrams, 1)]
    if len(unigrams) > 1:
        parts.append(_mix_bits(unigrams[:-1] * _PRIMES[0] + unigrams[1:], 2))
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    wide = bool(len(codes)) and float(np.mean(codes > 0x2E80)) > 0.2
    for n in (1, 2, 3) if wide else (3, 4, 5):
        if len(codes) >= n:
            rolled = np.zeros(len(codes) - n + 1, np.uint64)
            for i in range(n):
                rolled = rolled * _PRIMES[1] + codes[i : len(codes) - n + 1 + i]
            parts.append(_mix_bits(rolled, 2 + n))
    hashes, counts = np.unique(np.concatenate(parts), return_counts=True)
    return hashes, counts.astype(np.int64)


def _mix_bits(values: Hashes, kind: int) -> Hashes:
    """Spread the bits of hashes (splitmix64), differently for each kind of feature."""
    x = values + np.uint64(kind * int(_PRIMES[0]) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _cut_middle(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS // 2] + " " + text[-MAX_CHARACTERS // 2 :]
