"""Train the demo's scorer on its members' recorded answers; none of the demo's three questions is among them.

    python benchmarks/demo_scorer.py --out src/routemoa/cli/demo/scorer

The records: short questions of sixteen kinds and 40 of GSM8K, as the embedded pool answered them (smollm2-135m,
coder-1.5b), 200 of GSM8K as one model under five prompts answered them (story), and word problems and functions that
`routemoa collect` put to the demo's own members.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from routemoa.cli.demo.questions import chosen_questions, load_questions
from routemoa.cli.scorer.train import train

RESULTS = Path(__file__).parent / "results"
MEMBERS = ("smollm2-135m", "coder-1.5b", "steps", "story")


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
        yield from map(json.loads, lines)


def gather_records() -> Iterator[dict[str, Any]]:
    yield from read_lines(RESULTS / "short_questions.records.jsonl.gz")
    for record in read_lines(RESULTS / "local_growth.records.jsonl.gz"):
        yield record | {"id": f"gsm8k-growth-{record['id']}", "task": "word problem"}
    answered: dict[str, dict[str, Any]] = {}
    for outcome in read_lines(RESULTS / "bench_gsm8k" / "outcomes.jsonl"):
        record = answered.setdefault(outcome["id"], outcome | {"task": "word problem", "scores": {}})
        record["scores"] = (outcome.get("each") or {}) | record["scores"]
    yield from answered.values()
    yield from read_lines(RESULTS / "demo_words.records.jsonl")
    yield from read_lines(RESULTS / "demo_code.records.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="DIR", required=True)
    options = parser.parse_args()
    asked = {q.query for q in chosen_questions(load_questions())}
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for record in gather_records():
            scores = {name: record["scores"][name] for name in MEMBERS if record["scores"].get(name) is not None}
            if scores and record["query"] not in asked:
                kept = {key: record[key] for key in ("id", "task", "query", "reference")}
                file.write(json.dumps(kept | {"scores": scores}) + "\n")
        file.flush()
        train([file.name, "--out", options.out], standalone_mode=False)


if __name__ == "__main__":
    main()
