"""What is read of an answer is bounded, and long hostile answers are read at once."""

from __future__ import annotations

from time import process_time

import pytest

from routemoa.judging.answers.grouping import all_agree, final_answer, group_answers
from routemoa.judging.answers.language.extraction import (
    MAX_HEAD,
    MAX_TAIL,
    bound_text,
    find_answer_field,
    find_boxes,
    find_statements,
    isolate_answer,
    strip_markup,
)
from routemoa.judging.answers.language.languages import find_lead_ins

LONG = 4_000_000
PIECES = (
    "<" + " " * 12_000,
    "a",
    " ",
    "\n",
    "(",
    "\\boxed{",
    "\\boxed{1} ",
    "answer: ",
    "answer is 3. ",
    "1,11",
    "9.999",
    "1 234 ",
    '"answer": "',
    '{"answer": ',
    "#### 1\n",
    "答案是",
    "답은 ",
    "ответ ",
    "B is correct. ",
    "not a but ",
    "A, {B}, ",
    "$",
    "**",
    "```\n",
    "</think>",
    "é",
    "²",
    "٣",
    "3万",
    "\u200b",
    "3 × 6 = 18. ",
    "The capital is Paris. ",
    "Question: ",
    "=",
    "'",
    "[[",
    "x=",
)


@pytest.mark.alone
@pytest.mark.parametrize("piece", PIECES)
def test_four_megabytes_are_read_at_once(piece: str) -> None:
    text = piece * (LONG // len(piece))
    times = []
    for number in range(3):
        begun = process_time()
        group_answers([f"{number}{text}", f"{text}\nThe answer is {number}."])
        times.append((process_time() - begun) / 2)
    assert min(times) < 0.1


def test_the_result_at_the_end_of_a_long_answer_is_read() -> None:
    assert final_answer("word " * 1_000_000 + "\nThe answer is 42.") == "42"
    assert final_answer("<think>The answer is 3.</think>" + "word " * 1_000_000 + "The answer is 4.") == "4"
    assert final_answer("<think>" + "The answer is 3. " * 100_000 + "</think>\nNothing more.") == "nothing more"
    assert len(bound_text("x" * LONG)) <= MAX_HEAD + MAX_TAIL + 2
    assert bound_text("short") == "short"
    assert all_agree(["word " * LONG, "Word  " * LONG]) is False
    assert all_agree(["word " * 1000, "Word  " * 1000])


def test_statements_boxes_and_fields() -> None:
    assert find_statements("The answer is not A but B. Final answer: **5**") == ["B", "**5**"]
    assert find_statements("La respuesta es 18, porque sí. Die Antwort lautet: 19") == ["18", "19"]
    assert [box.content for box in find_boxes("\\boxed{\\frac{1}{2}} \\boxed{a \\boxed{b}} \\boxed{")] == [
        "\\frac{1}{2}",
        "a \\boxed{b}",
        "b",
    ]
    assert find_answer_field('{"answer": "5", "sure": "yes"}') == "5"
    assert find_answer_field('{"answer": ""}') == ""
    assert find_answer_field('{"answer": "_"}') is None
    assert strip_markup("<b>5</b> and <B>") == "5 and <B>"
    assert isolate_answer("The answer is 3.\n\n## Question:\nWhich?\nThe answer is 4.") == "The answer is 3.\n"


def test_a_key_that_ends_with_a_noun_states_no_result() -> None:
    call = '[{"arguments": {"diet_option": "vegan", "city": "Rome"}, "name": "find"}]'
    assert find_lead_ins(call) == []
    assert find_lead_ins("search_result = 18") == []
    for text in ("final_answer: 18", "The answer: 18"):
        assert final_answer(text) == "18", text
