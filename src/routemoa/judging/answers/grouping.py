"""Group answers that say the same. Pure functions on texts.

A closed question has answers that state a result ("The answer is 18", a box, "#### 18", a JSON field "answer", or a
text so short that it is its own result): results are brought to one form and compared. Answers to an open question
state none: they are compared by their words. So is code (`behaviour` compares what it does).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations, pairwise

from msgspec import Struct

from routemoa.core.trace import Proposal, Trace
from routemoa.judging.answers.code_blocks import is_code_panel
from routemoa.judging.answers.language.extraction import bound_text
from routemoa.judging.answers.panel import resolve_forms, resolve_options
from routemoa.judging.answers.results import extract_result

__all__ = [
    "Groups",
    "all_agree",
    "final_answer",
    "group_answers",
    "group_by_form",
    "group_run_code",
    "mean_similarities",
]

SAME_TEXT_SIMILARITY = 0.9
"""Similarity from which two open answers say the same."""
MAX_FOLDED = 64_000
"""Characters of a text that are compared without case and spacing."""
MAX_COMPARED_LENGTH = 6000
"""Characters of an open answer that are compared."""
CACHED_TEXTS = 256
"""Texts whose result and words are kept: each layer looks again at all answers of its query."""


class Groups(Struct, frozen=True):
    """Answers grouped by what they say."""

    group_of: tuple[int | None, ...]
    """The group of each answer, numbered by first appearance; None where a closed question's answer states nothing, and
    for a refusal beside answers."""
    closed: bool
    """Whether results were compared, so that at most one group is right."""
    similarity: tuple[float | None, ...]
    """To an open question, each answer's mean similarity with the others, in [0, 1]; None where it is alone."""
    failed: tuple[bool, ...] = ()
    """Of code answers that were run: which of them crash or miss an example of the question; empty for others."""

    def members(self, group: int) -> tuple[int, ...]:
        """Return the indices of the answers in a group."""
        return tuple(i for i, g in enumerate(self.group_of) if g == group)

    def spread(self, places: Sequence[int], count: int) -> Groups:
        """Return the groups of `count` answers of which only those at `places` were grouped."""
        at = {place: i for i, place in enumerate(places)}
        group_of = tuple(self.group_of[at[i]] if i in at else None for i in range(count))
        similarity = tuple(self.similarity[at[i]] if i in at else None for i in range(count))
        return Groups(
            group_of,
            self.closed,
            similarity,
            self.failed and tuple(i in at and self.failed[at[i]] for i in range(count)),
        )


def group_answers(texts: Sequence[str], options: Sequence[str] = ()) -> Groups:
    """Group the answers that say the same; their order changes no group.

    Args:
        texts: the answers.
        options: of a multiple choice, their texts: an answer may say one in place of its letter.
    """
    results = [_extract_result(bound_text(text)) for text in texts]
    forms = resolve_forms(results)
    if options:
        forms = resolve_options(forms, results, options)
    is_closed = _is_closed(forms, [result.is_stated for result in results]) and not is_code_panel(texts)
    return group_by_form(forms) if is_closed else _group_by_words(texts)


def _is_closed(forms: Sequence[str | None], is_stated: Sequence[bool]) -> bool:
    """Return whether half of the answers state a result, or more than half state one or are short.

    One short answer ("I cannot help with that.") does not make the long ones beside it wrong.
    """
    known = sum(bool(form) for form in forms)
    stated = sum(bool(form) and s for form, s in zip(forms, is_stated, strict=True))
    return known > 0 and (2 * stated >= len(forms) or 2 * known > len(forms))


def group_by_form(forms: Sequence[str | None]) -> Groups:
    """Group the answers to a closed question: the same result is the same answer."""
    number: dict[str, int] = {}
    group_of = tuple(number.setdefault(form, len(number)) if form else None for form in forms)
    return Groups(group_of, True, (None,) * len(forms))


def _group_by_words(texts: Sequence[str]) -> Groups:
    """Group the answers to an open question: similar texts are the same answer."""
    similarity = _compare_pairs(texts)
    return Groups(_link_similar(len(texts), similarity), False, _mean_similarities(len(texts), similarity))


def mean_similarities(texts: Sequence[str]) -> tuple[float | None, ...]:
    """Return each text's mean similarity with the others, in [0, 1]; None where it is alone."""
    return _mean_similarities(len(texts), _compare_pairs(texts))


def _compare_pairs(texts: Sequence[str]) -> dict[tuple[int, int], float]:
    vectors = [_word_vector(text) for text in texts]
    return {(i, j): _cosine(vectors[i], vectors[j]) for i, j in combinations(range(len(texts)), 2)}


def _link_similar(count: int, similarity: Mapping[tuple[int, int], float]) -> tuple[int, ...]:
    """Return the group of each text by single linkage: chains of similar texts are one group."""
    cluster = list(range(count))
    for (i, j), value in similarity.items():
        if value >= SAME_TEXT_SIMILARITY and cluster[i] != cluster[j]:
            kept, merged = sorted((cluster[i], cluster[j]))
            cluster = [kept if c == merged else c for c in cluster]
    number = {c: n for n, c in enumerate(dict.fromkeys(cluster))}
    return tuple(number[c] for c in cluster)


def _mean_similarities(count: int, similarity: Mapping[tuple[int, int], float]) -> tuple[float | None, ...]:
    if count < 2:
        return (None,) * count
    return tuple(
        sum(similarity[min(i, j), max(i, j)] for j in range(count) if j != i) / (count - 1) for i in range(count)
    )


def all_agree(texts: Sequence[str]) -> bool:
    """Return whether at least two answers all say the same: equal results, or equal texts where any states none."""
    if len(texts) < 2:
        return False
    forms = resolve_forms([_extract_result(bound_text(text)) for text in texts])
    if any(form is None for form in forms) or is_code_panel(texts):
        first = _fold_space(texts[0])
        return all(_fold_space(text) == first for text in texts[1:])
    return len(set(forms)) == 1 and bool(forms[0])


def group_run_code(trace: Trace, proposals: Sequence[Proposal]) -> Groups | None:
    """Return the groups of code answers that were run; None where they were not.

    An answer that came after the others were run is in no group yet.
    """
    run = trace.agreement
    if run is None or not run.models:
        return None
    group_of = dict(zip(run.models, run.groups, strict=True))
    failed = tuple(p.model in run.failed for p in proposals)
    return Groups(tuple(group_of.get(p.model) for p in proposals), True, (None,) * len(proposals), failed)


def _fold_space(text: str) -> tuple[str, str]:
    """Return a text in lower case with single spaces, as far as that is quick, and the rest of it."""
    return " ".join(text[:MAX_FOLDED].split()).casefold(), text[MAX_FOLDED:]


def final_answer(text: str) -> str | None:
    """Return the result of a text in one form, or None where it has none that stands apart from the rest."""
    return _extract_result(bound_text(text)).form


_extract_result = lru_cache(maxsize=CACHED_TEXTS)(extract_result)


@lru_cache(maxsize=CACHED_TEXTS)
def _word_vector(text: str) -> dict[str, float]:
    """Return the damped counts, 1 + log n, of words and of pairs of words."""
    words = re.findall(r"\w+|[^\w\s]", text[:MAX_COMPARED_LENGTH].casefold())
    counts = Counter(words) + Counter(f"{a} {b}" for a, b in pairwise(words))
    return {word: 1 + math.log(n) for word, n in counts.items()}


def _cosine(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    if len(a) > len(b):
        a, b = b, a
    product = sum(x * b[word] for word, x in a.items() if word in b)
    norms = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
    return min(1.0, product / norms) if norms else 0.0
