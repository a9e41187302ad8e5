"""Grade and price the RouteMoA authors' published outputs again, theirs beside ours, data set by data set.

    .venv/bin/python benchmarks/paper450.py [FILE.json.gz ...] [--prices FILE] [--json FILE]

FILE defaults to ../shared/data/paper450/moa.json.gz; others of its shape name their method in metadata.model_name. The
published verdicts and parsed answers are only compared with, never used in grading. How each data set is scored:
benchmarks/paper450/data_sets.py. Needs  pip install '.[eval]'  (mathematical equivalence).

The graders were written while reading the first eight answers of each data set of moa. The first run agreed with the
published verdicts on 184 of 184 of these and 157 of the 161 others; two rules (cmrc, word_manipulation_v2) were then
corrected, so that later figures of the others in moa are not independent any more. The rules that misread were inferred
with the help of the published parsed answers; no grading reads them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).with_suffix("")))  # the folder beside this script

from data_sets import DATA_SETS, Item, failure_kind

FOLDER = Path("../shared/data/paper450")
INSPECTED = 8
"""Items of each data set that were read while the graders were written; the others are a check."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, default=[FOLDER / "moa.json.gz"])
    parser.add_argument("--prices", type=Path, default=FOLDER / "recovered_prices.json")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prices = json.loads(options.prices.read_text("utf-8"))["prices"]
    graded = {}
    for file in options.files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            run = json.load(lines)
        name = run["metadata"]["model_name"]
        graded[name] = grade_run(run, prices)
        show_run(name, graded[name])
    if options.json:
        options.json.write_text(json.dumps(graded, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")


def grade_run(run: dict[str, Any], prices: dict[str, Any]) -> dict[str, Any]:
    """Grade every data set of a run, and summarize all of them."""
    sets = {
        name: grade_set(name, data["summary"], data["items"], prices)
        for category in run["results"].values()
        for name, data in category.items()
    }
    return {"overall": summarize_sets(sets), "data_sets": sets}


def grade_set(
    name: str, summary: dict[str, Any], items: list[dict[str, Any]], prices: dict[str, Any]
) -> dict[str, Any]:
    """Grade and price one data set; a failed answer scores 0, as it does in the published figures."""
    data_set = DATA_SETS[name]
    asked = [Item(i["full_prompt"], str(i["question"]), i["ground_truth"], i["model_response"] or "") for i in items]
    failures = [failure_kind(i.answer) for i in asked]

    def score_all(score: Callable[[Item], float]) -> list[float]:
        return [0.0 if failure else score(i) for failure, i in zip(failures, asked, strict=True)]

    scores = score_all(data_set.score)
    human_scores = score_all(data_set.human_score) if data_set.human_score else scores
    verdicts = [i["is_correct"] for i in items] if summary["metric_name"] == "accuracy" else []
    return {
        "metric": summary["metric_name"],
        "rule": data_set.rule,
        "comparable": data_set.reproduces,
        "published": summary["accuracy"],
        "ours": fmean(scores),
        "read": fmean(human_scores) if data_set.human_score else None,
        "items": len(items),
        "agree": [int(v == s) for v, s in zip(verdicts, scores, strict=False)],
        "read_agree": [int(v == s) for v, s in zip(verdicts, human_scores, strict=False)],
        "failed": dict(Counter(failure for failure in failures if failure)),
        **compare_costs(summary, items, prices),
        "published_latency": summary["latency_avg"],
        "latency": fmean(i["latency"] for i in items),
        "differ": [
            {
                "id": i["item_id"],
                "reference": a.reference,
                "published": v,
                "ours": s,
                "read": r,
                "answer": a.answer[-160:],
            }
            for i, a, v, s, r in zip(items, asked, verdicts, scores, human_scores, strict=False)
            if v not in (s, r) or s != v or r != v
        ],
    }


def compare_costs(summary: dict[str, Any], items: list[dict[str, Any]], prices: dict[str, Any]) -> dict[str, float]:
    """Return published and own dollars. The published mean is over billed answers: an error costs nothing."""
    costs = [cost(i["token_usage"], prices) for i in items]
    billed = [c for c in costs if c]
    pairs = [(c, i["cost"]) for c, i in zip(costs, items, strict=True)]
    return {
        "published_cost": summary["avg_cost_per_item"],
        "our_cost": sum(billed) / len(billed) if billed else 0.0,
        "cost_difference": max(abs(ours - published) for ours, published in pairs),
        "relative_cost_difference": max(abs(ours - published) / (published or 1) for ours, published in pairs),
    }


def cost(usage: dict[str, dict[str, int]], prices: dict[str, Any]) -> float:
    """Return the dollars of one answer: the tokens of every model called, at its prices per million."""
    dollars: float = sum(
        used["prompt_tokens"] / 1e6 * prices[model]["input_usd_per_M"]
        + used["completion_tokens"] / 1e6 * prices[model]["output_usd_per_M"]
        for model, used in usage.items()
    )
    return dollars


def summarize_sets(sets: dict[str, Any]) -> dict[str, Any]:
    """Return macro averages over all data sets and over those without failures, and agreement of accuracy sets."""

    def macro(some: list[dict[str, Any]]) -> dict[str, float]:
        return (
            {
                "data_sets": len(some),
                "published": fmean(s["published"] for s in some),
                "ours": fmean(s["ours"] for s in some),
                "read": fmean(s["ours"] if s["read"] is None else s["read"] for s in some),
            }
            if some
            else {"data_sets": 0}
        )

    every = list(sets.values())
    exact = [s for s in every if s["metric"] == "accuracy"]

    def share(key: str, part: slice) -> float:
        return fmean(a for s in exact for a in s[key][part])

    return {
        "all": macro(every),
        "accuracy_sets": macro(exact),
        "without_errors": macro([s for s in every if not s["failed"].get("error")]),
        "without_failures": macro([s for s in every if not s["failed"]]),
        "agreement": share("agree", slice(None)),
        "agreement_looked_at": share("agree", slice(INSPECTED)),
        "agreement_others": share("agree", slice(INSPECTED, None)),
        "read_agreement": share("read_agree", slice(None)),
        "items": sum(len(s["agree"]) for s in exact),
        "failed": dict(sum((Counter(s["failed"]) for s in every), Counter())),
        "cost_difference": max(s["cost_difference"] for s in every),
        "relative_cost_difference": max(s["relative_cost_difference"] for s in every),
        "published_cost": fmean(s["published_cost"] for s in every),
        "our_cost": fmean(s["our_cost"] for s in every),
        "latency": fmean(s["latency"] for s in every),
    }


def show_run(name: str, graded: dict[str, Any]) -> None:
    """Print the table as Markdown."""
    print(f"## {name}\n")
    print(
        "| data set | metric | published | ours | as read | agree | failed | cost, published | cost, ours | latency s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for key, s in graded["data_sets"].items():
        agree = f"{sum(s['agree'])}/{len(s['agree'])}" if s["agree"] else ""
        read = "" if s["read"] is None else f"{s['read']:.4f}"
        ours = f"{s['ours']:.4f}" + ("" if s["comparable"] else " *")
        failures = ", ".join(f"{n} {w}" for w, n in s["failed"].items())
        print(
            f"| {key} | {s['metric']} | {s['published']:.4f} | {ours} | {read} | {agree} | {failures} "
            f"| {s['published_cost']:.8f} | {s['our_cost']:.8f} | {s['latency']:.1f} |"
        )
    o = graded["overall"]
    for title, key in (
        ("macro, all", "all"),
        ("macro, the sets scored by accuracy", "accuracy_sets"),
        ("macro, sets without an error", "without_errors"),
        ("macro, sets without a failed answer", "without_failures"),
    ):
        if o[key]["data_sets"]:
            m = o[key]
            print(
                f"| {title} ({m['data_sets']}) | | {m['published']:.4f} | {m['ours']:.4f} | {m['read']:.4f} | | | | | |"
            )
    print(
        "\n\\* another metric than the published one, not comparable (below). Agreement with the published verdicts, "
        f"item by item, on {o['items']}: {o['agreement']:.4f} (items read while the graders were written "
        f"{o['agreement_looked_at']:.4f}, others {o['agreement_others']:.4f}); read as a person reads them "
        f"{o['read_agreement']:.4f}. Failed: {o['failed'] or 'none'}. Cost: largest difference "
        f"{o['cost_difference']:.1e} dollars, {o['relative_cost_difference']:.1e} relative.\n"
    )
    for s_name, s in graded["data_sets"].items():
        print(f"- {s_name}: {s['rule']}")
    print("\nWhere verdicts differ:\n")
    for s_name, s in graded["data_sets"].items():
        for d in s["differ"]:
            print(
                f"- {s_name} {d['id']}: published {d['published']}, by rule {d['ours']:.0f}, as read {d['read']:.0f}; "
                f"reference {d['reference'][-60:]!r}, answer ends {d['answer'][-70:]!r}"
            )
    print()


if __name__ == "__main__":
    main()
