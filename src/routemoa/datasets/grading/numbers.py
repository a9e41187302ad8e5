"""Numbers as answers: the one a text gives as its result, in the many ways models write it. Pure functions."""

from __future__ import annotations

import re

from routemoa.judging.answers.extraction import find_answer_field, fold_text, find_statements, strip_step_numbers

__all__ = ["NUMBER", "share_value", "extract_number", "parse_first_number"]

RELATIVE_TOLERANCE = 1e-6  # relative
MAX_STATEMENTS = 50  # statements, from the last one

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
LEAD_IN = re.compile(r"(?:[^\w\n]|\b(?:about|approximately|approx|exactly|only|just|a total of|[xyn])\b)*", re.IGNORECASE)
"""What may stand between "Answer:" and its number."""
FULL_HOUR = re.compile(r"(?<![\d:])(\d{1,2}):00(?![\d:])")
TRAILING_REMARK = re.compile(r"(?<=\w)\s+\([^()]*[a-z]{2}[^()]*\)\s*[.\"]*$", re.IGNORECASE)
SUBORDINATE_CLAUSE = re.compile(
    r"(?<=\w)[,;]?\s+(?:if|when|for|by|than|because|since|assuming|after|instead|in order|to\s+(?!a\b|the\b)[a-z]+)\b",
    re.IGNORECASE,
)


def parse_first_number(text: str) -> list[float]:
    """The first number of a text; a percentage or "3 million" may be meant with its unit or without."""
    m = NUMBER.search(FRACTION.sub(r" \1/\2 ", text))
    return _possible_values(m) if m else []


def _possible_values(m: re.Match[str]) -> list[float]:
    value = float(f"{m['number'].replace(',', '')}e{m['exponent'] or m['power'] or 0}")  # too large is inf
    if (m["sign"] or m["inner"] or "").strip() == "-":
        value = -value
    if m["under"] and float(m["under"]):
        value /= float(m["under"])
    return [value, value * UNITS[m["unit"]]] if m["unit"] else [value]


def extract_number(text: str) -> list[float]:
    """The readings of the number a text gives as its result."""
    text = FULL_HOUR.sub(r"\1", FRACTION.sub(r" \1/\2 ", text))
    said = find_statements(strip_step_numbers(text))
    value = find_answer_field(text)
    if value and said and fold_text(value).startswith(fold_text(said[-1])[:20]):  # nothing is stated after the field
        return _extract_from_sentence(value)
    for one in reversed(said[-MAX_STATEMENTS:]):
        after = one.rpartition("=")[2] if NUMBER.search(one.rpartition("=")[2]) else one
        m = NUMBER.search(after)
        if m and LEAD_IN.fullmatch(after[: m.start()]):  # "Answer: Janet has 16 eggs" only begins a derivation
            return _possible_values(m)
    body = re.sub(r"(?m)^[ \t]*(?:step +)?\d+[.):]\s+(?=\D)", "", text, flags=re.IGNORECASE)  # numbered steps
    numbers = list(NUMBER.finditer(body))
    return _possible_values(numbers[-1]) if numbers else []


def _extract_from_sentence(value: str) -> list[float]:
    """The number of a field "answer", of its last sentence: an amount of money, else the last number.

    What is said beside it does not count: remarks in brackets and a subordinate clause ("$12 for 5 apples").
    """
    value = TRAILING_REMARK.sub(" ", value)
    last = re.split(r"(?<=[^\d\s])[.;]\s+(?=\S)|\n", value.strip())[-1]
    clause = SUBORDINATE_CLAUSE.search(last)
    for part in (last[: clause.start()] if clause else last, last, value):
        after = part.rpartition("=")[2] if NUMBER.search(part.rpartition("=")[2]) else part
        if numbers := list(NUMBER.finditer(after)):
            money = [m for m in numbers if m[0].lstrip("-+")[:1] in "$€£¥₹"]
            return _possible_values(money[0] if len(money) == 1 else numbers[-1])
    return []


def share_value(got: list[float], wanted: list[float]) -> bool:
    """Whether any two readings are the same number: whole ones exactly, others within TOLERANCE."""
    return any(_is_same(g, w) for g in got for w in wanted)


def _is_same(a: float, b: float) -> bool:
    if a.is_integer() and b.is_integer():  # 1,234,567 is not 1,234,568
        return a == b
    return abs(a - b) <= RELATIVE_TOLERANCE * max(abs(b), 1e-9)
