"""The examples in the documentation of `routemoa.testing` run as they stand."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import routemoa.testing

INDENTED = re.compile(r"(?m)(?:^ {4}.*\n(?:^\n(?= {4}))*)+")
EXAMPLES = [dedent(block) for block in INDENTED.findall(routemoa.testing.__doc__ or "")]


def test_there_is_an_example_of_the_client_and_one_of_the_endpoint() -> None:
    client, endpoint = EXAMPLES
    assert "ScriptedClient(" in client
    assert "FakeEndpoint(" in endpoint


def test_the_examples_run() -> None:
    names: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(example, names)
    assert names["answer"].text == "The answer is 4."
