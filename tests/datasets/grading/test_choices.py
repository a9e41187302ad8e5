"""Grading multiple choice: letters to Z, several right options, options without letters."""

from __future__ import annotations

from string import ascii_uppercase

import pytest

from routemoa.datasets.grading import grade, suggest_grader
from routemoa.datasets.grading.choices import ChoiceReference, name_option, parse_choice

QUESTION = "What falls from clouds?\nA. fog\nB. rain\n(C) stones\nD) none of these"


@pytest.mark.parametrize("letter", ascii_uppercase)
def test_every_letter_can_be_right(letter: str) -> None:
    wrong = "B" if letter == "A" else "A"
    for text in ("The answer is {}.", "**{}) a text**", "\\boxed{{{}}}", "{}", "So {} is correct.", "ANSWER: ${}$"):
        assert grade(text.format(letter), letter, "choice") == 1.0, text
        assert grade(text.format(wrong), letter, "choice") == 0.0, text


@pytest.mark.parametrize(
    ("reference", "labels", "text"),
    [
        ("B", "B", ""),
        ("(b)", "B", ""),
        ("B) rain", "B", "rain"),
        ("B || 五花八门", "B", "五花八门"),
        ("K || food || 食品", "K", "food || 食品"),
        ("Option R", "R", ""),
        ("12", "12", ""),
        ("②", "2", ""),
        ("Б", "Б", ""),
        ("A, C", "AC", ""),
        ("A,C", "AC", ""),
        ("A and C", "AC", ""),
        ("A; C; D", "ACD", ""),
        ("ACD", "ACD", ""),
        ('["A", "C"]', "AC", ""),
        ("none of these", "", "none of these"),
        ("BAD", "", "BAD"),
    ],
)
def test_references(reference: str, labels: str, text: str) -> None:
    expected = {labels} if labels.isdigit() else set(labels)
    assert parse_choice(reference) == ChoiceReference(frozenset(expected), text)


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("The answer is A and C.", "A, C", 1),
        ("The answers are C and A.", "A, C", 1),
        ("ANSWER: AC", "A,C", 1),
        ("\\boxed{A, C}", "AC", 1),
        ("正确答案是A、C。", "AC", 1),
        ("The answer is A.", "A, C", 0),
        ("The answer is A, C and D.", "A, C", 0),
        ("The answer is A or C.", "A, C", 0),
        ("The answer is A and C.", "A", 0),
        ("따라서 정답은 ③, ⑤이다.", "3, 5", 1),
        ("The answer is 12.", "12", 1),
        ("The answer is 1.", "12", 0),
        ("The answer is rain.", "rain", 1),
        ("Rain", "rain", 1),
        ("What falls is rain.", "rain", 1),
        ("The answer is not rain.", "rain", 0),
        ("The answer is brain.", "rain", 0),
        ("The answer is B.", "B) rain", 1),
        ("The answer is rain.", "B) rain", 1),
        ("The answer is A) rain.", "B) rain", 0),
        ("Ответ: В", "B", 1),
        ("Ответ: B", "В", 1),
        ("Ответ: Б. Не А и не В.", "B", 0),
        ("الجواب: ج", "C", 1),
        ("Answer: C", "ج", 1),
        ("정답은 나입니다.", "나", 1),
        ("정답은 다입니다.", "나", 0),
    ],
)
def test_several_options_and_options_by_their_text(answer: str, reference: str, score: float) -> None:
    assert grade(answer, reference, "choice") == score


def test_an_answer_may_give_the_text_of_an_option_that_the_question_lists() -> None:
    assert name_option("B", QUESTION) == "B) rain"
    assert name_option("rain", QUESTION) == "B) rain"
    assert name_option("C", QUESTION) == "C) stones"
    assert name_option("A, B", QUESTION) == "A, B"
    assert name_option("E", QUESTION) == "E"
    for answer in ("B", "Rain.", "The answer is rain.", "It is rain.", "The answer is B."):
        assert grade(answer, "B", "choice", QUESTION) == 1.0, answer
    for answer in ("A", "Fog.", "The answer is fog.", "It is not rain.", "The answer is A) rain."):
        assert grade(answer, "B", "choice", QUESTION) == 0.0, answer
    assert grade("B", "rain", "choice", QUESTION) == 1.0


@pytest.mark.parametrize("answer", ["B", "(B)", "The answer is B.", "So B is correct."])
def test_a_letter_is_not_compared_with_the_text_of_an_option_that_no_question_lists(answer: str) -> None:
    assert grade(answer, "rain", "choice") is None
    assert grade(answer, "rain", "choice", QUESTION) == 1.0
    assert grade(answer, "fog", "choice", QUESTION) == 0.0
    assert grade(answer + " It is rain.", "—", "choice") is None


def test_letters_suggest_a_choice_where_the_question_lists_them() -> None:
    options = "\n".join(f"{letter}. option {letter}" for letter in ascii_uppercase)
    assert suggest_grader("K") == "contains"  # potassium?
    assert suggest_grader("K", options) == "choice"
    assert suggest_grader("A, C", options) == "choice"
    assert suggest_grader("A, C") == "contains"
    assert suggest_grader("rain", QUESTION) == "contains"
