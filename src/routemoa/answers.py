"""What answers say, and which of them say the same. Pure functions on texts.

A closed question has answers that state a result ("The answer is 18", a box, "#### 18", a JSON field "answer", or a
text so short that it is its own result): results are brought to one form and compared. An open one has answers that
state none: they are compared by their words.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, pairwise

from msgspec import Struct

from routemoa.grading import plain, stated

__all__ = ["Groups", "agree", "final_answer", "group", "likeness"]

SHORT = 60  # characters: an answer this short is its own final answer, and no result is longer
SAME = 0.9  # likeness from which two open answers say the same
READ = 6000  # characters of an open answer that are compared


class Groups(Struct, frozen=True):
    """Answers in groups that say the same.

    Attributes:
        of: the group of each answer, numbered by first appearance; None where a closed question's answer states
        nothing. closed: whether results were compared, so that at most one group is right. likeness: for an open
        question, each answer's mean likeness with the others, in [0, 1]; None where it is alone.
    """

    of: tuple[int | None, ...]
    closed: bool
    likeness: tuple[float | None, ...]

    def members(self, number: int) -> tuple[int, ...]:
        """Places of the answers in a group."""
        return tuple(i for i, g in enumerate(self.of) if g == number)


def group(texts: Sequence[str]) -> Groups:
    """Which answers say the same; the order in which they came changes no group.

    A question is closed where half of the answers state a result, or more than half do or are short: that one is short
    ("I cannot help with that.") makes no long answer beside it wrong.
    """
    read = [_result(t) for t in texts]
    results = [result for result, _ in read]
    known = [r for r in results if r]
    said = sum(bool(result) and plainly for result, plainly in read)
    if known and (2 * said >= len(texts) or 2 * len(known) > len(texts)):
        number = {r: i for i, r in enumerate(dict.fromkeys(known))}
        return Groups(tuple(number[r] if r else None for r in results), True, (None,) * len(texts))
    bags = [_bag(t) for t in texts]
    alike = {(i, j): _cosine(bags[i], bags[j]) for i, j in combinations(range(len(texts)), 2)}
    first = list(range(len(texts)))  # of the chain of alike answers that each belongs to
    for (i, j), how in alike.items():
        if how >= SAME and first[i] != first[j]:
            low, high = sorted((first[i], first[j]))
            first = [low if f == high else f for f in first]
    place = {f: n for n, f in enumerate(dict.fromkeys(first))}
    of = tuple(place[f] for f in first)
    mean = [
        sum(alike[min(i, j), max(i, j)] for j in range(len(texts)) if j != i) / (len(texts) - 1)
        if len(texts) > 1
        else None
        for i in range(len(texts))
    ]
    return Groups(of, False, tuple(mean))


def agree(texts: Sequence[str]) -> bool:
    """Whether all of at least two answers say the same: equal final answers, or equal texts where none is stated."""
    if len(texts) < 2:
        return False
    results = [final_answer(t) for t in texts]
    if any(r is None for r in results):
        return len({" ".join(t.split()).casefold() for t in texts}) == 1
    return len(set(results)) == 1 and bool(results[0])


def likeness(a: str, b: str) -> float:
    """How far two texts use the same words and pairs of words, in [0, 1]: cosine of their damped counts."""
    return _cosine(_bag(a), _bag(b))


def final_answer(text: str) -> str | None:
    """The result a text states, in one form, or None when it states none that can be told apart from the rest."""
    return _result(text)[0]


def _result(text: str) -> tuple[str | None, bool]:
    """The result of a text, and whether it states one; a short text is its own."""
    text = plain(text)
    if found := [s for s in stated(text) if re.search(r"[^\W_]", s)]:  # a template's blank is no result
        value = _NEXT_FIELD.split(found[-1])[0]
        result = _form(value if value.count("{") <= value.count("}") else found[-1])
        return (result, True) if len(result) <= SHORT else (None, False)
    _, marked, rest = text.rpartition("####")
    return (_form(rest if marked else text) if len(text) <= SHORT and "\n" not in text else None), False


def _bag(text: str) -> dict[str, float]:
    words = re.findall(r"\w+|[^\w\s]", text[:READ].casefold())
    counts = Counter(words) + Counter(f"{a} {b}" for a, b in pairwise(words))
    return {w: 1 + math.log(n) for w, n in counts.items()}


def _cosine(a: dict[str, float], b: dict[str, float]) -> float:
    if len(a) > len(b):
        a, b = b, a
    dot = sum(x * b[w] for w, x in a.items() if w in b)
    size = math.sqrt(sum(x * x for x in a.values()) * sum(x * x for x in b.values()))
    return min(1.0, dot / size) if size else 0.0


# --- one form for what means the same

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


def _form(result: str) -> str:
    """A result in one form: numbers as numbers, mathematics without layout, words folded."""
    flat = unicodedata.normalize("NFKC", result).replace("−", "-")
    for pattern, to in _REWRITTEN:
        flat = pattern.sub(to, flat)
    flat = re.sub(r"^(?:[ ,;:!\"'“”]|\.(?!\d))+", "", " ".join(flat.casefold().split())).rstrip(" .,;:!\"'“”")
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
    if re.search(r"[a-z]{4,}", flat) and not re.search(r"sqrt|[=^\\]", flat):
        return flat  # words
    flat = re.sub(r" (?=\d{3}(?!\d))|(?<!\d) | (?!\d)", "", flat)  # "2 3" is not 23
    flat = re.sub(r"^[a-z]\w{0,2}(?:\([a-z,]+\))?=", "", flat)
    flat = " ".join(re.sub(r"\((\w+)\)", r" \1 ", flat).split())  # nor is (2)(3)
    flat = re.sub(r"(?<!\d) | (?!\d)", "", flat)
    flat = re.sub(r"\{(\w)\}", r"\1", flat)
    if number := _NUMBER.fullmatch(flat):
        value = float(number[1].replace(",", "")) / (float(number[2] or 1) or math.nan)
        if math.isfinite(value):
            return f"{value + 0.0:.10g}"  # and no minus zero
    return flat
