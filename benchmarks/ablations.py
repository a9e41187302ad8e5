"""What each part of RouteMoA adds, on recorded answers: trained on one half of the questions, replayed on the other.

    .venv/bin/python benchmarks/ablations.py [RECORDS] [--without o1] [--rank 10 24] [--judges 0.7] [--out DIR]

    .venv/bin/python benchmarks/ablations.py ../shared/data/records/zeroeval/math_l5.jsonl.gz --without o1 --judges 0.7

Runs the commands that a user would: `routemoa scorer train` and `routemoa judge fit` on one half, `routemoa evaluate`
with every ablation and rival on the other, into a folder that `routemoa report` reads. --judges simulates judges of
that AUC, since records hold none: without it no-self and no-cross change tokens only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

from msgspec.structs import replace

from routemoa.datasets.records import Record, read, write
from routemoa.evaluation.outcomes import load_run

RECORDS = Path(__file__).parents[2] / "shared" / "data" / "records" / "zeroeval" / "math_l5.jsonl.gz"
PARTS = ("no-scorer", "no-self", "no-cross", "no-reranking", "no-early-stop")
METHODS = ["routemoa", *(f"routemoa-{p}" for p in PARTS), "moa", "smoa", "cascade", "vote-all"]


def members(records: list[Record], without: str | None, rank: list[int] | None) -> list[str]:
    """Models with a score everywhere, best first; `rank` keeps a stretch of them."""
    names = [m for m in records[0].scores if all(r.scores.get(m) is not None for r in records)]
    names = [m for m in names if not (without and m.startswith(without))]
    names.sort(key=lambda m: -sum(r.scores[m] or 0.0 for r in records))
    return names[slice(*rank)] if rank else names


def among(record: Record, names: list[str]) -> Record:
    said = record.responses or {}
    return replace(
        record, scores={m: record.scores[m] for m in names}, responses={m: said[m] for m in names if m in said}
    )


def routemoa(*arguments: object) -> None:
    subprocess.run([sys.executable, "-c", "from routemoa.cli import main; main()", *map(str, arguments)], check=True)


def table(folder: Path, title: str) -> str:
    """What each part and each rival makes of the questions, as Markdown."""
    found = load_run(folder).summary
    lines = [f"## {title}", "", "| | right | routemoa over it, points | calls | tokens | on the path |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for name, f in found["methods"].items():
        pair = found["paired"].get(f"routemoa|{name}")
        over = "-"
        if pair:
            over, low, high = (f"{100 * x:+.1f}" for x in (pair["difference"], *pair["ci95"]))
            over += f" ({low} to {high})"
        low, high = (100 * x for x in f["ci95"])
        lines.append(
            f"| {name} | {100 * f['accuracy']:.1f} ({low:.1f} to {high:.1f}) | {over} | {f['calls']:.2f} "
            f"| {f['tokens']:,.0f} | {f['path_tokens']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="?", type=Path, default=RECORDS)
    parser.add_argument("--without", metavar="PREFIX", help="leave out models whose name begins so")
    parser.add_argument("--rank", nargs=2, type=int, metavar=("FROM", "TO"), help="only these places by accuracy")
    parser.add_argument("--judges", type=float, metavar="AUC")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", help="also random pools of these sizes, such as 3,5,8,13,21")
    parser.add_argument("--out", type=Path, default=Path("ablations"))
    parser.add_argument("--table", type=Path, metavar="FILE", help="add the table to this Markdown file")
    given = parser.parse_args()
    records = list(read(given.records))
    names = members(records, given.without, given.rank)
    Random(given.seed).shuffle(records)
    half = len(records) // 2
    with tempfile.TemporaryDirectory() as folder:
        parts = {"train": records[:half], "test": records[half:]}
        files = {part: Path(folder) / f"{given.records.name.partition('.')[0]}.{part}.jsonl" for part in parts}
        for part, some in parts.items():
            with write(files[part]) as out:
                for record in some:
                    out.write(among(record, names))
        routemoa("scorer", "train", files["train"], "--out", Path(folder) / "scorer")
        routemoa("judge", "fit", files["train"], "--out", Path(folder) / "judge.json")
        policy = Path(folder) / "policy.toml"
        later = "refine" if given.judges else "auto"
        policy.write_text(f'[mixture]\njudge = "judge.json"\nlater = "{later}"\n')
        extra = ["--judges", given.judges] if given.judges else []
        extra += ["--sizes", given.sizes] if given.sizes else []
        routemoa(
            "evaluate", files["test"], "--scorer", Path(folder) / "scorer", "--policy", policy,
            "--methods", ",".join(METHODS), "--prices", "library", *extra, "--out", given.out,
        )  # fmt: skip
    if given.table:
        name = given.records.name.partition(".")[0]
        pool = f"without {given.without}" if given.without else "all models"
        pool = f"ranks {given.rank[0] + 1} to {given.rank[1]}" if given.rank else pool
        judges = f"judges of AUC {given.judges:g}" if given.judges else "agreement alone"
        with given.table.open("a") as file:
            file.write(
                table(given.out, f"{name}, {pool}, {judges}: {half} questions learned from, the rest shown") + "\n"
            )


if __name__ == "__main__":
    main()
