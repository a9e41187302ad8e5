"""Is an answer right? Functions from an answer's text and a reference to a score, tolerant of how models write.

An answer that states its result ("The answer is 18", a box, "#### 18", a JSON field "answer") is graded by the last
statement; one that does not, by its last number or by the one option it names.
"""

from __future__ import annotations

import re
from typing import Literal

from routemoa.datasets.grading.choices import extract_choice, parse_label
from routemoa.datasets.grading.numbers import NUMBER, share_value, extract_number, parse_first_number
from routemoa.datasets.grading.text_overlap import contains_words, parse_references, rouge_l, token_f1
from routemoa.judging.answers.extraction import THOUGHT_END, find_boxes, fold_text, isolate_answer, strip_markup, find_statements, unwrap_list

__all__ = ["GraderName", "grade", "suggest_grader"]

GraderName = Literal["exact", "numeric", "choice", "contains", "math", "code", "rouge", "f1", "judge"]

_EXPRESSION = re.compile(
    r"""\\[a-zA-Z{]|\^|√|\bsqrt\b|\bpi\b|[πθ∞∪≤≥]|(?<=\d)[a-z]\b|^[a-z]\s*=   # LaTeX, powers, 2x, x = 3
    |^[(\[{]\s*-?[\w./]+(?:\s*,\s*-?[\w./]+)+\s*[)\]}]$                          # (1, 2), [0, 1), {2, 3}
    |^-?\d[\d./]*(?:\s*,\s+-?\d[\d./]*)+$""",  # 1, 2, 3
    re.VERBOSE,
)


def grade(answer: str, reference: str | None, kind: GraderName) -> float | None:
    """How right `answer` is, in [0, 1]; None when the reference is absent or unusable for `kind`.

    Args:
        answer: the whole text of a model.
        reference: the expected answer; for "numeric" it must hold a number, for "choice" it is a letter or a digit,
            for "code" the tests; for "rouge" and "f1" it may be a JSON list of texts, of which the best counts.
        kind: how to compare. "exact" compares the text or its stated result but for case, spacing, markup and a
            closing full stop; "contains" looks for the reference as whole words; "math" compares expressions (needs
            the extra [eval]); "code" runs the answer against tests in a sandbox; "rouge" is ROUGE-L of the whole
            text, "f1" token F1 of the text or its stated result. What is for a "judge" has no grade here: None.

    Raises:
        MissingExtra: "math" without the extra [eval].
    """
    if reference is None or not reference.strip():
        return None
    answer = unwrap_list(answer)
    text = strip_markup(isolate_answer(answer))
    match kind:
        case "numeric":
            wanted = parse_first_number(strip_markup(_extract_result(reference)))
            right = share_value(extract_number(text), wanted) if wanted else None
        case "choice":
            wanted_label = parse_label(reference)
            right = extract_choice(text, wanted_label.isdigit()) == wanted_label if wanted_label else None
        case "exact":
            wanted_text = fold_text(strip_markup(reference))
            right = wanted_text in {fold_text(text), *(fold_text(s) for s in find_statements(text)[-1:])}
        case "contains":
            right = contains_words(fold_text(text), fold_text(strip_markup(reference)))
        case _:
            return _grade_on_demand(answer, reference, kind)
    return None if right is None else float(right)


def _grade_on_demand(answer: str, reference: str, kind: Literal["math", "code", "rouge", "f1", "judge"]) -> float | None:
    """The kinds that take more than a look at the text, each imported where it is used."""
    match kind:
        case "math":
            from routemoa.datasets.grading.math import grade_math

            return grade_math(answer, _extract_result(reference))
        case "code":
            from routemoa.datasets.grading.code import grade_code

            return grade_code(answer, reference) if answer.strip() else 0.0
        case "rouge":
            said = THOUGHT_END.split(answer)[-1]
            return max((rouge_l(said, r) for r in parse_references(reference)), default=None)
        case "f1":
            text = strip_markup(answer)
            readings_of_it = (text, *find_statements(text)[-1:])
            return max((token_f1(t, r) for r in parse_references(reference) for t in readings_of_it), default=None)
        case "judge":
            return None


def _extract_result(reference: str) -> str:
    """The result of a reference that is a whole solution, as GSM8K ("#### 18") and MATH (a box) write them."""
    _, marked, rest = reference.rpartition("####")
    return rest if marked else boxed[-1][1] if (boxed := find_boxes(reference)) else reference


def suggest_grader(reference: str) -> GraderName:
    """The kind that fits a reference which comes without one."""
    bare = strip_markup(reference)
    if re.fullmatch(r"\(?[A-J]\)?\.?", bare):
        return "choice"
    found = NUMBER.search(bare)
    alone = found and not re.search(r"\w", bare[: found.start()] + bare[found.end() :])
    if alone:
        return "numeric"
    return "math" if len(bare) <= 200 and _EXPRESSION.search(bare) else "contains"
