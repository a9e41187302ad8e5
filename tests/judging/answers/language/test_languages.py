"""Answers in eleven languages are read like English ones, and what only resembles an answer is not."""

from __future__ import annotations

from collections import Counter
from typing import cast

import pytest

from routemoa.datasets.grading import GraderName, grade
from routemoa.judging.answers.grouping import all_agree, final_answer, group_answers
from routemoa.judging.answers.language.languages import find_lead_ins
from tests.judging.answers.tables import Row, read_table

FORMS, UNLIKE = read_table("forms.tsv"), read_table("unlike.tsv")
LANGUAGES = ("es", "de", "fr", "pt", "it", "ru", "zh", "ja", "ko", "ar", "hi")


def test_each_language_has_forty_forms_and_some_that_are_unlike() -> None:
    forms, unlike = Counter(row.language for row in FORMS), Counter(row.language for row in UNLIKE)
    assert set(forms) == set(LANGUAGES)
    assert min(forms.values()) >= 40
    assert all(unlike[language] >= 6 for language in LANGUAGES)
    assert len({row.fields for row in FORMS}) == len(FORMS)


@pytest.mark.parametrize("row", FORMS, ids=lambda row: f"{row.language}-{row.fields[1][:30]}")
def test_an_answer_is_read_however_its_language_states_it(row: Row) -> None:
    reference, answer = row.fields
    if row.kind != "same":
        assert grade(answer, reference, cast(GraderName, row.kind)) == 1.0
    assert group_answers([answer, reference]).group_of == (0, 0)
    assert group_answers([reference, answer]).group_of == (0, 0)
    if reference.isascii():
        assert all_agree([answer, reference])


@pytest.mark.parametrize("row", UNLIKE, ids=lambda row: f"{row.language}-{row.fields[-1][:30]}")
def test_what_only_resembles_an_answer_does_not_count(row: Row) -> None:
    if row.kind == "apart":
        one, other = row.fields
        groups = group_answers([one, other]).group_of
        assert groups[0] != groups[1], (final_answer(one), final_answer(other))
        assert not all_agree([one, other])
    else:
        grader, reference, answer = row.fields
        assert grade(answer, reference, cast(GraderName, grader)) == 0.0


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_answers_of_a_language_disagree_where_their_results_do(language: str) -> None:
    numbers = {row.fields for row in FORMS if row.language == language and row.kind == "numeric"}
    for one, text in numbers:
        for other, _ in numbers:
            assert grade(text, other, "numeric") == float(one == other), (text, other)
    letters = {row.fields for row in FORMS if row.language == language and row.kind == "choice"}
    for one, text in letters:
        assert grade(text, "E" if one != "E" else "F", "choice") == 0.0, text


def test_two_sentences_in_one_language_agree_and_make_a_closed_question() -> None:
    pairs = [
        ("Calculamos 3 por 6. La respuesta es 18.", "Seis y seis y seis, así que la respuesta final es **18**."),
        ("首先计算三个篮子里每个篮子有六个苹果，一共是三乘以六。所以答案是 18。", "六加六加六。答案：18"),
        ("Считаем: три корзины по шесть яблок. Ответ: 18.", "Это 6+6+6, поэтому ответ: **18**."),
        ("따라서 정답은 18입니다.", "답: 18개"),
    ]
    for pair in pairs:
        found = group_answers(pair)
        assert (found.closed, found.group_of) == (True, (0, 0))


def test_lead_ins_are_in_their_order_and_text_that_grows_when_folded_is_read() -> None:
    text = "İstanbul. The answer is 3. La respuesta es 4."
    assert [text[end] for end in find_lead_ins(text)] == ["3", "4"]
    assert final_answer(text) == "4"
    assert find_lead_ins("The answerless choices of a dissolution </answer> 5") == []
