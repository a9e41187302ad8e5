"""python benchmarks/answer_reading.py [--json FILE] [--dump FILE.json.gz] [--against FILE.json.gz]

How well answers are read on recorded texts: graded against the recorded score, extracted, and grouped. Run it with
two versions of the package (`--dump` with one, `--against` with the other) to list every answer that is read worse.

For each file of records: the share of answers whose grade is the recorded score; the share that states or is a result;
of the pairs of right answers to a question the share in one group, of the pairs of a right and a wrong one the share
apart; groups a question. Choice questions of RouterBench name no reference: it is the letter that alone makes up a
right answer. The recorded scores of GSM8K and MATH are of ZeroEval's graders, which misread some answers themselves.
The scores of languages.records.jsonl.gz were read by hand; the other files of benchmarks/results were scored by graders
of this package, "short questions" as wrong where a whole sentence was answered.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from time import process_time
from typing import Any, cast

from routemoa.datasets.grading import GraderName, grade
from routemoa.datasets.records import Record, read_records
from routemoa.judging.answers.grouping import final_answer, group_answers

ROOT = Path(__file__).parents[1]
RECORDS = ROOT.parent / "shared" / "data" / "records"
RESULTS = ROOT / "benchmarks" / "results"
FILES: dict[str, tuple[Path, GraderName | None]] = {
    "GSM8K": (RECORDS / "zeroeval/gsm.jsonl.gz", "numeric"),
    "MATH level 5": (RECORDS / "zeroeval/math_l5.jsonl.gz", "math"),
    "ARC": (RECORDS / "routerbench/arc_challenge.train.jsonl.gz", "choice"),
    "WinoGrande": (RECORDS / "routerbench/winogrande.train.jsonl.gz", "choice"),
    "BFCL": (RECORDS / "bfcl/bfcl.train.jsonl.gz", None),
    "MBPP": (RECORDS / "routerbench/mbpp.train.jsonl.gz", None),
    "Alpaca": (RECORDS / "alpaca/alpaca.train.jsonl.gz", None),
    "local GSM8K": (RESULTS / "local_growth.records.jsonl.gz", "numeric"),
    "short questions": (RESULTS / "short_questions.records.jsonl.gz", None),
    "eleven languages": (RESULTS / "languages.records.jsonl.gz", None),
}
SHOWN = 20
"""Answers that are listed where a comparison finds any that are read worse."""

Reading = dict[str, tuple[str | None, float | None, float | None]]
"""Where an answer is -> its result, our grade, the recorded score."""


def find_reference(record: Record, grader: GraderName | None) -> str | None:
    """Return the reference of a record; of a choice question without one, the letter of a right answer."""
    if record.reference is not None or grader != "choice":
        return record.reference
    right = Counter(
        text.strip()[:1]
        for model, text in (record.responses or {}).items()
        if text and record.scores.get(model) == 1.0 and len(text.strip()) <= 2
    )
    return right.most_common(1)[0][0] if right else None


def choose_grader(record: Record, grader: GraderName | None) -> GraderName | None:
    """Return the grader of a record; the ids of eleven languages hold it."""
    parts = record.id.split("-")
    if grader is None and len(parts) == 3 and parts[1] in ("numeric", "choice", "contains"):
        return cast(GraderName, parts[1])
    return grader


class Counts(Counter[str]):
    """What was counted in a file."""

    def share(self, part: str, whole: str) -> float | None:
        return round(self[part] / self[whole], 5) if self[whole] else None


def read_file(path: Path, grader: GraderName | None, reading: Reading, name: str) -> dict[str, Any]:
    """Grade, extract and group the answers of a file; `reading` receives each."""
    counts = Counts()
    seconds = 0.0
    for record in read_records(path, lambda _: None):  # bfcl has questions without text
        answers = {m: t for m, t in (record.responses or {}).items() if t}
        reference, how = find_reference(record, grader), choose_grader(record, grader)
        begun = process_time()
        results = {m: final_answer(t) for m, t in answers.items()}
        groups = group_answers(tuple(answers.values()))
        seconds += process_time() - begun
        counts.update(questions=1, answers=len(answers), extracted=sum(r is not None for r in results.values()))
        counts.update(closed=groups.closed, groups=len({g for g in groups.group_of if g is not None}))
        count_pairs([record.scores.get(m) for m in answers], groups.group_of, counts)
        for model, text in answers.items():
            ours = grade(text, reference, how) if how and reference else None
            score = record.scores.get(model)
            reading[f"{name}|{record.task}|{record.id}|{model}"] = (results[model], ours, score)
            if ours is not None and score is not None:
                counts.update(graded=1, agreeing=ours == score)
    return {
        **{key: counts[key] for key in ("questions", "answers", "graded", "agreeing", "extracted", "closed")},
        "agreement": counts.share("agreeing", "graded"),
        "extracted_share": counts.share("extracted", "answers"),
        "right_together": counts.share("right_together", "right_pairs"),
        "wrong_apart": counts.share("wrong_apart", "mixed_pairs"),
        "groups_a_question": counts.share("groups", "questions"),
        "ms_an_answer": round(1e3 * seconds / counts["answers"], 4),
    }


def count_pairs(scores: list[float | None], group_of: tuple[int | None, ...], counts: Counts) -> None:
    """Count the pairs of answers by whether both are right, and whether they are in one group."""
    known = [(s, g) for s, g in zip(scores, group_of, strict=True) if s in (0.0, 1.0)]
    right, wrong = Counter(g for s, g in known if s == 1.0), Counter(g for s, g in known if s == 0.0)
    pairs = right.total() * (right.total() - 1) // 2
    together = sum(n * (n - 1) // 2 for g, n in right.items() if g is not None)
    mixed = right.total() * wrong.total()
    meeting = sum(n * wrong[g] for g, n in right.items() if g is not None)
    counts.update(right_pairs=pairs, right_together=together, mixed_pairs=mixed, wrong_apart=mixed - meeting)


def compare(before: Reading, after: Reading) -> Iterator[tuple[str, str]]:
    """Yield each answer whose grade agreed with the recorded score and does not now, or the other way round."""
    for where, (_, ours, score) in after.items():
        if where in before and score is not None and before[where][1] != ours:
            yield ("better" if ours == score else "worse" if before[where][1] == score else "other"), where


def count_merges(before: Reading, after: Reading) -> dict[str, int]:
    """Count, over the questions, pairs of results that were told apart before and are one now, and the reverse."""
    questions: dict[str, list[str]] = {}
    for where in after:
        questions.setdefault(where.rpartition("|")[0], []).append(where)
    counts = Counter(joined_right=0, joined_mixed=0, parted_right=0, parted_mixed=0)
    for wheres in questions.values():
        changed = {w for w in wheres if before.get(w, after[w])[0] != after[w][0]}
        for a, b in combinations(wheres, 2):
            scores = (after[a][2], after[b][2])
            if not (changed & {a, b}) or 1.0 not in scores or any(s not in (0.0, 1.0) for s in scores):
                continue
            was = before[a][0] == before[b][0] is not None if a in before and b in before else False
            now = after[a][0] == after[b][0] is not None
            if was != now:
                kind = "right" if scores == (1.0, 1.0) else "mixed"
                counts[f"{'joined' if now else 'parted'}_{kind}"] += 1
    return dict(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="the file with this name")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--dump", type=Path, help="write every reading here, to compare with")
    parser.add_argument("--against", type=Path, help="what another version wrote with --dump")
    args = parser.parse_args()
    reading: Reading = {}
    figures: dict[str, Any] = {}
    for name, (path, grader) in FILES.items():
        if path.exists() and args.only in (None, name):
            figures[name] = read_file(path, grader, reading, name)
            print(f"{name:16} {json.dumps(figures[name])}", flush=True)
    if args.dump:
        with gzip.open(args.dump, "wt") as file:
            json.dump(reading, file)
    if args.against:
        with gzip.open(args.against, "rt") as file:
            before: Reading = json.load(file)
        changes = list(compare(before, reading))
        figures["changes"] = Counter(kind for kind, _ in changes) | count_merges(before, reading)
        for where in [w for kind, w in changes if kind == "worse"][:SHOWN]:
            print(f"worse: {where}: {before[where]} -> {reading[where]}")
        print(f"changes: {json.dumps(figures['changes'])}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
