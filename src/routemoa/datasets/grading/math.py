"""Grade by mathematical equivalence: is an answer's result the same as the reference, however it is written?

Equal canonical forms (`routemoa.judging.answers.language.normalization`) and different plain numbers are decided here.
The rest is decided by math-verify (https://github.com/huggingface/Math-Verify) in a process of its own, with limits on
its time and memory.
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
from routemoa.judging.answers.language.extraction import (
    MAX_STATEMENT_LENGTH,
    bound_text,
    find_answer_field,
    find_boxes,
    find_statements,
    isolate_answer,
    strip_step_numbers,
)
from routemoa.judging.answers.results import extract_result

__all__ = ["extract_expressions", "grade_math"]

MAX_CHARACTERS = 600  # a longer expression is not a result
MAX_BRACKET_DEPTH = 40
MAX_SHORT_ANSWER = 60  # characters of an answer that is an expression as a whole

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LATEX_SIGNS = {
    "√": "\\sqrt ", "π": "\\pi ", "∞": "\\infty ", "∪": "\\cup ", "∩": "\\cap ", "≤": "\\le ", "≥": "\\ge ",
    "≠": "\\ne ", "±": "\\pm ", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "/",
    "°": "^\\circ ", "θ": "\\theta ",
    "∈": "\\in ", "−": "-", "–": "-", "…": "\\ldots ", "ℝ": "\\mathbb{R}", "\u00a0": " ", "\u202f": " ",
}  # fmt: skip
_ODD_SIGN = re.compile("|".join(_LATEX_SIGNS))
_MATH_SPAN = re.compile(r"\$(?=\S)([^$]*[^$\s])\$(?!\d)")  # mathematics within text, not amounts of dollars
_LIST_SEPARATOR = re.compile(
    r"[\s$]*(?:,|\band\b|\bor\b|,\s*and|,\s*or|\\text\{ *(?:and|or) *\})[\s$]*(?:[a-zA-Z]\s*=\s*)?"
)
_POLYNOMIAL_EQUATION = re.compile(r"(?:\d\s*[a-zA-Z]\b|[a-zA-Z]\s*\^)[^=]*=\s*0$")


def grade_math(answer: str, reference: str) -> float:
    """Return 1.0 where the result of `answer` is mathematically the same as `reference`, else 0.0.

    What is not shown to be equal within four seconds of processor time and 2 GiB of memory counts as different.

    Raises:
        MissingExtra: math-verify is not installed.
    """
    _require_math_verify()
    expected = _strip_wrapping(_normalize_notation(reference))
    return float(any(_is_equal(expression, expected) for expression in extract_expressions(answer)))


def extract_expressions(answer: str) -> list[str]:
    """Return the result of a text as an expression, in each way it may be read; empty where the text has none.

    It is, in this order: the field "answer" of a JSON object; the last boxes; the last statement ("The answer is
    ..."); all of a short text; the last mathematics or number of the last paragraph that has any.
    """
    text = _normalize_notation(isolate_answer(bound_text(answer))).strip()
    if (value := find_answer_field(text)) is not None:
        return _possible_expressions(_unescape_latex(value))
    if boxed := _join_last_boxes(text):
        return [_strip_wrapping(boxed)]
    statements = [s for s in find_statements(strip_step_numbers(text.replace("**", ""))) if re.search(r"[^\W_]", s)]
    if statements:
        last = statements[-1]
        return (
            _possible_expressions(last) if len(last) < MAX_STATEMENT_LENGTH else []
        )  # a statement that was cut off has no result
    if len(text) <= MAX_SHORT_ANSWER and "\n" not in text:
        return _possible_expressions(text)
    for paragraph in reversed(re.split(r"\n\s*\n", text)):
        if spans := _MATH_SPAN.findall(paragraph):
            return _possible_expressions(f"${spans[-1]}$")
        if numbers := list(NUMBER.finditer(paragraph)):
            return [numbers[-1][0]]
    return []


@cache
def _require_math_verify() -> None:
    if find_spec("math_verify") is None:
        raise MissingExtra("mathematical equivalence (math-verify)", "eval")


@cache
def _worker_pool() -> WorkerPool:
    return WorkerPool("routemoa.datasets.grading.math_worker")


def _normalize_notation(text: str) -> str:
    """Return the text with its signs as LaTeX and dollars as the only delimiters of mathematics."""
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}", text)
    text = _ODD_SIGN.sub(lambda m: _LATEX_SIGNS[m[0]], text)
    text = unicodedata.normalize("NFKC", text).replace("⁄", "/")
    text = re.sub(r"(?<!\\)\\{1,2}[()]|(?<!\\)\\[\[\]]", "$", text)
    return text.replace("$$", "$")


def _unescape_latex(value: str) -> str:
    """Return the LaTeX of a JSON string: with one backslash where every command has two."""
    is_doubled = re.search(r"\\\\[a-zA-Z]", value) and not re.search(r"(?<!\\)\\[a-zA-Z]", value)
    return value.replace("\\\\", "\\") if is_doubled else value


def _join_last_boxes(text: str) -> str:
    """Return the contents of the last box, or of the last ones where only "and" or a comma stands between them."""
    contents: list[str] = []
    end = -1
    for start, box in find_boxes(text):
        is_joined = contents and _LIST_SEPARATOR.fullmatch(text[end:start])
        contents = [*contents, box] if is_joined else [box]
        end = text.index("{", start) + len(box) + 2
    return ", ".join(dict.fromkeys(contents))


def _possible_expressions(statement: str) -> list[str]:
    """Return the mathematics in a statement, where it is a sentence, and the statement as it stands."""
    if (inner := find_boxes(statement)) and statement.lstrip(" $").startswith(("\\boxed", "\\fbox")):
        return [_strip_wrapping(inner[-1][1])]
    spans = list(_MATH_SPAN.finditer(statement))
    if not spans:
        return [_strip_wrapping(statement)]
    first_list = [spans[0]]
    for span in spans[1:]:
        if not _LIST_SEPARATOR.fullmatch(statement[first_list[-1].end() : span.start()]):
            break
        first_list.append(span)
    mathematics = ", ".join(span[1] for span in first_list)
    whole = statement.replace("$", " ")
    return list(dict.fromkeys([_strip_wrapping(mathematics), _strip_wrapping(whole)]))


def _strip_wrapping(value: str) -> str:
    """Return an expression without boxes, delimiters, quotes and layout commands around or in it."""
    value = " ".join(value.split()).strip()
    while (m := re.fullmatch(r"\\boxed\s*\{(.*)\}|\$(.*)\$|`(.*)`|\"(.*)\"|\*\*(.*)\*\*", value)) is not None:
        value = next(g for g in m.groups() if g is not None).strip()
    value = re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!|,\\!)(?=\d{3})", "", value)
    value = re.sub(r"\\(?:left|right)(?=[\s()\[\]{}|.\\])|\\[!,;:]|\\(?:displaystyle|quad|qquad)\b|\\?\$", "", value)
    return value.strip().rstrip(".,;: ").strip()


@lru_cache(maxsize=1 << 16)
def _is_equal(expression: str, expected: str) -> bool:
    """Return whether two expressions are shown to be equal."""
    if not expression or max(len(expression), len(expected)) > MAX_CHARACTERS:
        return False
    verdict = _compare_forms(expression, expected)
    if verdict is not None:
        return verdict
    is_too_deep = max(_bracket_depth(expression), _bracket_depth(expected)) > MAX_BRACKET_DEPTH
    if is_too_deep or not re.search(r"[\w∅]", expression):
        return False
    return _worker_pool().ask([_to_latex(expected), _to_latex(expression)]) is True


def _compare_forms(expression: str, expected: str) -> bool | None:
    """Return whether two expressions are equal by their text, plain numbers or forms; None where these do not tell."""
    if "".join(expression.split()) == "".join(expected.split()):
        return True
    number, expected_number = _parse_plain_number(expression), _parse_plain_number(expected)
    if number is not None and expected_number is not None:
        return number == expected_number
    form, expected_form = extract_result(expression)[0], extract_result(expected)[0]
    # A form keeps ten digits of a number, and of "(a) because" only the letter.
    is_exact = form is not None and "e+" not in form and (len(form) > 1 or len(expression) <= 3)
    if is_exact and form == expected_form:
        return True
    if expected_number is not None and form is not None and re.fullmatch(r"-?\d+(?:\.\d+)?", form):
        return Fraction(form) == expected_number
    if _POLYNOMIAL_EQUATION.search(expression) and "=" not in expected:  # x^2 - 4 = 0 is not 0
        return False
    return None


def _parse_plain_number(text: str) -> Fraction | None:
    """Return the exact value of digits, with or without signs for thousands, decimals and dollars."""
    bare = re.sub(r"^[$€£\s]+|,(?=\d{3}(?!\d))", "", text)
    return Fraction(bare) if re.fullmatch(r"[-+]?\d{1,300}(?:\.\d{1,300})?", bare) else None


def _bracket_depth(text: str) -> int:
    deepest = depth = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _to_latex(value: str) -> str:
    """Return an expression that may be written as in a program, "sqrt(2)/2", as LaTeX."""
    value = re.sub(r"(?<!\\)\bsqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", value)
    value = re.sub(r"(?<!\\)\b(sqrt|pi|infty|infinity|inf|sin|cos|tan|log|ln|theta)\b", _latex_command, value)
    value = re.sub(r"(?<![a-zA-Z\\])(-?)oo\b", r"\1\\infty ", value)
    value = re.sub(r"\*\*", "^", value)
    value = re.sub(r"\^\(([^()]*)\)", r"^{\1}", value)
    return re.sub(r"(?<!\\)\*", r" \\cdot ", value).replace("<=", "\\le ").replace(">=", "\\ge ")


def _latex_command(word: re.Match[str]) -> str:
    return {"infinity": "\\infty", "inf": "\\infty"}.get(word[1], f"\\{word[1]}") + " "
