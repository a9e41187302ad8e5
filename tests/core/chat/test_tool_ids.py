"""Ids of tool calls: they name their member, and nobody else can make one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.chat.tool_ids import find_caller, new_call_id, signing_key

KEY = signing_key(["small", "large", "secret"])
NAMES = ["small", "large", "a/b:c"]


@given(st.sampled_from(NAMES))
def test_an_id_names_its_member(name: str) -> None:
    id_ = new_call_id(name, KEY)
    assert find_caller(id_, NAMES, KEY) == name
    assert re.fullmatch(r"call_[a-z2-7]{22}", id_)
    assert id_ != new_call_id(name, KEY)
    assert find_caller(id_, ["other"], KEY) is None
    assert find_caller(id_, NAMES, signing_key(["small", "large", "other"])) is None


@given(st.sampled_from(NAMES), st.integers(0, 26), st.text(min_size=1, max_size=1))
def test_a_changed_id_names_none(name: str, place: int, character: str) -> None:
    id_ = new_call_id(name, KEY)
    changed = id_[:place] + character + id_[place + 1 :]
    assert changed == id_ or find_caller(changed, NAMES, KEY) is None


@given(
    st.none() | st.integers() | st.text() | st.text("abcdefgh234567", min_size=22, max_size=22).map("call_{}".format)
)
def test_foreign_ids_name_none(id_: object) -> None:
    assert find_caller(id_, NAMES, KEY) is None
