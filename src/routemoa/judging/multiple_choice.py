"""Multiple choice: how many options a question names, and what that says of wrong answers that coincide. Pure."""

from __future__ import annotations

import re

from msgspec.structs import replace

from routemoa.judging.posterior import ErrorCorrelation

__all__ = ["count_options", "limit_to_options"]

TEMPTING = 0.25
"""How far wrong answers gather on one option beyond chance. Four options then give 0.50; measured 0.52 on half of
RouterBench's ARC answers (2,656 pairs), which is what this was chosen on."""
LETTER = re.compile(r"(?m)^[ \t>*]*\(?([A-J])[).:][ \t]+\S")


def count_options(text: str) -> int | None:
    """How many lettered options, from A on, stand at the beginnings of lines; None where there are not two."""
    seen = set(LETTER.findall(text))
    count = next((i for i, letter in enumerate("ABCDEFGHIJ") if letter not in seen), 10)
    return count if count >= 2 else None


def limit_to_options(correlation: ErrorCorrelation, count: int | None) -> ErrorCorrelation:
    """The correlation of errors where only so many answers can be given: wrong ones coincide at least by chance."""
    if count is None:
        return correlation
    chance = 1.0 / (count - 1)
    coincide = min(0.9, chance + TEMPTING * (1.0 - chance))
    scatter = 1.0 / coincide - 1.0
    return (
        correlation if correlation.error_concentration <= scatter else replace(correlation, error_concentration=scatter)
    )
