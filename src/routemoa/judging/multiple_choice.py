"""Read the options of a multiple choice, and bound the error correlation that follows from their count. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_uppercase

from msgspec.structs import replace

from routemoa.judging.posterior import ErrorCorrelation

__all__ = ["count_options", "find_named_option", "find_option_lines", "limit_to_options", "read_option_texts"]

DISTRACTOR_PULL = 0.25
"""How far wrong answers gather on one option beyond chance. Four options then give 0.50; measured 0.52 on half of
RouterBench's ARC answers (2,656 pairs), which is what this was chosen on."""
MAX_COINCIDENCE = 0.9
"""Bound on the probability that two wrong answers are the same."""
MAX_LENGTH = 32_768
"""Characters of a question that is read for its options."""
CACHED_QUESTIONS = 64
"""Questions whose options, also in other orders, are kept: each decision of the mixture looks again."""
LETTERS = ascii_uppercase
_OPTION_LETTER = re.compile(r"(?m)^[ \t>*]*\(?([A-Z])[).:][ \t]+\S")


def count_options(text: str) -> int | None:
    """Count the lettered options, from A on, at the beginnings of lines; None where there are fewer than two."""
    seen = set(_OPTION_LETTER.findall(text))
    count = next((i for i, letter in enumerate(LETTERS) if letter not in seen), len(LETTERS))
    return count if count >= 2 else None


_OPTION_LINE = re.compile(r"(?m)^([ \t>*]{0,20}\(?)([A-Z])([).:][ \t]+)(\S[^\n]*)$")
_WORD = re.compile(r"\w+")


def find_option_lines(text: str) -> list[re.Match[str]]:
    """Return the lines of the last list of options, from A on without a gap; empty where there is none.

    Groups: what comes before the letter, the letter, what comes after it, the option's text.
    """
    found: list[re.Match[str]] = []
    for line in _OPTION_LINE.finditer(text):
        if line[2] == "A":
            found = [line]
        elif found and len(found) < len(LETTERS) and line[2] == LETTERS[len(found)]:
            found.append(line)
    return found


@lru_cache(CACHED_QUESTIONS)
def read_option_texts(question: str) -> tuple[str, ...]:
    """Return the texts of a question's options, in their order; empty where there are fewer than two, or it is long."""
    lines = find_option_lines(question) if len(question) <= MAX_LENGTH else []
    return tuple(line[4].rstrip() for line in lines) if len(lines) > 1 else ()


def find_named_option(answer: str, options: Sequence[str]) -> int | None:
    """Return the place of the one option whose words are an answer, or else stand in it.

    None where none or several do: "dark red" is no "red", but "It is dark red" names both.
    """
    said = _fold_words(answer)
    words = [(place, folded) for place, option in enumerate(options) if (folded := _fold_words(option)).strip()]
    named = [place for place, of in words if of == said] or [place for place, of in words if of in said]
    return named[0] if len(named) == 1 else None


def _fold_words(text: str) -> str:
    """Return the words of a text in lower case, each between single spaces."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "


def limit_to_options(correlation: ErrorCorrelation, count: int | None) -> ErrorCorrelation:
    """Return the error correlation of a question with `count` options: wrong answers coincide at least by chance.

    A wrong answer meets another one with probability 1 / (1 + concentration), which bounds the concentration.
    """
    if count is None:
        return correlation
    chance = 1.0 / (count - 1)
    coincidence = min(MAX_COINCIDENCE, chance + DISTRACTOR_PULL * (1.0 - chance))
    max_concentration = 1.0 / coincidence - 1.0
    if correlation.error_concentration <= max_concentration:
        return correlation
    return replace(correlation, error_concentration=max_concentration)
