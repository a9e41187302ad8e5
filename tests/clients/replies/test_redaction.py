"""The key is cut out of replies: as it is, escaped, and in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.clients.replies.redaction import KeyCutter, cut_key, redact, redact_body

KEY = 'sk-or/v1-0a"B9xyz'


@pytest.mark.parametrize(
    "written",
    [
        KEY,
        KEY.replace('"', '\\"'),
        KEY.replace("/", "\\/").replace('"', '\\"'),
        "".join(f"\\u{ord(c):04x}" for c in KEY),
        "".join(f"\\u{ord(c):04X}" for c in KEY),
        "\\u0073" + KEY[1:],
        KEY[:-1] + "\\u007a",
        KEY[:4] + "\\u0072" + KEY[5:].replace("/", "\\u002F"),
        KEY.replace("/", "%2F").replace('"', "%22"),
        "".join(f"%{ord(c):02x}" for c in KEY),
        KEY.replace("/", "%2f").replace("-", "\\u002d"),
    ],
)
def test_every_way_to_write_the_key_is_cut_out(written: str) -> None:
    text = f'{{"a": "{written}", "b": "{written}!"}}'
    assert cut_key(text.encode(), KEY) == b'{"a": "[key]", "b": "[key]!"}'
    assert redact(text, KEY) == '{"a": "[key]", "b": "[key]!"}'
    for size in (1, 2, 7):
        cutter = KeyCutter(KEY)
        out = "".join(cutter.feed(text[i : i + size]) for i in range(0, len(text), size)) + cutter.end()
        assert out == '{"a": "[key]", "b": "[key]!"}'


parts = st.lists(
    st.sampled_from(["s", "sk-", KEY, KEY[:9], "\\u0073", "\\u00", "\\", "%7", "%73", " ", "x", KEY[1:]]), max_size=8
)


@given(st.data(), parts.map("".join))
def test_pieces_of_any_size_give_what_the_whole_gives(data: st.DataObject, text: str) -> None:
    whole, pieces = KeyCutter(KEY), KeyCutter(KEY)
    wanted = whole.feed(text) + whole.end()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    out = "".join(pieces.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)) + pieces.end()
    assert out == wanted
    assert KEY not in out


def test_only_what_may_be_the_key_waits() -> None:
    cutter = KeyCutter(KEY)
    assert [cutter.feed(p) for p in ["Hello s", "un", " sk-", "x", " sk-or/v1-0"]] == [
        "Hello ",
        "sun",
        " ",
        "sk-x",
        " ",
    ]
    assert cutter.end() == "[key]"  # most of it
    cutter.feed("sk-")
    assert cutter.end() == "sk-"


def test_short_keys_are_words_that_answers_contain() -> None:
    assert cut_key(b"the list is EMPTY", "EMPTY") == b"the list is EMPTY"
    assert redact("wrong key EMPTY", "EMPTY") == "wrong key [key]"
    assert redact_body(b"wrong key EMPTY", "EMPTY") == b"wrong key [key]"
    assert cut_key(b"x", None) == redact_body(b"x", "") == b"x"


def test_bytes_that_are_no_text_pass() -> None:
    assert cut_key(b"\xff\x00" + KEY.encode() + b"\xfe", KEY) == b"\xff\x00[key]\xfe"
