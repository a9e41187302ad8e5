"""Read numbers as languages write them: their digits, separators, scales and signs. Pure functions.

"1.234,50" is 1234.50, "١٢٣٫٤" 123.4, "3万5千" 35000, "2,5 Millionen" 2500000, "二百零五" 205. Whether a lone comma
or full stop separates thousands or decimals follows from the other numbers and the words of the text.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = [
    "find_decimal_mark",
    "is_ambiguous",
    "read_chinese_quantity",
    "rewrite_numbers",
    "rewrite_scales",
    "scale_after",
    "unify_characters",
]

MARK_SAMPLE = 1500
"""Characters at the end of a text whose words and numbers tell its decimal mark."""

_ZEROS = (0x660, 0x6F0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50, 0xED0, 0x1040, 0x17E0)
"""The zeros of Arabic, Persian, Devanagari, Bengali, ... Khmer; NFKC knows only the full-width ones."""
_DIGITS = {zero + i: str(i) for zero in _ZEROS for i in range(10)}
_CHARACTERS = str.maketrans(
    {
        **{chr(code): digit for code, digit in _DIGITS.items()},
        "٫": ".",
        "٬": ",",
        "،": ",",
        "؛": ";",
        "٪": "%",
        "、": ",",
        "−": "-",
    }
)
_INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufe0f\ufeff]")
_GROUP_SPACE = re.compile("(?<=[0-9٠-٩۰-۹०-९])[\u00a0\u2007-\u200a\u202f](?=[0-9٠-٩۰-۹०-९]{3}(?![0-9٠-٩۰-۹०-९]))")


def unify_characters(text: str) -> str:
    """Write compatibility characters, digits and separators of all scripts as ASCII; drop invisible characters."""
    if text.isascii():
        return text
    text = _INVISIBLE.sub("", text)
    text = _GROUP_SPACE.sub("", text)
    return unicodedata.normalize("NFKC", text).translate(_CHARACTERS)


_APOSTROPHES = re.compile(r"(?<=\d)['’](?=\d{3}(?!\d))")  # 1'234.50, as in Switzerland
_BOTH_MARKS = re.compile(r"(?<![\w.,])(\d{1,3}(?:\.\d{3}){1,9}),(\d{1,9})(?![\d,]|\.\d)")  # 1.234,50
_MANY_GROUPS = re.compile(r"(?<![\w.,])\d{1,3}(?:\.\d{3}){2,9}(?![\d.,])")  # 1.234.567
_COMMA_NUMBER = re.compile(r"(?<![\w.,])(\d{1,3}(?:[. ]\d{3}){1,9}|\d{1,30})(?:,(\d{1,30}))?(?![\d,]|\.\d| \d{3})")
_AMBIGUOUS = re.compile(r"\d[.,]\d|\d \d{3}")
_COMMA_DECIMAL = re.compile(r"(?<![\d.,])\d{1,15},\d{1,2}(?![\d.,]\d|\d)")
_POINT_DECIMAL = re.compile(r"(?<![\d.,])\d{1,15}\.\d{1,2}(?![\d.,]\d|\d)|\d,\d{3}\.\d")


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


_WORD = re.compile(r"[^\W\d_]+")
_COMMA_WORDS = frozenset(
    "el la los las es una por que y del con para cada der das und ist sind ein eine einen von zu mit für den dem nicht le les des "
    "est et une du dans pour sont donc il lo gli che di è un per sono della dei da dos em um uma é são com não "
    "respuesta antwort réponse resposta risposta ergebnis lösung résultat resultado risultato lautet beträgt also daher "
    "total tiene hay quedan cuesta kostet coûte custa costa insgesamt calculamos wir on nous au aux auf sich".split()
)
_ENGLISH_WORDS = frozenset(
    "the of and is to that it are with so we answer each has have he she his her this they was be as by from which "
    "total equals therefore since number there then".split()
)


def find_decimal_mark(text: str) -> str | None:
    """Return "," or "." where the end of a text shows which of them its decimals have, else None."""
    sample = text[-MARK_SAMPLE:]
    if _language_has_comma(sample):
        return "." if _POINT_DECIMAL.search(sample) and not _COMMA_DECIMAL.search(sample) else ","
    return "." if _POINT_DECIMAL.search(sample) or len(sample) > MAX_WORDLESS else None


MAX_WORDLESS = 40
"""Characters of a text whose words may be too few to tell its language."""


def _language_has_comma(sample: str) -> bool:
    """Return whether a text is in a language whose decimals have a comma, judged by its commonest words."""
    words = _WORD.findall(sample.casefold())
    if any("а" <= word[0] <= "я" for word in words):
        return sum("а" <= word[0] <= "я" for word in words) > len(words) / 2
    foreign = sum(word in _COMMA_WORDS for word in words)
    return foreign > sum(word in _ENGLISH_WORDS for word in words)


_SCALES = {
    "thousand": 1e3, "tausend": 1e3, "tsd": 1e3, "mila": 1e3, "тыс": 1e3, "тысяч": 1e3, "тысячи": 1e3,
    "тысяча": 1e3, "ألف": 1e3, "آلاف": 1e3, "ألفا": 1e3, "हज़ार": 1e3, "हजार": 1e3, "千": 1e3, "천": 1e3, "백": 1e2,
    "百": 1e2, "万": 1e4, "萬": 1e4, "만": 1e4, "lakh": 1e5, "lakhs": 1e5, "लाख": 1e5, "million": 1e6,
    "millions": 1e6, "millionen": 1e6, "mio": 1e6, "millón": 1e6, "millones": 1e6, "milhão": 1e6, "milhões": 1e6,
    "milione": 1e6, "milioni": 1e6, "млн": 1e6, "миллион": 1e6, "миллиона": 1e6, "миллионов": 1e6, "مليون": 1e6,
    "ملايين": 1e6, "crore": 1e7, "crores": 1e7, "करोड़": 1e7, "करोड़": 1e7, "亿": 1e8, "億": 1e8, "억": 1e8,
    "billion": 1e9, "billions": 1e9, "milliarde": 1e9, "milliarden": 1e9, "mrd": 1e9, "milliard": 1e9,
    "milliards": 1e9, "miliardo": 1e9, "miliardi": 1e9, "bilhão": 1e9, "bilhões": 1e9, "mil millones": 1e9,
    "mil milhões": 1e9, "млрд": 1e9, "миллиард": 1e9, "миллиарда": 1e9, "миллиардов": 1e9, "مليار": 1e9,
    "अरब": 1e9, "trillion": 1e12, "兆": 1e12, "조": 1e12, "mil": 1e3,
}  # fmt: skip
_SCALE = re.compile(
    r"\s?(?:(" + "|".join(re.escape(w) for w in sorted(_SCALES, key=len, reverse=True) if not "一" <= w[0] <= "힣")
    + r")(?![^\W\d_])|(千(?!克|米|瓦|卡|赫)|百(?!分)|万(?!能)|兆(?!字|赫|瓦)|[萬亿億]|[천백만억조](?=\W|\d|$|[원명개달년인대권마톤천백만억번입이])))",
    re.IGNORECASE,
)  # fmt: skip
_SCALED = re.compile(rf"(?<![\w.,])(\d[\d,]{{0,30}}(?:\.\d{{1,15}})?){_SCALE.pattern}", re.IGNORECASE)
_SCALED_REST = re.compile(rf",?\s?(\d[\d,]{{0,30}}(?:\.\d{{1,15}})?)(?:{_SCALE.pattern})?", re.IGNORECASE)
_HAS_SCALE = re.compile(r"\d\s?[^\W\d_]")


def scale_after(text: str, position: int) -> float | None:
    """Return the factor of the scale word that stands right after a number ("million", "万"), or None."""
    scale = _SCALE.match(text, position)
    return _SCALES[(scale[1] or scale[2]).casefold()] if scale else None


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
        total, last, stop = _value(number), _factor(number) or 1.0, number.end()
        while (rest := _SCALED_REST.match(text, stop)) and (_factor(rest) or 1.0) < last and _is_part(rest, last):
            total, last, stop = total + _value(rest), _factor(rest) or 1.0, rest.end()
        if compound_only and stop == number.end():
            continue
        pieces += [text[end : number.start()], f"{total:.15g}" if abs(total) < 1e15 else f"{total:.0f}"]
        end = stop
    return "".join([*pieces, text[end:]]) if pieces else text


def _factor(number: re.Match[str]) -> float | None:
    word = number[2] or number[3]
    return _SCALES[word.casefold()] if word else None


def _value(number: re.Match[str]) -> float:
    return float(number[1].replace(",", "")) * (_factor(number) or 1.0)


def _is_part(rest: re.Match[str], last: float) -> bool:
    """Return whether a number that follows a scale continues it: "3만 5천" and "3万5000" do, "3 million 5" does not."""
    has_scale = _factor(rest) is not None
    glued = not rest[0][:1].isspace() and not rest[0].startswith(",")
    return _value(rest) < last and (has_scale or (glued and last >= 1e4))


_CHINESE_DIGITS = {c: i for i, cs in enumerate(("零〇", "一", "二两兩", "三", "四", "五", "六", "七", "八", "九")) for c in cs}
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000}
_CHINESE_SCALES = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8, "兆": 10**12}


def _read_chinese_number(text: str) -> int | None:
    """Return the number that Chinese or Japanese numerals write ("三万五千", "二百零五"); None for other text."""
    total = section = 0
    digit: int | None = None
    if not 0 < len(text) <= 30:
        return None
    for sign in text:
        if sign in _CHINESE_DIGITS:
            if digit:  # 二五 is a sequence of digits
                return None
            digit = _CHINESE_DIGITS[sign]
        elif sign in _CHINESE_UNITS:
            section += (1 if digit is None else digit) * _CHINESE_UNITS[sign]
            digit = None
        elif sign in _CHINESE_SCALES:
            total += (section + (digit or 0)) * _CHINESE_SCALES[sign]
            section, digit = 0, None
        else:
            return None
    return total + section + (digit or 0)


_CHINESE_QUANTITY = re.compile(
    "([零〇一二两兩三四五六七八九十][零〇一二两兩三四五六七八九十百千万萬亿億]{0,20})(?:(?:个|個|只|隻|本|人|円|元|块|塊|张|張|天|岁|歳"
    "|公里|公斤|支|枝|台|辆|輛|匹|杯|箱|篮|瓶|页|頁|小时|小時|分钟|名|位|つ)[^\\W\\d_]{0,4})?"
)


def read_chinese_quantity(text: str) -> int | None:
    """Return the number of "十八" or "十八个苹果"; None for other text."""
    quantity = _CHINESE_QUANTITY.fullmatch(text)
    return _read_chinese_number(quantity[1]) if quantity else None
