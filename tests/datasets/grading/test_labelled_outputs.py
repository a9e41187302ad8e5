"""The graders against labels of real outputs, made by reading them without looking at any grader.

labelled_outputs.jsonl holds where each output is, not the output: {"source", "id", "task", "model", "sha" (first 12 hex
digits of the text's SHA-256), "kind", "label", "reference"? (where the source has none), "note"?}. They were drawn by
seed, half of them among those that their source scored as wrong, odd formats more often than they occur.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from routemoa.datasets.grading import grade
from tests import ROOT

SHARED = ROOT.parent / "shared" / "data"
LABELLED = [json.loads(line) for line in (Path(__file__).parent / "labelled_outputs.jsonl").read_text().splitlines()]
SOURCES = sorted({one["source"] for one in LABELLED})
AGREEMENT = 0.99


def place(source: str) -> Path:
    return (ROOT if source.startswith("benchmarks/") else SHARED) / source


@cache
def texts(source: str) -> dict[tuple[str, str], tuple[str, str | None]]:
    """(id, model) -> text and reference of all outputs in a file."""
    with gzip.open(place(source), "rt") as file:
        if source.startswith("paper450"):
            found: Any = json.load(file)["results"]
            return {
                (f"{name}/{item['item_id']}", "moa"): (item["model_response"] or "", str(item["ground_truth"]))
                for sets in found.values()
                for name, one in sets.items()
                for item in one["items"]
            }
        rows = [json.loads(line) for line in file]
    if source.startswith("benchmarks/"):
        return {(row["id"], row["method"]): (row["text"], None) for row in rows if row.get("text")}
    return {(r["id"], m): (t, r.get("reference")) for r in rows for m, t in r["responses"].items()}


def judged(source: str) -> list[tuple[dict[str, Any], float | None]]:
    found = []
    for one in LABELLED:
        if one["source"] == source:
            text, reference = texts(source)[one["id"], one["model"]]
            assert hashlib.sha256(text.encode()).hexdigest()[:12] == one["sha"], f"{one['id']}: another text"
            found.append((one, grade(text, one.get("reference", reference), one["kind"])))
    return found


def test_there_are_two_hundred_labels_right_and_wrong() -> None:
    assert len(LABELLED) >= 200
    right = sum(one["label"] for one in LABELLED)
    assert min(right, len(LABELLED) - right) >= 80
    assert len({(one["source"], one["id"], one["model"]) for one in LABELLED}) == len(LABELLED)


def test_the_graders_agree_with_the_labels() -> None:
    there = [source for source in SOURCES if place(source).exists()]
    if not any(source.startswith(("records", "paper450")) for source in there):
        pytest.skip(f"the recorded outputs are not here: {SHARED}")
    all_of_them = [pair for source in there for pair in judged(source)]
    wrong = [(one, verdict) for one, verdict in all_of_them if verdict != one["label"]]
    listed = "\n".join(f"{v} instead of {o['label']}: {o['source']} {o['id']} {o['model']} {o}" for o, v in wrong)
    print(f"{len(all_of_them) - len(wrong)} of {len(all_of_them)} agree\n{listed}")
    assert len(wrong) <= (1 - AGREEMENT) * len(all_of_them), listed
