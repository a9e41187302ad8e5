"""The `[learning]` table says how often a server learns, and how much it explores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from routemoa.core.errors import ConfigError
from routemoa.core.learned.learned_priors import LearnedPriors
from routemoa.core.tables.learning_table import LearningSettings, parse_learning_table, read_learned_priors


@pytest.mark.parametrize(("every", "seconds"), [("30s", 30.0), ("5m", 300.0), ("1.5h", 5400.0), ("2d", 172_800.0)])
def test_a_span_has_a_unit(every: str, seconds: float) -> None:
    assert parse_learning_table({"every": every}, "p").seconds == seconds


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"every": "1"}, "every"),
        ({"every": "0s"}, "every"),
        ({"every": "often"}, '"1h"'),
        ({"every": 3600}, "every"),
        ({"min_outcomes": 3}, "min_outcomes"),
        ({"explore": 0.9}, "explore"),
        ({"evry": "1h"}, "did you mean 'every'"),
    ],
)
def test_what_is_wrong_is_named(table: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_learning_table(table, "p: [learning]")


def test_a_server_that_learns_explores_unless_that_is_off() -> None:
    assert LearningSettings().explored_share == 0.0
    assert LearningSettings(every="1h").explored_share == 0.05
    assert LearningSettings(every="1h", explore=0.0).explored_share == 0.0
    assert LearningSettings(explore=0.1).explored_share == 0.1


def test_what_was_learned_is_read_with_its_tasks(tmp_path: Path) -> None:
    (tmp_path / "l.toml").write_text('[shift]\na = -0.5\n[tasks.a]\n"sums" = 0.25\n')
    found = read_learned_priors(LearningSettings(path="l.toml"), tmp_path, "p")
    assert found == LearnedPriors({"a": -0.5}, {}, {"a": {"sums": 0.25}})
    assert read_learned_priors(LearningSettings(every="1h"), tmp_path, "p") is None
