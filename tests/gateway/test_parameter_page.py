"""The page of parameters has a row for every field of a request, and each names a test of it that exists."""

from __future__ import annotations

import re

import pytest

from routemoa.core.content.media import KINDS
from routemoa.gateway.chat_api import requests
from routemoa.gateway.chat_api.option_fields import OPTION_FIELDS
from routemoa.gateway.chat_api.tool_fields import TOOL_FIELDS
from tests.doc_blocks import ROOT, read_table

PAGE = "docs/parameters.md"
TESTS = ROOT / "tests" / "gateway"
FIELDS = {
    *requests.READ_FIELDS,
    *requests.SAMPLING_FIELDS,
    *requests.IGNORED_FIELDS,
    *requests.REFUSED_FIELDS,
    *OPTION_FIELDS,
    *TOOL_FIELDS,
    "routemoa",
}
ROWS = read_table(PAGE, "Fields of a request") | read_table(PAGE, "Parts of a message")


def test_every_field_has_its_row() -> None:
    assert set(read_table(PAGE, "Fields of a request")) == FIELDS
    assert set(read_table(PAGE, "Parts of a message")) == {"text", *KINDS}


@pytest.mark.parametrize("name", ROWS)
def test_the_named_test_exists_and_is_about_the_field(name: str) -> None:
    *_, tested = ROWS[name]
    found = re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", tested)
    assert found, f"{name}: {tested}"
    source = (TESTS / found[1]).read_text()
    assert re.search(rf"^(async )?def {found[2]}\(", source, re.MULTILINE), tested
    assert re.search(rf"\b{name}\b", source), f"{found[1]} never mentions {name}"


@pytest.mark.parametrize(
    ("fields", "treatment"),
    [
        (requests.SAMPLING_FIELDS, "sent"),
        (OPTION_FIELDS, "sent where known"),
        (requests.IGNORED_FIELDS, "ignored"),
        (requests.REFUSED_FIELDS, "refused"),
    ],
)
def test_the_treatment_is_as_the_code_has_it(fields: object, treatment: str) -> None:
    assert isinstance(fields, dict | set)
    for name in fields:
        assert ROWS[name][1].startswith(treatment), name


def test_what_is_refused_has_its_reason() -> None:
    for name, (why, _) in requests.REFUSED_FIELDS.items():
        assert ROWS[name][1].endswith(f": {why}"), name
