"""Grade an answer against a reference: from a model's text to a score, tolerant of how models write.

An answer that states its result ("The answer is 18", a box, "#### 18", a JSON field "answer") is graded by the last
statement; one that does not, by its last number or by the one option it names.
"""

from __future__ import annotations

import re
from typing import Literal

from routemoa.datasets.grading.choices import grade_choice, lists_options, name_option, parse_choice
from routemoa.datasets.grading.numbers import NUMBER, extract_number, parse_reference_number, share_value
from routemoa.datasets.grading.text_overlap import contains_words, parse_references, rouge_l, token_f1
from routemoa.judging.answers.language.extraction import (
    THOUGHT_END,
    bound_text,
    find_boxes,
    find_statements,
    fold_text,
    isolate_answer,
    strip_markup,
    unwrap_list,
)

__all__ = ["GraderName", "grade", "suggest_grader"]

GraderName = Literal["exact", "numeric", "choice", "contains", "math", "code", "rouge", "f1", "judge"]

_EXPRESSION = re.compile(
    r"""\\[a-zA-Z{]|\^|√|\bsqrt\b|\bpi\b|[πθ∞∪≤≥]|(?<=\d)[a-z]\b|^[a-z]\s*=   # LaTeX, powers, 2x, x = 3
    |^[(\[{]\s*-?[\w./]+(?:\s*,\s*-?[\w./]+)+\s*[)\]}]$                          # (1, 2), [0, 1), {2, 3}
    |^-?\d[\d./]*(?:\s*,\s+-?\d[\d./]*)+$""",  # 1, 2, 3
    re.VERBOSE,
)


_LETTER = re.compile(r"\(?[A-J]\)?\.?")
_WORD = re.compile(r"\w")


def grade(answer: str, reference: str | None, grader: GraderName, question: str = "") -> float | None:
    """Return how right `answer` is, in [0, 1]; None where the reference is absent or unusable for `grader`.

    Args:
        answer: the whole text of a model.
        reference: the expected answer; for "numeric" it must hold a number, for "choice" it names all right options
            ("B", "A, C", "3") or is the text of the one; for "code" the tests; for "rouge" and "f1" it may be a JSON
            list of texts, of which the best counts.
        grader: how to compare. "exact" compares the text or its stated result, ignoring case, spacing, markup and a
            closing full stop; "contains" looks for the reference as whole words; "math" compares expressions (needs
            the extra [eval]); "code" runs the answer against tests in a sandbox; "rouge" is ROUGE-L of the whole
            text, "f1" token F1 of the text or its stated result. "judge" has no grade here: None.
        question: for "choice", where it lists the options, an answer may give the right one's text.

    Raises:
        MissingExtra: "math" without the extra [eval].
        NoSandbox: "code" on a machine that cannot run it safely.
    """
    if reference is None or not reference.strip():
        return None
    answer = unwrap_list(answer)
    match grader:
        case "numeric" | "choice" | "exact" | "contains":
            read = answer if grader == "contains" else bound_text(answer)
            named = name_option(reference, question) if grader == "choice" else reference
            is_right = _is_right(strip_markup(isolate_answer(read)), named, grader)
            return None if is_right is None else float(is_right)
        case "math":
            from routemoa.datasets.grading.math import grade_math

            return grade_math(answer, _extract_result(reference))
        case "code":
            from routemoa.datasets.grading.code import grade_code

            return grade_code(answer, reference) if answer.strip() else 0.0
        case "rouge":
            text = THOUGHT_END.split(answer)[-1]
            return max((rouge_l(text, r) for r in parse_references(reference)), default=None)
        case "f1":
            text = strip_markup(answer)
            candidates = (text, *find_statements(text)[-1:])
            return max((token_f1(c, r) for r in parse_references(reference) for c in candidates), default=None)
        case "judge":
            return None


def suggest_grader(reference: str, question: str = "") -> GraderName:
    """Return the grader that fits a reference which names none; letters beyond J are those of listed options."""
    bare = strip_markup(reference)
    if _LETTER.fullmatch(bare) or lists_options(question, bare):
        return "choice"
    number = NUMBER.search(bare)
    if number and not _WORD.search(bare[: number.start()] + bare[number.end() :]):
        return "numeric"
    return "math" if len(bare) <= 200 and _EXPRESSION.search(bare) else "contains"


def _is_right(text: str, reference: str, grader: Literal["numeric", "choice", "exact", "contains"]) -> bool | None:
    """Return whether a text gives the reference; None where the reference is unusable for `grader`."""
    match grader:
        case "numeric":
            expected = parse_reference_number(strip_markup(_extract_result(reference)))
            return share_value(extract_number(text), expected) if expected else None
        case "choice":
            return grade_choice(text, parse_choice(reference))
        case "exact":
            return fold_text(strip_markup(reference)) in {
                fold_text(text),
                *(fold_text(s) for s in find_statements(text)[-1:]),
            }
        case "contains":
            return contains_words(fold_text(text), fold_text(strip_markup(reference)))


def _extract_result(reference: str) -> str:
    """Return the result of a reference that is a whole solution, as GSM8K ("#### 18") and MATH (a box) write them."""
    _, mark, result = reference.rpartition("####")
    if mark:
        return result
    boxed = find_boxes(reference)
    return boxed[-1][1] if boxed else reference
