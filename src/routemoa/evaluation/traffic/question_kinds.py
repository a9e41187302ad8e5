"""Kinds of questions of traffic, which names no tasks: clusters of what is asked, named by their own words. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from routemoa.evaluation.traffic.judged_answer import JudgedAnswer
from routemoa.evaluation.traffic.members import MemberRate, rate_members
from routemoa.scoring.clusters import find_centers, find_nearest
from routemoa.scoring.lexical import count_idf, embed_lexical

__all__ = ["QuestionKind", "find_kinds"]

MAX_QUESTIONS = 1_000
"""The newest ones: vectors of more would take too much memory and time."""
MAX_CHARACTERS = 2_000
"""Of a question that are read."""
PER_KIND = 25
"""Questions for each cluster, on average."""
MAX_KINDS = 6
NAME_WORDS = 3
_WORD = re.compile(r"[^\W\d_]{3,20}|[^\W\d_]{1,20}(?<=[\u3040-\u9fff])")


class QuestionKind(Struct, frozen=True):
    """Questions that use the same words."""

    words: tuple[str, ...]
    """That tell them from the others, the most telling first; none where there is one kind only."""
    questions: int
    members: list[MemberRate]
    chosen: dict[str, int]
    """Member -> how often its answer was chosen."""


def find_kinds(answers: Sequence[JudgedAnswer], members: Sequence[str]) -> list[QuestionKind]:
    """Group the newest judged questions, the largest group first; without texts there is one group."""
    newest = sorted(answers, key=lambda a: a.at)[-MAX_QUESTIONS:]
    texts = [a.question[:MAX_CHARACTERS] for a in newest]
    count = min(MAX_KINDS, sum(bool(t.strip()) for t in texts) // PER_KIND)
    if count < 2:
        return [_describe(newest, members, ())] if newest else []
    vectors = embed_lexical(texts, count_idf(texts))
    nearest = find_nearest(vectors, find_centers(vectors, count, np.random.default_rng(0)))
    words = [set(_WORD.findall(t.lower())) for t in texts]
    named: dict[tuple[str, ...], list[JudgedAnswer]] = {}
    for number in range(count):
        rows = np.flatnonzero(nearest == number)
        if len(rows):
            inside = [words[i] for i in rows]
            outside = [words[i] for i in np.flatnonzero(nearest != number)]
            named.setdefault(_name(inside, outside), []).extend(newest[i] for i in rows)
    kinds = [_describe(found, members, name) for name, found in named.items()]
    return sorted(kinds, key=lambda kind: -kind.questions)


def _describe(answers: Sequence[JudgedAnswer], members: Sequence[str], words: tuple[str, ...]) -> QuestionKind:
    chosen = Counter(a.choice for a in answers if a.choice is not None)
    return QuestionKind(words, len(answers), rate_members(answers, members), dict(chosen))


def _name(inside: Sequence[set[str]], outside: Sequence[set[str]]) -> tuple[str, ...]:
    """Return the words that most of these questions have and few others do."""
    here, there = Counter(w for words in inside for w in words), Counter(w for words in outside for w in words)

    def tell(word: str) -> float:
        share, other = (here[word] + 0.1) / (len(inside) + 1), (there[word] + 0.1) / (len(outside) + 1)
        return share * math.log(share / other)

    common = [w for w in here if here[w] > 1 or len(inside) == 1]
    return tuple(sorted(common, key=lambda w: (-tell(w), w))[:NAME_WORDS])
