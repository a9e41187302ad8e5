"""Bring a result to one form, so that equal results are equal texts. Pure functions.

Lists, strings and the like of a programming language keep case and signs. Numbers are numbers however they are written.
Mathematics loses its layout, words the case of a title.
"""

from __future__ import annotations

import ast
import math
import re
import warnings

from routemoa.core.text.late_pattern import compile_late
from routemoa.judging.answers.language.numerals import rewrite_numbers, unify_characters
from routemoa.judging.answers.language.scales import read_chinese_quantity, rewrite_scales
from routemoa.judging.answers.language.sentences import strip_pointer

__all__ = ["MAX_FIELD_LENGTH", "PLAIN_NUMBER", "normalize"]

MAX_FIELD_LENGTH = 600
"""Characters of a result in a JSON field."""
PLAIN_NUMBER = compile_late(r"-?\d{1,15}(?:\.\d{1,15})?")


def normalize(value: str, decimal_mark: str | None = None) -> str:
    """Return a result in one form; `decimal_mark` is "," or "." where the text shows what its numbers have."""
    if decimal_mark != "," and PLAIN_NUMBER.fullmatch(value) and (number := _normalize_number(value)):
        return number
    return _normalize_literal(value) or _normalize_expression(value, decimal_mark)


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
        money = _normalize_number(literal[1:]) if literal[:1] in tuple(_MONEY) else None
        return money or _normalize_words(literal)
    return None if isinstance(literal, int | float) else repr(literal)


_QUOTES = " .,;:!\"'“”„‘’«»「」『』《》【】。！।؟¿¡"


def _normalize_words(text: str) -> str:
    """Drop the case of a title or of a sentence's beginning; other capitals (ABC, mixedCase) carry meaning."""
    flat = " ".join(text.split()).strip(_QUOTES)
    is_ordinary_case = flat.istitle() or flat[1:] == flat[1:].lower() or len(flat) == 1
    return flat.casefold() if is_ordinary_case else flat


_NOTATIONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (compile_late(pattern), to)
    for pattern, to in (
        (r"\\\\", r"\\"),  # in a JSON string
        (r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*+\{([^{}]*)\}", r"\1"),
        (r"\\[dt]?frac\s*+(\d)\s*+(\d)", r"(\1)/(\2)"),
        (r"\\[dt]?frac\s*+\{([^{}]*)\}\s*+\{([^{}]*)\}", r"(\1)/(\2)"),
        (r"\\[dt]?frac\s*+\{([^{}]*)\}\s*+\{([^{}]*)\}", r"(\1)/(\2)"),  # a fraction in a fraction
        (r"(?:\\sqrt|√)\s*+(?:\{([^{}]*)\}|\(([^()]*)\)|(\d+|\w))", r"sqrt(\1\2\3)"),
        (r"\\boxed\s*+\{([^{}]*)\}", r"\1"),
        (r"\\(?:left|right|displaystyle|quad|[!,;: ])", ""),
        (r"\\?\^?\{?\\circ\}?|°|\bdegrees?\b", ""),
        (r"\\pi|π", "pi"),
        (r"\\infty|∞", "inf"),
        (r"\\cup|∪", "u"),
        (r"(?<=\d)\s*+(?:\\cdot|\\times|[·×*])\s*+(?=\d)", "x"),  # 2 · 3 is not 23
        (r"\\cdot|\\times|[·×*]", ""),
        (r"(?<![A-Za-z])(?:US|R|A|C|HK)\$(?=\s?\d)|[$]|\\[()\[\]%]", ""),
    )
)
"""LaTeX and Unicode notations, each with its plain form; applied in this order."""

_MONEY = "€£¥₹₽₩$"
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_UNIT = (
    rf"\s*+(?:[%{_MONEY}]|(?:mm|cm|dm|km|in|ft|yd|mi|kg|mg|units?)(?:\^?\{{?[23]\}}?)?"
    rf"|(?:(?<=\s)(?:[^\W\d_]{{2}}|d['’][^\W\d_]|[\u0600-\u06ff\u0900-\u097f])|[{_UNSPACED}])[^\d=+*/^\\]*|(?<=\s)[а-я]\.?)"
)
_QUANTITY = compile_late(rf"(?<![\d,.])([{_MONEY}]?[-+]?[\d,.]*+(?<=\d)){_UNIT}")  # "576 distinct arrangements", "5 %"
_MIXED = compile_late(rf"(?<!\d)([-+]?)(\d++)(?:\s++(\d++)/(\d++)|\s*+\((\d++)\)/\((\d++)\))(?:{_UNIT})?")  # "2 1/2"
_OPTION = compile_late(
    r"\(?([^\W\d_])\).*|([a-jа-д])(?:[.:]\s|,\s(?![a-z]\b(?!\sis\b))).*|\(?([a-j]):"
)  # "(c) because", "b. Paris"
_NUMBER = compile_late(
    rf"(?<![\d,.])[{_MONEY}]?([-+]?(?:\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+))(?:/(\d+(?:\.\d+)?))?"
)
_CURRENCY = compile_late(r"^(?:usd|eur|gbp|inr|rub|krw|jpy|cny|rmb|chf|rs\.?)\s?(?=[-+]?\d)")
_LEADING = compile_late(r"^(?:[ ,;:!\"'“”„‘’«»「」『』《》【】¿¡]|\.(?!\d))+")
_BEFORE_NUMBER = compile_late(
    r"^(?:(?:the|el|la|das|die|le|les|o|a|il|les|die)\s)?(?:(?:number|número|numero|zahl|nombre|число|数字|숫자|العدد|संख्या)\s)?(?=\d)"
)
_ARTICLE = compile_late(
    r"(?:the|an?|el|l[aeo]s?|der|die|das|il|gli|os?|as|une?|ein|eine|um|uma|una)\s(?=[^\W\d_]{2})|l['’](?=[^\W\d_]{2})",
    re.IGNORECASE,
)


def _normalize_expression(value: str, decimal_mark: str | None) -> str:
    """Return a number as a number, mathematics without layout, words without the case of a title."""
    value = _rewrite_notations(rewrite_scales(rewrite_numbers(unify_characters(value), decimal_mark)))
    flat = _strip_surroundings(value)
    if option := _OPTION.fullmatch(flat):
        return option[1] or option[2] or option[3]
    flat = _strip_unit(_CURRENCY.sub("", _BEFORE_NUMBER.sub("", flat, count=1), count=1))
    if not flat.isascii() and (number := read_chinese_quantity(flat)) is not None:
        return str(number)
    if _is_prose(flat):
        return _normalize_words(_drop_head(value))
    flat = _remove_layout(flat)
    return _normalize_number(flat) or flat


def _rewrite_notations(value: str) -> str:
    value = value.replace("−", "-")
    for pattern, plain_form in _NOTATIONS:
        value = pattern.sub(plain_form, value)
    return value


def _strip_surroundings(value: str) -> str:
    """Drop case, spacing and what stands around a result: punctuation, an object's closing brace, "it is"."""
    flat = _LEADING.sub("", " ".join(value.casefold().split())).rstrip(_QUOTES)
    while flat.endswith("}") and flat.count("}") > flat.count("{"):  # of the JSON object around it
        flat = flat[:-1].rstrip(" \"'")
    return strip_pointer(flat)


def _strip_unit(flat: str) -> str:
    """Return the number of a quantity ("5 cm"), and a mixed number ("2 1/2") as a fraction."""
    if quantity := _QUANTITY.fullmatch(flat):
        flat = quantity[1]
    if mixed := _MIXED.fullmatch(flat):
        sign, whole, *fraction = (group for group in mixed.groups() if group is not None)
        numerator, denominator = map(int, fraction)
        flat = f"{sign}{int(whole) * denominator + numerator}/{denominator}"
    return flat


_ONLY_WORDS = compile_late(r"(?:[^\W\d_α-ωΑ-Ω]|[ \u064b-\u0652\u0900-\u0963]){2,}+")
_LONG_WORD = compile_late(r"[^\W\d_]{4}")
_MATHEMATICS = compile_late(r"sqrt|[=^\\]")


def _is_prose(flat: str) -> bool:
    if _ONLY_WORDS.fullmatch(flat):
        return True
    return bool(_LONG_WORD.search(flat)) and not _MATHEMATICS.search(flat)


def _drop_head(words: str) -> str:
    """Drop what words begin with and do not name: "it is", an article."""
    words = strip_pointer(_LEADING.sub("", words))
    return words[article.end() :] if (article := _ARTICLE.match(words)) else words


_IDLE_SPACE = compile_late(r" (?=\d{3}(?!\d))|(?<!\d) | (?!\d)")  # "2 3" is not 23
_SPACE = compile_late(r"(?<!\d) | (?!\d)")
_VARIABLE = compile_late(r"^[a-z]\w{0,2}(?:\([a-z,]+\))?=")
_BRACKETED = compile_late(r"\((\w+)\)")
_BRACED = compile_late(r"\{(\w)\}")


def _remove_layout(flat: str) -> str:
    """Drop the spaces, brackets and names of variables that change nothing: "x = {5}" is "5"."""
    flat = _VARIABLE.sub("", _IDLE_SPACE.sub("", flat))
    flat = " ".join(_BRACKETED.sub(r" \1 ", flat).split())  # nor is (2)(3)
    return _BRACED.sub(r"\1", _SPACE.sub("", flat))


def _normalize_number(flat: str) -> str | None:
    """Return a number or fraction to ten digits; None for anything else, and for what is not finite."""
    number = _NUMBER.fullmatch(flat)
    if number is None:
        return None
    amount = float(number[1].replace(",", "")) / (float(number[2] or 1) or math.nan)
    return f"{amount + 0.0:.10g}" if math.isfinite(amount) else None  # adding 0.0 avoids a minus zero
