"""Settle what the answers of a panel mean beside each other: a lone "3,5", "В" or "The capital is Paris." Pure functions.

Some results have two readings, and what the other answers look like tells which is meant. The order of the answers
never matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from routemoa.judging.answers.normalization import ExtractedResult
from routemoa.judging.answers.options import unify_labels

__all__ = ["resolve_forms"]


def resolve_forms(results: Sequence[ExtractedResult]) -> list[str | None]:
    """Return the form of each result, where the panel settles which of several readings is meant."""
    marks = {result.decimal_mark for result in results}
    has_comma = "," in marks and "." not in marks
    forms = [result.comma_form if has_comma and result.comma_form else result.form for result in results]
    sentences = [result.sentence for result in results]
    if any(sentences):
        forms = _resolve_sentences(forms, sentences)
    letters = {form.upper() for form in forms if form and len(form) == 1}
    if any(not letter.isascii() for letter in letters):
        forms = _resolve_letters(forms, letters)
    return forms


def _resolve_letters(forms: Sequence[str | None], letters: set[str]) -> list[str | None]:
    """Read Cyrillic letters as Latin ones where the panel has Latin ones and no letter that is Cyrillic alone."""
    unified = unify_labels(letters)
    if not any("A" <= letter <= "J" for letter in letters) or len(unified) == len(letters):
        return list(forms)
    return [
        min(unify_labels((form.upper(),))).casefold() if form and len(form) == 1 else form for form in forms
    ]


def _resolve_sentences(
    forms: Sequence[str | None], sentences: Sequence[tuple[str, str] | None]
) -> list[str | None]:
    """Read a sentence as the side of it that another answer is, and sentences that say the same as one.

    "The capital is Paris." is "paris" beside an answer "Paris". "The capital is Paris." and "The capital of France is
    Paris." are one result: they say the same of the same, as the words of one subject are among the other's.
    """
    bare = {form for form, sentence in zip(forms, sentences, strict=True) if form and not sentence}
    resolved = list(forms)
    for i, sides in enumerate(sentences):
        named = bare.intersection(sides) if sides else ()
        if len(named) == 1:
            resolved[i] = next(iter(named))
    left = [i for i, sides in enumerate(sentences) if sides and resolved[i] not in bare]
    for i, j in combinations(left, 2):
        if resolved[i] != resolved[j] and _say_the_same(sentences[i], sentences[j]):
            same = {resolved[i], resolved[j]}
            kept = min(form for form in same if form)
            for k in left:
                resolved[k] = kept if k in (i, j) or (resolved[k] and resolved[k] in same) else resolved[k]
    return resolved


def _say_the_same(one: tuple[str, str] | None, other: tuple[str, str] | None) -> bool:
    """Return whether two sentences say the same thing of the same subject, whichever side it is on."""
    if not one or not other:
        return False
    if sorted(one) == sorted(other):
        return True
    words, others = set(one[0].split()), set(other[0].split())
    return one[1] == other[1] and (words <= others or others <= words)
