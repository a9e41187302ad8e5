"""Questions that something was trained on are recognised by their text, whatever their id, case and spacing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.datasets.training_overlap import hash_query, pack_hashes, unpack_hashes, warn_of_overlap


def test_case_spaces_and_punctuation_do_not_matter_and_words_do() -> None:
    same = ["What is 17 + 25?", "what is  17 +\n25", "WHAT IS 17 + 25 ?"]
    assert len({hash_query(text) for text in same}) == 1
    assert hash_query("What is 17 + 26?") != hash_query(same[0])
    assert hash_query("?!") != hash_query("...")
    assert hash_query("x" * 2000 + "a") == hash_query("x" * 2000 + "b")  # a scorer's folder keeps no more


@given(st.lists(st.text(max_size=30)))
def test_packed_hashes_are_compact_and_read_back(texts: list[str]) -> None:
    packed = pack_hashes(texts)
    assert unpack_hashes(packed) == {hash_query(text) for text in texts}
    assert len(packed) == 8 * len(unpack_hashes(packed))
    assert pack_hashes(reversed(texts)) == packed


def test_damage_is_no_overlap() -> None:
    assert unpack_hashes("") == unpack_hashes("not base64!") == frozenset()


@pytest.mark.parametrize(
    ("questions", "words"),
    [
        ([["new"], ["other"]], None),
        ([["new"], ["old", "sent"]], "1 of 2 questions are among those that the scorer was trained on"),
        ([["old"], ["OLD."]], "all 2 questions are"),
        ([["sent as this", "old"]], "the question is among"),
        ([], None),
    ],
)
def test_the_warning_counts_questions(questions: list[list[str]], words: str | None) -> None:
    said = warn_of_overlap(questions, {hash_query("old")}, "the scorer")
    assert (said is None) == (words is None)
    assert said is None or (words is not None and words in said and "evaluate on other questions" in said)
