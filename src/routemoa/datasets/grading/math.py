"""Mathematical equivalence: is the result of a text the same as a reference, however it is written?

Equal forms (`routemoa.judging.answers.normalization`) and different plain numbers are told apart here; everything else
is decided by math-verify (https://github.com/huggingface/Math-Verify) in a process apart, within limits of time and
memory.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from functools import cache, lru_cache
from importlib.util import find_spec

from routemoa.core.errors import MissingExtra
from routemoa.datasets.grading.numbers import NUMBER
from routemoa.datasets.grading.worker_pool import WorkerPool
from routemoa.judging.answers.extraction import MAX_STATEMENT_LENGTH, find_boxes, find_answer_field, isolate_answer, find_statements, strip_step_numbers
from routemoa.judging.answers.normalization import extract_result

__all__ = ["close_workers", "grade_math", "extract_expressions"]

MAX_CHARACTERS = 600  # characters of an expression that is looked at; a longer one is no result
MAX_BRACKET_DEPTH = 40  # brackets within brackets

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LATEX_SIGNS = {
    "√": "\\sqrt ", "π": "\\pi ", "∞": "\\infty ", "∪": "\\cup ", "∩": "\\cap ", "≤": "\\le ", "≥": "\\ge ",
    "≠": "\\ne ", "±": "\\pm ", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "/",
    "°": "^\\circ ", "θ": "\\theta ",
    "∈": "\\in ", "−": "-", "–": "-", "…": "\\ldots ", "ℝ": "\\mathbb{R}", "\u00a0": " ", "\u202f": " ",
}  # fmt: skip
_MATH_SPAN = re.compile(r"\$(?=\S)([^$]*[^$\s])\$(?!\d)")  # mathematics within text, not sums of dollars
_LIST_SEPARATOR = re.compile(r"[\s$]*(?:,|\band\b|\bor\b|,\s*and|,\s*or|\\text\{ *(?:and|or) *\})[\s$]*(?:[a-zA-Z]\s*=\s*)?")
_POLYNOMIAL_EQUATION = re.compile(r"(?:\d\s*[a-zA-Z]\b|[a-zA-Z]\s*\^)[^=]*=\s*0$")


def grade_math(answer: str, reference: str) -> float:
    """1.0 when the result of `answer` is mathematically the same as `reference`, else 0.0.

    What is not shown to be equal within four seconds of processor time and 2 GiB of memory counts as different.

    Raises:
        MissingExtra: math-verify is not installed.
    """
    _require_math_verify()
    wanted = _strip_wrapping(_normalize_notation(reference))
    return float(any(_is_equal(said, wanted) for said in extract_expressions(answer)))


def extract_expressions(answer: str) -> list[str]:
    """The result of a text as an expression, in the readings it allows: none where the text comes to nothing.

    Looked for, in this order: the field "answer" of a JSON object; the last boxes; the last statement ("The answer is
    ..."); all of a short text; the last mathematics or number of its last paragraph that has any.
    """
    text = _normalize_notation(isolate_answer(answer)).strip()
    if (value := find_answer_field(text)) is not None:
        return _possible_expressions(_unescape_latex(value))
    if boxed := _join_last_boxes(text):
        return [_strip_wrapping(boxed)]
    said = [s for s in find_statements(strip_step_numbers(text.replace("**", ""))) if re.search(r"[^\W_]", s)]
    if said:
        return _possible_expressions(said[-1]) if len(said[-1]) < MAX_STATEMENT_LENGTH else []  # what was cut off states nothing
    if len(text) <= 60 and "\n" not in text:
        return _possible_expressions(text)
    for paragraph in reversed(re.split(r"\n\s*\n", text)):
        if spans := _MATH_SPAN.findall(paragraph):
            return _possible_expressions(f"${spans[-1]}$")
        if numbers := list(NUMBER.finditer(paragraph)):
            return [numbers[-1][0]]
    return []


def close_workers() -> None:
    """End the processes in which expressions are compared; the next comparison starts them anew."""
    _worker_pool().close()


@cache
def _require_math_verify() -> None:
    if find_spec("math_verify") is None:
        raise MissingExtra("mathematical equivalence (math-verify)", "eval")


@cache
def _worker_pool() -> WorkerPool:
    return WorkerPool("routemoa.datasets.grading.math_worker")


def _normalize_notation(text: str) -> str:
    """With signs as LaTeX, dollars as the only brackets of mathematics."""
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}", text)
    text = re.sub("|".join(_LATEX_SIGNS), lambda m: _LATEX_SIGNS[m[0]], text)
    text = unicodedata.normalize("NFKC", text).replace("⁄", "/")
    text = re.sub(r"(?<!\\)\\{1,2}[()]|(?<!\\)\\[\[\]]", "$", text)
    return text.replace("$$", "$")


def _unescape_latex(value: str) -> str:
    """LaTeX of a JSON string: with one backslash where every command has two."""
    doubled = re.search(r"\\\\[a-zA-Z]", value) and not re.search(r"(?<!\\)\\[a-zA-Z]", value)
    return value.replace("\\\\", "\\") if doubled else value


def _join_last_boxes(text: str) -> str:
    """What stands in the last box, or in the last ones when no more than "and" stands between them."""
    together: list[str] = []
    end = -1
    for at, box in find_boxes(text):
        joined = together and _LIST_SEPARATOR.fullmatch(text[end:at])
        together = [*together, box] if joined else [box]
        end = text.index("{", at) + len(box) + 2
    return ", ".join(dict.fromkeys(together))


def _possible_expressions(said: str) -> list[str]:
    """A statement as it stands, and the mathematics in it where it is a sentence."""
    if (inner := find_boxes(said)) and said.lstrip(" $").startswith(("\\boxed", "\\fbox")):
        return [_strip_wrapping(inner[-1][1])]
    spans = list(_MATH_SPAN.finditer(said))
    if not spans:
        return [_strip_wrapping(said)]
    chosen = [spans[0]]
    for span in spans[1:]:
        if not _LIST_SEPARATOR.fullmatch(said[chosen[-1].end() : span.start()]):
            break
        chosen.append(span)
    inner_text = ", ".join(s[1] for s in chosen)
    whole = said.replace("$", " ")
    return list(dict.fromkeys([_strip_wrapping(inner_text), _strip_wrapping(whole)]))


def _strip_wrapping(value: str) -> str:
    """An expression without what surrounds it."""
    value = " ".join(value.split()).strip()
    while (m := re.fullmatch(r"\\boxed\s*\{(.*)\}|\$(.*)\$|`(.*)`|\"(.*)\"|\*\*(.*)\*\*", value)) is not None:
        value = next(g for g in m.groups() if g is not None).strip()
    value = re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!|,\\!)(?=\d{3})", "", value)
    value = re.sub(r"\\(?:left|right)(?=[\s()\[\]{}|.\\])|\\[!,;:]|\\(?:displaystyle|quad|qquad)\b|\\?\$", "", value)
    return value.strip().rstrip(".,;: ").strip()


@lru_cache(maxsize=1 << 16)
def _is_equal(said: str, wanted: str) -> bool:
    if not said or max(len(said), len(wanted)) > MAX_CHARACTERS:
        return False
    if "".join(said.split()) == "".join(wanted.split()):
        return True
    a, b = _parse_plain_number(said), _parse_plain_number(wanted)
    if a is not None and b is not None:
        return a == b
    form, other = extract_result(said)[0], extract_result(wanted)[0]
    # A form keeps ten digits of a number, and of "(a) because" only the letter.
    if form is not None and form == other and "e+" not in form and (len(form) > 1 or len(said) <= 3):
        return True
    if b is not None and form is not None and re.fullmatch(r"-?\d+(?:\.\d+)?", form):
        return "%" in said and a == b / 100 if a is not None else Fraction(form) == b
    if _POLYNOMIAL_EQUATION.search(said) and "=" not in wanted:  # x^2 - 4 = 0 is not 0
        return False
    if max(_bracket_depth(said), _bracket_depth(wanted)) > MAX_BRACKET_DEPTH or not re.search(r"[\w∅]", said):
        return False
    return _worker_pool().ask([_to_latex(wanted), _to_latex(said)]) is True


def _parse_plain_number(text: str) -> Fraction | None:
    """The exact value of digits, with or without signs for thousands, decimals and dollars."""
    bare = re.sub(r"^[$€£\s]+|,(?=\d{3}(?!\d))", "", text)
    return Fraction(bare) if re.fullmatch(r"[-+]?\d{1,300}(?:\.\d{1,300})?", bare) else None


def _bracket_depth(text: str) -> int:
    deepest = depth = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _to_latex(value: str) -> str:
    """What is written as in a program, "sqrt(2)/2", as LaTeX."""
    value = re.sub(r"(?<!\\)\bsqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", value)
    value = re.sub(r"(?<!\\)\b(sqrt|pi|infty|infinity|inf|sin|cos|tan|log|ln|theta)\b", _latex_command, value)
    value = re.sub(r"(?<![a-zA-Z\\])(-?)oo\b", r"\1\\infty ", value)
    value = re.sub(r"\*\*", "^", value)
    value = re.sub(r"\^\(([^()]*)\)", r"^{\1}", value)
    return re.sub(r"(?<!\\)\*", r" \\cdot ", value).replace("<=", "\\le ").replace(">=", "\\ge ")


def _latex_command(m: re.Match[str]) -> str:
    return {"infinity": "\\infty", "inf": "\\infty"}.get(m[1], f"\\{m[1]}") + " "
