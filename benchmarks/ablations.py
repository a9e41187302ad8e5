"""What each part of RouteMoA adds, on recorded answers: trained on one half of the questions, replayed on the other.

    .venv/bin/python benchmarks/ablations.py [RECORDS] [--without o1] [--rank 10 24] [--judges 0.7] [--out DIR]

    .venv/bin/python benchmarks/ablations.py ../shared/data/records/zeroeval/math_l5.jsonl.gz --without o1 --judges 0.7

Runs the commands that a user would: `routemoa scorer train` and `routemoa judge fit` on one half, `routemoa evaluate`
with every ablation and baseline on the other, into a folder that `routemoa report` reads. --judges simulates judges of
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

from routemoa.datasets.appender import Appender
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.outcomes import load_run

RECORDS = Path(__file__).parents[2] / "shared" / "data" / "records" / "zeroeval" / "math_l5.jsonl.gz"
ABLATIONS = ("no-scorer", "no-self", "no-cross", "no-reranking", "no-early-stop")
METHODS = ["routemoa", *(f"routemoa-{name}" for name in ABLATIONS), "moa", "smoa", "cascade", "vote-all"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="?", type=Path, default=RECORDS)
    parser.add_argument("--without", metavar="PREFIX", help="leave out models whose name begins so")
    parser.add_argument("--rank", nargs=2, type=int, metavar=("FROM", "TO"), help="only these places by accuracy")
    parser.add_argument("--judges", type=float, metavar="AUC")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", help="also random pools of these sizes, such as 3,5,8,13,21")
    parser.add_argument("--out", type=Path, default=Path("ablations"))
    parser.add_argument("--table", type=Path, metavar="FILE", help="append the table to this Markdown file")
    options = parser.parse_args()
    records = list(read_records(options.records))
    members = select_members(records, options.without, options.rank)
    Random(options.seed).shuffle(records)
    half = len(records) // 2
    records = [restrict_to(record, members) for record in records]
    with tempfile.TemporaryDirectory() as folder:
        run_commands(Path(folder), records[:half], records[half:], options)
    if options.table:
        with options.table.open("a") as file:
            file.write(markdown_table(options.out, table_title(options, half)) + "\n")


def select_members(records: list[Record], without: str | None, rank: list[int] | None) -> list[str]:
    """Return the models that every record scores, best first; `rank` selects a range of them."""
    names = [m for m in records[0].scores if all(r.scores.get(m) is not None for r in records)]
    names = [m for m in names if not (without and m.startswith(without))]
    names.sort(key=lambda m: -sum(r.scores[m] or 0.0 for r in records))
    return names[slice(*rank)] if rank else names


def restrict_to(record: Record, members: list[str]) -> Record:
    responses = record.responses or {}
    return replace(
        record,
        scores={m: record.scores[m] for m in members},
        responses={m: responses[m] for m in members if m in responses},
    )


def run_commands(folder: Path, train: list[Record], test: list[Record], options: argparse.Namespace) -> None:
    """Train on one half and evaluate on the other, with the commands that a user would run."""
    name = options.records.name.partition(".")[0]
    train_file, test_file = folder / f"{name}.train.jsonl", folder / f"{name}.test.jsonl"
    for file, part in ((train_file, train), (test_file, test)):
        with Appender(file) as out:
            for record in part:
                out.write(record)
    scorer, policy = folder / "scorer", folder / "policy.toml"
    routemoa("scorer", "train", train_file, "--out", scorer)
    routemoa("judge", "fit", train_file, "--out", folder / "judge.json")
    later_layers = "refine" if options.judges else "auto"
    policy.write_text(f'[mixture]\njudge = "judge.json"\nlater_layers = "{later_layers}"\n')
    extra = ["--judges", options.judges] if options.judges else []
    extra += ["--sizes", options.sizes] if options.sizes else []
    routemoa(
        "evaluate", test_file, "--scorer", scorer, "--policy", policy, "--methods", ",".join(METHODS),
        "--prices", "library", *extra, "--out", options.out,
    )  # fmt: skip


def routemoa(*arguments: object) -> None:
    subprocess.run([sys.executable, "-c", "from routemoa.cli import main; main()", *map(str, arguments)], check=True)


def table_title(options: argparse.Namespace, half: int) -> str:
    name = options.records.name.partition(".")[0]
    pool = f"without {options.without}" if options.without else "all models"
    pool = f"ranks {options.rank[0] + 1} to {options.rank[1]}" if options.rank else pool
    judges = f"judges of AUC {options.judges:g}" if options.judges else "agreement alone"
    return f"{name}, {pool}, {judges}: {half} questions to learn from, the others to measure"


def markdown_table(folder: Path, title: str) -> str:
    """Return the figures of every method as Markdown."""
    summary = load_run(folder).summary
    lines = [f"## {title}", "", "| | right | routemoa over it, points | calls | tokens | on the path |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for name, figures in summary["methods"].items():
        pair = summary["paired"].get(f"routemoa|{name}")
        gap = "-"
        if pair:
            difference, low, high = (f"{100 * x:+.1f}" for x in (pair["difference"], *pair["ci95"]))
            gap = f"{difference} ({low} to {high})"
        low, high = (f"{100 * x:.1f}" for x in figures["ci95"])
        lines.append(
            f"| {name} | {100 * figures['accuracy']:.1f} ({low} to {high}) | {gap} | {figures['calls']:.2f} "
            f"| {figures['tokens']:,.0f} | {figures['path_tokens']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
