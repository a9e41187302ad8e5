"""Grading, by tables of what models really write."""

from __future__ import annotations

from time import perf_counter

import pytest

from routemoa.grading import Kind, grade, suggest

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
]

WORDS: list[tuple[Kind, str, str, float]] = [
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


@pytest.mark.parametrize(("answer", "reference", "right"), NUMERIC)
def test_numeric(answer: str, reference: str, right: float) -> None:
    assert grade(answer, reference, "numeric") == right


@pytest.mark.parametrize(("answer", "reference", "right"), CHOICE)
def test_choice(answer: str, reference: str, right: float) -> None:
    assert grade(answer, reference, "choice") == right


@pytest.mark.parametrize(("kind", "answer", "reference", "right"), WORDS)
def test_words(kind: Kind, answer: str, reference: str, right: float) -> None:
    assert grade(answer, reference, kind) == right


@pytest.mark.parametrize("kind", ["exact", "numeric", "choice", "contains"])
def test_without_a_usable_reference_there_is_no_grade(kind: Kind) -> None:
    assert grade("18", None, kind) is None
    assert grade("18", " ", kind) is None
    assert grade("B", "none of these", "numeric") is None
    assert grade("B", "none of these", "choice") is None


@pytest.mark.parametrize(
    ("reference", "kind"),
    [("18", "numeric"), ("# 70,000", "numeric"), ("B", "choice"), ("(C)", "choice"), ("Paris", "contains")],
)
def test_a_reference_suggests_how_to_grade(reference: str, kind: Kind) -> None:
    assert suggest(reference) == kind


@pytest.mark.parametrize("kind", ["exact", "numeric", "choice", "contains"])
@pytest.mark.parametrize(
    "piece",
    ["\n", " ", "answer: ", "answer\n", "\\boxed{", "<think>", "</think>", "1,11", "(A) ", "– ", "####", "is B or "],
)
def test_a_long_and_odd_answer_is_graded_at_once(kind: Kind, piece: str) -> None:
    started = perf_counter()
    assert grade(piece * (100_000 // len(piece)), "3", kind) == 0.0
    assert perf_counter() - started < 2
