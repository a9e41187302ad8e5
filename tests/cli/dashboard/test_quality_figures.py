"""Figures of kept traces: which scores of members a feedback tells, and which it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from routemoa.cli.dashboard.quality_figures import TrafficReader
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.ledger.trace_store.traces import read_traces
from tests.gateway.ui.traffic import SKILL, fill_store

NOW = 1_790_000_000.0
MEMBER = '[[model]]\nname = "{}"\nendpoint = "http://127.0.0.1:9/v1"\nprior = 0.6\n'


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return parse_pool("".join(MEMBER.format(name) for name in SKILL), "pool.toml", tmp_path, {})


def test_a_thumb_counts_for_the_model_that_wrote_the_given_answer_alone(pool: Pool, tmp_path: Path) -> None:
    """Members that happen to agree with liked answers would all look right."""
    fill_store(tmp_path / "traces.db", pool, now=NOW, answers=60, judged=1.0, thumbs=1.0)
    found = TrafficReader().measure(pool, read_traces(tmp_path / "traces.db", with_feedback=True), NOW)
    quality = found["quality"]
    assert quality["thumbs"] == quality["judged"] == 60
    rates = {rate["model"]: rate["n"] for rate in quality["kinds"][0]["members"]}
    assert rates == {name: quality["kinds"][0]["chosen"].get(name, 0) for name in SKILL}
    assert quality["gains"][0]["verdict"] == "unknown"


def test_an_expected_answer_judges_every_model(pool: Pool, tmp_path: Path) -> None:
    fill_store(tmp_path / "traces.db", pool, now=NOW, answers=60, judged=0.9)
    reader = TrafficReader()
    found = reader.measure(pool, read_traces(tmp_path / "traces.db", with_feedback=True), NOW)
    assert found["quality"]["thumbs"] == 0
    assert found["best_single"]["name"] == found["quality"]["gains"][0]["member"]
    gain = found["quality"]["gains"][0]
    assert gain["known"] + gain["not_called"] == gain["answers"] == found["quality"]["judged"]
    assert reader.measure(pool, read_traces(tmp_path / "traces.db", with_feedback=True), NOW) == found
