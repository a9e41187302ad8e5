"""Tasks: from a local folder, from ../shared, from the hub's rows; what does not fit is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from routemoa.core.errors import ConfigError, NoSandbox
from routemoa.datasets.jsonl import RecordsError
from routemoa.datasets.questions import Question
from routemoa.evaluation.tasks import TASK_NAMES, load_task
from routemoa.evaluation.tasks.loading import HubError, load_questions, sample_questions
from tests import SHARED

TASKS = SHARED / "data" / "tasks"
shared = pytest.mark.skipif(not TASKS.is_dir(), reason="../shared/data/tasks is not here")

ROWS: dict[str, dict[str, Any]] = {
    "arc-challenge": {
        "id": "Mercury_1", "question": "What melts?", "choices": {"text": ["ice", "fog"], "label": ["1", "2"]},
        "answerKey": "1",
    },
    "gsm8k": {"question": "2 + 2?", "answer": "It is <<2+2=4>>4.\n#### 4"},
    "humaneval": {
        "task_id": "HumanEval/0", "prompt": "def f(x):\n    \"\"\"Double.\"\"\"\n", "entry_point": "f",
        "canonical_solution": "    return 2 * x\n", "test": "def check(candidate):\n    assert candidate(2) == 4\n",
    },
    "math500": {"problem": "Half of 1?", "answer": "\\frac{1}{2}", "unique_id": "test/algebra/1.json"},
    "mbpp": {
        "task_id": 2, "prompt": "Double a number.", "test_imports": ["import math"], "test_list": ["assert f(2) == 4"],
        "code": "def f(x):\n    return 2 * x",
    },
    "mmlu-pro": {
        "question_id": 70, "question": "Which?", "options": ["x", "y", "z"], "answer": "C", "answer_index": 2,
        "category": "law",
    },
    "race": {"example_id": "high1.txt", "article": "It rained.", "question": "What fell?", "options": ["rain", "snow"],
             "answer": "A"},
}  # fmt: skip
RIGHT = {
    "arc-challenge": "The answer is A.",
    "gsm8k": "The answer is 4.",
    "humaneval": "```python\ndef f(x):\n    return x + x\n```",
    "math500": "So it is $\\boxed{0.5}$.",
    "mbpp": "```python\ndef f(x):\n    return x + x\n```",
    "mmlu-pro": "The answer is C.",
    "race": "The answer is A.",
}


def test_every_task_has_a_row_here() -> None:
    assert set(ROWS) == set(TASK_NAMES) == set(RIGHT)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_row_becomes_a_question_that_tells_right_from_wrong(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{load_task(name).FILES[0]}.jsonl").write_text(json.dumps(ROWS[name]) + "\n")
    (asked,) = load_questions(name, str(tmp_path))
    assert asked.task.partition("/")[0] == name
    assert asked.query in asked.text or name in ("humaneval",)
    if asked.grader == "code":
        from routemoa.datasets.grading import sandbox

        try:
            sandbox.run_program("")
        except NoSandbox as e:
            pytest.skip(str(e))
    assert asked.grade(RIGHT[name]) == 1.0
    wrong = RIGHT[name].replace("A", "B").replace("C", "B").replace("4", "5").replace("0.5", "0.25")
    assert asked.grade(wrong.replace("x + x", "x + 1")) == 0.0


@shared
@pytest.mark.parametrize(
    ("name", "count"), [("gsm8k", 1319), ("math500", 500), ("mbpp", 427), ("humaneval", 164), ("arc-challenge", 299)]
)
def test_the_shared_files_are_read_whole(name: str, count: int) -> None:
    found = load_questions(name, str(TASKS))
    assert len(found) == len({q.key for q in found}) == count
    assert all(q.reference and q.grader for q in found)


def test_a_row_of_another_shape_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "gsm8k.jsonl").write_text(json.dumps(ROWS["gsm8k"]) + '\n{"text": "no"}\n[1]\nnot json\n')
    with pytest.raises(RecordsError) as error:
        load_questions("gsm8k", str(tmp_path))
    assert all(f"gsm8k.jsonl:{line}" in str(error.value) for line in (2, 3, 4))
    with pytest.raises(ConfigError, match="no file of race in it; looked for race_high_test"):
        load_questions("race", str(tmp_path))


def test_a_limit_takes_the_first_and_with_a_seed_a_draw_in_order() -> None:
    many = [Question(str(i), "t", "q") for i in range(100)]
    assert sample_questions(many, 3, None) == many[:3]
    sample = sample_questions(many, 10, 5)
    assert sample == sample_questions(many, 10, 5) != sample_questions(many, 10, 6)
    assert [int(q.id) for q in sample] == sorted(int(q.id) for q in sample)
    assert sample_questions(many, None, 5) == sample_questions(many, 100, 5) == many


class Rows(BaseHTTPRequestHandler):
    """The hub's data set server: GET /rows?dataset=&config=&split=&offset=&length=."""

    total = 230
    broken: str | None = None
    asked: list[dict[str, list[str]]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        fields = parse_qs(urlsplit(self.path).query)
        self.asked.append(fields)
        offset, length = int(fields["offset"][0]), int(fields["length"][0])
        row = {"question": "2 + 2?", "answer": "#### 4"}
        rows = [{"row_idx": i, "row": row} for i in range(offset, min(offset + length, self.total))]
        body = json.dumps({"features": [], "rows": rows, "num_rows_total": self.total}).encode()
        self.send_response(503 if self.broken == "503" else 200)
        self.end_headers()
        self.wfile.write(b"<html>" if self.broken == "html" else body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Rows]]:
    handler = type("Handler", (Rows,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("ROUTEMOA_DATASETS", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("ROUTEMOA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_hub_is_asked_page_by_page_and_only_once(hub: type[Rows]) -> None:
    progress: list[str] = []
    questions = load_questions("gsm8k", on_progress=progress.append)
    assert len(questions) == 230
    assert [f["offset"] for f in hub.asked] == [["0"], ["100"], ["200"]]
    assert hub.asked[0]["dataset"] == ["openai/gsm8k"]
    assert "230 of 230 rows" in progress[-1]
    assert load_questions("gsm8k") == questions
    assert len(hub.asked) == 3


@pytest.mark.parametrize(("broken", "why"), [("503", "HTTP 503"), ("html", "its reply is no JSON")])
def test_a_hub_that_fails_is_said_with_the_way_out(hub: type[Rows], broken: str, why: str) -> None:
    hub.broken = broken
    with pytest.raises(HubError, match=f"{why}.*name that with --data"):
        load_questions("gsm8k")
    hub.broken = None
    assert len(load_questions("gsm8k")) == 230  # nothing half was kept
