"""Numbers as languages write them."""

from __future__ import annotations

import pytest

from routemoa.judging.answers.grouping import final_answer, group_answers
from routemoa.judging.answers.language.numerals import find_decimal_mark, rewrite_numbers, unify_characters
from routemoa.judging.answers.language.scales import read_chinese_quantity, rewrite_scales, scale_after


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("١٢٣٫٤", "123.4"),
        ("۱۲۳", "123"),
        ("१,२३,४५६", "1,23,456"),
        ("１２３", "123"),
        ("১২", "12"),
        ("1\u202f234,5", "1234,5"),
        ("1\u00a0234", "1234"),
        ("10\u00a0km", "10 km"),
        ("B\u200b", "B"),
        ("−5", "-5"),
        ("٢٥٪", "25%"),
        ("plain", "plain"),
    ],
)
def test_characters(written: str, plain: str) -> None:
    assert unify_characters(written) == plain


@pytest.mark.parametrize(
    ("written", "mark", "plain"),
    [
        ("1.234,50", None, "1234.50"),
        ("1.234.567", None, "1234567"),
        ("1'234.50", None, "1234.50"),
        ("1.234", None, "1.234"),
        ("3,5", None, "3,5"),
        ("1,234", None, "1,234"),
        ("1,234.50", ",", "1,234.50"),
        ("3,5", ",", "3.5"),
        ("1.234", ",", "1234"),
        ("1 234 567,8", ",", "1234567.8"),
        ("2.5", ",", "2.5"),
        ("(3,5)", ",", "(3,5)"),
        ("1,2,3", ",", "1,2,3"),
        ("2023 123", ",", "2023 123"),
        ("1, 2", ",", "1, 2"),
        ("v1.234.5", ",", "v1.234.5"),
        ("0,125", ",", "0.125"),
    ],
)
def test_separators(written: str, mark: str | None, plain: str) -> None:
    assert rewrite_numbers(written, mark) == plain


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("Die Antwort ist 3,5.", ","),
        ("La respuesta es 3,5 porque 2,5 y 1 son 3,5.", ","),
        ("Le prix est de 1.5 et 2.75 euros.", "."),
        ("The answer is 3,5 because there are two of them.", "."),
        ("Ответ: 3,5", ","),
        ("3,5", None),
        ("€ 3,50", ","),
        ("7,05 euros", ","),
        ("1.234,50", ","),
        ("答案是 3.5，因为它是一半", "."),
    ],
)
def test_the_decimal_mark_of_a_text(text: str, mark: str | None) -> None:
    assert find_decimal_mark(text) == mark


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("3 million", "3000000"),
        ("2.5 Millionen", "2500000"),
        ("3 milhões", "3000000"),
        ("5 тысяч", "5000"),
        ("3万", "30000"),
        ("3万5千", "35000"),
        ("3만 5천", "35000"),
        ("1億2000万", "120000000"),
        ("1억 2천만", "120000000"),
        ("2 लाख 50 हज़ार", "250000"),
        ("35mila", "35000"),
        ("3 mil millones", "3000000000"),
        ("3 milliards", "3000000000"),
        ("3 million 5 apples", "3000000 5 apples"),
        ("3千克", "3千克"),
        ("피자 3조각", "피자 3조각"),
        ("3 miles", "3 miles"),
        ("5 km", "5 km"),
        ("1,5", "1,5"),
    ],
)
def test_scales(written: str, plain: str) -> None:
    assert rewrite_scales(written) == plain


def test_a_compound_alone_and_the_factor_after_a_number() -> None:
    assert rewrite_scales("3万, 1亿2000万", compound_only=True) == "3万, 120000000"
    assert scale_after("3 million", 1) == 1e6
    assert scale_after("3 miles", 1) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("十八", 18),
        ("二百零五", 205),
        ("三万五千", 35000),
        ("两千", 2000),
        ("一亿", 10**8),
        ("十八个苹果", 18),
        ("〇", 0),
        ("三角形", None),
        ("一样", None),
        ("二五", None),
        ("百度", None),
        ("万", None),
        ("", None),
        ("苹果", None),
    ],
)
def test_chinese_numerals(text: str, number: int | None) -> None:
    assert read_chinese_quantity(text) == number


@pytest.mark.parametrize(
    "same",
    [
        [
            "42",
            "42 apples",
            "42 manzanas",
            "42 Äpfel",
            "42 яблока",
            "42个苹果",
            "42個",
            "42개",
            "42 सेब",
            "٤٢ تفاحة",
            "４２",
        ],
        [
            "1234.5",
            "€ 1.234,50",
            "1.234,50 €",
            "1 234,50 €",
            "R$ 1.234,50",
            "$1,234.50",
            "₹1,234.50",
            "1'234.50",
            "١٬٢٣٤٫٥",
        ],
        ["3000000", "3 million", "3 Millionen", "3 millones", "3 млн", "300万", "30 lakh", "3,000,000", "3.000.000"],
        ["25", "25 %", "25%", "25 percent"],
    ],
)
def test_one_number_in_many_forms(same: list[str]) -> None:
    assert set(group_answers(same).group_of) == {0}
    for one in same[1:]:
        assert group_answers([same[0], one]).group_of == (0, 0), (one, final_answer(one))


def test_a_lone_comma_is_read_as_the_other_answers_are() -> None:
    assert group_answers(["3,5", "Die Antwort ist 3,5.", "Die Antwort ist 35."]).group_of == (0, 0, 1)
    assert group_answers(["1.234", "Das Ergebnis ist 1.234 Schrauben."]).group_of == (0, 0)
    assert group_answers(["1,5", "The answer is 1,5 as both solve it.", "15"]).group_of == (0, 0, 1)
    assert group_answers(["3,5", "3.5"]).group_of == (0, 0)
    assert group_answers(["3.142", "3142"]).group_of == (0, 1)
