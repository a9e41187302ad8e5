"""The result that a text states, in one form, so that equal results are equal texts. Pure functions.

Looked for, in this order: the field "answer" of a reply that is one JSON object; a box, "#### 18", "The answer is 18";
a text so short that it is its own result. Lists, strings and the like of a programming language keep case and signs;
numbers are numbers however they are written; mathematics loses its layout, words the case of a title.
"""

from __future__ import annotations

import ast
import math
import re
import unicodedata
import warnings

from routemoa.judging.answers.extraction import find_answer_field, strip_markup, find_statements

__all__ = ["MAX_SHORT_LENGTH", "extract_result"]

MAX_SHORT_LENGTH = 60  # characters: an answer this short is its own result, and no result in prose is longer
MAX_FIELD_LENGTH = 600  # characters of a result in a field of its own


def extract_result(text: str) -> tuple[str | None, bool]:
    """The result of a text in one form, or None; and whether the text states it, or is merely short."""
    if (value := find_answer_field(text)) is not None:
        return (_literal(value) or _form(value), True) if len(value) <= MAX_FIELD_LENGTH else (None, False)
    text = strip_markup(text)
    if found := [s for s in find_statements(text) if re.search(r"[^\W_]", s)]:  # a template's blank is no result
        value = _NEXT_FIELD.split(found[-1])[0]
        value = value if value.count("{") <= value.count("}") else found[-1]
        form = _literal(value) or _form(value)
        return (form, True) if len(form) <= MAX_SHORT_LENGTH else (None, False)
    _, marked, rest = text.rpartition("####")
    short = len(text) <= MAX_SHORT_LENGTH and "\n" not in text
    value = rest if marked else text
    return (_literal(value) or _form(value) if short else None), False


def _literal(value: str) -> str | None:
    """A list, string or the like as Python would write it; None for what is none, and for plain numbers and words."""
    bare = value.strip().strip("`").removesuffix(".")
    if bare[:1] not in ("[", "(", "{", "'", '"') or len(bare) > MAX_FIELD_LENGTH:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # LaTeX in quotes is full of escapes that Python does not know
            found = ast.literal_eval(bare)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
    if isinstance(found, str):
        return _words(found)
    return None if isinstance(found, int | float) else repr(found)


def _words(text: str) -> str:
    """Words without the case of a title or a sentence's beginning; other capitals (ABC, mixedCase) mean something."""
    flat = " ".join(text.split()).strip(" .,;:!\"'“”")
    plainly = flat.istitle() or not re.search(r"[A-Z]", flat[1:]) or len(flat) == 1
    return flat.casefold() if plainly else flat


_REWRITTEN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
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
_NEXT_FIELD = re.compile(r"""["']?\s*,\s*["'][\w ]+["']\s*:""")  # of a JSON object
_UNIT = r"(?:mm|cm|dm|km|in|ft|yd|mi|kg|mg|units?)(?:\^?\{?[23]\}?)?|\s+[a-z]{2}[^\d=+*/^\\]*"
_COUNTED = re.compile(rf"([€£]?[-+]?[\d,.]*\d)(?:\s*[%€£]|\s*{_UNIT})")  # "576 distinct arrangements", "5 %", "3 cm^2"
_MIXED = re.compile(rf"([-+]?)(\d+)(?:\s+(\d+)/(\d+)|\s*\((\d+)\)/\((\d+)\))(?:\s*{_UNIT})?")  # "2 1/2"
_OPTION = re.compile(r"\(?([a-j])(?:\)|[.:](?=\s)).*")  # "(c) because", "b. Paris"
_NUMBER = re.compile(r"[€£]?([-+]?(?:\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+))(?:/(\d+(?:\.\d+)?))?")


def _form(value: str) -> str:
    """A result in one form: numbers as numbers, mathematics without layout, words folded."""
    value = unicodedata.normalize("NFKC", value).replace("−", "-")
    for pattern, to in _REWRITTEN:
        value = pattern.sub(to, value)
    flat = re.sub(r"^(?:[ ,;:!\"'“”]|\.(?!\d))+", "", " ".join(value.casefold().split())).rstrip(" .,;:!\"'“”")
    while flat.endswith("}") and flat.count("}") > flat.count("{"):  # of the JSON object around it
        flat = flat[:-1].rstrip(" \"'")
    flat = re.sub(r"^(?:it|this|that|which) is ", "", flat)
    if option := _OPTION.fullmatch(flat):
        return option[1]
    if counted := _COUNTED.fullmatch(flat):
        flat = counted[1]
    if mixed := _MIXED.fullmatch(flat):
        sign, whole, *parts = (g for g in mixed.groups() if g is not None)
        over, under = map(int, parts)
        flat = f"{sign}{int(whole) * under + over}/{under}"
    if re.fullmatch(r"[a-z ]{2,}", flat) or (re.search(r"[a-z]{4,}", flat) and not re.search(r"sqrt|[=^\\]", flat)):
        return _words(value)
    flat = re.sub(r" (?=\d{3}(?!\d))|(?<!\d) | (?!\d)", "", flat)  # "2 3" is not 23
    flat = re.sub(r"^[a-z]\w{0,2}(?:\([a-z,]+\))?=", "", flat)
    flat = " ".join(re.sub(r"\((\w+)\)", r" \1 ", flat).split())  # nor is (2)(3)
    flat = re.sub(r"(?<!\d) | (?!\d)", "", flat)
    flat = re.sub(r"\{(\w)\}", r"\1", flat)
    if number := _NUMBER.fullmatch(flat):
        amount = float(number[1].replace(",", "")) / (float(number[2] or 1) or math.nan)
        if math.isfinite(amount):
            return f"{amount + 0.0:.10g}"  # and no minus zero
    return flat
