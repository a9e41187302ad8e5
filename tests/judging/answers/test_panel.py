"""What answers mean beside each other."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.judging.answers.grouping import all_agree, group_answers
from routemoa.judging.answers.language.sentences import find_concluding_number, split_sentence


@pytest.mark.parametrize(
    ("answers", "groups"),
    [
        (["Paris", "The capital is Paris."], (0, 0)),
        (["The capital of France is Paris.", "Paris.", "The capital is Lyon.", "Lyon"], (0, 0, 1, 1)),
        (["The capital is Paris.", "The capital of France is Paris."], (0, 0)),
        (["Paris is the capital of France.", "The capital of France is Paris."], (0, 0)),
        (["Paris is the capital of France.", "Paris"], (0, 0)),
        (["Blue", "The sky is blue."], (0, 0)),
        (
            ["Friday", "It's Friday.", "On Friday.", "The meeting is on Friday.", "It falls on a Friday."],
            (0, 0, 0, 0, 0),
        ),
        (["Today is Friday.", "It is Friday."], (0, 0)),
        (["Friday", "viernes", "Cae en sábado."], (0, 0, 1)),
        (["Friday", "The day after Friday.", "It isn't Friday.", "Friday or Saturday."], (0, 1, 2, 3)),
        (["Rome on Friday", "Paris on Friday"], (0, 1)),
        (["Quito", "That would be Quito.", "It's Quito."], (0, 0, 0)),
        (["Paris", "The Louvre is in Paris.", "It's in Paris.", "In Rome."], (0, 0, 0, 1)),
        (["in the box", "on the box"], (0, 1)),
        (["true", "It is not true."], (0, 1)),
        (["Tokyo", "Tokio ist die Hauptstadt.", "Tokio"], (0, 1, 1)),
        (["The dog is bigger.", "The cat is bigger."], (0, 1)),
        (["The dog is bigger.", "The cat is bigger.", "The dog"], (0, 1, 2)),
        (["Paris is the capital.", "London is the capital."], (0, 1)),
        (["Paris", "The capital is not Paris."], (0, 1)),
        (["18", "So 18 apples are left."], (0, 0)),
        (["The answer is 18.", "3 × 6 = 18. So there are 18 apples in 3 baskets."], (0, 0)),
        (["The answer is 3.", "3 × 6 = 18. So there are 18 apples in 3 baskets."], (0, 1)),
        (["3 × 6 = 18. So 18 are left.", "6 + 6 + 6 = 18, so there are 18."], (0, 0)),
        (["Ответ: В", "Ответ: B"], (0, 0)),
        (["Ответ: В", "Ответ: B", "Ответ: Б"], (0, 1, 2)),
        (["الجواب: ب", "Answer: B"], (0, 0)),
        (["The answer is 10.", "We try 4 + 4 + 2 = 10. This still doesn't add up to"], (0, 1)),
        (["The answer is 0.", "The solutions of x^3 - 4x^2 + 6x - 24 = 0 are x = 2, x = 3, and x = -4."], (0, None)),
        (["The answer is 19.", "We get 10. That doesn't add up to 19."], (0, 1)),
        (['{"answer": "9"}', "The answer is: Mia needs to get 9 more chairs."], (0, 0)),
        (['{"answer": "9500"}', '{"answer": "The price is $9,500 more than Mrs. Cruz\'s budget."}'], (0, 0)),
        (['{"answer": "72"}', '{"answer": "72 Mb/hour"}', '{"answer": "72 sqrt 2"}'], (0, 0, 1)),
        (['{"answer": "6"}', '{"answer": "6th"}', '{"answer": "6 or 7"}', '{"answer": "over 6 hours"}'], (0, 0, 1, 2)),
        (['{"answer": "3"}', '{"answer": "___3___"}', '{"answer": "\\"$3\\""}', '{"answer": "`3`"}'], (0, 0, 0, 0)),
        (["The answer is 221_3.", "The answer is 221.", r"\boxed{221_{3}}", "The answer is 221₃."], (0, 0, 0, 0)),
        (["The answer is 221_3.", "The answer is 221_4."], (0, 1)),
        (['{"answer": "23"}\n\n## Question:\nWhat is it?\n\nFor example `"answer": "42"`.', "23", "42"], (0, 0, 1)),
        (["B) rain", "(B)", "The answer is B because it rains.", "Rain"], (0, 0, 0, 1)),
    ],
)
def test_groups(answers: list[str], groups: tuple[int, ...]) -> None:
    assert group_answers(answers).group_of == groups
    for order in list(permutations(range(len(answers))))[:24]:
        again = group_answers([answers[i] for i in order])
        assert [again.group_of[order.index(i)] == again.group_of[order.index(0)] for i in range(len(answers))] == [
            group == groups[0] for group in groups
        ]
    assert all_agree(answers) == (len(set(groups)) == 1)


def test_essays_that_end_with_a_number_stay_open() -> None:
    essay = "It has a long history, with many turns that are worth telling. It was founded in {}."
    found = group_answers([essay.format(1998), essay.format(1999), "Nobody knows who founded it, and when."])
    assert not found.closed
    code = "```python\nprint(3 * 6)\n```\n3 * 6 = 18, so it prints 18."
    assert not group_answers([code, "It multiplies.\n\n" + essay.format(5), essay.format(7)]).closed


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1250 × 14 = 17500.\n\nSo it makes 17500 screws in 14 days.", ("17500", True)),
        ("So 18 are left.", ("18", False)),
        ("Es kostet 7,05 Euro, also 7,05 Euro.", ("7.05", False)),
        ("100 - 5 * 8 = 100 - 40 = 60", ("60", True)),
        ("There are 3 of 5.", None),
        ("140 dollars - 1", None),
        ("No number here.", None),
        ("", None),
        ("x = 5\ny = 6", ("6", False)),
        ("It is 3 * 6 = 18. So there are 18", ("18", True)),
        ("200 + 25 = 225 \\text{ lbs", ("225", True)),
        ("The number of melons not sold is 84 - 21 = 63.", ("63", True)),
        ("We get 3 * 6 = 18. Then we add", None),
        ("We get 18. We add 3 and 18 is", None),
        ("So 47/10 = 47/10 =", None),
        ("We get 3 * 6 = 18. There cannot be 18.", None),
        ("Es sind 3 * 6 = 18. Das sind nicht 18.", None),
        ("The equation 2x^2 - 8x = 0 has two roots.", None),
        ("sin^2 of it, \\sin^2 a + \\cos^2 a = 1, we get 2 and 3.", None),
        ("We know x^2 - 4x + 4 = 0. Then x = 2.", ("2", False)),
        ("We find x = 1/3, and x = 2.", None),
    ],
)
def test_the_concluding_number(text: str, number: tuple[str, bool] | None) -> None:
    assert find_concluding_number(text) == number


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("The capital is Paris.", ("The capital", "Paris")),
        ("La capital no es Madrid.", None),
        ("日本の首都は東京です。", ("日本の首都", "東京")),
        ("首都不是北京。", None),
        ("수도는 서울이 아닙니다.", None),
        ("It rains. The street is wet.", None),
        ("The capital is Paris.\nYes.", None),
        ("Paris", None),
        ("x" * 200 + " is long", None),
    ],
)
def test_sentences(text: str, sides: tuple[str, str] | None) -> None:
    sentence = split_sentence(text)
    assert (sentence and tuple(sentence[:2])) == sides


GASES = ("oxygen", "carbon dioxide", "helium")


@pytest.mark.parametrize(
    "text",
    [
        "carbon dioxide",
        "Carbon Dioxide.",
        "The answer is carbon dioxide.",
        "The answer is: carbon dioxide (CO2)",
        "Plants take in carbon dioxide.",
        "Carbon dioxide is the gas that plants take in.",
        "The gas that plants take in is carbon dioxide.",
        "b",
    ],
)
def test_what_an_option_says_is_its_letter_beside_a_letter(text: str) -> None:
    assert group_answers([text, "The answer is B."], GASES).group_of == (0, 0)
    assert group_answers([text, "The answer is C."], GASES).group_of == (0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "Plants do not take in carbon dioxide.",
        "It isn't carbon dioxide.",
        "Oxygen or carbon dioxide",
        "They take in carbon monoxide.",
        "Les plantes ne prennent pas de carbon dioxide.",
        "D",
    ],
)
def test_what_denies_an_option_or_names_several_is_no_letter(text: str) -> None:
    groups = group_answers([text, "The answer is B.", "B"], GASES).group_of
    assert groups[1] == groups[2] != groups[0]


def test_an_option_that_denies_something_is_named_by_its_own_words() -> None:
    assert group_answers(["No", "B"], ("Yes", "No")).group_of == (0, 0)
    assert group_answers(["No, it does.", "A"], ("Yes", "No")).group_of == (0, 1)
    changes = ("It does not change.", "It grows.")
    assert group_answers(["It does not change.", "A", "It grows"], changes).group_of == (0, 0, 1)
    assert group_answers(["It grows, not shrinks.", "A", "B"], changes).group_of == (0, 1, 2)


def test_words_alone_are_compared_as_before() -> None:
    for texts in (["carbon dioxide", "helium"], ["carbon dioxide", "The gas is carbon dioxide."]):
        assert group_answers(texts, GASES) == group_answers(texts)


@given(st.permutations(["A", "b)", "The answer is C", "carbon dioxide", "It is helium.", "Plants take in oxygen."]))
def test_the_order_of_answers_in_words_changes_no_group(texts: list[str]) -> None:
    groups = group_answers(texts, GASES).group_of
    same = {frozenset(t for t, g in zip(texts, groups, strict=True) if g == group) for group in groups}
    assert {frozenset({"b)", "carbon dioxide"}), frozenset({"The answer is C", "It is helium."})} < same
