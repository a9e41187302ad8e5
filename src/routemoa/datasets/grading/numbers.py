"""Extract the number that an answer gives as its result, in the many ways models write it. Pure functions.

A number is a list of its possible values: "25%" is 25 or 0.25, "3 million" 3 or 3,000,000. No number is an empty list.
"""

from __future__ import annotations

import re

from routemoa.judging.answers.language.extraction import (
    find_answer_field,
    find_statements,
    fold_text,
    strip_step_numbers,
)
from routemoa.judging.answers.language.numerals import find_decimal_mark, is_ambiguous, rewrite_numbers
from routemoa.judging.answers.language.scales import read_chinese_quantity, rewrite_scales, scale_after
from routemoa.judging.answers.language.sentences import find_concluding_number

__all__ = ["NUMBER", "extract_number", "parse_reference_number", "share_value"]

RELATIVE_TOLERANCE = 1e-6
MAX_CONCLUDING = 20
"""Numbers at the end of a text among which its concluding number is looked for."""

NUMBER = re.compile(
    r"""(?P<sign>(?<![\w.)\]}])[-+])?(?<![0-9A-Za-z_.À-ɏЀ-ӿ])(?:[$€£¥₹₽₩]\s?|(?:USD|EUR)\s?|Rs\.?\s?)?
    (?P<inner>(?<=[$€£¥₹₽₩])-)?
    (?P<number>\d{1,3}(?:,\d{2,3}){0,9},\d{3}(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)
    (?:[eE](?P<exponent>[-+]?\d{1,3})(?!\w)|\s*(?:×|x|\\times)\s*10\^\{?(?P<power>[-+]?\d{1,3})\}?)?
    (?:\s?/\s?(?P<under>\d+(?:\.\d+)?)(?![\d/]))?
    (?P<percent>\s?(?:%|(?:percent|prozent|p(?:or|our)\ cent|por\ ciento|por\ cento|per\ cento|процент\w{0,2})\b
    |パーセント|퍼센트|프로|प्रतिशत|في\ المئة|بالمئة))?""",
    re.VERBOSE,
)
FRACTION = re.compile(r"\\[dt]?frac\s*+\{\s*+(-?[\d.,]+)\s*+\}\s*+\{\s*+([\d.,]+)\s*+\}")
_ABOUT = (
    "about|approximately|approx|exactly|only|just|a total of|[xyn]|etwa|ungefähr|rund|genau|insgesamt|nur|environ"
    "|exactement|au total|aproximadamente|unos|unas|exactamente|en total|solo|cerca de|exatamente|no total|circa"
    "|esattamente|in totale|около|примерно|ровно|всего"
)
LEAD_IN = re.compile(
    rf"(?:[^\w\n]|\b(?:{_ABOUT})\b|大约|大約|约|約|一共|总共|總共|共|合計|約|약|총|लगभग|कुल|حوالي|تقريبا)*+",
    re.IGNORECASE,
)
"""Words that may stand between "Answer:" and its number."""
FULL_HOUR = re.compile(r"(?<![\d:])(\d{1,2}):00(?![\d:])")
TRAILING_REMARK = re.compile(r"(?<=\w)\s+\((?=[^()]*[a-z]{2})[^()]*+\)\s*+[.\"]*+$", re.IGNORECASE)
SUBORDINATE_CLAUSE = re.compile(
    r"(?<=\w)[,;]?\s+(?:if|when|for|by|than|because|since|assuming|after|instead|in order|to\s+(?!a\b|the\b)[a-z]+)\b",
    re.IGNORECASE,
)
STEP = re.compile(r"(?m)^[ \t]*+(?:step +)?\d+[.):]\s+(?=\D)", re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<=[^\d\s])[.;]\s+(?=\S)|\n|[。।]")
COMMA_REFERENCE = re.compile(r"\d,\d{1,2}(?!\d)")


def parse_reference_number(reference: str) -> list[float]:
    """Return the possible values of the first number of a reference; "3,5" is three and a half."""
    mark = "," if COMMA_REFERENCE.search(reference) else None
    text = rewrite_scales(rewrite_numbers(FRACTION.sub(r" \1/\2 ", reference), mark), compound_only=True)
    number = NUMBER.search(text)
    if number:
        return _possible_values(number)
    written_out = read_chinese_quantity(fold_text(text))
    return [] if written_out is None else [float(written_out)]


def extract_number(text: str) -> list[float]:
    """Return the possible values of the number that a text gives as its result.

    Where decimals have a comma, "1,234" may still be meant as models write thousands in English.
    """
    text = FULL_HOUR.sub(r"\1", FRACTION.sub(r" \1/\2 ", text))
    mark = find_decimal_mark(text) if is_ambiguous(text) else None
    values = _extract(rewrite_scales(rewrite_numbers(text, mark), compound_only=True))
    if mark == ",":
        values += [v for v in _extract(rewrite_numbers(text)) if v.is_integer() and v / 1000 in values]
    return values


def _extract(text: str) -> list[float]:
    """Return the possible values of the number that a text with decimal points gives as its result."""
    statements = find_statements(strip_step_numbers(text))
    value = find_answer_field(text)
    if (
        value and statements and fold_text(value).startswith(fold_text(statements[-1])[:20])
    ):  # nothing is stated after it
        return _extract_from_sentence(value)
    for statement in reversed(statements):
        result = _after_equals_sign(statement)
        number = NUMBER.search(result)
        if number and LEAD_IN.fullmatch(result[: number.start()]):  # "Answer: Janet has 16 eggs" begins a derivation
            return _possible_values(number)
        if number is None and (written_out := read_chinese_quantity(fold_text(result))) is not None:
            return [float(written_out)]
    body = STEP.sub("", text)  # without the numbers of steps
    numbers = list(NUMBER.finditer(body))
    concluded = find_concluding_number(body)
    if concluded and concluded[1]:  # "17500 screws in 14 days", after "1250 × 14 = 17500"
        of_conclusion = [m for m in numbers[-MAX_CONCLUDING:] if _possible_values(m)[0] == float(concluded[0])]
        numbers = of_conclusion or numbers
    return _possible_values(numbers[-1]) if numbers else []


def share_value(number: list[float], expected: list[float]) -> bool:
    """Return whether two numbers can have the same value: whole ones exactly, others within RELATIVE_TOLERANCE."""
    return any(_is_same(a, b) for a in number for b in expected)


def _possible_values(number: re.Match[str]) -> list[float]:
    """Return the values of a match of NUMBER: without its unit ("%", "million"), then with it."""
    value = float(
        f"{number['number'].replace(',', '')}e{number['exponent'] or number['power'] or 0}"
    )  # inf if too large
    if (number["sign"] or number["inner"] or "").strip() == "-":
        value = -value
    if number["under"] and float(number["under"]):
        value /= float(number["under"])
    unit = 0.01 if number["percent"] else scale_after(number.string, number.end())
    return [value, value * unit] if unit else [value]


def _after_equals_sign(text: str) -> str:
    """Return what follows the last equals sign, where that holds a number; else the whole text."""
    result = text.rpartition("=")[2]
    return result if NUMBER.search(result) else text


def _extract_from_sentence(value: str) -> list[float]:
    """Return the number in the last sentence of a field "answer": the only amount of money, else the last number.

    A closing remark in brackets and a subordinate clause ("$12 for 5 apples") are left out first.
    """
    value = TRAILING_REMARK.sub(" ", value)
    last = SENTENCE_END.split(value.strip())[-1]
    clause = SUBORDINATE_CLAUSE.search(last)
    for part in (last[: clause.start()] if clause else last, last, value):
        if numbers := list(NUMBER.finditer(_after_equals_sign(part))):
            money = [m for m in numbers if m[0].lstrip("-+")[:1] in "$€£¥₹₽₩"]
            return _possible_values(money[0] if len(money) == 1 else numbers[-1])
    return []


def _is_same(number: float, expected: float) -> bool:
    if number.is_integer() and expected.is_integer():  # 1,234,567 is not 1,234,568
        return number == expected
    return abs(number - expected) <= RELATIVE_TOLERANCE * max(abs(expected), 1e-9)
