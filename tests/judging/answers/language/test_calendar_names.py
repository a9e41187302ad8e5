"""Weekdays and months that short texts name."""

from __future__ import annotations

import pytest

from routemoa.judging.answers.language.calendar_names import MONTHS, WEEKDAYS, is_calendar_name, read_calendar_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("It falls on a Friday.", "friday"),
        ("In 10 days it will be a Friday", "friday"),
        ("Friday it is", "friday"),
        ("В пятницу.", "friday"),
        ("周五", "friday"),
        ("会议在星期日举行。", "sunday"),
        ("The party takes place in May.", "may"),
        ("समारोह मई में है।", "may"),
        ("It may rain.", None),
        ("March on!", None),
        ("Friday or Saturday", None),
        ("From Monday to Friday", None),
        ("The day after Friday", None),
        ("Tomorrow is Friday", None),
        ("It isn't Friday", None),
        ("Friday, 5 May", None),
        ("May 5", None),
        ("Fridays", None),
        ("Zum Freitagsgebet", None),
        ("", None),
    ],
)
def test_the_one_day_that_a_text_is_about(text: str, name: str | None) -> None:
    assert read_calendar_name(text) == name


def test_every_name_is_read_as_itself() -> None:
    assert len(set(WEEKDAYS.values())) == 7
    assert len(set(MONTHS.values())) == 12
    for table in (WEEKDAYS, MONTHS):
        for name, english in table.items():
            assert is_calendar_name(name)
            assert read_calendar_name(name.capitalize()) == english
    assert is_calendar_name("金曜日")
    assert not is_calendar_name("on friday")
