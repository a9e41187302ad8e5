"""`routemoa grade`: from records to verdicts, with an example for each branch."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from routemoa.cli import cli
from routemoa.cli.terminal.progress import StepProgress
from routemoa.core.errors import ConfigError, QueryError, RouteMoAError
from routemoa.datasets.records import RecordsError
from routemoa.evaluation.regrading import find_grader
from tests import SHARED


def record(id: str, task: str, reference: str | None, responses: dict[str, str | None] | None, **more: Any) -> str:
    line = {"id": id, "task": task, "query": "q", "scores": {"a": None, "b": None}, **more}
    line |= {"reference": reference} if reference is not None else {}
    return json.dumps(line | ({"responses": responses} if responses is not None else {}))


MIXED = [
    record("1", "gsm8k", "# 18", {"a": "The answer is 18.", "b": "It is 9."}, scores={"a": 1.0, "b": 1.0}),
    record("2", "gsm8k", "5", {"a": "", "b": None}, scores={"a": 0.0, "b": 0.0}),
    record("3", "gsm8k", None, {"a": "5", "b": "5"}),
    record("4", "gsm8k", "5", None),
    record("5", "arc_challenge/easy", "B", {"a": "(B)", "b": "C"}, scores={"a": 1.0, "b": None}),
    record("6", "arc_challenge/easy", "none of them", {"a": "(B)"}),
    record("7", "trivia", "Paris", {"a": "It is Paris.", "b": "Rome"}),
]


def written(folder: Path, lines: list[str]) -> str:
    path = folder / "records.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["grade", *arguments], catch_exceptions=False)


def figures(folder: Path, lines: list[str], *arguments: str) -> dict[str, Any]:
    out = folder / "out.json"
    result = ran(written(folder, lines), "--json", str(out), *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_every_record_by_its_own_task(tmp_path: Path) -> None:
    found = figures(tmp_path, MIXED)
    nothing = {"a": None, "b": None}
    assert found["items"] == [
        {"id": "1", "task": "gsm8k", "verdicts": {"a": 1.0, "b": 0.0}},
        {"id": "2", "task": "gsm8k", "verdicts": {"a": 0.0, "b": None}},  # empty is wrong, absent is not measured
        {"id": "3", "task": "gsm8k", "verdicts": nothing},
        {"id": "4", "task": "gsm8k", "verdicts": nothing},
        {"id": "5", "task": "arc_challenge/easy", "verdicts": {"a": 1.0, "b": 0.0}},
        {"id": "6", "task": "arc_challenge/easy", "verdicts": nothing},
        {"id": "7", "task": "trivia", "verdicts": {"a": 1.0, "b": 0.0}},
    ]
    assert found["accuracy"] == {"a": 0.75, "b": 0.0}
    assert found["graded"] == {"a": 4, "b": 3}
    assert found["failed"] == {"a": 2, "b": 3}
    assert found["agreement"] == {"all": 0.75, "compared": 4, "models": {"a": 1.0, "b": 0.0}}
    assert [(u["id"], u["why"]) for u in found["ungraded"]] == [
        ("3", "no reference"),
        ("4", "no responses"),
        ("6", "its reference names no letter and its question lists no options, but answers give letters"),
    ]
    assert found["graders"] == {
        "gsm8k": {"numeric": 2, "not graded": 2},
        "arc_challenge/easy": {"choice": 1, "not graded": 1},
        "trivia": {"contains": 1},
    }


def test_a_task_that_some_records_have_picks_them(tmp_path: Path) -> None:
    found = figures(tmp_path, MIXED, "--task", "arc_challenge")
    assert [i["id"] for i in found["items"]] == ["5", "6"]


def test_a_known_task_that_no_record_has_is_the_task_of_all(tmp_path: Path) -> None:
    lines = [record("1", "mine", "18", {"a": "18 of 20", "b": "20 of 18"})]
    assert figures(tmp_path, lines, "--task", "gsm8k")["graders"] == {"mine": {"numeric": 1}}
    assert figures(tmp_path, lines, "--task", "race")["graders"] == {"mine": {"choice": 1}}  # option 18
    lines = [record("1", "mine", "—", {"a": "18 of 20"})]
    assert figures(tmp_path, lines, "--task", "race")["ungraded"][0]["why"].endswith("graded as choice")


def test_an_unknown_task_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"'trivial'; there are: gsm8k, arc_challenge/easy, trivia;"):
        ran(written(tmp_path, MIXED), "--task", "trivial")


def test_without_a_verdict_accuracy_is_null(tmp_path: Path) -> None:
    found = figures(tmp_path, [record("1", "gsm8k", None, {"a": "5"})])
    assert found["accuracy"] == {"a": None, "b": None}
    assert found["agreement"] == {"all": None, "compared": 0, "models": {"a": None, "b": None}}


def test_mathematics(tmp_path: Path) -> None:
    pytest.importorskip("math_verify")
    lines = [record("1", "math500", "\\frac{1}{2}", {"a": "\\boxed{0.5}", "b": "\\boxed{0.6}"})]
    assert figures(tmp_path, lines)["items"][0]["verdicts"] == {"a": 1.0, "b": 0.0}


def test_the_table(tmp_path: Path) -> None:
    result = ran(written(tmp_path, MIXED))
    assert result.stdout.splitlines()[:3] == [
        "model  accuracy  graded  failed  agreement with recorded",
        "a         0.750       4       2             100.00% of 3",
        "b         0.000       3       3               0.00% of 1",
    ]
    assert "75.00% of 4 recorded scores say the same" in result.stdout
    assert "1 not graded, no reference: gsm8k 3" in result.stderr


def test_many_ungraded_records_are_counted_and_the_first_named(tmp_path: Path) -> None:
    result = ran(written(tmp_path, [record(str(n), "gsm8k", None, {"a": "5"}) for n in range(1, 8)]))
    assert "7 not graded, no reference: gsm8k 1, gsm8k 2, gsm8k 3, gsm8k 4, gsm8k 5 and 2 more" in result.stderr


def test_bad_lines_are_all_listed_and_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with pytest.raises(RecordsError, match=r"(?s)2 lines cannot be used.*:2:.*:4:"):
        ran(written(tmp_path, [MIXED[0], "{", MIXED[1], '{"id": "9"}']), "--json", str(out))
    assert not out.exists()


def test_a_path_that_cannot_be_written_fails_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose another place"):
        ran(str(tmp_path / "there-is-none.jsonl"), "--json", str(tmp_path / "no" / "out.json"))


def test_an_empty_file_has_nothing_to_grade(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="no record in it"):
        ran(written(tmp_path, []))


@pytest.mark.parametrize("broken", [KeyboardInterrupt, RouteMoAError])
def test_an_interrupted_run_leaves_the_old_file_unchanged(
    broken: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    out.write_text("old")

    def stop(*_: object) -> None:
        raise broken

    monkeypatch.setattr(StepProgress, "advance", stop)
    with pytest.raises((broken, click.Abort)):
        CliRunner().invoke(
            cli,
            ["grade", written(tmp_path, MIXED), "--json", str(out)],
            catch_exceptions=False,
            standalone_mode=False,
        )
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "records.jsonl"]


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("gsm", "numeric"), ("gsm8k_test", "numeric"), ("GSM8K", "numeric"), ("math-l5", "math"), ("math500", "math"),
        ("math/algebra", "math"), ("mathqa", "choice"), ("math_qa", "choice"), ("mbpp_sanitized", "code"),
        ("HumanEval", "code"), ("arc_challenge", "choice"), ("mmlu_pro/law", "choice"), ("mmlu-redux", "choice"),
        ("race", "choice"), ("winogrande", "choice"), ("archery", None), ("racing", None), ("mathematics", None),
    ],
)  # fmt: skip
def test_the_name_of_a_task_decides_its_grader(task: str, kind: str | None) -> None:
    assert find_grader(task) == kind


def test_the_recorded_verdicts_of_gsm8k() -> None:
    path = SHARED / "data" / "records" / "zeroeval" / "gsm.jsonl.gz"
    if not path.exists():
        pytest.skip(f"the recorded outputs are not here: {path}")
    from routemoa.datasets.records import parse_record
    from routemoa.evaluation.regrading import regrade

    with gzip.open(path) as file:
        lines = [line for n, line in enumerate(file) if n % 13 == 0]
    found = regrade([r for line in lines if not isinstance(r := parse_record(line), str)], None)
    assert found.compared > 4000
    assert found.agreement is not None
    assert found.agreement > 0.99
