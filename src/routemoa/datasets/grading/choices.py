"""Multiple choice: the option a text settles on, in the many ways models write it. Pure functions."""

from __future__ import annotations

import re

from routemoa.judging.answers.extraction import ANSWER_LEAD_IN, find_boxes, strip_markup

__all__ = ["extract_choice", "parse_label"]

CHOOSING = re.compile(r"\b(?:choose|select|pick|go with|going with)\b|^####", re.IGNORECASE | re.MULTILINE)
IS_RIGHT = (
    r"(?:is|would be|must be)\s+(?:clearly\s+)?(?:the\s+)?(?:most\s+)?(?:correct|right|best|true|accurate|answer)"
)


def parse_label(reference: str) -> str | None:
    """The letter or digit that a reference names, or None."""
    m = re.fullmatch(r"\W*(?:option\s+)?([A-Ja-j]|\d)\W*(?:(?:[.):]|\|\|)\s.*)?", strip_markup(reference), re.DOTALL)
    return m[1].upper() if m else None


def extract_choice(text: str, digits: bool) -> str | None:
    """The option a text settles on, the last one stated, or None."""
    one = r"\d" if digits else "[A-J]"
    # "A robe" is an article and "A because" an option; "A and C" settles on nothing.
    article = r"(?!(?<=A)\s+(?!because|since|as\b|is\b|due\b|for\b|with\b|which|by\b)[a-z])"
    option = re.compile(
        rf"[\s\"'“(\[]*(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s*[\"'(\[]*)?({one})(?![\w'’]){article}"
        rf"(?!\)?\s*(?:or|and|/|,|&)\s*\(?{one}\b(?!\s+is))"
    )
    found = [(at, m[1].upper()) for at, box in find_boxes(text) if (m := re.match(rf"\W*({one}|[a-j])\b", box))]
    for lead in (*ANSWER_LEAD_IN.finditer(text), *CHOOSING.finditer(text)):
        if m := option.match(text, lead.end()):
            found.append((m.start(1), m[1]))
    found += [(m.start(1), m[1]) for m in re.finditer(rf"(?<!\w)\(?({one})\)?(?=\s+{IS_RIGHT})", text)]
    return max(found)[1] if found else _extract_unstated_choice(text, one)


def _extract_unstated_choice(text: str, one: str) -> str | None:
    """The option of a text that states none: all of it, its first or last line, or the only one it lists."""
    if m := re.fullmatch(rf"\W*({one}|[a-j])\W*", text):
        return m[1].upper()
    labelled = rf"\s*(?:[(\[]({one})[)\]]|({one})[.):])(?=\s|$)|\s*({one})\s*$"
    lines = text.splitlines()
    heads = [next(g for g in m.groups() if g) for line in lines if (m := re.match(labelled, line))]
    if len(set(heads)) == 1:
        return heads[0]
    inside = set(re.findall(rf"\(({one})\)", text))
    return inside.pop() if len(inside) == 1 and not heads else None
