"""Read the result of a text, in its one form (`normalization`), and what else it may mean beside others. Pure.

Looked for in this order: the field "answer" of a reply that is one JSON object; a box, "#### 18", "The answer is 18";
a text so short that it is its own result.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from routemoa.judging.answers.language.calendar_names import read_calendar_name
from routemoa.judging.answers.language.extraction import (
    bound_text,
    find_answer_field,
    find_statements,
    isolate_answer,
    strip_markup,
)
from routemoa.judging.answers.language.languages import strip_frame
from routemoa.judging.answers.language.normalization import MAX_FIELD_LENGTH, PLAIN_NUMBER, normalize
from routemoa.judging.answers.language.numerals import find_decimal_mark, is_ambiguous
from routemoa.judging.answers.language.options import find_chosen_option
from routemoa.judging.answers.language.sentences import (
    MAX_SENTENCE_LENGTH,
    Sentence,
    find_concluding_number,
    find_only_number,
    is_one_sentence,
    split_preposition,
    split_sentence,
    strip_pointer,
)

__all__ = ["MAX_SHORT_LENGTH", "ExtractedResult", "extract_result"]

MAX_SHORT_LENGTH = 60
"""Characters of a text that is its own result, and of a result stated in prose."""


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
    calendar_name: str | None = None
    """The weekday or month, in English, that a text of one sentence names, or that is its result."""


NO_RESULT = ExtractedResult(None, False)


_WORD = re.compile(r"[^\W_]")
_NEXT_FIELD = re.compile(r"""(?<!\s)["']?\s*+,\s*+["'][\w ]{1,80}+["']\s*+:""")  # of a JSON object


def extract_result(text: str) -> ExtractedResult:
    """Return the result of a text, in one form."""
    text = isolate_answer(bound_text(text))
    if (value := find_answer_field(text)) is not None:
        return _read_statement(_strip_blank(value), text) if len(value) <= MAX_FIELD_LENGTH else NO_RESULT
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
    concluded = find_concluding_number(text)
    is_long_sentence = result.form is None and is_one_sentence(text)
    return result._replace(
        sentence=_read_sentence(text),
        number=concluded[0] if concluded else None,
        is_calculated=bool(concluded and concluded[1]),
        calendar_name=read_calendar_name(text) if is_long_sentence else result.calendar_name,
    )


def _read_sentence(text: str) -> Sentence | None:
    """Return the sides of a text of one sentence, in their one form; of "on Friday" the preposition and the rest."""
    if len(text) > MAX_SENTENCE_LENGTH or (text.isascii() and " " not in text):
        return None
    if sides := split_sentence(text):
        parts = split_preposition(sides.complement)
        place = normalize(parts[1]) if parts else None
        return Sentence(normalize(sides.subject), normalize(sides.complement), sides.is_identity, place)
    if len(text) <= MAX_SHORT_LENGTH and is_one_sentence(text) and (parts := split_preposition(strip_pointer(text))):
        return Sentence(parts[0].casefold(), normalize(parts[1]))
    return None


def _result_of_statement(statement: str, text: str) -> ExtractedResult:
    """Return the result of a statement, without the fields that follow in a JSON object."""
    value = _NEXT_FIELD.split(statement)[0]
    whole = value if value.count("{") <= value.count("}") else statement
    result = _read_statement(whole, text)
    if result.form is None or len(result.form) > MAX_SHORT_LENGTH:
        return NO_RESULT._replace(number=result.number)
    return result


_FILLED_BLANK = re.compile(r"_{3,}([^_]+)_{3,}|`([^`]+)`")


def _strip_blank(value: str) -> str:
    """Return a field without the blank of the template ("___18___") or the quotes of code around it."""
    filled = _FILLED_BLANK.fullmatch(value.strip())
    return (filled[1] or filled[2]) if filled else value


def _read_statement(value: str, text: str) -> ExtractedResult:
    """Return a stated result in one form; where it is a phrase ("He has 9 left"), with its only number."""
    result = _normalize_in_context(value, text, is_stated=True)
    form = result.form or ""
    if len(form) < 2 or PLAIN_NUMBER.fullmatch(form):
        return result
    return result._replace(number=find_only_number(strip_markup(value)))


_PLAIN_POINT = re.compile(r"-?\d{1,15}\.\d{1,2}")


def _normalize_in_context(value: str, text: str, *, is_stated: bool = False) -> ExtractedResult:
    """Return a result in one form; the words and other numbers of its text tell what its separators mean."""
    if not is_ambiguous(value) or _PLAIN_POINT.fullmatch(value):
        form = normalize(value)
        return ExtractedResult(form, is_stated, calendar_name=_read_calendar_form(form))
    mark = find_decimal_mark(text)
    form = normalize(value, mark)
    comma_form = normalize(value, ",") if mark is None else form
    return ExtractedResult(form, is_stated, mark, comma_form if comma_form != form else None)


def _read_calendar_form(form: str) -> str | None:
    """Return the weekday or month that a result is; a number is none."""
    return None if len(form) > MAX_SHORT_LENGTH or PLAIN_NUMBER.fullmatch(form) else read_calendar_name(form)
