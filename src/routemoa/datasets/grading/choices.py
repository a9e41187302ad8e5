"""Extract the option that an answer to a multiple-choice question settles on. Pure functions."""

from __future__ import annotations

import re

from routemoa.judging.answers.extraction import ANSWER_LEAD_IN, find_boxes, strip_markup

__all__ = ["extract_choice", "parse_label"]

CHOOSING = re.compile(r"\b(?:choose|select|pick|go with|going with)\b|^####", re.IGNORECASE | re.MULTILINE)
IS_RIGHT = (
    r"(?:is|would be|must be)\s+(?:clearly\s+)?(?:the\s+)?(?:most\s+)?(?:correct|right|best|true|accurate|answer)"
)


def parse_label(reference: str) -> str | None:
    """Return the letter or digit that a reference names, or None."""
    m = re.fullmatch(r"\W*(?:option\s+)?([A-Ja-j]|\d)\W*(?:(?:[.):]|\|\|)\s.*)?", strip_markup(reference), re.DOTALL)
    return m[1].upper() if m else None


def extract_choice(text: str, digits: bool) -> str | None:
    """Return the option a text settles on, the last one stated, or None.

    Args:
        text: an answer without markup.
        digits: whether the options are digits; else the letters A to J.
    """
    label = r"\d" if digits else "[A-J]"
    # In "A robe" A is an article, in "A because" an option; "A and C" settles on nothing.
    article = r"(?!(?<=A)\s+(?!because|since|as\b|is\b|due\b|for\b|with\b|which|by\b)[a-z])"
    option = re.compile(
        rf"[\s\"'“(\[]*(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s*[\"'(\[]*)?({label})(?![\w'’]){article}"
        rf"(?!\)?\s*(?:or|and|/|,|&)\s*\(?{label}\b(?!\s+is))"
    )
    stated = [(at, m[1].upper()) for at, box in find_boxes(text) if (m := re.match(rf"\W*({label}|[a-j])\b", box))]
    for lead in (*ANSWER_LEAD_IN.finditer(text), *CHOOSING.finditer(text)):
        if m := option.match(text, lead.end()):
            stated.append((m.start(1), m[1]))
    stated += [(m.start(1), m[1]) for m in re.finditer(rf"(?<!\w)\(?({label})\)?(?=\s+{IS_RIGHT})", text)]
    return max(stated)[1] if stated else _extract_unstated_choice(text, label)


def _extract_unstated_choice(text: str, label: str) -> str | None:
    """Return the option of a text that states none: all of it, the only one its lines list, or the one in brackets."""
    if m := re.fullmatch(rf"\W*({label}|[a-j])\W*", text):
        return m[1].upper()
    labelled = rf"\s*(?:[(\[]({label})[)\]]|({label})[.):])(?=\s|$)|\s*({label})\s*$"
    lines = text.splitlines()
    listed = [next(g for g in m.groups() if g) for line in lines if (m := re.match(labelled, line))]
    if len(set(listed)) == 1:
        return listed[0]
    bracketed = set(re.findall(rf"\(({label})\)", text))
    return bracketed.pop() if len(bracketed) == 1 and not listed else None
