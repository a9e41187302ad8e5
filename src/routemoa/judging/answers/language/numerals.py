"""Read numbers as languages write them: the digits of all scripts, and what separates thousands and decimals. Pure.

"1.234,50" is 1234.50 and "١٢٣٫٤" 123.4. Whether a lone comma or full stop separates thousands or decimals follows from
the other numbers and the words of the text.
"""

from __future__ import annotations

import re
import unicodedata

from routemoa.core.text.late_pattern import compile_late

__all__ = ["NUMBER_START", "find_decimal_mark", "is_ambiguous", "rewrite_numbers", "unify_characters"]

MARK_SAMPLE = 1500
"""Characters at the end of a text whose words and numbers tell its decimal mark."""
MAX_WORDLESS = 40
"""Characters of a text whose words may be too few to tell its language."""

NUMBER_START = r"(?<![0-9A-Za-z_.,À-ɏЀ-ӿ])"
"""What comes before a number: scripts without spaces may write a word right before it."""

_ZEROS = (0x660, 0x6F0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50, 0xED0, 0x1040, 0x17E0)
"""The zeros of Arabic, Persian, Devanagari, Bengali, ... Khmer; NFKC knows only the full-width ones."""
_SEPARATORS = {"٫": ".", "٬": ",", "،": ",", "؛": ";", "٪": "%", "、": ",", "−": "-"}
_PLAIN = {chr(zero + i): str(i) for zero in _ZEROS for i in range(10)} | _SEPARATORS
_ODD = compile_late(f"[{''.join(_PLAIN)}]")
_INVISIBLE = compile_late("[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufe0f\ufeff]")
_DIGIT = "[0-9٠-٩۰-۹०-९]"
_SUBSCRIPT = compile_late("(?<=[0-9])[₀-₉]{1,2}")  # the base of a number, 1011₂
_GROUP_SPACE = compile_late(f"(?<={_DIGIT})[\u00a0\u2007-\u200a\u202f](?={_DIGIT}{{3}}(?!{_DIGIT}))")


def unify_characters(text: str) -> str:
    """Write compatibility characters, digits and separators of all scripts as ASCII; drop invisible characters."""
    if text.isascii():
        return text
    text = _SUBSCRIPT.sub(lambda digits: "_" + digits[0], text)
    if not text.isprintable():  # the odd spaces and the invisible characters are not printable
        text = _GROUP_SPACE.sub("", _INVISIBLE.sub("", text))
    return _ODD.sub(lambda sign: _PLAIN[sign[0]], unicodedata.normalize("NFKC", text))


_APOSTROPHES = compile_late(r"(?<=\d)['’](?=\d{3}(?!\d))")  # 1'234.50, as in Switzerland
_BOTH_MARKS = compile_late(rf"{NUMBER_START}(\d{{1,3}}(?:\.\d{{3}}){{1,9}}),(\d{{1,9}})(?![\d,]|\.\d)")  # 1.234,50
_MANY_GROUPS = compile_late(rf"{NUMBER_START}\d{{1,3}}(?:\.\d{{3}}){{2,9}}(?![\d.,])")  # 1.234.567
_COMMA_NUMBER = compile_late(
    rf"{NUMBER_START}(\d{{1,3}}(?:[. ]\d{{3}}){{1,9}}|\d{{1,30}})(?:,(\d{{1,30}}))?(?![\d,]|\.\d| \d{{3}})"
)
_AMBIGUOUS = compile_late(r"\d[.,]\d|\d \d{3}")
_DIGIT_AFTER_COMMA, _DIGIT_AFTER_POINT = compile_late(r",\d"), re.compile(r"\.\d")
_COMMA_DECIMAL = compile_late(r"(?<![\d.,])\d{1,15},\d{1,2}(?![\d.,]\d|\d)")
_POINT_DECIMAL = compile_late(r"(?<![\d.,])\d{1,15}\.\d{1,2}(?![\d.,]\d|\d)|\d,\d{3}\.\d")
_SURELY_COMMA = compile_late(
    rf"{_BOTH_MARKS.pattern}|[€₽]\s?\d{{1,9}},\d{{1,2}}(?!\d)|(?<!\d)\d{{1,9}},\d\d?\s?(?:€|₽|euros?\b|eur\b|руб|reais\b)"
)


def is_ambiguous(text: str) -> bool:
    """Return whether a text has a number that may mean another one where the decimal mark is a comma."""
    return _AMBIGUOUS.search(text) is not None


def rewrite_numbers(text: str, mark: str | None = None) -> str:
    """Write the numbers of a text with a decimal point and without separators that are no comma.

    `mark` is the decimal mark of the text where it is known. Without it only what has one reading is rewritten.
    """
    if not _AMBIGUOUS.search(text) and "'" not in text and "’" not in text:
        return text
    text = _APOSTROPHES.sub("", text)
    text = _BOTH_MARKS.sub(lambda m: f"{m[1].replace('.', '')}.{m[2]}", text)
    text = _MANY_GROUPS.sub(lambda m: m[0].replace(".", ""), text)
    return _COMMA_NUMBER.sub(_write_with_point, text) if mark == "," else text


def _write_with_point(number: re.Match[str]) -> str:
    before, after = number.string[number.start() - 1 : number.start()], number.string[number.end() : number.end() + 1]
    if before in ("(", "[", "{") and after in (")", "]", "}") and number[2]:  # a pair
        return number[0]
    whole = number[1].replace(".", "").replace(" ", "")
    return f"{whole}.{number[2]}" if number[2] else whole


_WORD = compile_late(r"[^\W\d_]+")
_ACCENTED = compile_late("[à-öø-ÿ]")
_COMMON_WORDS = """
    el la los las es una por que y del con para cada der das und ist sind ein eine einen von zu mit für den dem nicht
    le les des est et une du dans pour sont donc il lo gli che di è un per sono della dei da dos em um uma é são com não
    respuesta antwort réponse resposta risposta ergebnis lösung résultat resultado risultato lautet beträgt daher hay
    tiene quedan cuesta cuestan kostet kosten coûte coûtent custa custam costa costano insgesamt wir on nous au aux auf
    sich mil reais millones milhões millionen tausend mila milioni miliardi euro euros"""
"""Of Spanish, German, French, Portuguese and Italian, where English does not have them."""
_COMMON_ENGLISH_WORDS = """
    the of and is to that it are with so we answer each has have he she his her this they was be as by from which
    equals therefore since number there then"""
_COMMA_WORDS, _ENGLISH_WORDS = frozenset(_COMMON_WORDS.split()), frozenset(_COMMON_ENGLISH_WORDS.split())


def find_decimal_mark(text: str) -> str | None:
    """Return "," or "." where the end of a text shows which of them its decimals have, else None."""
    sample = text[-MARK_SAMPLE:]
    has_comma = _DIGIT_AFTER_COMMA.search(sample) is not None  # quickly found, without which the others find nothing
    if has_comma and _SURELY_COMMA.search(sample):
        return ","
    has_point = _DIGIT_AFTER_POINT.search(sample) is not None and _POINT_DECIMAL.search(sample) is not None
    if _language_has_comma(sample):
        return "." if has_point and not (has_comma and _COMMA_DECIMAL.search(sample)) else ","
    return "." if has_point or len(sample) > MAX_WORDLESS else None


def _language_has_comma(sample: str) -> bool:
    """Return whether a text is in a language whose decimals have a comma, judged by its commonest words."""
    folded = sample.casefold()
    words = _WORD.findall(folded)
    cyrillic = len([word for word in words if "а" <= word[0] <= "я"])
    if cyrillic:
        return 2 * cyrillic > len(words)
    foreign = sum(word in _COMMA_WORDS for word in words) + bool(_ACCENTED.search(folded))
    english = sum(word in _ENGLISH_WORDS for word in words)
    return foreign > english
