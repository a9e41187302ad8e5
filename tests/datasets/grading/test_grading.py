"""Grading, by tables of answers as models write them."""

from __future__ import annotations

from random import Random
from time import process_time

import pytest

from routemoa.datasets.grading import GraderName, grade, suggest_grader
from routemoa.datasets.grading.text_overlap import rouge_l
from routemoa.datasets.questions import Question, parse_question

NUMERIC = [
    # answer, reference, right
    ("18", "18", 1),
    ("She makes $18 every day.", "18", 1),
    ("16 - 3 - 4 = 9 eggs, and 9 * 2 = 18.", "#### 18", 1),
    ("16 - 3 - 4 = 9 eggs, and 9 * 2 = 18.", "9", 0),
    ("The answer is 18 eggs out of 20.", "18", 1),
    ("The answer is: **$1,234.50**.", "1234.5", 1),
    ("**Answer:** 70,000 dollars", "$70,000", 1),
    ("Answer: Janet has 16 eggs. She eats 3 and bakes with 4.\nShe sells 9 at $2 each for $18.", "18", 1),
    ("The final answer is:\n\n$$\\boxed{18}$$", "18", 1),
    ("so \\boxed{\\frac{3}{4}} of it", "0.75", 1),
    ("\\boxed{1{,}000}", "1000", 1),
    ("\\(\\boxed{x = 5}\\)", "5", 1),
    ("First 5, then 7.\n#### 12", "12", 1),
    ("#### 1. Count the eggs\nThere are 16.\n#### 2. Subtract\n16 - 7 = 9", "9", 1),
    (
        '```json\n{\n  "reasoning": "16 - 7 = 9; 9 * $2 = $18.",\n  "answer": "$18"\n}\n```\nShe has 7 for herself.',
        "18",
        1,
    ),
    ('{"reasoning": "half of 3", "answer": "1.5"}', "3/2", 1),
    ('{"reasoning": "r", "answer": 18}', "18", 1),
    ("The answer is that she makes 18 dollars.", "18", 1),
    ("Her total is 9 * 2 = 18 dollars\nFinal answer: 9 * 2 = 18", "18", 1),
    ("The answer is 9. Wait, that is eggs. The answer is 18.", "18", 1),
    ("It is 25%", "25", 1),
    ("It is 25%", "0.25", 1),
    ("0.25", "25%", 1),
    ("It costs 3 million dollars", "3000000", 1),
    ("The answer is -5.", "-5", 1),
    ("The answer is −5.", "-5", 1),
    ("The answer is -5.", "5", 0),
    ("From 10-15", "15", 1),
    ("1.2e5", "120000", 1),
    ("1.2 \\times 10^{5}", "120000", 1),
    ("0.333333", "1/3", 1),
    ("0.333", "1/3", 0),
    ("<think>maybe 7</think>The answer is 8.", "8", 1),
    ("1. Count the eggs\n2. They are sixteen, of which 9 are left\n3. Therefore she sells those", "9", 1),
    ("maybe 7, or 9?</think>\n\n8", "8", 1),
    ("I cannot answer that.", "18", 0),
    ("", "18", 0),
    ("0", "0", 1),
    ("0.0000001", "0", 0),
    ("9" * 5000, "18", 0),
    ("1e999", "18", 0),
    ('{"answer": "Clyde will pay $12.00 for 5 apples and 5 oranges."}', "12", 1),
    ('{"answer": "Clyde will pay $12.00 for 5 apples and 5 oranges."}', "5", 0),
    ('{"answer": "Maggie should set her oven to 500 degrees if her recipe calls for 520 degrees."}', "500", 1),
    ('{"answer": "The least he can carry if he wants 24 berries in 8 hours is 12 berries."}', "12", 1),
    ('{"answer": "John makes $1260 in a full 7-day week."}', "1260", 1),
    ('{"answer": "4 (3 onions and 1 potato)"}', "4", 1),
    ('{"answer": "First 5 a day. Therefore she has 35."}', "35", 1),
    ('{"reasoning": "240 of them", "answer": "Cannot be determined"}', "240", 0),
    ('{"answer": "2:00 pm"}', "2", 1),
    ('{"answer": "595"}\n\nThe solution:\n1. We start with 175\n2. There are 140 rubies', "595", 1),
    ('{"answer": "3"}\n\n## Question:\n\nFind m.\n\n`"answer": "42"`', "3", 1),
    ('{"answer": "3"}\n\n## Question:\n\nFind m.\n\n`"answer": "42"`', "42", 0),
    ("The answer is 64.", "4 / 2 = 2 miles, so 4 * 16 = 64 minutes.\n#### 64", 1),
    ("The answer is 4.", "4 / 2 = 2 miles, so 4 * 16 = 64 minutes.\n#### 64", 0),
]

CHOICE = [
    ("B", "B", 1),
    ("b", "B", 1),
    ("(B)", "B", 1),
    ("B) an impact of an asteroid", "B", 1),
    ("**B.** rain", "B", 1),
    ("B.", "(B)", 1),
    ("The answer is B", "B", 1),
    ("The answer is (B) because A is false.", "B", 1),
    ("**Answer: B) rain**", "B", 1),
    ("The correct answer is **B**.", "B", 1),
    ("The correct option is B: rain.", "B", 1),
    ("Option A is wrong. Option B is correct.", "B", 1),
    ("I would choose option C.", "C", 1),
    ("The answer is A. No: the answer is B.", "B", 1),
    ("\\boxed{\\text{B}}", "B", 1),
    ('{"reasoning": "A is out", "answer": "B"}', "B", 1),
    ("A robe takes two bolts, so the answer is B.", "B", 1),
    ("A robe takes two bolts.", "A", 0),
    ("Answer: A high-pressure system stops air.", "A", 0),
    ("The answer is A because it rains.", "A", 1),
    ("The answer is A, as it rains.", "A", 1),
    ("I think it rains.", "I", 0),
    ("A) fog\nB) rain\nC) drought\nD) tornado", "D", 0),
    ("The answer is A or B.", "B", 0),
    ("Drought follows, so (C).", "C", 1),
    ("The air cannot rise.\n\nC", "C", 1),
    ("The answer is 3", "3", 1),
    ("(2) rain", "2", 1),
    ("The answer is (C).", "B", 0),
    ("The correct answer to the question is D.", "D", 1),
    ("### Answer\n\n**C**", "C", 1),
    ("Based on this, the best choice is B.", "B", 1),
    ("", "B", 0),
    ("['B\\n']", "B", 1),
    ("['B']", "B || 错误", 1),
    ("['Unfortunately I']", "B", 0),
]

WORDS: list[tuple[GraderName, str, str, float]] = [
    ("exact", " Paris. ", "paris", 1),
    ("exact", "**New\n York**", "new york", 1),
    ("exact", "The answer is Paris.", "Paris", 1),
    ("exact", "Paris is in France", "Paris", 0),
    ("contains", "It is Paris, of course.", "paris", 1),
    ("contains", "Comparison", "paris", 0),
    ("contains", "There are 180.", "18", 0),
    ("contains", "It is 18.5", "18", 0),
    ("contains", "There are 18.", "18", 1),
    ("contains", "答案是北京。", "北京", 1),
    ("contains", "It uses C++.", "C++", 1),
    ("contains", "", "x", 0),
]


PARTLY: list[tuple[GraderName, str, str, float]] = [
    ("rouge", "the cat sat", "the cat sat", 1),
    ("rouge", "police killed the gunman", "police kill the gunman", 0.75),  # three of four in order
    ("rouge", "the gunman kill police", "police kill the gunman", 0.5),  # Lin 2004, section 3.1: two in order
    ("rouge", "gunman the kill police", "police kill the gunman", 0.25),
    ("rouge", "a b c d e f", "a c e", 6 / 9),
    ("rouge", "今天天气好", "今天天气很好", 10 / 11),
    ("rouge", "cat", "dog", 0),
    ("rouge", "", "dog", 0),
    ("rouge", "one two", '["three", "one two"]', 1),
    ("rouge", "<think>one two</think>three", "three", 1),
    ("f1", "The Eiffel Tower.", "eiffel tower", 1),
    ("f1", "in Paris, France", "Paris", 0.5),
    ("f1", "Paris Paris", "Paris", 2 / 3),  # counted as often as both have it
    ("f1", "I thought a while about it. The answer is Paris.", "Paris", 1),
    ("f1", "Paris", '["London", "Paris, France"]', 2 / 3),
    ("f1", "1,000 don't", "1000 dont", 1),
    ("f1", "北京", "北京市", 0.8),
    ("f1", "the", "an", 1),
    ("f1", "the", "dog", 0),
]


@pytest.mark.parametrize(("kind", "answer", "reference", "share"), PARTLY)
def test_partly_right(kind: GraderName, answer: str, reference: str, share: float) -> None:
    assert grade(answer, reference, kind) == pytest.approx(share)


def test_the_bit_parallel_subsequence_equals_the_textbook_table() -> None:
    rng = Random(4)
    for _ in range(200):
        a, b = (rng.choices("abcd", k=rng.randrange(1, 90)) for _ in range(2))
        table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
        assert rouge_l(" ".join(a), " ".join(b)) == pytest.approx(2 * table[-1][-1] / (len(a) + len(b)))


def test_answers_for_a_judge_have_no_grade() -> None:
    assert grade("18", "18", "judge") is None
    asked = parse_question(
        '{"id": "1", "task": "t", "query": "q", "reference": "an essay", "grader": "judge"}', "t", 1
    )[0]
    assert isinstance(asked, Question)
    assert asked.grade("an essay") is None


@pytest.mark.parametrize(("answer", "reference", "right"), NUMERIC)
def test_numeric(answer: str, reference: str, right: float) -> None:
    assert grade(answer, reference, "numeric") == right


@pytest.mark.parametrize(("answer", "reference", "right"), CHOICE)
def test_choice(answer: str, reference: str, right: float) -> None:
    assert grade(answer, reference, "choice") == right


@pytest.mark.parametrize(("kind", "answer", "reference", "right"), WORDS)
def test_words(kind: GraderName, answer: str, reference: str, right: float) -> None:
    assert grade(answer, reference, kind) == right


@pytest.mark.parametrize("kind", ["exact", "numeric", "choice", "contains"])
def test_without_a_usable_reference_there_is_no_grade(kind: GraderName) -> None:
    assert grade("18", None, kind) is None
    assert grade("18", " ", kind) is None
    assert grade("B", "none of these", "numeric") is None
    assert grade("B", "—", "choice") is None


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("18", "numeric"),
        ("# 70,000", "numeric"),
        ("B", "choice"),
        ("(C)", "choice"),
        ("Paris", "contains"),
        ("5%", "numeric"),
        ("$1,000", "numeric"),
        ("\\frac{3}{4}", "math"),
        ("x^2 + 1", "math"),
        ("(1, 2)", "math"),
        ("[0, 1)", "math"),
        ("3, 4, 5", "math"),
        ("sqrt(2)", "math"),
        ("2x", "math"),
        ("x = 3", "math"),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "math"),
        ("a dog, a cat", "contains"),
        ("New York (city)", "contains"),
        ("in 1999", "contains"),
    ],
)
def test_a_reference_suggests_how_to_grade(reference: str, kind: GraderName) -> None:
    assert suggest_grader(reference) == kind


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["exact", "numeric", "choice", "contains", "math", "rouge", "f1"])
@pytest.mark.parametrize(
    "piece",
    [
        "\n",
        " ",
        "answer: ",
        "answer\n",
        "\\boxed{",
        "<think>",
        "</think>",
        "1,11",
        "(A) ",
        "– ",
        "####",
        "is B or ",
        '"answer": "',
        "\nQ",
        "question: ",
        "(",
        "$ ",
    ],
)
def test_a_long_and_odd_answer_is_graded_at_once(kind: GraderName, piece: str) -> None:
    started = process_time()
    assert grade(piece * (100_000 // len(piece)), "3", kind) == 0.0
    assert process_time() - started < 2


def test_whole_numbers_are_compared_exactly() -> None:
    assert grade("The answer is 12345678.", "12345679", "numeric") == 0.0
    assert grade("The answer is 12345679.", "12345679", "numeric") == 1.0
    assert grade("The answer is 0.3333333.", "1/3", "numeric") == 1.0
