"""How much less likely right an answer is that breaks off: the measurement behind `Coefficients.truncated`.

    .venv/bin/python benchmarks/truncated_answers.py [--records ../shared/data/records/zeroeval/math_l5.jsonl.gz]

Recorded answers have no finish reason. One breaks off here if it is longer than 1,500 characters and ends in the middle
of a sentence. Those that state a result all the same are compared with the complete answers to the same questions of
models whose accuracy is within ten points. The log-odds are printed for two halves of the questions, so that what is
read off one half can be checked on the other.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from routemoa.datasets.records import Record, read_records
from routemoa.judging.answers.grouping import final_answer

MIN_LENGTH = 1500
ENDS = ".!?}\"`')]*:;>|$"
"""Characters with which a whole answer may end."""
NEAR = 0.1
"""Difference of the accuracies of comparable models."""


def breaks_off(text: str) -> bool:
    """Return whether an answer ends in the middle of a sentence."""
    text = text.rstrip()
    return len(text) > MIN_LENGTH and text[-1] not in ENDS


def compare(records: Iterable[Record], accuracy: Mapping[str, float]) -> tuple[int, float, float]:
    """Return how many answers break off with a result, how often they are right, and how often comparable ones are."""
    count, right, comparable = 0, 0.0, 0.0
    for record in records:
        texts = {m: t for m, t in (record.responses or {}).items() if t and record.scores.get(m) is not None}
        cut = {m for m, t in texts.items() if breaks_off(t)}
        for model in cut:
            if final_answer(texts[model]) is None:
                continue
            others = [m for m in texts if m not in cut and abs(accuracy[m] - accuracy[model]) < NEAR]
            if others:
                count += 1
                right += record.scores[model] or 0.0
                comparable += sum(record.scores[m] or 0.0 for m in others) / len(others)
    return count, right / count, comparable / count


def main() -> None:
    """Print the comparison for both halves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=Path("../shared/data/records/zeroeval/math_l5.jsonl.gz"))
    records = list(read_records([str(parser.parse_args().records)]))
    models = {m for r in records for m in r.scores}
    known = {m: [s for r in records if (s := r.scores.get(m)) is not None] for m in models}
    accuracy = {m: sum(scores) / len(scores) for m, scores in known.items()}
    for half in (0, 1):
        part = [r for r in records if zlib.crc32(r.id.encode()) % 2 == half]
        count, right, comparable = compare(part, accuracy)
        shift = math.log(right / (1 - right)) - math.log(comparable / (1 - comparable))
        print(
            f"half {half + 1}: {count} answers, right {right:.3f}, comparable {comparable:.3f}, log-odds {shift:+.2f}"
        )


if __name__ == "__main__":
    main()
