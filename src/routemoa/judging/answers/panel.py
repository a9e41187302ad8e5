"""Settle what the answers of a panel mean beside each other: a lone "3,5", "В" or "The capital is Paris." Pure.

Some results have two readings, and what the other answers look like tells which is meant. The order of the answers
never matters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from routemoa.judging.answers.language.calendar_names import is_calendar_name
from routemoa.judging.answers.language.options import to_latin
from routemoa.judging.answers.language.sentences import Sentence
from routemoa.judging.answers.results import ExtractedResult
from routemoa.judging.multiple_choice import LETTERS, find_named_option

__all__ = ["resolve_forms", "resolve_options"]


def resolve_forms(results: Sequence[ExtractedResult]) -> list[str | None]:
    """Return the form of each result, where the panel settles which of several readings is meant."""
    forms = _resolve_bases(_resolve_numbers(_resolve_marks(results), results))
    forms = _resolve_calendar_names(forms, results)
    sentences = [r.sentence if form == r.form else None for form, r in zip(forms, results, strict=True)]
    if any(sentences):
        forms = _resolve_sentences(forms, sentences)
    letters = {form.upper() for form in forms if form and len(form) == 1}
    if any(not letter.isascii() for letter in letters):
        forms = _resolve_letters(forms, letters)
    return forms


_DENIAL = re.compile(
    r"\b(?:not?|never|neither|nor|except|wrong|incorrect|false|nicht|kein\w{0,2}|pas|non|n[ãa]o|nunca|mai|не|нет)\b|n['’]t\b"
    r"|不|没|沒|ない|ません|아니|아닙|아닌|않|ليس|नहीं",
    re.IGNORECASE,
)


def resolve_options(
    forms: Sequence[str | None], results: Sequence[ExtractedResult], options: Sequence[str]
) -> list[str | None]:
    """Read what an option says as its letter, where another answer is a letter: "carbon dioxide" beside "B".

    A sentence counts where it names one option and denies nothing.

    Args:
        forms: of the answers.
        results: of the same.
        options: their texts, in the question's order.
    """
    letters = LETTERS[: len(options)].casefold()
    is_letter = [form is not None and len(form) == 1 and form in letters for form in forms]
    if not any(is_letter):
        return list(forms)
    return [
        form if known or form is None else _name_letter(form, result, options) or form
        for known, form, result in zip(is_letter, forms, results, strict=True)
    ]


def _name_letter(form: str, result: ExtractedResult, options: Sequence[str]) -> str | None:
    sides = (result.sentence.complement, result.sentence.subject) if result.sentence else ()
    for said in (*sides, form):
        place = find_named_option(said, options)
        if place is None:
            continue
        own = options[place].casefold().rstrip(" .!?")
        if not _DENIAL.search(said.casefold().replace(own, "")):
            return LETTERS[place].casefold()
    return None


def _resolve_marks(results: Sequence[ExtractedResult]) -> list[str | None]:
    """Return the forms, a number with a lone comma or full stop read as the other answers write or state it."""
    if not any(result.comma_form for result in results):
        return [result.form for result in results]
    marks = {result.decimal_mark for result in results}
    has_comma = "," in marks and "." not in marks
    sure = {result.form for result in results if not result.comma_form}
    return [
        result.comma_form
        if result.comma_form and (has_comma or (result.comma_form in sure and "," in (result.form or "")))
        else result.form
        for result in results
    ]


def _resolve_numbers(forms: Sequence[str | None], results: Sequence[ExtractedResult]) -> list[str | None]:
    """Read texts that state no result as the number that they end with, and phrases that are stated as their number.

    It counts where another answer is that number. Of a text without a result also where it was calculated, and most
    answers give some result: an essay among essays that ends with a number does not state it.
    """
    pairs = list(zip(forms, results, strict=True))
    known = {form for form, r in pairs if form and (r.is_stated or r.number in (None, form))}
    is_closed = 2 * sum(bool(form or r.is_calculated) for form, r in pairs) > len(pairs)
    return [
        r.number if r.number in known or (not r.is_stated and is_closed and r.is_calculated) else form
        for form, r in pairs
    ]


_WITH_BASE = re.compile(r"(-?[0-9a-z]{2,40})_\{?\d{1,2}\}?")


def _resolve_bases(forms: Sequence[str | None]) -> list[str | None]:
    """Read "221_3" as "221" where another answer is that: the question names the base."""
    bare = set(forms)
    return [found[1] if form and (found := _WITH_BASE.fullmatch(form)) and found[1] in bare else form for form in forms]


def _resolve_calendar_names(forms: Sequence[str | None], results: Sequence[ExtractedResult]) -> list[str | None]:
    """Read "It falls on a Friday." as the day where another answer, or a side of it, is nothing but that name.

    Only then is the day what was asked for: "Rome on Friday" and "Paris on Friday" are two answers.
    """
    names = [result.calendar_name for result in results]
    if not any(names):
        return list(forms)
    asked = {name for name, form, result in zip(names, forms, results, strict=True) if _is_calendar_name(form, result)}
    return [name if name in asked and names.count(name) > 1 else form for name, form in zip(names, forms, strict=True)]


def _is_calendar_name(form: str | None, result: ExtractedResult) -> bool:
    """Return whether an answer is the name of a weekday or month, or a sentence that says of something that it is."""
    sides = (result.sentence.complement, result.sentence.place) if result.sentence else ()
    return any(side and is_calendar_name(side) for side in (form, *sides))


def _resolve_letters(forms: Sequence[str | None], letters: set[str]) -> list[str | None]:
    """Read letters of another script as Latin ones where the panel has Latin ones."""
    others = frozenset(letter for letter in letters if not letter.isascii())
    if not any("A" <= letter <= "J" for letter in letters):
        return list(forms)
    latin = dict(zip(sorted(others), to_latin(sorted(others)), strict=True))
    return [latin.get(form.upper(), form).casefold() if form and len(form) == 1 else form for form in forms]


def _resolve_sentences(forms: Sequence[str | None], sentences: Sequence[Sentence | None]) -> list[str | None]:
    """Read a sentence as the side of it that another answer is, and sentences that say the same as one.

    "The capital is Paris." is "paris" beside an answer "Paris". "The capital is Paris." and "The capital of France is
    Paris." are one result: they say the same of the same, as the words of one subject are among the other's.
    """
    bare = {form for form, sentence in zip(forms, sentences, strict=True) if form and not sentence}
    resolved = list(forms)
    for i, sentence in enumerate(sentences):
        named = bare.intersection(_possible_answers(sentence)) if sentence else ()
        if len(named) == 1:
            resolved[i] = next(iter(named))
    left = [i for i, sentence in enumerate(sentences) if sentence and resolved[i] not in bare]
    for i, j in combinations(left, 2):
        if resolved[i] != resolved[j] and _say_the_same(sentences[i], sentences[j]):
            same = {resolved[i], resolved[j]}
            kept = min(form for form in same if form)
            for k in left:
                resolved[k] = kept if k in (i, j) or (resolved[k] and resolved[k] in same) else resolved[k]
    return resolved


def _possible_answers(sentence: Sentence) -> tuple[str, ...]:
    """Return what a sentence may be the answer of: what it says, "Paris" of "in Paris", or what it says it of.

    The last is so for "Paris is the capital".
    """
    placed = (sentence.place,) if sentence.place else ()
    return (sentence.complement, *placed, *((sentence.subject,) if sentence.is_identity else ()))


def _say_the_same(one: Sentence | None, other: Sentence | None) -> bool:
    """Return whether two sentences say the same thing of the same subject, whichever side it is on."""
    if not one or not other:
        return False
    if sorted(one[:2]) == sorted(other[:2]):
        return True
    words, others = set(one.subject.split()), set(other.subject.split())
    return one.complement == other.complement and (words <= others or others <= words)
