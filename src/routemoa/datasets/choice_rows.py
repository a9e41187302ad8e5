"""Convert rows of multiple-choice data sets: ARC, MMLU, MMLU-Pro and files of that kind. Pure functions.

Their options become A, B, C, ... in their order, whatever they were called. A row is {"question"} with `choices` or
`options`, a list of texts or ARC's {"text": [...], "label"?: [...]}, and what is right: a label, a letter, an option's
text, a position from 0 (a number, or `answer_index`), or a list of these where several options are right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

__all__ = ["convert_choices"]

MAX_OPTIONS = len(ascii_uppercase)
ANSWER_KEYS = ("answerKey", "answer", "answer_index", "correct_answer", "target")
"""Where a row may say what is right; the first that it has counts."""


def convert_choices(row: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return the fields of a question with options, or what the row lacks."""
    options = row.get("choices", row.get("options"))
    texts, labels = (options.get("text"), options.get("label")) if isinstance(options, dict) else (options, None)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return "choices must be a list of texts, or an object with one as text"
    if labels is not None and not (isinstance(labels, list) and len(labels) == len(texts)):
        return "choices must have as many of text as of label"
    if not 0 < len(texts) <= MAX_OPTIONS:
        return f"{len(texts)} choices; a question has 1 to {MAX_OPTIONS}"
    key = next((key for key in ANSWER_KEYS if row.get(key) is not None), None)
    if not isinstance(row.get("question"), str) or key is None:
        return f"a question with choices needs one of {', '.join(ANSWER_KEYS[:3])}"
    right = _find_letters(row[key], texts, labels)
    if right is None:
        return f"{key} is none of the choices' labels, letters, texts or positions"
    query = "\n".join([row["question"], *(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, texts))])  # noqa: B905
    wanted = "<letter>" if len(right) == 1 else "<letters of all right options>"
    kept = {k: row[k] for k in ("id", "task") if k in row}
    prompt = f"{query}\n\nEnd with one line: The answer is {wanted}."
    return kept | {"query": query, "prompt": prompt, "reference": ", ".join(right), "grader": "choice"}


def _find_letters(answer: object, texts: Sequence[str], labels: Sequence[object] | None) -> list[str] | None:
    """Return the letters of what is right, or None where any of it is no option."""
    answers = answer if isinstance(answer, list) else _split_letters(answer, len(texts), labels)
    found = [_find_letter(one, texts, labels) for one in answers]
    letters = sorted({letter for letter in found if letter})
    return letters if letters and None not in found else None


def _split_letters(answer: object, count: int, labels: Sequence[object] | None) -> list[object]:
    """Return the letters of "A, C" or "AC"; any other answer alone."""
    if isinstance(answer, str) and labels is None:
        letters = [sign for sign in answer if sign not in ", ;"]
        if len(letters) > 1 and len(set(letters)) == len(letters) and set(letters) <= set(ascii_uppercase[:count]):
            return list(letters)
    return [answer]


def _find_letter(answer: object, texts: Sequence[str], labels: Sequence[object] | None) -> str | None:
    """Return the letter of an answer: by its label, text, position from 0 or own letter, in this order."""
    if labels is not None:
        return ascii_uppercase[labels.index(answer)] if answer in labels else None
    if isinstance(answer, str) and answer in texts:
        return ascii_uppercase[texts.index(answer)]
    if isinstance(answer, int) and not isinstance(answer, bool):
        return ascii_uppercase[answer] if 0 <= answer < len(texts) else None
    letter = answer.strip().strip("().").upper() if isinstance(answer, str) else ""
    return letter if len(letter) == 1 and letter in ascii_uppercase[: len(texts)] else None
