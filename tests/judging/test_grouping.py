"""What answers say and which say the same."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.judging.answers.grouping import Groups, all_agree, final_answer, group_answers, mean_similarities


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Half of 84 is 42.\nThe answer is **42**.", "42"),
        ("So \\boxed{\\frac{1}{2}}.", "0.5"),
        ("... #### 1,234", "1234"),
        ("Answer: 42.0", "42"),
        ("$18", "18"),
        ("Paris.", "paris"),
        ("The final answer is 1,000,000 dollars.", "1000000"),
        ("First thought: the answer is 3. No. The answer is 4.", "4"),
        ("A long explanation that never says plainly what the result of all of this is, in the end.", None),
        ("line one\nline two", None),
    ],
)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_agreement() -> None:
    assert all_agree(["The answer is 42.", "#### 42.00", "42"])
    assert not all_agree(["The answer is 42.", "43"])
    assert not all_agree(["42"])
    assert all_agree(["def f():\n  return 1", "def  f():\n return 1"])
    assert not all_agree(["def f():\n  return 1", "42"])
    assert not all_agree(["", ""])


@pytest.mark.parametrize(
    "same",
    [
        ["\\boxed{\\frac{1}{2}}", "The answer is \\dfrac12.", "Answer: 1/2", "0.5", "$.5", "#### 0.50"],
        ["\\boxed{2\\frac{1}{2}}", "The answer is 2 1/2.", "2.5", "2 1/2 cups", "\\frac{5}{2}"],
        ["\\boxed{\\left(0, 1\\right]}", "The answer is $(0,1]$."],
        ["\\boxed{3\\sqrt{2}}", "Answer: 3 \\sqrt 2", "3√2"],
        ["\\boxed{\\sqrt{29}}", "√29", "\\sqrt 29"],
        ["\\boxed{\\text{(C)}}", "The answer is (C) because of that.", "C. Paris", "c", "\\textbf{(C)}", "(C) 12"],
        ["The final answer is 1,234.", "1234", "$1,234.00", "1 234", "\\$1{,}234", "#### 1,234"],
        ["5 cm", "The answer is 5 cm.", "\\boxed{5\\text{ cm}}", "5", "5 apples"],
        ["\\boxed{25 \\text{ cm}^2}", "25 cm²", "25 square centimeters", "25"],
        ["18 €", "€18", "18 EUR", "18"],
        ["50 %", "50\\%", "50 percent", "50"],
        ["\\boxed{90^\\circ}", "90 degrees", "90°"],
        ["-0", "0.0", "0"],
        ["−3", "-3", "The answer is -3.0"],
        ["\\boxed{x = 5}", "x=5", "The answer is 5."],
        ["\\boxed{10^{5}}", "10^5"],
        ["**Yes**", "yes.", "The answer is yes."],
        [
            '{"reasoning": "6 times 7", "answer": "42"}',
            '{"reasoning": "6 times 7", "answer": 42}',
            '{"answer": 42, "confidence": 0.9}',
            "{'answer': 42, 'sure': 'yes'}",
            '{\n  "answer": "42"\n}',
            "42",
        ],
        ['{"answer": "\\\\frac{1}{2}"}', "1/2"],
        ["<think>The answer is 3.</think> The answer is 4.", "4"],
    ],
)
def test_one_result_in_many_forms(same: list[str]) -> None:
    assert {final_answer(t) for t in same} == {final_answer(same[-1])}
    assert final_answer(same[-1])
    assert set(group_answers(same).group_of) == {0}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("23", "2 \\times 3"),
        ("23", "(2)(3)"),
        ("23", "2 3"),
        ("123", "1,2,3"),
        ("15", "1,5"),
        ("32", "\\sqrt{3}\\cdot 2"),
        ("\\sqrt{32}", "\\sqrt{3}\\cdot 2"),
        ("10.5", "2\\frac{1}{2}"),
        ("5", ".5"),
        ("5", "-5"),
        ("(0, 1)", "[0, 1)"),
        ("x^2", "x^3"),
        ("A", "B"),
        ("yes", "no"),
        ("5 apples and 3 pears", "5 apples"),
        ("{'blue': 4, 'red': 6}", "{'blue': 4, 'red': 7}"),
        ("{1, 2}", "{1, 3}"),
    ],
)
def test_different_results_stay_apart(one: str, other: str) -> None:
    assert final_answer(one) != final_answer(other)
    assert group_answers([f"The answer is {one}", f"The answer is {other}"]).group_of == (0, 1)


LONG = "We look at it from every side, with patience and care, and in the end there is no more to be said about {}."
CODE = "def add(a, b):\n    return a + b\n"


def test_closed_and_open() -> None:
    assert group_answers(["The answer is 4.", LONG]) == Groups((0, None), True, (None, None))
    assert group_answers(["4", "5", LONG]).group_of == (0, 1, None)
    found = group_answers(["Sorry, I cannot.", LONG])  # a short text makes no long one wrong
    assert (found.closed, found.group_of) == (False, (0, 1))
    assert group_answers([LONG, LONG]).closed is False
    assert group_answers([]) == Groups((), False, ())
    assert group_answers([LONG]).similarity == (None,)


def test_open_answers_are_compared_by_their_words() -> None:
    found = group_answers([LONG.format("it"), LONG.format("it") + " Indeed.", CODE])
    assert found.group_of == (0, 0, 1)
    assert found.members(0) == (0, 1)
    first, second, third = (x or 0.0 for x in found.similarity)
    assert min(first, second) > 0.4 > third
    assert group_answers([CODE, CODE.replace("add", "sum_of"), LONG]).group_of[:2] == (0, 1)
    assert group_answers([CODE, CODE.replace("\n", "\n\n"), LONG]).group_of == (0, 0, 1)


def test_what_is_alike_through_a_third_is_one_group_in_whatever_order_it_comes() -> None:
    words = [f"word{i}" for i in range(60)]
    near, middle, far = (" ".join(words[i : i + 50]) for i in (0, 4, 8))
    assert mean_similarities([near, middle])[0] >= 0.9 > mean_similarities([near, far])[0]  # type: ignore[operator]
    assert group_answers([near, middle, far]).group_of == group_answers([near, far, middle]).group_of == (0, 0, 0)


anything = (
    st.text()
    | st.text("\\\\{}()[]$%^_=,.;:#0123456789 \n'\"abcqrtfsxo<>/*-+√€")
    | st.sampled_from(
        [
            "4",
            "The answer is 4.",
            "\\boxed{4}",
            "5",
            LONG,
            LONG + " Yes.",
            CODE,
            "",
            "\\boxed{",
            "####",
            "answer:",
            "1/0",
        ]
    )
)


@given(anything)
def test_whatever_is_read_a_result_is_short_or_none(text: str) -> None:
    for wrapped in (text, f"The answer is {text}", f"\\boxed{{{text}}}", f'{{"answer": "{text}"}}', f"#### {text}"):
        result = final_answer(wrapped)
        assert result is None or len(result) <= (700 if '"answer"' in wrapped else 60)
        assert result == final_answer(wrapped)


@given(st.lists(anything, max_size=7), st.integers(0, 99))
def test_groups_are_a_partition_whatever_the_order(texts: list[str], seed: int) -> None:
    found = group_answers(texts)
    assert len(found.group_of) == len(found.similarity) == len(texts)
    numbers = [g for g in found.group_of if g is not None]
    assert sorted(set(numbers)) == list(range(len(set(numbers))))
    assert list(dict.fromkeys(numbers)) == sorted(set(numbers))  # by first appearance
    assert found.closed or None not in found.group_of
    assert all(x is None or 0 <= x <= 1 for x in found.similarity)
    order = Random(seed).sample(range(len(texts)), len(texts))
    again = group_answers([texts[i] for i in order])
    assert again.closed == found.closed

    def together(of: tuple[int | None, ...], places: list[int]) -> set[frozenset[int]]:
        return {frozenset(p for p, g in zip(places, of, strict=True) if g == n) for n in set(of) - {None}}

    assert together(again.group_of, order) == together(found.group_of, list(range(len(texts))))


@pytest.mark.parametrize(
    ("field", "answer"),
    [
        ('"[(4, 1), (2, 3)]"', "[(4, 1), (2, 3)]"),
        ("[[4, 1], 2]", "[[4, 1], 2]"),
        ('"[\\"a\\", \\"b\\"]"', "['a', 'b']"),
        ('["a", "b"]', "['a', 'b']"),
        ("\"{'a': 1}\"", "{'a': 1}"),
        ("\"'hello World'\"", "hello World"),
        ('"hello World"', "hello World"),
        ('"ABC"', "ABC"),
        ('"abc"', "abc"),
        ('"Paris"', "paris"),
        ("true", "true"),
        ('"\\\\frac{1}{2}"', "0.5"),
        ('"$1,234"', "1234"),
        ("\"'*a*b'\"", "*a*b"),
        ('"___"', None),
    ],
)
def test_the_field_of_a_json_reply(field: str, answer: str | None) -> None:
    head = '```json\n{\n  "reasoning": "f(\\"x\\") gives it, so we are done",\n  "answer": '
    assert final_answer(head + field + "\n}\n```") == answer
    if answer is not None:
        assert final_answer('{"answer": ' + field + ', "confidence": 0.9}') == answer


def test_no_field_no_json() -> None:
    assert final_answer('The "answer" is 5.') == "5"
    assert final_answer("f returns 'abC'. The answer is 'abC'.") == "abC"
