"""A multiple-choice question in other orders of its options: what is asked, and how the answer is read back."""

from __future__ import annotations

from string import ascii_uppercase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from routemoa.core.chat.messages import parse_messages
from routemoa.core.types import ModelSpec, Query
from routemoa.judging.answers.results import extract_result
from routemoa.judging.option_orders import ASK_FOR_LETTER, reorder_options, reorder_query

GASES = "Which gas do plants take in?\nA. oxygen\nB. carbon dioxide\nC. helium\n\nEnd with: The answer is <letter>."


def test_options_move_and_all_else_stays() -> None:
    question = reorder_options(GASES, 2, 3)
    assert question is not None
    options = "A. carbon dioxide\nB. helium\nC. oxygen"
    assert (
        question.text
        == f"Which gas do plants take in?\n{options}\n\nEnd with: The answer is <letter>.\n\n{ASK_FOR_LETTER}"
    )


@pytest.mark.parametrize(
    ("answer", "restored"),
    [
        ("A", "The answer is B. carbon dioxide"),
        ("(C)", "The answer is A. oxygen"),
        ("The answer is **B**.", "The answer is C. helium"),
        ("Plants take in carbon dioxide.", "The answer is B. carbon dioxide"),
        ("Plants take in oxygen or helium.", None),
        ("D", None),
        ("I cannot say.", None),
        ("", None),
    ],
)
def test_answers_are_read_in_the_questions_own_order(answer: str, restored: str | None) -> None:
    question = reorder_options(GASES, 2, 3)
    assert question is not None
    assert question.restore(answer) == restored


@pytest.mark.parametrize(
    "text",
    [
        "What is 2 + 2?",
        "Which?\nA. ice",
        "Which?\nB. ice\nC. fog",
        "Which?\nA. ice\nB. fog\nC. both A and B",
        "Which?\nA. ice\nB. fog\nC. None of the above",
        "Select all that apply.\nA. ice\nB. fog\nC. air",
        "Why is option B wrong?\nA. ice\nB. fog\nC. air",
        "Is it A. ice or B. fog or C. air?",
        "A red cup, a blue pen, a green hat. What is right of the pen?\nA. Red\nB. Green\nC. White",
        "How cold is it?\nA. 10 degrees\nB. -20 degrees\nC. warm",
        "How many are there?\nA. two\nB. Three\nC. none",
    ],
)
def test_questions_whose_options_must_not_move_are_left_alone(text: str) -> None:
    assert reorder_options(text, 2, 3) is None


def test_of_an_example_and_a_question_the_question_is_reordered() -> None:
    question = reorder_options("Which?\nA) x\nB) y\nAnswer: A\n\nWhich?\n  (A) u\n  (B) v\nAnswer:", 2, 2)
    assert question is not None
    assert question.text == f"Which?\nA) x\nB) y\nAnswer: A\n\nWhich?\n  (A) v\n  (B) u\nAnswer:\n\n{ASK_FOR_LETTER}"


def test_only_a_users_last_message_of_text_alone_is_reordered() -> None:
    second = replace(ModelSpec("small", "http://x/v1", orders=2), vote=2)
    asked = {"role": "user", "content": [{"type": "text", "text": GASES}]}
    image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    assert reorder_query(Query(parse_messages([asked])), second) is not None
    for last in ({"role": "assistant", "content": GASES}, {"role": "user", "content": [*asked["content"], image]}):
        assert reorder_query(Query(parse_messages([asked, last])), second) is None


def test_a_question_of_any_length_is_read_at_once() -> None:
    options = "\n".join(f"{c}. {c * 50}" for c in ascii_uppercase)
    assert reorder_options(f"Which?\n{options}", 2, 2) is not None
    assert reorder_options(f"{'Which? ' * 10_000}\n{options}", 2, 2) is None


texts = st.text(st.characters(categories=("Ll", "Nd")), min_size=1, max_size=8).map(lambda t: f"x{t}")


@given(st.lists(texts, min_size=2, max_size=10, unique=True), st.integers(2, 5), st.data())
def test_every_option_is_read_back_as_itself(options: list[str], orders: int, data: st.DataObject) -> None:
    text = "Which?\n" + "\n".join(f"({c}) {o}" for c, o in zip(ascii_uppercase, options, strict=False))
    found = [q for order in range(2, orders + 1) if (q := reorder_options(text, order, orders)) is not None]
    assert len({q.shift for q in found}) == len(found) == min(orders, len(options)) - 1
    wanted = data.draw(st.sampled_from(options))
    for question in found:
        line = next(line for line in question.text.splitlines() if line.endswith(f") {wanted}"))
        restored = question.restore(line[1]) or ""
        assert restored == f"The answer is {ascii_uppercase[options.index(wanted)]}. {wanted}"
        assert extract_result(restored).form == ascii_uppercase[options.index(wanted)].lower()


@given(st.text(max_size=300))
def test_any_text_is_taken(text: str) -> None:
    question = reorder_options(text, 2, 2)
    assert question is None or question.restore(text) is None or question.restore(text) != ""
