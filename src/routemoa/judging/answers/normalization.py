"""Bring the result that a text states to one form, so that equal results are equal texts. Pure functions.

Looked for in this order: the field "answer" of a reply that is one JSON object; a box, "#### 18", "The answer is 18";
a text so short that it is its own result. Lists, strings and the like of a programming language keep case and signs.
Numbers are numbers however they are written. Mathematics loses its layout, words the case of a title.
"""

from __future__ import annotations

import ast
import math
import re
import unicodedata
import warnings
from typing import NamedTuple

from routemoa.judging.answers.extraction import find_answer_field, find_statements, strip_markup

__all__ = ["MAX_SHORT_LENGTH", "ExtractedResult", "extract_result"]

MAX_SHORT_LENGTH = 60
"""Characters of a text that is its own result, and of a result stated in prose."""
MAX_FIELD_LENGTH = 600
"""Characters of a result in a JSON field."""


class ExtractedResult(NamedTuple):
    """The result of a text."""

    form: str | None
    """The result in its one form; None where the text has none."""
    is_stated: bool
    """Whether the text states it, rather than being short."""


def extract_result(text: str) -> ExtractedResult:
    """Return the result of a text, in one form."""
    if (value := find_answer_field(text)) is not None:
        is_short = len(value) <= MAX_FIELD_LENGTH
        return ExtractedResult(_normalize(value), True) if is_short else ExtractedResult(None, False)
    text = strip_markup(text)
    if statements := [s for s in find_statements(text) if re.search(r"[^\W_]", s)]:  # a template's blank is no result
        return _result_of_statement(statements[-1])
    is_short = len(text) <= MAX_SHORT_LENGTH and "\n" not in text
    _, mark, rest = text.rpartition("####")
    return ExtractedResult(_normalize(rest if mark else text) if is_short else None, False)


def _result_of_statement(statement: str) -> ExtractedResult:
    """Return the result of a statement, without the fields that follow in a JSON object."""
    value = _NEXT_FIELD.split(statement)[0]
    form = _normalize(value if value.count("{") <= value.count("}") else statement)
    return ExtractedResult(form, True) if len(form) <= MAX_SHORT_LENGTH else ExtractedResult(None, False)


def _normalize(value: str) -> str:
    return _normalize_literal(value) or _normalize_expression(value)


def _normalize_literal(value: str) -> str | None:
    """Return a list, string or the like as Python would write it; None for other text, plain numbers and words."""
    bare = value.strip().strip("`").removesuffix(".")
    if bare[:1] not in ("[", "(", "{", "'", '"') or len(bare) > MAX_FIELD_LENGTH:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # LaTeX in quotes is full of escapes that Python does not know
            literal = ast.literal_eval(bare)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
    if isinstance(literal, str):
        return _normalize_words(literal)
    return None if isinstance(literal, int | float) else repr(literal)


def _normalize_words(text: str) -> str:
    """Drop the case of a title or of a sentence's beginning; other capitals (ABC, mixedCase) carry meaning."""
    flat = " ".join(text.split()).strip(" .,;:!\"'“”")
    is_ordinary_case = flat.istitle() or not re.search(r"[A-Z]", flat[1:]) or len(flat) == 1
    return flat.casefold() if is_ordinary_case else flat


_NOTATIONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"\\\\", r"\\"),  # in a JSON string
        (r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*\{([^{}]*)\}", r"\1"),
        (r"\\[dt]?frac\s*(\d)\s*(\d)", r"(\1)/(\2)"),
        (r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)"),
        (r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)"),  # a fraction in a fraction
        (r"(?:\\sqrt|√)\s*(?:\{([^{}]*)\}|\(([^()]*)\)|(\d+|\w))", r"sqrt(\1\2\3)"),
        (r"\\boxed\s*\{([^{}]*)\}", r"\1"),
        (r"\\(?:left|right|displaystyle|quad|[!,;: ])", ""),
        (r"\\?\^?\{?\\circ\}?|°|\bdegrees?\b", ""),
        (r"\\pi|π", "pi"),
        (r"\\infty|∞", "inf"),
        (r"\\cup|∪", "u"),
        (r"(?<=\d)\s*(?:\\cdot|\\times|[·×*])\s*(?=\d)", "x"),  # 2 · 3 is not 23
        (r"\\cdot|\\times|[·×*]", ""),
        (r"[$]|\\[()\[\]%]", ""),
    )
)
"""LaTeX and Unicode notations, each with its plain form; applied in this order."""

_NEXT_FIELD = re.compile(r"""["']?\s*,\s*["'][\w ]+["']\s*:""")  # of a JSON object
_UNIT = r"(?:mm|cm|dm|km|in|ft|yd|mi|kg|mg|units?)(?:\^?\{?[23]\}?)?|\s+[a-z]{2}[^\d=+*/^\\]*"
_QUANTITY = re.compile(rf"([€£]?[-+]?[\d,.]*\d)(?:\s*[%€£]|\s*{_UNIT})")  # "576 distinct arrangements", "5 %", "3 cm^2"
_MIXED = re.compile(rf"([-+]?)(\d+)(?:\s+(\d+)/(\d+)|\s*\((\d+)\)/\((\d+)\))(?:\s*{_UNIT})?")  # "2 1/2"
_OPTION = re.compile(r"\(?([a-j])(?:\)|[.:](?=\s)).*")  # "(c) because", "b. Paris"
_NUMBER = re.compile(r"[€£]?([-+]?(?:\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+))(?:/(\d+(?:\.\d+)?))?")


def _normalize_expression(value: str) -> str:
    """Return a number as a number, mathematics without layout, words without the case of a title."""
    value = _rewrite_notations(value)
    flat = _strip_surroundings(value)
    if option := _OPTION.fullmatch(flat):
        return option[1]
    flat = _strip_unit(flat)
    if _is_prose(flat):
        return _normalize_words(value)
    flat = _remove_layout(flat)
    return _normalize_number(flat) or flat


def _rewrite_notations(value: str) -> str:
    value = unicodedata.normalize("NFKC", value).replace("−", "-")
    for pattern, plain_form in _NOTATIONS:
        value = pattern.sub(plain_form, value)
    return value


def _strip_surroundings(value: str) -> str:
    """Drop case, spacing and what stands around a result: punctuation, an object's closing brace, "it is"."""
    flat = re.sub(r"^(?:[ ,;:!\"'“”]|\.(?!\d))+", "", " ".join(value.casefold().split())).rstrip(" .,;:!\"'“”")
    while flat.endswith("}") and flat.count("}") > flat.count("{"):  # of the JSON object around it
        flat = flat[:-1].rstrip(" \"'")
    return re.sub(r"^(?:it|this|that|which) is ", "", flat)


def _strip_unit(flat: str) -> str:
    """Return the number of a quantity ("5 cm"), and a mixed number ("2 1/2") as a fraction."""
    if quantity := _QUANTITY.fullmatch(flat):
        flat = quantity[1]
    if mixed := _MIXED.fullmatch(flat):
        sign, whole, *fraction = (group for group in mixed.groups() if group is not None)
        numerator, denominator = map(int, fraction)
        flat = f"{sign}{int(whole) * denominator + numerator}/{denominator}"
    return flat


def _is_prose(flat: str) -> bool:
    if re.fullmatch(r"[a-z ]{2,}", flat):
        return True
    return bool(re.search(r"[a-z]{4,}", flat)) and not re.search(r"sqrt|[=^\\]", flat)


def _remove_layout(flat: str) -> str:
    """Drop the spaces, brackets and names of variables that change nothing: "x = {5}" is "5"."""
    flat = re.sub(r" (?=\d{3}(?!\d))|(?<!\d) | (?!\d)", "", flat)  # "2 3" is not 23
    flat = re.sub(r"^[a-z]\w{0,2}(?:\([a-z,]+\))?=", "", flat)
    flat = " ".join(re.sub(r"\((\w+)\)", r" \1 ", flat).split())  # nor is (2)(3)
    flat = re.sub(r"(?<!\d) | (?!\d)", "", flat)
    return re.sub(r"\{(\w)\}", r"\1", flat)


def _normalize_number(flat: str) -> str | None:
    """Return a number or fraction to ten digits; None for anything else, and for what is not finite."""
    number = _NUMBER.fullmatch(flat)
    if number is None:
        return None
    amount = float(number[1].replace(",", "")) / (float(number[2] or 1) or math.nan)
    return f"{amount + 0.0:.10g}" if math.isfinite(amount) else None  # adding 0.0 avoids a minus zero
