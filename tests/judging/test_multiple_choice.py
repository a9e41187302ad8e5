"""How many options a question has, and that wrong answers among few options coincide more often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.judging.multiple_choice import count_options, find_named_option, limit_to_options, read_option_texts
from routemoa.judging.posterior import ErrorCorrelation, Vote, infer


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("What melts?\nA. ice\nB. fog\nC. iron", 3),
        ("What melts?\nA) ice\nB) fog", 2),
        ("What melts?\n  (A) ice\n  (B) fog\n  (C) air\n  (D) oil\nAnswer:", 4),
        ("Example:\nA) x\nB) y\nAnswer: A\n\nWhich?\nA) u\nB) v\nC) w", 3),
        ("What is 2 + 2?", None),
        ("A. Smith wrote this.\nWho is he?", None),
        ("B. this\nC. that", None),
        ("Is it so?\nA.\nB.", None),
    ],
)
def test_options_are_counted(text: str, count: int | None) -> None:
    assert count_options(text) == count


@given(st.integers(2, 10), st.floats(0.2, 50))
def test_fewer_options_never_make_wrong_answers_rarer(count: int, concentration: float) -> None:
    limited = limit_to_options(ErrorCorrelation(error_concentration=concentration), count).error_concentration
    assert 0 < limited <= concentration
    assert (
        limited
        <= limit_to_options(ErrorCorrelation(error_concentration=concentration), min(10, count + 1)).error_concentration
    )
    assert (
        limit_to_options(ErrorCorrelation(error_concentration=concentration), None).error_concentration == concentration
    )


def test_three_weak_models_that_agree_outvote_a_strong_one_only_where_agreement_means_something() -> None:
    votes = [Vote("strong", 0.86, 0), *(Vote(m, 0.6, 1) for m in "abc")]
    assert infer(votes, ErrorCorrelation()).leader == 1
    assert infer(votes, limit_to_options(ErrorCorrelation(), 2)).leader == 0


def test_the_options_of_the_last_list_are_read() -> None:
    assert read_option_texts("Which?\nA) x\nB) y\n\nWhich?\n (A) dark red\n (B) red \nAnswer:") == ("dark red", "red")
    assert read_option_texts("Is it A. ice or B. fog?") == read_option_texts("Which?\nA. ice") == ()
    assert read_option_texts("Which?\nA. ice\nB. fog" + " " * 40_000) == ()


def test_the_option_whose_words_are_the_answer_goes_before_one_that_stands_in_it() -> None:
    places = [
        find_named_option(t, ("red", "dark red", "+")) for t in ("Dark red.", "red", "It is dark red", "blue", "+")
    ]
    assert places == [1, 0, None, None, None]
