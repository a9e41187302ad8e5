"""Finds the traces whose questions use the same words. Pure."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from routemoa.gateway.traces.trace_facts import TraceFacts

__all__ = ["find_similar"]

MIN_SIMILARITY = 0.15
"""Below, two questions share little but the commonest words."""
CANDIDATES = 200
"""Questions that share most with the one that is looked for, of which the similarity is computed."""
WORD = re.compile(r"\w+")


def find_similar(question: str, facts: Sequence[TraceFacts], limit: int) -> list[tuple[float, TraceFacts]]:
    """Return the traces with the most similar questions and the similarity in [0, 1], the most similar first.

    Words count by how rare they are among the questions (a cosine of inverse document frequencies), so that "What is
    the ... of ..." alone makes no two questions similar.
    """
    words = _split(question)
    texts = [_split(f.question) for f in facts]
    rarity = _weigh_words(texts)
    shared = [sum(rarity[word] ** 2 for word in words & text) for text in texts]
    closest = heapq.nlargest(CANDIDATES, range(len(facts)), key=shared.__getitem__)
    norm = _norm(words, rarity)
    found = [(min(1.0, shared[i] / (norm * _norm(texts[i], rarity))), facts[i]) for i in closest if shared[i] and norm]
    similar = [pair for pair in found if pair[0] >= MIN_SIMILARITY]
    return sorted(similar, key=lambda pair: (-pair[0], -pair[1].at))[:limit]


def _split(text: str) -> frozenset[str]:
    return frozenset(WORD.findall(text.casefold()))


def _weigh_words(texts: Sequence[frozenset[str]]) -> dict[str, float]:
    """Return the inverse document frequency of each word."""
    counts = Counter(chain.from_iterable(texts))
    return {word: math.log(1 + len(texts) / count) for word, count in counts.items()}


def _norm(words: frozenset[str], rarity: dict[str, float]) -> float:
    return math.sqrt(sum(rarity.get(word, 0.0) ** 2 for word in words))
