"""Which options an answer settles on, in the many ways models name them."""

from __future__ import annotations

import pytest

from routemoa.judging.answers.grouping import final_answer, group_answers
from routemoa.judging.answers.language.extraction import strip_markup
from routemoa.judging.answers.language.options import find_chosen_option, get_reader, read_options, to_latin

B_IN_MANY_FORMS = [
    "ANSWER: $B$",
    "**ANSWER: $B$**",
    "Answer: \\(B\\)",
    "ANSWER: **B**",
    "Answer: (B)",
    "<answer>B</answer>",
    "<answer>\nB\n</answer>",
    "<final_answer>B</final_answer>",
    "Answer: <B>",
    "Answer: [B]",
    "Answer: {B}",
    "Answer: b",
    "Answer: (b)",
    "Ans: B",
    "Ans. B is correct",
    "So the answer must be B.",
    "The answer has to be B.",
    "The best answer is therefore B.",
    "The answer is thus B",
    "Final answer - B",
    "Final Answer – B",
    "Final answer:\n\nB",
    "The answer is:\n\n**B**",
    "The answer is clearly B.",
    "The answer is not A but B.",
    "The answer is not A, but rather B.",
    "ANSWER:\u200bB",
    "Answer: Ｂ",
    "Answer: \\boxed{B}",
    "\\boxed{\\text{B}}",
    "\\boxed{\\mathbf{(B)}}",
    "$\\boxed{B}$",
    'The answer is "B".',
    "The answer is 'B'.",
    "The answer is ‘B’.",
    "The answer is `B`.",
    "The answer is _B_.",
    "The correct option is B: rain.",
    "Option B is correct.",
    "B is the correct answer.",
    "B is right.",
    "(B) is correct.",
    "Only B is true.",
    "I choose B.",
    "I would go with option B.",
    "It must be B.",
    "A is wrong, so B.",
    "A is out. Therefore, B.",
    "Thus it is B",
    "The correct one is B.",
    "Choice B is the best answer.",
    "B",
    "b",
    "(B)",
    "B.",
    "B) rain",
    "**B.** rain",
    "### Answer\n\n**B**",
    "#### B",
    '{"answer": "B"}',
    "Answer: B) rain falls",
    "The answer is <b>B</b>.",
    "The answer is B, as A is false.",
    "The answer is B, A is wrong.",
    "Answer: В",
]


@pytest.mark.parametrize("text", B_IN_MANY_FORMS)
@pytest.mark.parametrize("before", ["", "Some reasoning about options A and C first.\n\n"])
def test_b(text: str, before: str) -> None:
    text = strip_markup(before + text)
    assert set(to_latin(sorted(read_options(text) or read_options(text, get_reader("В"))))) == {"B"}


@pytest.mark.parametrize("text", B_IN_MANY_FORMS)
def test_b_agrees_with_b(text: str) -> None:
    assert group_answers([text, "The answer is B."]).group_of == (0, 0)
    assert final_answer(text) != "c"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("ANSWER: A,C", "AC"),
        ("ANSWER: A and C", "AC"),
        ("ANSWER: A, B and C", "ABC"),
        ("ANSWER: A, B, and C", "ABC"),
        ("ANSWER: A,C,", "AC"),
        ("ANSWER: AC", "AC"),
        ("The correct options are A and C.", "AC"),
        ("A and C are correct.", "AC"),
        ("正确答案是A、C", "AC"),
        ("答案：ACD", "ACD"),
        ("Las opciones correctas son A y C.", "AC"),
        ("\\boxed{A, C}", "AC"),
        ("Die richtigen Antworten sind A und C.", "AC"),
        ("Answer: $A$, $C$", "AC"),
        ("A, C", "AC"),
        ("Answer: A/C", "AC"),
        ("The answer is A or C.", ""),
        ("Either A or C is correct.", ""),
        ("Neither A nor C is correct.", ""),
        ("The answer is A, and B is wrong.", "A"),
        ("A) fog\nB) rain", ""),
        ("Answer: BANANA", ""),
        ("Answer: CBA", ""),
        ("The answer is K.", "K"),
        ("Answer: (R)", "R"),
        ("Option Z is correct.", "Z"),
        ("The answer is I think B", ""),
        ("A robe takes two bolts.", ""),
        ("The answer is not B.", ""),
        ("", ""),
        ("The answer is X-ray.", ""),
    ],
)
def test_several_options_or_none(text: str, options: str) -> None:
    assert read_options(strip_markup(text)) == set(options)


def test_labels_that_are_numbers_or_letters_of_other_scripts() -> None:
    assert read_options("The answer is 12.", get_reader("3")) == {"12"}
    assert read_options("The answer is 1.5.", get_reader("3")) == set()
    assert read_options(strip_markup("따라서 정답은 ③, ⑤이다."), get_reader("3")) == {"3", "5"}
    assert read_options("Ответ: Б", get_reader("Б")) == {"Б"}
    assert to_latin(["ب", "د"]) == ["B", "D"]
    assert to_latin(["В"]) == ["B"]
    assert to_latin(["Б", "В"]) == ["Б", "В"]


def test_an_option_is_found_where_nothing_says_what_is_asked() -> None:
    assert find_chosen_option("We looked at all of them. So B is correct.") == "B"
    assert find_chosen_option("Select A and press the button, then A and B are correct.") is None
    assert find_chosen_option("If B is correct, it rains.") is None
    assert find_chosen_option("The end.") is None
