"""Bring the result that a text states to one form, so that equal results are equal texts. Pure functions.

Looked for in this order: the field "answer" of a reply that is one JSON object; a box, "#### 18", "The answer is 18";
a text so short that it is its own result. Lists, strings and the like of a programming language keep case and signs.
Numbers are numbers however they are written. Mathematics loses its layout, words the case of a title.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from typing import NamedTuple

from routemoa.judging.answers.extraction import bound_text, find_answer_field, find_statements, strip_markup
from routemoa.judging.answers.languages import strip_frame
from routemoa.judging.answers.numerals import find_decimal_mark, is_ambiguous, rewrite_numbers, unify_characters
from routemoa.judging.answers.options import find_chosen_option
from routemoa.judging.answers.scales import read_chinese_quantity, rewrite_scales
from routemoa.judging.answers.sentences import Sentence, find_concluding_number, split_sentence

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
    decimal_mark: str | None = None
    """"," or "." where the result has a number that depends on it and the text shows it."""
    comma_form: str | None = None
    """The form where the decimal mark is a comma, if the text does not show its mark and this is another form."""
    sentence: Sentence | None = None
    """Of a text that is one sentence: "capital" and "paris" of "The capital is Paris."."""
    number: str | None = None
    """The number that the last sentence of a text without a stated result is about."""
    is_calculated: bool = False
    """Whether the text gave that number as the result of a calculation."""


NO_RESULT = ExtractedResult(None, False)


def extract_result(text: str) -> ExtractedResult:
    """Return the result of a text, in one form."""
    text = bound_text(text)
    if (value := find_answer_field(text)) is not None:
        return _normalize_in_context(value, text, is_stated=True) if len(value) <= MAX_FIELD_LENGTH else NO_RESULT
    text = strip_markup(text)
    if statements := [s for s in find_statements(text) if _WORD.search(s)]:  # a template's blank is no result
        return _result_of_statement(statements[-1], text)
    if option := find_chosen_option(text):
        return ExtractedResult(option.casefold(), True)
    _, mark, rest = text.rpartition("####")
    is_short = len(text) <= MAX_SHORT_LENGTH and "\n" not in text
    result = _normalize_in_context(strip_frame(rest if mark else text), text) if is_short else NO_RESULT
    if mark:
        return result
    sides = split_sentence(text)
    concluded = find_concluding_number(text)
    return result._replace(
        sentence=sides and Sentence(_normalize(sides.subject), _normalize(sides.complement), sides.is_identity),
        number=concluded[0] if concluded else None,
        is_calculated=bool(concluded and concluded[1]),
    )


def _result_of_statement(statement: str, text: str) -> ExtractedResult:
    """Return the result of a statement, without the fields that follow in a JSON object."""
    value = _NEXT_FIELD.split(statement)[0]
    whole = value if value.count("{") <= value.count("}") else statement
    result = _normalize_in_context(whole, text, is_stated=True)
    return result if result.form is not None and len(result.form) <= MAX_SHORT_LENGTH else NO_RESULT


_PLAIN_POINT = re.compile(r"-?\d{1,15}\.\d{1,2}")


def _normalize_in_context(value: str, text: str, *, is_stated: bool = False) -> ExtractedResult:
    """Return a result in one form; the words and other numbers of its text tell what its separators mean."""
    if not is_ambiguous(value) or _PLAIN_POINT.fullmatch(value):
        return ExtractedResult(_normalize(value), is_stated)
    mark = find_decimal_mark(text)
    form = _normalize(value, mark)
    comma_form = _normalize(value, ",") if mark is None else form
    return ExtractedResult(form, is_stated, mark, comma_form if comma_form != form else None)


_PLAIN_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")


def _normalize(value: str, decimal_mark: str | None = None) -> str:
    if decimal_mark != "," and _PLAIN_NUMBER.fullmatch(value) and (number := _normalize_number(value)):
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
        return _normalize_words(literal)
    return None if isinstance(literal, int | float) else repr(literal)


_QUOTES = " .,;:!\"'“”„‘’«»「」『』《》【】。！।؟¿¡"
_WORD = re.compile(r"[^\W_]")


def _normalize_words(text: str) -> str:
    """Drop the case of a title or of a sentence's beginning; other capitals (ABC, mixedCase) carry meaning."""
    flat = " ".join(text.split()).strip(_QUOTES)
    is_ordinary_case = flat.istitle() or flat[1:] == flat[1:].lower() or len(flat) == 1
    return flat.casefold() if is_ordinary_case else flat


_NOTATIONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), to)
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

_NEXT_FIELD = re.compile(r"""(?<!\s)["']?\s*+,\s*+["'][\w ]{1,80}+["']\s*+:""")  # of a JSON object
_MONEY = "€£¥₹₽₩"
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_UNIT = (
    rf"\s*+(?:[%{_MONEY}]|(?:mm|cm|dm|km|in|ft|yd|mi|kg|mg|units?)(?:\^?\{{?[23]\}}?)?"
    rf"|(?:(?<=\s)(?:[^\W\d_]{{2}}|d['’][^\W\d_]|[\u0600-\u06ff\u0900-\u097f])|[{_UNSPACED}])[^\d=+*/^\\]*|(?<=\s)[а-я]\.?)"
)
_QUANTITY = re.compile(rf"(?<![\d,.])([{_MONEY}]?[-+]?[\d,.]*+(?<=\d)){_UNIT}")  # "576 distinct arrangements", "5 %"
_MIXED = re.compile(rf"(?<!\d)([-+]?)(\d++)(?:\s++(\d++)/(\d++)|\s*+\((\d++)\)/\((\d++)\))(?:{_UNIT})?")  # "2 1/2"
_OPTION = re.compile(
    r"\(?([^\W\d_])\).*|([a-jа-д])(?:[.:]\s|,\s(?![a-z]\b(?!\sis\b))).*|\(?([a-j]):"
)  # "(c) because", "b. Paris"
_NUMBER = re.compile(
    rf"(?<![\d,.])[{_MONEY}]?([-+]?(?:\d{{1,3}}(?:,\d{{2,3}})*,\d{{3}}(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+))(?:/(\d+(?:\.\d+)?))?"
)
_CURRENCY = re.compile(r"^(?:usd|eur|gbp|inr|rub|krw|jpy|cny|rmb|chf|rs\.?)\s?(?=[-+]?\d)")
_LEADING = re.compile(r"^(?:[ ,;:!\"'“”„‘’«»「」『』《》【】¿¡]|\.(?!\d))+")
_BEFORE_NUMBER = re.compile(
    r"^(?:(?:the|el|la|das|die|le|les|o|a|il|les|die)\s)?(?:(?:number|número|numero|zahl|nombre|число|数字|숫자|العدد|संख्या)\s)?(?=\d)"
)
_PRONOUN = re.compile(r"^(?:it|this|that|which) is ")
_ARTICLE = re.compile(
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
        return _normalize_words(_drop_article(value))
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
    return _PRONOUN.sub("", flat)


def _strip_unit(flat: str) -> str:
    """Return the number of a quantity ("5 cm"), and a mixed number ("2 1/2") as a fraction."""
    if quantity := _QUANTITY.fullmatch(flat):
        flat = quantity[1]
    if mixed := _MIXED.fullmatch(flat):
        sign, whole, *fraction = (group for group in mixed.groups() if group is not None)
        numerator, denominator = map(int, fraction)
        flat = f"{sign}{int(whole) * denominator + numerator}/{denominator}"
    return flat


_ONLY_WORDS = re.compile(r"(?:[^\W\d_α-ωΑ-Ω]|[ \u064b-\u0652\u0900-\u0963]){2,}+")
_LONG_WORD = re.compile(r"[^\W\d_]{4}")
_MATHEMATICS = re.compile(r"sqrt|[=^\\]")


def _is_prose(flat: str) -> bool:
    if _ONLY_WORDS.fullmatch(flat):
        return True
    return bool(_LONG_WORD.search(flat)) and not _MATHEMATICS.search(flat)


def _drop_article(words: str) -> str:
    words = _LEADING.sub("", words)
    return words[article.end() :] if (article := _ARTICLE.match(words)) else words


_IDLE_SPACE = re.compile(r" (?=\d{3}(?!\d))|(?<!\d) | (?!\d)")  # "2 3" is not 23
_SPACE = re.compile(r"(?<!\d) | (?!\d)")
_VARIABLE = re.compile(r"^[a-z]\w{0,2}(?:\([a-z,]+\))?=")
_BRACKETED = re.compile(r"\((\w+)\)")
_BRACED = re.compile(r"\{(\w)\}")


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
