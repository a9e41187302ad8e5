"""Count the options of a multiple-choice question, and bound the error correlation that follows from them. Pure."""

from __future__ import annotations

import re
from string import ascii_uppercase

from msgspec.structs import replace

from routemoa.judging.posterior import ErrorCorrelation

__all__ = ["count_options", "limit_to_options"]

DISTRACTOR_PULL = 0.25
"""How far wrong answers gather on one option beyond chance. Four options then give 0.50; measured 0.52 on half of
RouterBench's ARC answers (2,656 pairs), which is what this was chosen on."""
MAX_COINCIDENCE = 0.9
"""Bound on the probability that two wrong answers are the same."""
LETTERS = ascii_uppercase
_OPTION_LETTER = re.compile(r"(?m)^[ \t>*]*\(?([A-Z])[).:][ \t]+\S")


def count_options(text: str) -> int | None:
    """Count the lettered options, from A on, at the beginnings of lines; None where there are fewer than two."""
    seen = set(_OPTION_LETTER.findall(text))
    count = next((i for i, letter in enumerate(LETTERS) if letter not in seen), len(LETTERS))
    return count if count >= 2 else None


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
