"""`routemoa demo` on a real endpoint in place of the models."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from routemoa.core.pool_file.pool import Pool
from tests.cli.in_process import run_in_process
from tests.cli.test_ask import endpoint

CODE = "def is_palindrome(text):\n    t = [c for c in text.lower() if c.isalnum()]\n    return t == t[::-1]"


def reply(body: dict[str, Any]) -> str:
    question = body["messages"][-1]["content"]
    if "capital" in question:
        return "Canberra"
    if "function" in question:
        return f"```python\n{CODE}\n```"
    return "So 150 - 35 = 115. The answer is 115." if body["model"] != "b" else "The answer is 105."


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    pool = folder / "pool.toml"
    with endpoint(reply) as e:
        models = "".join(
            f'[[model]]\nname = "{n}"\nendpoint = "{e.url}"\nprior = {p}\ninput_price = 0.0\noutput_price = 0.0\n'
            for n, p in (("a", 0.6), ("b", 0.55), ("c", 0.5))
        )
        pool.write_text(models)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ROUTEMOA")}
        environment |= {"ROUTEMOA_STORE": str(folder / "store.db"), "COLUMNS": "80"}
        return run_in_process("demo", "--pool", str(pool), *options, environment=environment)


def test_it_shows_the_steps_checks_the_answers_and_says_what_is_next(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--svg", str(tmp_path / "demo.svg"))
    assert done.returncode == 0, done.stderr
    out = " ".join(done.stdout.split())
    for part in (
        "1 of 3: an easy question",
        "scorer: what predicts the prior from the question",
        "layer 2",
        "the reference is 115",
        "is_palindrome('demo') == False",
        "the mixture, now",
        "next",
        "traces of the three answers",
    ):
        assert part in out
    assert out.count("prior: how likely each model is to answer well") == 3, "a title each time, explained once by it"
    traces = [json.loads(line) for line in (tmp_path / "demo.jsonl").read_text().splitlines()]
    assert [t["text"].startswith(s) for t, s in zip(traces, ("Canberra", "So 150", "```python"), strict=True)]
    assert max(len(t["trace"]["layers"]) for t in traces) >= 2
    assert "url(" not in (tmp_path / "demo.svg").read_text().replace("url(#", "")  # nothing from other hosts


def test_other_questions_are_asked_by_chance(tmp_path: Path) -> None:
    first = run_demo(tmp_path, "--seed", "3").stdout
    assert "drawn by chance" not in first  # said of the demo's own pool only
    assert "1 of 3: fact" in first
    assert run_demo(tmp_path, "--seed", "3").stdout.split("layer")[0] == first.split("layer")[0]


def test_the_demos_own_pool_is_read() -> None:
    folder = Path(__file__).parents[3] / "src/routemoa/cli/demo"
    pool = Pool.from_toml(folder / "pool.toml")
    assert {m.model for m in pool} == {"smollm2-135m", "qwen2.5-coder-1.5b"}
    assert all(m.input_price == m.output_price == 0 for m in pool)
