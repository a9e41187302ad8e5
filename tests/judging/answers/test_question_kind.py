"""Which questions ask for a result, which for a text, and which do not tell."""

from __future__ import annotations

from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.judging.answers.question_kind import question_kind

RESULTS = (
    "2+2?",
    "How many legs have three spiders?",
    "Natalia sold 48 clips in April and half as many in May. How many did she sell altogether?",
    "Solve for x: x^3 - 4x^2 + 6x - 24 = 0",
    r"Let $f(x) = x^2 + 1$. What is $f(3)$?",
    r"Compute \frac{3}{4} of 12.",
    "Which planet is the largest?\nA. Mars\nB. Jupiter\nC. Venus",
    "Is the sky green? Answer yes or no.",
    "Explain your working, then answer with a single letter.",
    "Question: which gas do plants take in?\nAnswer:",
    "民国时期的货币是什么？\n答案：",
)
TEXTS = (
    "Write a poem about spiders.",
    "Why is the sky blue?",
    "how do I cook a salmon fillet on a stove top?",
    "Please summarize the following article.\n\nDevelopment studies is a branch of social science.",
    "What are some good alternatives to Chrome?",
    "Can you explain the difference between sets and lists in Python?",
    "Need ideas: suggest hashtags for a post about hiking",
    "My dog died and my friend is sad. How can I comfort her?",
    "Schreibe einen Brief an meine Vermieterin.",
    "Explique la photosynthèse à un enfant.",
    "¿Cómo puedo dormir mejor?",
    "Напиши письмо другу.",
    "写一首关于春天的诗",
    "春についての詩を書いてください",
    "봄에 대한 시를 써 줘",
    "اكتب قصيدة عن الربيع",
    "बसंत पर एक कविता लिखिए",
)
CODE = (
    "Write a python function to reverse a list.",
    "def add(a: int, b: int) -> int:\n    '''Add two numbers.'''\n",
    "Implement a class for a queue.",
    "Write a Python function is_even(n). Answer with the code only, without comments.",
)
UNDECIDED = ("Spiders and their legs", "Who is Ada Lovelace?", "What is kevlar made out of?", "", "Bonjour")


@pytest.mark.parametrize("text", RESULTS)
def test_what_asks_for_a_result(text: str) -> None:
    assert question_kind(text) == "result"


@pytest.mark.parametrize("text", CODE)
def test_what_asks_for_code(text: str) -> None:
    assert question_kind(text) == "code"


@pytest.mark.parametrize("text", TEXTS)
def test_what_asks_for_a_text(text: str) -> None:
    assert question_kind(text) == "open"


@pytest.mark.parametrize("text", UNDECIDED)
def test_what_does_not_tell(text: str) -> None:
    assert question_kind(text) is None


@given(st.text())
def test_space_around_a_question_changes_nothing(text: str) -> None:
    assert question_kind(f"\n  {text.strip()} \t") == question_kind(text.strip())


@pytest.mark.alone
def test_the_end_of_a_long_question_is_read() -> None:
    begun = perf_counter()
    assert question_kind("lorem ipsum " * 200_000 + "\nAnswer yes or no.") == "result"
    assert question_kind("lorem ipsum " * 200_000 + "\nWrite a summary of it.") == "open"
    assert perf_counter() - begun < 2.0
