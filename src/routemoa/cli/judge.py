"""`routemoa judge`: learn from graded traces how to judge, and judge saved traces again under another policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click
import msgspec

from routemoa.cli.terminal.session import check_writable, write_whole
from routemoa.core.errors import ConfigError
from routemoa.datasets.jsonl import BadLine, ErrorCollector, read_lines
from routemoa.datasets.records import Record
from routemoa.datasets.records import parse_record as parse_record
from routemoa.evaluation.rejudging import RejudgedTrace, SavedTrace, parse_trace, read_traces, rejudge, score_answers
from routemoa.judging.judge_model import JudgeModel
from routemoa.judging.judge_model import encode_judge_model, read_policy

if TYPE_CHECKING:
    from routemoa.training.judge import GradedPanel

__all__ = ["judge"]

FEWEST = 20  # graded queries from which a fit is worth anything


@click.group(context_settings={"max_content_width": 100})
def judge() -> None:
    """Learn from graded traces how far to believe whom; judge saved traces again under another policy."""


@judge.command()
@click.argument("traces", nargs=-1, required=True)
@click.option("--out", default="judge.json", show_default=True, metavar="FILE", help="The file to write.")
@click.option("--logprob", is_flag=True, help="Self-assessments are log-probabilities, not spoken scores.")
@click.option("--seed", default=0, show_default=True, help="Decides the halves on which the fit is measured.")
@click.option("--json", "as_json", is_flag=True, help="Print what was learned and its figures as one JSON object.")
def fit(*, traces: tuple[str, ...], out: str, logprob: bool, seed: int, as_json: bool) -> None:
    """Fit on TRACES (JSON lines) and write a file that `[mixture] judge` can name.

    A line is what `routemoa ask --json` prints, with `scores` (model -> 0 to 1) or a `reference` (and `grader`) beside
    `text` and `trace`; or a record of `routemoa collect`, which tells how errors come together but not who judges well.
    Lines without any grade are passed over and counted.

    Learned are: how errors of models come together, each judge's bias and reliability, and what each signal is worth in
    log-odds. The figures shown are cross-fitted: each half of the queries is judged by what the other half taught.

    \b
    Example:
      routemoa judge fit graded.jsonl --out judge.json        # then in pool.toml:  [mixture]  judge = "judge.json"
    """
    from routemoa.training.judge import fit_judge_model as learn
    from routemoa.training.judge import measure_signals, describe_judge_model, collect_signal_pairs

    check_writable(out)
    complaints = ErrorCollector()
    data, passed = _graded(traces, complaints)
    if len(data) < FEWEST:
        complaints.raise_if_any()
        raise ConfigError(
            f"{', '.join(traces)}: {len(data)} graded queries ({passed} lines without a grade); at least {FEWEST} are "
            "needed: put `scores` or a `reference` into the lines, beside `text` and `trace`"
        )
    order = list(range(len(data)))
    Random(seed).shuffle(order)  # noqa: S311  (halves, no secret)
    halves = [[data[i] for i in order[::2]], [data[i] for i in order[1::2]]]
    crossed = [collect_signal_pairs(b, learn(a, verbalized=not logprob), spoken=not logprob) for a, b in (halves, halves[::-1])]
    figures = measure_signals(*crossed)
    found = learn(data, verbalized=not logprob)
    facts: dict[str, float | int | str] = {"queries": len(data), "files": ", ".join(Path(t).name for t in traces)}
    facts |= {f"{k}_held_out": round(v, 4) for k, v in figures["posterior"].items() if v is not None}
    found = msgspec.structs.replace(found, fitted=facts)
    write_whole(out, encode_judge_model(found))
    if as_json:
        click.echo(msgspec.json.encode({"judging": found, "held_out": figures, "passed_over": passed}))
    else:
        _tell(found, figures, describe_judge_model(found), passed, len(data))
        click.echo(f'{out}: written; name it in the pool file:  [mixture]  judge = "{out}"', err=True)
    complaints.raise_if_any()


def _graded(paths: tuple[str, ...], complaints: ErrorCollector) -> tuple[list[GradedPanel], int]:
    """Every graded line, of traces or of records, and how many lines had no grade."""
    from routemoa.training.judge import build_graded_panels, build_graded_panel

    data: list[GradedPanel] = []
    kept: list[Record] = []
    passed = 0
    for path in paths:
        for number, line in read_lines(path, complaints):
            found = parse_trace(line) if b'"trace"' in line else parse_record(line)
            if isinstance(found, str):
                complaints(BadLine(path, number, found))
            elif isinstance(found, SavedTrace) and _known(truth := score_answers(found) or {}, found):
                data.append(build_graded_panel(found.trace, truth))
            elif isinstance(found, Record) and found.responses:
                kept.append(found)
            else:
                passed += 1
    return data + build_graded_panels(kept), passed


def _known(truth: Mapping[str, float | None], saved: SavedTrace) -> bool:
    return any(truth.get(p.model) is not None for layer in saved.trace.layers for p in layer.proposals)


def _tell(
    found: JudgeModel, figures: Mapping[str, Mapping[str, float | None]], learned: list[str], passed: int, count: int
) -> None:
    click.echo(f"{count} graded queries" + (f", {passed} lines without a grade passed over" if passed else ""))
    for line in learned:
        click.echo(line)
    for kind, judges in (("of others", found.peer_judges), ("of itself", found.self_judges)):
        for name, r in judges.items():
            bias = "unknown" if r.bias is None else f"{r.bias:.2f}"
            click.echo(f"{name} as judge {kind}: mean score {bias}, weight {r.weight:.2f}")
    click.echo("each half judged by what the other half taught:")
    for name, f in figures.items():
        shown = ", ".join(f"{k} {'-' if v is None else format(v, '.3f')}" for k, v in f.items())
        click.echo(f"  {name:10} {shown}")


@judge.command()
@click.argument("traces", metavar="TRACES.jsonl")
@click.option("--policy", metavar="FILE", help="TOML with a [mixture] table (a pool file will do); else the defaults.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as many as there are traces.")
def replay(traces: str, policy: str | None, as_json: bool) -> None:
    """Judge and rank saved traces again, without calling anybody, and show what would have changed.

    TRACES.jsonl holds what `routemoa ask --json` prints, one a line. Posteriors, ranking, stop and final choice are
    computed anew from the recorded answers and judgments. A policy that would have gone on beyond the record chooses
    from what there is, and says so.

    \b
    Examples:
      routemoa judge replay traces.jsonl                      # the default policy
      routemoa judge replay traces.jsonl --policy cheap.toml --json | jq .choice
    """
    mixture, judging = read_policy(policy)
    complaints = ErrorCollector()
    found: list[tuple[SavedTrace, RejudgedTrace]] = []
    for number, saved in read_traces(traces, complaints):
        again = rejudge(saved.trace, mixture, judging)
        found.append((saved, again))
        if as_json:
            keys = ("choice", "text", "scores", "stop_reason", "changed")
            click.echo(msgspec.json.encode({k: getattr(again, k) for k in keys}))
        elif again.changed:
            click.echo(f"{number}: {_head(saved)}")
            click.echo(f"   was {again.recorded} after {len(saved.trace.layers)} layers: {saved.trace.stop_reason}")
            click.echo(f"   now {again.choice} after {again.layers}: {again.stop_reason}")
    if found and not as_json:
        _sum_up(found)
    complaints.raise_if_any()


def _head(saved: SavedTrace) -> str:
    text = " ".join(saved.trace.query.text.split())
    return text if len(text) <= 80 else text[:79] + "…"


def _sum_up(found: list[tuple[SavedTrace, RejudgedTrace]]) -> None:
    changed = [again for _, again in found if again.changed]
    others = sum(again.choice != again.recorded for again in changed)
    before = sum(len(layer.proposals) for saved, _ in found for layer in saved.trace.layers)
    after = sum(again.calls for _, again in found)
    click.echo(
        f"{len(found)} traces, {len(changed)} would have changed: {others} with another choice; proposals {before} -> "
        f"{after}"
    )
    graded = [(score_answers(saved), again) for saved, again in found]
    known: list[tuple[float, float]] = []
    for truth, again in graded:
        was, now = _grade(truth, again.recorded), _grade(truth, again.choice)
        if was is not None and now is not None:
            known.append((was, now))
    if known:
        was_right, now_right = sum(w for w, _ in known) / len(known), sum(n for _, n in known) / len(known)
        click.echo(f"right, of {len(known)} graded: {was_right:.1%} -> {now_right:.1%}")


def _grade(truth: Mapping[str, Any] | None, model: str | None) -> float | None:
    return None if truth is None or model is None else truth.get(model)
