"""The page of clients says what the committed results say, and shows lines that the run has run."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.clients.real.__main__ import apply_known
from tests.clients.real.page import PAGE, RESULTS, render
from tests.clients.real.registry import CASES, CLIENTS, HERE, TARGETS, setup_file
from tests.doc_blocks import SNIPPET

KNOWN: dict[str, str] = json.loads((HERE / "known_faults.json").read_text())


def read_results() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text()))


def test_the_page_is_made_from_the_results() -> None:
    assert PAGE.read_text() == render(read_results()), "run  make test-clients"


def test_every_client_has_results_for_every_case_and_target() -> None:
    results = read_results()
    assert list(results) == [client.name for client in CLIENTS]
    for name, result in results.items():
        assert set(result["cells"]) == set(CASES), name
        assert all(set(outcomes) == set(TARGETS) for outcomes in result["cells"].values()), name


def test_no_failure_is_without_a_known_reason() -> None:
    for name, result in read_results().items():
        failed, mended = apply_known(name, result, KNOWN)
        assert (failed, mended) == ([], []), name


def test_every_cell_that_is_not_right_says_why() -> None:
    for name, result in read_results().items():
        for case, outcomes in result["cells"].items():
            for target, outcome in outcomes.items():
                wanted = r"ok|(refused|unsupported|skipped|FAIL): \S.{9,}"
                assert re.fullmatch(wanted, outcome, re.DOTALL), (name, case, target, outcome)


def test_known_faults_name_cells() -> None:
    cells = {f"{client.name}/{case}/{target}" for client in CLIENTS for case in CASES for target in TARGETS}
    assert set(KNOWN) <= cells


@pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.name)
def test_the_lines_that_set_a_client_up_are_shown_and_few(client: Any) -> None:
    shown = {path for path in SNIPPET.findall(PAGE.read_text()) if f"/setup/{client.name}." in path}
    file = setup_file(client)
    assert shown == {str(file.relative_to(PAGE.parents[1]))}
    assert len([line for line in file.read_text().splitlines() if line]) <= 7
    assert "127.0.0.1:8080" in file.read_text()


def test_a_failure_is_shown_and_counted() -> None:
    """The page shows a failing cell as such, and its reason in a note."""
    results = read_results()
    results["llm"]["cells"]["plain"]["mixture"] = "FAIL: it broke | here"
    text = render(results)
    assert re.search(r"^\| llm \| [\d.]+ \| mixture: FAIL \(\d+\) \|", text, re.MULTILINE)
    assert "it broke / here" in text
    assert apply_known("llm", results["llm"], KNOWN)[0] == ["llm/plain/mixture: FAIL: it broke | here"]
