"""Halves of characters and other encodings, in whatever pieces they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.text.unicode_text import HalfJoiner, decode_text, mend_halves
from routemoa.core.types import Message, Query, from_json, to_json

anything = st.text(st.characters(categories=None) | st.sampled_from("\ud83d\ude00\udfff\ud800"), max_size=20)


@given(anything)
def test_what_is_mended_can_be_encoded_and_stays(text: str) -> None:
    mended = mend_halves(text)
    mended.encode()
    assert mend_halves(mended) == mended
    if not any("\ud800" <= c <= "\udfff" for c in text):
        assert mended == text


@given(st.lists(anything, max_size=6))
def test_pieces_make_the_same_text_as_the_whole(pieces: list[str]) -> None:
    joiner = HalfJoiner()
    assert "".join([*map(joiner.feed, pieces), joiner.end()]) == mend_halves("".join(pieces))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1"])
def test_a_text_is_read_in_the_encodings_that_files_have(encoding: str) -> None:
    assert decode_text("Größe in Meter?".encode(encoding)) == "Größe in Meter?"


def test_a_query_with_half_a_character_can_be_sent_and_written() -> None:
    query = Query.from_text("Gr\ud800e \ud83d\ude00?", system="\udc00")
    assert query.text.startswith("Gr\ufffde 😀?")
    assert from_json(to_json(Message("user", "a\ud800")), Message) == Message("user", "a\ufffd")
