"""Is an answer right? Pure functions from an answer's text and a reference to a score, tolerant of how models write.

An answer that states its result ("The answer is 18", a box, "#### 18", a JSON field "answer") is graded by the last
statement; one that does not, by its last number or by the one option it names.
"""

from __future__ import annotations

import re
from typing import Literal

from routemoa.grading.choices import choice, label
from routemoa.grading.numbers import NUMBER, close, number, readings
from routemoa.grading.words import contains
from routemoa.statements import folded, plain, stated

__all__ = ["Kind", "grade", "suggest"]

Kind = Literal["exact", "numeric", "choice", "contains"]


def grade(answer: str, reference: str | None, kind: Kind) -> float | None:
    """1.0 when `answer` is right, 0.0 when it is not, None when the reference is absent or unusable for `kind`.

    Args:
        answer: the whole text of a model.
        reference: the expected answer; for "numeric" it must hold a number, for "choice" it is a letter or a digit.
        kind: how to compare. "exact" compares the text or its stated result but for case, spacing, markup and a
            closing full stop; "contains" looks for the reference as whole words.
    """
    if reference is None or not reference.strip():
        return None
    text = plain(answer)
    match kind:
        case "numeric":
            wanted = readings(plain(reference))
            right = close(number(text), wanted) if wanted else None
        case "choice":
            wanted_label = label(reference)
            right = choice(text, wanted_label.isdigit()) == wanted_label if wanted_label else None
        case "exact":
            wanted_text = folded(plain(reference))
            right = wanted_text in {folded(text), *(folded(s) for s in stated(text)[-1:])}
        case "contains":
            right = contains(folded(text), folded(plain(reference)))
    return None if right is None else float(right)


def suggest(reference: str) -> Kind:
    """The kind that fits a reference which comes without one."""
    bare = plain(reference)
    if re.fullmatch(r"\(?[A-J]\)?\.?", bare):
        return "choice"
    found = NUMBER.search(bare)
    alone = found and not re.search(r"\w", bare[: found.start()] + bare[found.end() :])
    return "numeric" if alone else "contains"
