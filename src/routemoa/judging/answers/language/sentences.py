"""Read what a text says that states no result: "Paris" of "The capital is Paris.", 18 of "18 apples are left." Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from routemoa.core.text.late_pattern import compile_late
from routemoa.judging.answers.language.numerals import NUMBER_START, find_decimal_mark, is_ambiguous, rewrite_numbers

__all__ = [
    "MAX_SENTENCE_LENGTH",
    "Sentence",
    "find_concluding_number",
    "find_only_number",
    "is_one_sentence",
    "split_preposition",
    "split_sentence",
    "strip_pointer",
]

MAX_SENTENCE_LENGTH = 150
"""Characters of a sentence that is taken apart."""


class Sentence(NamedTuple):
    """The two sides of a sentence that says what something is."""

    subject: str
    complement: str
    is_identity: bool = False
    """Whether the complement names one thing, so that the subject may be the answer: "Paris is the capital"."""
    place: str | None = None
    """Of a complement with a preposition the rest: "Paris" of "The Louvre is in Paris"."""


def _compile_statement(subject: str, link: str, complement: str, end: str = "") -> re.Pattern[str]:
    """Return the pattern of a sentence whose two sides are named by their groups; each part is a pattern itself."""
    return compile_late(rf"(?P<subject>{subject}){link}(?P<complement>{complement}){end}")


_NEGATED = r"(?!(?:not|no|never|nicht|kein\w{0,2}|pas|non|n[ãa]o|не|nunca|mai|jamais)\b)"
_EUROPEAN = compile_late(
    rf"""(?:(?:so|thus|hence|therefore|also|daher|somit|donc|ainsi|entonces|portanto|quindi|dunque|por\ (?:lo\ )?tanto)
    ,?\s)?
    (?P<subject>[^,;:]{{2,90}}?)(?<!\bno)(?<!\bnon)(?<!\bn[ãa]o)(?<!\bnever)(?<!\bnunca)
    \s(?:is|are|was|were|(?:will|would|must)\ be|es|son|será|fue|ist|sind|war|wird|est|sont|sera|é|são|foi|è|sono|era
    |sarà|hei(?:ß|ss)t|lautet)\s(?:called\s|named\s)?{_NEGATED}(?P<complement>[^,;:]{{1,60}}?)(?:\ sein)?""",
    re.VERBOSE | re.IGNORECASE,
)
_RUSSIAN = _compile_statement(
    r"[^,;:]{2,90}?", r"(?<!\bне)\s(?:[-–—](?:\sэто)?|это|является|были?|была|было)\s(?!не\b)", r"[^,;:]{1,60}"
)
_CHINESE = _compile_statement(r"[^,;:是为為]{1,40}", r"(?<!不)[是为為](?!不)", r"[^,;:是]{1,30}")
_JAPANESE = _compile_statement(r"[^,;:は]{1,40}", r"は,?", r"[^,;:は]{1,30}?", r"(?:です|である|だ|になります)?")
_KOREAN = _compile_statement(r"[^,;:]{1,40}", r"[은는이가]\s", r"[^,;:]{1,30}?", r"\s?(?:입니다|이다|이에요|예요|이며)")
_ARABIC = _compile_statement(r"[^,;:]{2,60}?", r"\s(?:هي|هو)\s", r"[^,;:]{1,40}")
_HINDI = _compile_statement(r"[^,;:]{2,60}", r"\s", r"[^\s,;:]{2,30}", r"\s(?:है|हैं)")
_IDENTITY = compile_late(
    r"(?:the|el|la|los|las|der|die|das|le|les|il|lo|gli|ال\w+)\s\S|l['’]|[^\s]{1,12}(?:的|の|의)|.{1,20}\s(?:का|की|के)\s",
    re.IGNORECASE,
)
_PORTUGUESE_IDENTITY = compile_late(r"[oa]s?\s\S", re.IGNORECASE)
_NEGATIONS = compile_late(r"नहीं|ではな|ではあり|じゃな|아니|아닙|아닌|ليس|不是|并非")
_LATER_SENTENCE = compile_late(r"[.!?。！？।؟]\s?\S")


_POINTER = compile_late(
    r"""(?:(?:so|thus|hence|therefore|well|today|also|daher|somit|heute|donc|ainsi|alors|aujourd['’]hui|entonces|hoy
    |portanto|hoje|quindi|dunque|oggi|значит|сегодня),?\s)?
    (?:(?:(?:it|this|that|which)(?:['’]s|\s(?:is|was|(?:will|would|must|should)\sbe))
    |(?:es|das|dies)\s(?:ist|war|wäre|wird)|c['’](?:est|était)|ce\s(?:sera|serait)|nous\ssommes|on\sest
    |(?:(?:esto|eso)\s)?(?:es|será|sería|fue)|(?:(?:isso|isto)\s)?(?:é|seria|foi)
    |(?:(?:questo|esso)\s)?(?:è|sarà|sarebbe)|это|будет|إنها?|هو|هي|यह|वह|(?:그것|이것)은|그건|이건)\s(?=\S)
    |(?:[它这這那]就?)?是(?=[^\W的]{2})|[そこ]れは(?=\w))""",
    re.VERBOSE | re.IGNORECASE,
)
"""What points at a result without a word of what it is: "It's Friday", "C'est vendredi", "是星期五"."""


def strip_pointer(text: str) -> str:
    """Return a text without the pronoun and the verb that it begins with: "Paris" of "It is Paris"."""
    return text[pointer.end() :] if (pointer := _POINTER.match(text)) else text


_PREPOSITION = compile_late(
    r"(on|in|at|am|im|en|em|n[ao]|à|au|di|во?|на|في|يوم|في يوم)\s"
    r"(?:(?:the|an?|el|la|le|il|der|dem|um|uma)\s)?(?=\S{2})",
    re.IGNORECASE,
)


def split_preposition(text: str) -> tuple[str, str] | None:
    """Return the preposition that a text begins with, and the rest: "on" and "Friday" of "on a Friday"; else None."""
    return (found[1], text[found.end() :]) if (found := _PREPOSITION.match(text)) else None


def is_one_sentence(text: str) -> bool:
    """Return whether a text is one short sentence."""
    return len(text) <= MAX_SENTENCE_LENGTH and "\n" not in text and not _LATER_SENTENCE.search(_bare(text))


def _bare(text: str) -> str:
    return text.strip().rstrip(" .。।!！")


def split_sentence(text: str) -> Sentence | None:
    """Return the sides of a text that is one short sentence of what something is; None for any other text.

    A sentence that denies something is not taken apart, nor one that points ("It is Paris."): that is its result.
    """
    sentence = _bare(text)
    if not is_one_sentence(text) or _NEGATIONS.search(sentence) or _POINTER.match(sentence):
        return None
    for pattern in _patterns_for(sentence):
        if m := pattern.fullmatch(sentence):
            is_identity = _IDENTITY.match(m["complement"]) or (
                " é " in sentence and _PORTUGUESE_IDENTITY.match(m["complement"])
            )
            return Sentence(m["subject"], m["complement"], bool(is_identity))
    return None


def _patterns_for(sentence: str) -> tuple[re.Pattern[str], ...]:
    """Return the patterns of the script of a sentence."""
    if sentence.isascii():
        return (_EUROPEAN,)
    if any("а" <= c <= "я" for c in sentence):
        return (_RUSSIAN,)
    return (_EUROPEAN, _JAPANESE, _CHINESE, _KOREAN, _ARABIC, _HINDI)


MAX_ENDING = 200
"""Characters at the end of a text that tell whether it breaks off."""
MAX_CONCLUSION = 600
"""Characters at the end of a text in which its concluding number is looked for."""
MAX_OPERATION, MAX_RESULT = 80, 40
"""Characters of what is calculated, and of what it gives."""
_SENTENCE_BREAK = compile_late(r"[.!?](?:\s|\\n)|[。！？।؟\n]")
_NUMBER = compile_late(
    rf"(?:(?<![\w)\]}}])-)?{NUMBER_START}(?<!\^)(?:\d{{1,3}}(?:,\d{{2,3}}){{1,9}}|\d{{1,30}})(?:\.\d{{1,15}})?(?![\d,]\d)"
)
_DIGIT = compile_late(r"\d")
_FULL_STOP = compile_late(r"[.!?](?:\s|\\n)|[。！？।؟]")
_CUT = compile_late(
    r"(?:[-=+*/×÷·<>^,:;(\[{&|\\]|\\(?:cdot|times|div|[dt]?frac|sqrt)|\b(?:and|or|the|an|is|are|of|to|with|by|for))$"
)
_ENDED = compile_late(r"(?:[^\w\s]|\d[^\s\d]{0,12}(?:\s(?:\\text\{\s?)?[^\W\d_]{1,20}){0,4})$")
_CLAUSE_BREAK = compile_late(r"[,;:.!?。、]\s|\n")
_EQUATION = compile_late(
    r"(?<![A-Za-z\\])[a-cn-z]\s?\^|\d(?:[nyz]|x(?!\s?\d))(?![A-Za-z0-9])|^\s*[nxyz]\s?[-+*/]"
    r"|[-+*/(]\s?[a-cnxyz](?![\w'’])|\\(?!text|times|div|cdot|[dt]?frac|left|right|mathrm|quad)[a-z]"
)
"""Terms with a variable: "x^3 + 6x - 24 = 0" calculates nothing."""
_GOES_ON = compile_late(r"\s?[+*/×÷·^]|\s-\s?\d|\(\d|\s?\\(?:cdot|times|div|[dt]?frac|sqrt)")
_DENIAL = compile_late(
    r"n['’]t\b|\b(?:cannot|not|no|nicht|keine?|pas|n[ãa]o|не|never|nie|nunca|non|without)\b", re.IGNORECASE
)
_DENIED = compile_late(
    r"(?:n['’]t|\bcannot|\b(?:not|nicht|keine?|pas|n[ãa]o|не|never|nie|nunca|no\s(?:son|es|hay|quedan|tiene)))\b"
    r"(?:(?!\s(?:is|are|was|were|es|son|ist|sind|est|sont|é|são|è|sono)\s)[^,;:=]){0,25}$",
    re.IGNORECASE,
)
_OPERATION = compile_late(r"\d\D{0,40}(?:[-+*/×÷·−]|(?<=[\d ])x(?=[\d ])|\\times|\\div|\\cdot)\D{0,40}\d")


def find_concluding_number(text: str) -> tuple[str, bool] | None:
    """Return the number that the last sentence of a text is about, and whether the text calculated it; else None.

    Of several numbers it is the one that the last calculation before ("3 × 6 = 18") gave.
    """
    if "```" in text:
        return None
    tail = text[-MAX_CONCLUSION:].rstrip()
    last = _find_last_sentence(tail)
    if not _DIGIT.search(last) or _is_cut(tail):
        return None
    if is_ambiguous(tail):
        tail = rewrite_numbers(tail, find_decimal_mark(text))
        last = _find_last_sentence(tail)
    numbers = {_plain(number[0]): number.start() for number in _NUMBER.finditer(last)}
    if not numbers or _OPERATION.search(last.rpartition("=")[2]):  # a calculation without its result
        return None
    calculated = _find_last_result(tail)
    concluded = calculated if calculated in numbers else next(iter(numbers)) if len(numbers) == 1 else None
    if concluded is None or _DENIED.search(last[: numbers[concluded]]):
        return None
    return concluded, concluded == calculated


# Whole words, each matched in one way: a possessive group would do, but Python 3.11.2 does not match it.
_WORDS = (
    r"(?:[^\W\d_]{2,}(?![^\W\d_])|['’][^\W\d_](?![^\W\d_])|(?<![^\W\d_'’])[aI](?![^\W\d_])"
    r"|[&%$€£,.:;'’\"()\s-]|(?<=[^\W\d_])/(?=[^\W\d_]))*"
)
_PHRASE = compile_late(
    rf"{_WORDS}[-+]?\d(?:[\d.,]*\d)?"
    r"(?:\s?(?:[kmgt]?b|k?gs?|lbs?|oz|ml|km|mph|m|cm|l|hrs?|mins?|h|s)(?![^\W_])|(?:st|nd|rd|th)(?![^\W_]))?"
    rf"(?:/\s?[^\W\d_]{{1,9}})?(?![^\W_]){_WORDS}",
    re.IGNORECASE,
)
"""Words around one number, without an operation, a variable or a function."""
_FUNCTION = compile_late(r"(?<![^\W_])(?:sqrt|sin|cos|tan|log|ln|mod|inf|pi|cis)(?![^\W_])", re.IGNORECASE)
_VAGUE = compile_late(
    r"(?:over|under|about|around|than|least|most|between|to|nearly|almost|up)\s[-+$€£]{0,2}\d", re.IGNORECASE
)
MAX_PHRASE = 200
"""Characters of a stated result in which its only number is looked for."""


def find_only_number(phrase: str) -> str | None:
    """Return the number of a phrase that has one and denies nothing: "9" of "He has 9 cookies left"; else None."""
    if len(phrase) > MAX_PHRASE or "\n" in phrase or not _DIGIT.search(phrase):
        return None
    phrase = rewrite_numbers(phrase, find_decimal_mark(phrase)) if is_ambiguous(phrase) else phrase
    if not _PHRASE.fullmatch(phrase) or _FUNCTION.search(phrase) or _VAGUE.search(phrase) or _DENIAL.search(phrase):
        return None
    numbers = _NUMBER.findall(phrase)
    return _plain(numbers[0]) if len(numbers) == 1 else None


def _find_last_sentence(text: str) -> str:
    sentences = [sentence for sentence in _SENTENCE_BREAK.split(text) if sentence.strip()]
    return sentences[-1] if sentences else ""


def _is_cut(text: str) -> bool:
    """Return whether a text breaks off: within a calculation, or where its other sentences have a full stop."""
    end = text[-MAX_ENDING:]
    return _CUT.search(end) is not None or (not _ENDED.search(end) and _FULL_STOP.search(text) is not None)


def _find_last_result(text: str) -> str | None:
    """Return the number after the last equals sign that follows an operation on numbers, or None."""
    *lefts, right = text.split("=")
    for left in reversed(lefts):
        number = _NUMBER.search(right[:MAX_RESULT])
        if number and not _GOES_ON.match(right, number.end()) and _calculates(left):
            return _plain(number[0])
        right = left
    return None


def _calculates(left: str) -> bool:
    """Return whether what stands before an equals sign ends with an operation on numbers alone."""
    clause = _CLAUSE_BREAK.split(left[-MAX_OPERATION:].rstrip(" \n\t&\\"))[-1]
    return _OPERATION.search(clause) is not None and not _EQUATION.search(clause)


def _plain(number: str) -> str:
    return f"{float(number.replace(',', '')) + 0.0:.10g}"
