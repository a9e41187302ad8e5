"""What answers say, and which of them say the same. Pure functions on texts.

A closed question has answers that state a result ("The answer is 18", a box, "#### 18", a JSON field "answer", or a
text so short that it is its own result): results are brought to one form and compared. An open one has answers that
state none: they are compared by their words.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, pairwise

from msgspec import Struct

from routemoa.judging.answers.normalization import extract_result

__all__ = ["Groups", "all_agree", "final_answer", "group_answers", "text_similarity"]

SAME_TEXT = 0.9  # likeness from which two open answers say the same
MAX_COMPARED = 6000  # characters of an open answer that are compared
CACHED_TEXTS = 256  # texts that need not be read again: each layer looks at all answers of its query


class Groups(Struct, frozen=True):
    """Answers in groups that say the same.

    Attributes:
        of: the group of each answer, numbered by first appearance; None where a closed question's answer states
        nothing. closed: whether results were compared, so that at most one group is right. likeness: for an open
        question, each answer's mean likeness with the others, in [0, 1]; None where it is alone.
    """

    group_of: tuple[int | None, ...]
    closed: bool
    similarity: tuple[float | None, ...]

    def members(self, number: int) -> tuple[int, ...]:
        """Places of the answers in a group."""
        return tuple(i for i, g in enumerate(self.group_of) if g == number)


def group_answers(texts: Sequence[str]) -> Groups:
    """Which answers say the same; the order in which they came changes no group.

    A question is closed where half of the answers state a result, or more than half do or are short: that one is short
    ("I cannot help with that.") makes no long answer beside it wrong.
    """
    read = [_read(t) for t in texts]
    results = [result for result, _ in read]
    known = [r for r in results if r]
    said = sum(bool(result) and plainly for result, plainly in read)
    if known and (2 * said >= len(texts) or 2 * len(known) > len(texts)):
        number = {r: i for i, r in enumerate(dict.fromkeys(known))}
        return Groups(tuple(number[r] if r else None for r in results), True, (None,) * len(texts))
    bags = [_bag(t) for t in texts]
    alike = {(i, j): _cosine(bags[i], bags[j]) for i, j in combinations(range(len(texts)), 2)}
    first = list(range(len(texts)))  # of the chain of alike answers that each belongs to
    for (i, j), how in alike.items():
        if how >= SAME_TEXT and first[i] != first[j]:
            low, high = sorted((first[i], first[j]))
            first = [low if f == high else f for f in first]
    place = {f: n for n, f in enumerate(dict.fromkeys(first))}
    of = tuple(place[f] for f in first)
    mean = [
        sum(alike[min(i, j), max(i, j)] for j in range(len(texts)) if j != i) / (len(texts) - 1)
        if len(texts) > 1
        else None
        for i in range(len(texts))
    ]
    return Groups(of, False, tuple(mean))


def all_agree(texts: Sequence[str]) -> bool:
    """Whether all of at least two answers say the same: equal final answers, or equal texts where none is stated."""
    if len(texts) < 2:
        return False
    results = [final_answer(t) for t in texts]
    if any(r is None for r in results):
        return len({" ".join(t.split()).casefold() for t in texts}) == 1
    return len(set(results)) == 1 and bool(results[0])


def text_similarity(a: str, b: str) -> float:
    """How far two texts use the same words and pairs of words, in [0, 1]: cosine of their damped counts."""
    return _cosine(_bag(a), _bag(b))


def final_answer(text: str) -> str | None:
    """The result a text states, in one form, or None when it states none that can be told apart from the rest."""
    return _read(text)[0]


_read = lru_cache(maxsize=CACHED_TEXTS)(extract_result)


@lru_cache(maxsize=CACHED_TEXTS)
def _bag(text: str) -> dict[str, float]:
    words = re.findall(r"\w+|[^\w\s]", text[:MAX_COMPARED].casefold())
    counts = Counter(words) + Counter(f"{a} {b}" for a, b in pairwise(words))
    return {w: 1 + math.log(n) for w, n in counts.items()}


def _cosine(a: dict[str, float], b: dict[str, float]) -> float:
    if len(a) > len(b):
        a, b = b, a
    dot = sum(x * b[w] for w, x in a.items() if w in b)
    size = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
    return min(1.0, dot / size) if size else 0.0
