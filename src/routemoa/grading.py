"""Is an answer right? Pure functions from an answer's text and a reference to a score, tolerant of how models write.

An answer that states its result ("The answer is 18", a box, "#### 18", a JSON field "answer") is graded by the last
statement; one that does not, by its last number or by the one option it names.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

__all__ = ["Kind", "grade", "plain", "stated", "suggest"]

Kind = Literal["exact", "numeric", "choice", "contains"]

TOLERANCE = 1e-6  # relative, for numbers
REACH = 400  # characters that a stated result may take


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
            wanted = _readings(plain(reference))
            right = _close(_number(text), wanted) if wanted else None
        case "choice":
            label = _label(reference)
            right = _choice(text, label.isdigit()) == label if label else None
        case "exact":
            wanted_text = _folded(plain(reference))
            right = wanted_text in {_folded(text), *(_folded(s) for s in stated(text)[-1:])}
        case "contains":
            right = _contains(_folded(text), _folded(plain(reference)))
    return None if right is None else float(right)


def suggest(reference: str) -> Kind:
    """The kind that fits a reference which comes without one."""
    bare = plain(reference)
    if re.fullmatch(r"\(?[A-J]\)?\.?", bare):
        return "choice"
    number = NUMBER.search(bare)
    alone = number and not re.search(r"\w", bare[: number.start()] + bare[number.end() :])
    return "numeric" if alone else "contains"


# --- what all kinds share

THOUGHT = re.compile(r"</think(?:ing)?>", re.IGNORECASE)  # some chat templates keep the opening tag to themselves
STATEMENT = re.compile(
    r"""\b(?:final\ )?(?:answer|result|solution|option|choice)s?\b["']?
    (?:\ +(?:to|for|of)\ +(?:the|this|your)\ +[\w ]{1,40}?)?
    \s*(?:is|was|are|be|would\ be|should\ be|equals|:|=|→|\n)\s*""",
    re.IGNORECASE | re.VERBOSE,
)


def plain(text: str) -> str:
    """Without markup (2*3 is none), reasoning tags and the many ways to write spaces, dashes and thousands."""
    text = THOUGHT.split(unicodedata.normalize("NFKC", text))[-1]
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf|mathit|mbox)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!|,\\!)(?=\d{3})", ",", text)  # 1{,}000 and 1\,000
    text = re.sub(r"\\[()\[\]]|\\(?=[$%#&_])|`|\*+(?!\s*\d)|(?<!\d)(?<!\d )\*+|\$(?=\$)|\\[,;:!]", "", text)
    return re.sub(r"[−–—](?=\s*[\d.])", "-", text).strip()


def _folded(text: str) -> str:
    """For comparing words: case and spacing gone, and what merely surrounds the text."""
    return " ".join(text.casefold().split()).strip(" .,;:!\"'$“”‘’")


def _boxes(text: str) -> list[tuple[int, str]]:
    """What stands in LaTeX boxes, with its position; braces inside are kept in balance."""
    found = []
    for start in re.finditer(r"\\boxed\s*\{|\\fbox\s*\{", text):
        depth = 1
        for i in range(start.end(), min(len(text), start.end() + REACH)):
            depth += {"{": 1, "}": -1}.get(text[i], 0)
            if not depth:
                found.append((start.start(), text[start.end() : i]))
                break
    return found


def stated(text: str) -> list[str]:
    """The results a text states, in its order: to the end of a sentence, of a JSON value or of the line."""
    found = _boxes(text)
    for m in [*STATEMENT.finditer(text), *re.finditer(r"(?m)^[ \t]*####\s*+(?!\d+[.):]\s*\S)", text)]:
        rest = text[m.end() : m.end() + REACH].lstrip("\"'“(: ")
        end = re.search(r"\n|[.;](?=\s|$)|[\"”](?=\s*[,}\n]|$)", rest)
        found.append((m.end(), rest[: end.start()] if end else rest))
    return [said for _, said in sorted(found)]


# --- numbers

NUMBER = re.compile(
    r"""(?P<sign>(?<![\w.)\]}])[-+])?(?<![\w.])(?:[$€£¥₹]\s?|USD\s?|Rs\.?\s?)?
    (?P<inner>(?<=[$€£¥₹])-)?
    (?P<number>\d{1,3}(?:,\d{2,3}){0,9},\d{3}(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)
    (?:[eE](?P<exponent>[-+]?\d{1,3})(?!\w)|\s*(?:×|x|\\times)\s*10\^\{?(?P<power>[-+]?\d{1,3})\}?)?
    (?:\s?/\s?(?P<under>\d+(?:\.\d+)?)(?![\d/]))?
    \s?(?P<unit>%|percent\b|thousand\b|million\b|billion\b)?""",
    re.VERBOSE,
)
FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?[\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}")
UNITS = {"%": 0.01, "percent": 0.01, "thousand": 1e3, "million": 1e6, "billion": 1e9}
LEADS = re.compile(r"(?:[^\w\n]|\b(?:about|approximately|approx|exactly|only|just|a total of|[xyn])\b)*", re.IGNORECASE)
"""What may stand between "Answer:" and its number."""


def _readings(text: str) -> list[float]:
    """The first number of a text; a percentage or "3 million" may be meant with its unit or without."""
    m = NUMBER.search(FRACTION.sub(r" \1/\2 ", text))
    return _values(m) if m else []


def _values(m: re.Match[str]) -> list[float]:
    value = float(f"{m['number'].replace(',', '')}e{m['exponent'] or m['power'] or 0}")  # too large is inf
    if (m["sign"] or m["inner"] or "").strip() == "-":
        value = -value
    if m["under"] and float(m["under"]):
        value /= float(m["under"])
    return [value, value * UNITS[m["unit"]]] if m["unit"] else [value]


def _number(text: str) -> list[float]:
    """The readings of the number a text gives as its result."""
    text = FRACTION.sub(r" \1/\2 ", text)
    for said in reversed(stated(text)):
        after = said.rpartition("=")[2] if NUMBER.search(said.rpartition("=")[2]) else said
        m = NUMBER.search(after)
        if m and LEADS.fullmatch(after[: m.start()]):  # "Answer: Janet has 16 eggs" only begins a derivation
            return _values(m)
    body = re.sub(r"(?m)^[ \t]*(?:step +)?\d+[.):]\s+(?=\D)", "", text, flags=re.IGNORECASE)  # numbered steps
    numbers = list(NUMBER.finditer(body))
    return _values(numbers[-1]) if numbers else []


def _close(got: list[float], wanted: list[float]) -> bool:
    return any(abs(g - w) <= TOLERANCE * max(abs(w), 1e-9) for g in got for w in wanted)


# --- choices


CHOOSING = re.compile(r"\b(?:choose|select|pick|go with|going with)\b|^####", re.IGNORECASE | re.MULTILINE)
IS_RIGHT = (
    r"(?:is|would be|must be)\s+(?:clearly\s+)?(?:the\s+)?(?:most\s+)?(?:correct|right|best|true|accurate|answer)"
)


def _label(reference: str) -> str | None:
    m = re.fullmatch(r"\W*(?:option\s+)?([A-Ja-j]|\d)\W*(?:[.):]\s.*)?", plain(reference), re.DOTALL)
    return m[1].upper() if m else None


def _choice(text: str, digits: bool) -> str | None:
    """The option a text settles on, the last one stated, or None."""
    one = r"\d" if digits else "[A-J]"
    # "A robe" is an article and "A because" an option; "A and C" settles on nothing.
    article = r"(?!(?<=A)\s+(?!because|since|as\b|is\b|due\b|for\b|with\b|which|by\b)[a-z])"
    option = re.compile(
        rf"[\s\"'“(\[]*(?:(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s*[\"'(\[]*)?({one})(?![\w'’]){article}"
        rf"(?!\)?\s*(?:or|and|/|,|&)\s*\(?{one}\b(?!\s+is))"
    )
    found = [(at, m[1].upper()) for at, box in _boxes(text) if (m := re.match(rf"\W*({one}|[a-j])\b", box))]
    for lead in (*STATEMENT.finditer(text), *CHOOSING.finditer(text)):
        if m := option.match(text, lead.end()):
            found.append((m.start(1), m[1]))
    found += [(m.start(1), m[1]) for m in re.finditer(rf"(?<!\w)\(?({one})\)?(?=\s+{IS_RIGHT})", text)]
    return max(found)[1] if found else _bare(text, one)


def _bare(text: str, one: str) -> str | None:
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


# --- words

UNSPACED = r"\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # scripts that put no space between words


def _contains(text: str, wanted: str) -> bool:
    """Whether `wanted` stands in `text` as whole words; 18 is not found in 180, 1.18 or 18.5."""
    if not wanted:
        return False
    before = r"(?<!\d[.,])" if wanted[0].isdigit() else ""
    after = r"(?![.,]\d)" if wanted[-1].isdigit() else ""
    if not re.match(rf"[{UNSPACED}\W]", wanted):
        before += rf"(?<![^\W{UNSPACED}])"
    if not re.search(rf"[{UNSPACED}\W]$", wanted):
        after += rf"(?![^\W{UNSPACED}])"
    return re.search(before + re.escape(wanted) + after, text) is not None
