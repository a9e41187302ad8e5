"""Grade an answer to a multiple-choice question: does it settle on the right option, or on all that are right? Pure."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from routemoa.judging.answers.language.extraction import find_statements, fold_text, strip_markup
from routemoa.judging.answers.language.options import ALPHABETS, LATIN, get_reader, read_options, to_latin
from routemoa.judging.answers.language.sentences import split_sentence, strip_pointer

__all__ = ["ChoiceReference", "grade_choice", "lists_options", "name_option", "parse_choice"]

_LABEL = r"[A-Za-z]|\d{1,2}|[^\W\da-zA-Z_](?![^\W_])"
_LABELLED = re.compile(
    rf"[\W_]*+(?:(?:option|choice|answer)\s++)?({_LABEL})(?![^\W_])(?:[\W_]*+|\W?\W?\s?(?:[.):]|\|\|)\s?+(.*))",
    re.DOTALL | re.IGNORECASE,
)
_LISTED = re.compile(r"[\W_]*+(?:[A-Z]|\d{1,2})(?:\W++(?:(?:and|und|et|y|e|и)\W++)?(?:[A-Z]|\d{1,2}))++[\W_]*+")
_GLUED = re.compile(r"\W*+([A-Z]{2,12})\W*+")
_EACH = re.compile(r"[A-Z]|\d{1,2}")
_WORD = re.compile(r"[^\W_]")
_OPTION_LINE = re.compile(r"(?m)^[ \t>*]*+\(?([A-Z]|\d{1,2})[).:][ \t]++(\S.*)$")


class ChoiceReference(NamedTuple):
    """What is right: the labels of all right options, or the text of the one."""

    labels: frozenset[str]
    """In capitals; empty where the reference names none."""
    text: str
    """The option's text; "" where only labels are known."""


def parse_choice(reference: str) -> ChoiceReference:
    """Return the labels that a reference names ("B", "B) rain", "A, C", "ACD", '["A", "C"]'), else its text.

    Labels are letters of any script or numbers.
    """
    bare = _join_json(strip_markup(reference))
    if m := _LABELLED.fullmatch(bare):
        return ChoiceReference(frozenset((m[1].upper(),)), (m[2] or "").strip())
    if _LISTED.fullmatch(bare):
        return ChoiceReference(frozenset(_EACH.findall(bare)), "")
    if (m := _GLUED.fullmatch(bare)) and list(m[1]) == sorted(set(m[1])):
        return ChoiceReference(frozenset(m[1]), "")
    return ChoiceReference(frozenset(), bare)


def grade_choice(text: str, reference: ChoiceReference) -> bool | None:
    """Return whether a text without markup settles on exactly the right options.

    None where that is unknown: the reference says nothing, or is an option's text and the answer only a letter.
    """
    if not reference.labels and not _WORD.search(reference.text):
        return None
    if reference.labels:
        chosen = read_options(text, get_reader(min(reference.labels)))
        if not chosen and not min(reference.labels).isdigit():
            chosen = _read_other_script(text, reference.labels)
        if chosen:
            return chosen == reference.labels
    if reference.text and _states_text(text, reference.text):
        return True
    return None if not reference.labels and read_options(text) else False


def name_option(reference: str, question: str) -> str:
    """Return a reference to one option that a question lists as "B) text"; any other reference as it is.

    An answer may then give the text instead of the letter.
    """
    labels, text = parse_choice(reference)
    for label, option in reversed(_OPTION_LINE.findall(question)):
        if labels == {label} or (not labels and fold_text(option) == fold_text(text)):
            return f"{label}) {option}"
    return reference


def lists_options(question: str, reference: str) -> bool:
    """Return whether a reference is one of the letters, or several, with which a question lists its options."""
    labels, text = parse_choice(reference)
    listed = {label for label, _ in _OPTION_LINE.findall(question)}
    return bool(labels) and not text and all(label.isalpha() for label in labels) and labels <= listed


def _read_other_script(text: str, expected: frozenset[str]) -> frozenset[str]:
    """Return the options that a text names in letters of another script than the reference, as letters like its own.

    "A" to "D" become "أ" to "د" in Arabic. A Cyrillic letter counts as the Latin one that it looks like.
    """
    if all(label.isascii() for label in expected):
        return frozenset(to_latin(sorted(read_options(text, get_reader("ب")))))
    chosen = read_options(text, get_reader("B"))
    native = next((letters for letters in ALPHABETS[1:] if expected <= set(letters)), None)
    if native and chosen <= set(LATIN):
        return frozenset(native[LATIN.index(label)] for label in chosen)
    return frozenset(label for label in expected if to_latin([label])[0] in chosen) if len(chosen) == 1 else frozenset()


def _join_json(reference: str) -> str:
    """Return a JSON list of labels as a list with commas, any other text as it is."""
    if reference.startswith("["):
        try:
            labels = json.loads(reference)
        except (ValueError, RecursionError):
            return reference
        if isinstance(labels, list) and all(isinstance(label, str | int) for label in labels):
            return ", ".join(map(str, labels))
    return reference


def _states_text(text: str, option: str) -> bool:
    """Return whether what a text states, or the whole of it, is an option's text, or says it of something."""
    statements = find_statements(text)
    said, wanted = statements[-1] if statements else text, fold_text(option)
    sentence = split_sentence(said)
    parts = (said, strip_pointer(said), *((sentence.complement,) if sentence else ()))
    return wanted in {fold_text(part) for part in parts}
