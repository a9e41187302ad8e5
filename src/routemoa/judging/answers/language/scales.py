"""Read the words that scale a number ("3 million", "3万5千", "2 लाख") and numbers written as Chinese numerals. Pure."""

from __future__ import annotations

import re

from routemoa.core.text.late_pattern import compile_late
from routemoa.judging.answers.language.numerals import NUMBER_START

__all__ = ["read_chinese_quantity", "rewrite_scales", "scale_after"]

_WORDS = {
    1e3: "thousand tausend tsd mil mila тыс тысяч тысячи тысяча ألف آلاف ألفا हज़ार हजार",
    1e5: "lakh lakhs लाख",
    1e6: "million millions millionen mio millón millones milhão milhões milione milioni млн миллион миллиона миллионов"
    " مليون ملايين",
    1e7: "crore crores करोड़ करोड़",
    1e9: "billion billions milliarde milliarden mrd milliard milliards miliardo miliardi bilhão bilhões млрд миллиард"
    " миллиарда миллиардов مليار अरब",
    1e12: "trillion",
}
_SCALES = {word: factor for factor, words in _WORDS.items() for word in words.split()} | {
    "mil millones": 1e9, "mil milhões": 1e9,
    "百": 1e2, "千": 1e3, "万": 1e4, "萬": 1e4, "亿": 1e8, "億": 1e8, "兆": 1e12,
    "백": 1e2, "천": 1e3, "만": 1e4, "억": 1e8, "조": 1e12,
}  # fmt: skip
_LONG = "|".join(sorted((re.escape(word) for word in _SCALES if len(word) > 1), key=len, reverse=True))
# 千克 is a kilogram, 조각 a slice, 百分 percent.
_SIGN = (
    "千(?!克|米|瓦|卡|赫)|百(?!分)|万(?!能)|兆(?!字|赫|瓦)|[萬亿億]"
    r"|[천백만억조](?=[\W\d원명개달년인대권마톤천백만억번입이]|$)"
)
_SCALE = compile_late(rf"\s?(?:({_LONG})(?![^\W\d_])|({_SIGN})([万萬亿億만억])?)", re.IGNORECASE)
_AMOUNT = r"(\d[\d,]{0,30}(?:\.\d{1,15})?)"
_SCALED = compile_late(rf"{NUMBER_START}{_AMOUNT}{_SCALE.pattern}", re.IGNORECASE)
_REST = compile_late(rf",?\s?{_AMOUNT}(?:{_SCALE.pattern})?", re.IGNORECASE)
_HAS_SCALE = compile_late(r"\d\s?[^\W\d_]")


def scale_after(text: str, position: int) -> float | None:
    """Return the factor of the scale word that stands right after a number ("million", "万"), or None."""
    scale = _SCALE.match(text, position)
    return _factor(*scale.groups()) if scale else None


def rewrite_scales(text: str, *, compound_only: bool = False) -> str:
    """Write numbers with scale words as plain digits: "3 million" is 3000000, "1億2000万" 120000000.

    With `compound_only` a number with one scale word stays as it is.
    """
    if not _HAS_SCALE.search(text):
        return text
    pieces: list[str] = []
    end = 0
    for number in _SCALED.finditer(text):
        if number.start() < end:
            continue
        total, last, stop = _value(number), _factor(*number.groups()[1:]), number.end()
        while (rest := _REST.match(text, stop)) and (factor := _factor(*rest.groups()[1:])) < last:
            if not _is_part(rest, last):
                break
            total, last, stop = total + _value(rest), factor, rest.end()
        if compound_only and stop == number.end() and not number[4]:
            continue
        pieces += [text[end : number.start()], f"{total:.15g}" if abs(total) < 1e15 else f"{total:.0f}"]
        end = stop
    return "".join([*pieces, text[end:]]) if pieces else text


def _factor(word: str | None, sign: str | None, second: str | None) -> float:
    """Return the factor of a scale as it was matched; "천만" is a thousand times ten thousand."""
    scale = word or sign
    return _SCALES[scale.casefold()] * (_SCALES[second] if second else 1.0) if scale else 1.0


def _value(number: re.Match[str]) -> float:
    return float(number[1].replace(",", "")) * _factor(*number.groups()[1:])


def _is_part(rest: re.Match[str], last: float) -> bool:
    """Return whether a number after a scale continues it: "3만 5천" and "3万5000" do, "3 million 5" does not."""
    has_scale = rest[2] or rest[3]
    is_glued = not rest[0][:1].isspace() and not rest[0].startswith(",")
    return _value(rest) < last and bool(has_scale or (is_glued and last >= 1e4))


_DIGITS = dict(zip("零〇一二两兩三四五六七八九", (0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
_UNITS = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_QUANTITY = compile_late(
    "([零〇一二两兩三四五六七八九十][零〇一二两兩三四五六七八九十百千万萬亿億]{0,20})(?:(?:个|個|只|隻|本|人|円|元|块|塊"
    "|张|張|天|岁|歳|公里|公斤|支|枝|台|辆|輛|匹|杯|箱|篮|瓶|页|頁|小时|小時|分钟|名|位|つ)[^\\W\\d_]{0,4})?"
)


def read_chinese_quantity(text: str) -> int | None:
    """Return the number of "十八" or "十八个苹果"; None for other text."""
    quantity = _QUANTITY.fullmatch(text)
    return _read_chinese_number(quantity[1]) if quantity else None


def _read_chinese_number(numerals: str) -> int | None:
    """Return the number of Chinese or Japanese numerals ("三万五千", "二百零五"); None for a row of digits."""
    total = section = 0
    digit: int | None = None
    for sign in numerals:
        if sign in _DIGITS:
            if digit:
                return None
            digit = _DIGITS[sign]
        elif sign in _UNITS:
            section += (1 if digit is None else digit) * _UNITS[sign]
            digit = None
        else:
            total += (section + (digit or 0)) * _MYRIADS[sign]
            section, digit = 0, None
    return total + section + (digit or 0)
