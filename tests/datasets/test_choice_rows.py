"""Rows of multiple-choice data sets, with up to 26 options."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

import pytest

from routemoa.datasets.choice_rows import convert_choices
from routemoa.datasets.questions import Question, question_from_json

MANY = [f"option {i}" for i in range(26)]


@pytest.mark.parametrize(
    ("row", "reference"),
    [
        ({"choices": {"text": ["fog", "rain"], "label": ["1", "2"]}, "answerKey": "2"}, "B"),
        ({"choices": {"text": ["fog", "rain"]}, "answerKey": "B"}, "B"),
        ({"choices": ["fog", "rain", "ice", "sun"], "answer": 1}, "B"),
        ({"choices": ["fog", "rain"], "answer": "rain"}, "B"),
        ({"choices": ["fog", "rain"], "answer": "b"}, "B"),
        ({"choices": ["fog", "rain"], "answer": "(B)"}, "B"),
        ({"options": ["fog", "rain"], "answer_index": 1}, "B"),
        ({"options": ["fog", "rain"], "answer": "B", "answer_index": 1}, "B"),
        ({"choices": MANY, "answer": 10}, "K"),
        ({"choices": MANY, "answer": "Z"}, "Z"),
        ({"choices": {"text": MANY, "label": list(ascii_uppercase)}, "answerKey": "R"}, "R"),
        ({"choices": ["a dog", "rain", "ice"], "answer": ["A", "C"]}, "A, C"),
        ({"choices": ["a dog", "rain", "ice"], "answer": [0, 2]}, "A, C"),
        ({"choices": ["a dog", "rain", "ice"], "answer": "A, C"}, "A, C"),
        ({"choices": ["a dog", "rain", "ice"], "answer": "AC"}, "A, C"),
        ({"choices": ["AC", "DC"], "answer": "AC"}, "A"),
        ({"choices": ["1", "2"], "answer": "2"}, "B"),
    ],
)
def test_what_is_right_becomes_letters(row: dict[str, Any], reference: str) -> None:
    fields = convert_choices({"question": "Which?", "id": "7"} | row)
    assert isinstance(fields, dict)
    assert (fields["reference"], fields["grader"], fields["id"]) == (reference, "choice", "7")
    question = question_from_json({"question": "Which?"} | row, "mine", 1)
    assert isinstance(question, Question)
    assert question.query.startswith("Which?\nA. ")
    assert question.grade(f"The answer is {reference.replace(', ', ' and ')}.") == 1.0
    assert question.grade("I do not know.") == 0.0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"choices": [*MANY, "one more"], "answer": 0}, "27 choices; a question has 1 to 26"),
        ({"choices": [], "answer": 0}, "0 choices"),
        ({"choices": ["a", "b"], "answer": 2}, "answer is none of"),
        ({"choices": ["a", "b"], "answer": True}, "answer is none of"),
        ({"choices": ["a", "b"], "answer": "1"}, "answer is none of"),
        ({"choices": ["fog", "rain"], "answer": ["A", "E"]}, "answer is none of"),
        ({"choices": ["a", "b"]}, "needs one of answerKey, answer, answer_index"),
        ({"choices": "a, b", "answer": 0}, "must be a list of texts"),
        ({"choices": ["a", 3], "answer": 0}, "must be a list of texts"),
        ({"choices": {"text": ["a"], "label": ["A", "B"]}, "answerKey": "A"}, "as many of text as of label"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(row: dict[str, Any], reason: str) -> None:
    found = convert_choices({"question": "Which?"} | row)
    assert isinstance(found, str)
    assert reason in found


def test_an_option_may_be_answered_by_its_text() -> None:
    question = question_from_json({"question": "Capital?", "choices": ["Sydney", "Canberra"], "answer": 1}, "t", 1)
    assert isinstance(question, Question)
    assert question.grade("The capital of Australia is Canberra.") == 1.0
    assert question.grade("The capital of Australia is Sydney.") == 0.0
