"""Replies as models write them: the judgment is read, and never shown."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from routemoa.clients.replies.thought_tags import has_tag
from routemoa.mixture.prompts import ReplyFormat
from routemoa.mixture.reply_parser import AnswerStream, Reply, parse_reply

SELF = ReplyFormat(self_score=True)
BOTH = ReplyFormat(self_score=True, peers=("A", "B"))


@pytest.mark.parametrize(
    ("text", "reply_format", "reply"),
    [
        ('It is 4.\n<assessment>{"self": 0.9}</assessment>', SELF, Reply("It is 4.", 0.9)),
        ('It is 4.\n<assessment>{"self": 0}</assessment>', SELF, Reply("It is 4.", 0.0)),  # an honest zero stays
        ("It is 4.\n<Assessment>{self: .9", SELF, Reply("It is 4.", 0.9)),  # cut short, no quotes
        ('<assessment>{"self": "90%"}</assessment>\nIt is 4.', SELF, Reply("It is 4.", 0.9)),
        ('It is 4.\n```json\n{"self": "8/10"}\n```', SELF, Reply("It is 4.", 0.8)),
        ('It is 4.\n{"self": 0.7}', SELF, Reply("It is 4.", 0.7)),
        ('{"answer": "It is 4.", "self": 0.7}', SELF, Reply("It is 4.", 0.7)),
        ("It is 4.", SELF, Reply("It is 4.", None)),
        ('It is 4.\n<assessment>{"self": P}</assessment>', SELF, Reply("It is 4.", None)),
        ('It is 4.\n<assessment>{"self": 85}</assessment>', SELF, Reply("It is 4.", None)),  # out of its scale
        (f'It is 4.\n<assessment>{{"self": {10**400}}}</assessment>', SELF, Reply("It is 4.", None)),  # no float
        ('It is 4.\n<assessment>{"self": -1}</assessment>', SELF, Reply("It is 4.", None)),
        ('It is 4.\n<assessment>{"self": true}</assessment>', SELF, Reply("It is 4.", None)),
        ('It is 4.\n<assessment>{"self": NaN}</assessment>', SELF, Reply("It is 4.", None)),
        ("It is 4.\n<assessment>quite sure</assessment>", SELF, Reply("It is 4.", None)),
        ("It is 4.\n<assessment></assessment>", SELF, Reply("It is 4.", None)),
        (
            'It is 4.\n<assessment>{"self": 0.9, "scores": {"A": 0.1, "b": "0.5"}}</assessment>',
            BOTH,
            Reply("It is 4.", 0.9, {"A": 0.1, "B": 0.5}),
        ),
        ('x <assessment>{"scores": {"answer A": 1}}</assessment>', BOTH, Reply("x", None, {"A": 1.0, "B": None})),
        ('x <assessment>{"self": 1, "scores": [0.2, 0.4]}</assessment>', BOTH, Reply("x", 1.0, {"A": 0.2, "B": 0.4})),
        ("x", BOTH, Reply("x", None, {"A": None, "B": None})),
        ('def f():\n    return {"self": 1}\n', ReplyFormat(), Reply('def f():\n    return {"self": 1}')),
        ('def f():\n    return {"self": 1}\nf()', SELF, Reply('def f():\n    return {"self": 1}\nf()', None)),
    ],
)
def test_reading(text: str, reply_format: ReplyFormat, reply: Reply) -> None:
    assert parse_reply(text, reply_format) == reply


def test_structured_scores_are_whole_numbers_to_ten() -> None:
    reply_format = ReplyFormat(self_score=True, peers=("A",), json_schema=True)
    assert parse_reply('{"answer": "4", "self": 7, "scores": {"A": 10}}', reply_format) == Reply("4", 0.7, {"A": 1.0})
    assert parse_reply('{"answer": "4 and "quotes"", "self": 7', reply_format).self_score == 0.7
    assert parse_reply("just text", reply_format) == Reply("just text", None, {"A": None})


REPLIES = [
    'It is {4} `or` so.\n<assessment>{"self": 0.9}</assessment>',
    'It is 4 < 5.\n{"self": 0.7}',
    'Code:\n```python\nx = {1: 2}\n```\n<assessment>{"self": 0.7',
    '{"answer": "4", "self": 0.7}',
    'a\n```json\n{"self": 1}\n```',
]


@settings(deadline=None)  # the first example compiles; a loaded machine takes longer than 200 ms
@given(st.sampled_from(REPLIES), st.lists(st.integers(1, 9), min_size=1))
def test_nothing_of_a_judgment_is_ever_streamed(text: str, cuts: list[int]) -> None:
    stream, shown, rest = AnswerStream(SELF), "", text
    for cut in cuts + [1] * len(text):
        piece, rest = rest[:cut], rest[cut:]
        shown += stream.feed(piece)
    assert parse_reply(text, SELF).answer.startswith(shown.strip())
    assert "self" not in shown
    assert "assess" not in shown


def test_what_is_surely_answer_is_streamed_at_once() -> None:
    assert AnswerStream(SELF).feed("The answer is ") == "The answer is "
    assert AnswerStream(ReplyFormat()).feed('{"self": 1}') == '{"self": 1}'


@given(st.text(), st.sampled_from([SELF, BOTH, ReplyFormat(json_schema=True, self_score=True)]))
def test_any_text_is_read_without_a_crash(text: str, reply_format: ReplyFormat) -> None:
    reply = parse_reply(text, reply_format)
    values = [reply.self_score, *reply.scores.values()]
    assert all(v is None or 0 <= v <= 1 for v in values)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_judgment_is_read_without_a_crash(value: object) -> None:
    import msgspec

    inside = msgspec.json.encode({"self": value, "scores": value}).decode()
    assume(not has_tag(inside))  # the marks of thoughts hold everywhere
    reply = parse_reply(f"4 <assessment>{inside}</assessment>", BOTH)
    assert reply.answer == "4"
