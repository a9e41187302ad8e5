"""`routemoa judge`: fit the judge model on graded traces, calibrate it, and replay traces under another policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from routemoa.cli.command_group import SuggestingGroup
from routemoa.cli.judge.calibrate import calibrate
from routemoa.cli.ray_cluster import engine_options, open_engine
from routemoa.cli.terminal.files import check_writable, write_file
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.working import show_working
from routemoa.core.errors import ConfigError
from routemoa.core.text.plural import counted
from routemoa.core.text.printable import printable_line
from routemoa.datasets.file_heads import find_wrong_kind
from routemoa.datasets.jsonl import BadLine, ErrorCollector, read_lines
from routemoa.datasets.records import Record, parse_record
from routemoa.datasets.training_overlap import pack_hashes
from routemoa.evaluation.saved_traces import (
    SavedTrace,
    parse_trace,
    read_traces,
    score_answers,
)
from routemoa.judging.judge_model import JudgeModel, encode_judge_model, read_judge_model, read_policy
from routemoa.routing.rejudging import RejudgedTrace, rejudge

if TYPE_CHECKING:
    from routemoa.training.judge import GradedPanel

__all__ = ["judge"]

MIN_GRADED_QUERIES = 20  # for a fit that is worth anything
MAX_TITLE = 80  # characters of a query that are printed


@click.group(cls=SuggestingGroup, context_settings={"max_content_width": 100})
def judge() -> None:
    """Fit a judge model on graded traces; calibrate it for open questions; re-judge saved traces."""


judge.add_command(calibrate)


@dataclass(frozen=True)
class FitOptions:
    """The arguments and options of `routemoa judge fit`."""

    traces: tuple[str, ...]
    out: str
    logprob: bool
    seed: int
    engine: Literal["local", "ray"]
    address: str | None
    as_json: bool


@judge.command(short_help="Fit a judge model on graded traces or records.")
@click.argument("traces", nargs=-1, required=True)
@click.option("--out", default="judge.json", show_default=True, metavar="FILE", help="The file to write.")
@click.option("--logprob", is_flag=True, help="Self-assessments are log-probabilities, not scores that models write.")
@click.option("--seed", default=0, show_default=True, help="Seed for splitting the queries into halves.")
@engine_options
@click.option("--json", "as_json", is_flag=True, help="Print the fit and its figures as one JSON object.")
def fit(**options: Any) -> None:  # click passes a keyword for each option: the fields of FitOptions
    """Fit a judge model on TRACES (JSON lines) and write a file for `[mixture] judge`.

    A line is what `routemoa ask --json` prints, with `scores` (model -> 0 to 1) or a `reference` (and `grader`) beside
    `text` and `trace`. It may also be a record of `routemoa collect`, which shows how the errors of models correlate
    but not which model judges well. Lines without a grade are skipped and counted.

    The fit covers how the errors of models correlate, each judge's bias and reliability, and the weight of each signal
    in log-odds. The figures are cross-validated: each half of the queries is judged with a fit on the other half.
    What `routemoa judge calibrate` wrote into FILE stays. --engine ray works on the three fits at the same time and
    writes the same bytes.

    \b
    Example:
      routemoa judge fit graded.jsonl --out judge.json
      # then in pool.toml:  [mixture]  judge = "judge.json"
    """
    _fit(FitOptions(**options))


def _fit(options: FitOptions) -> None:
    from routemoa.training.judge import describe_judge_model

    out = options.out
    check_writable(out)
    before = read_judge_model(out) if Path(out).is_file() else JudgeModel()
    errors = ErrorCollector()
    with show_working("reading"):
        data, texts, ungraded = _read_graded_queries(options.traces, errors)
    if len(data) < MIN_GRADED_QUERIES:
        errors.raise_if_any()
        raise ConfigError(
            f"{', '.join(options.traces)}: {counted(len(data), 'graded query', 'graded queries')} "
            f"({counted(ungraded, 'line')} without a grade); at least "
            f"{MIN_GRADED_QUERIES} are needed: put `scores` or a `reference` into the lines, beside `text` and `trace`"
        )
    model, figures = _fit_judge_model(data, texts, options)
    kept = {"pairwise_judge": before.pairwise_judge, "open_evidence": before.open_evidence}  # of `judge calibrate`
    model = msgspec.structs.replace(model, **kept)
    write_file(out, encode_judge_model(model))
    if options.as_json:
        click.echo(msgspec.json.encode({"judging": model, "held_out": figures, "passed_over": ungraded}))
    else:
        skipped = f", {counted(ungraded, 'line')} without a grade skipped" if ungraded else ""
        print_line(counted(len(data), "graded query", "graded queries") + skipped)
        _print_fit(model, figures, describe_judge_model(model))
        print_line(f'{out}: written; name it in the pool file:  [mixture]  judge = "{out}"', err=True)
    errors.raise_if_any()


def _fit_judge_model(
    data: Sequence[GradedPanel], texts: Sequence[str], options: FitOptions
) -> tuple[JudgeModel, dict[str, Any]]:
    """Return the model that was fitted, with facts about the fit, and its figures on queries that were held out."""
    from routemoa.training.judge import cross_fit_judge_model, measure_signals

    with (
        show_working(f"fitting on {counted(len(data), 'query', 'queries')}"),
        open_engine(options.engine, options.address) as work,
    ):
        fitted = cross_fit_judge_model(data, options.seed, verbalized=not options.logprob, engine=work)
        figures = measure_signals(*fitted.held_out)
    names = ", ".join(Path(t).name for t in options.traces)
    facts: dict[str, float | int | str] = {"queries": len(data), "files": names}
    facts |= {f"{k}_held_out": round(v, 4) for k, v in figures["posterior"].items() if v is not None}
    models = tuple(dict.fromkeys(m for panel in data for m in panel.models))
    about = {"fitted": facts, "models": models, "questions": pack_hashes(texts)}
    return msgspec.structs.replace(fitted.judge_model, **about), figures


def _read_graded_queries(paths: tuple[str, ...], errors: ErrorCollector) -> tuple[list[GradedPanel], list[str], int]:
    """Return every graded line, of traces or of records, the texts of these queries, and how many had no grade."""
    from routemoa.training.judge import build_graded_panel, build_graded_panels

    data: list[GradedPanel] = []
    records: list[Record] = []
    texts: list[str] = []
    ungraded = 0
    for path in paths:
        if fault := find_wrong_kind(path, "traces", "traces", "records"):
            errors(BadLine(path, 0, fault))
            continue
        for number, line in read_lines(path, errors):
            item = parse_trace(line) if b'"trace"' in line else parse_record(line)
            if isinstance(item, str):
                errors(BadLine(path, number, item))
            elif isinstance(item, SavedTrace) and _has_grade(truth := score_answers(item) or {}, item):
                data.append(build_graded_panel(item.trace, truth))
                texts.append(item.trace.query.text)
            elif isinstance(item, Record) and item.responses:
                records.append(item)
                texts.append(item.query)
            else:
                ungraded += 1
    return data + build_graded_panels(records), texts, ungraded


def _has_grade(truth: Mapping[str, float | None], saved: SavedTrace) -> bool:
    return any(truth.get(p.model) is not None for layer in saved.trace.layers for p in layer.proposals)


def _print_fit(model: JudgeModel, figures: Mapping[str, Mapping[str, float | None]], summary: list[str]) -> None:
    for line in summary:
        print_line(line)
    for subject, judges in (("others", model.peer_judges), ("itself", model.self_judges)):
        for name, r in judges.items():
            bias = "unknown" if r.bias is None else f"{r.bias:.2f}"
            print_line(f"{name} as judge of {subject}: mean score {bias}, weight {r.weight:.2f}")
    print_line("cross-validated, each half judged with a fit on the other half:")
    for name, values in figures.items():
        shown = ", ".join(f"{k} {'-' if v is None else format(v, '.3f')}" for k, v in values.items())
        print_line(f"  {name:10} {shown}")


@judge.command(short_help="Re-judge saved traces under another policy.")
@click.argument("traces", metavar="TRACES.jsonl")
@click.option(
    "--policy", metavar="FILE", help="TOML with a [mixture] table, such as a pool file; else the default policy."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each trace, a line each.")
def replay(traces: str, policy: str | None, as_json: bool) -> None:
    """Re-judge and re-rank saved traces under another policy, without calling a model.

    TRACES.jsonl holds what `routemoa ask --json` prints, one a line. Posterior, ranking, stop and final choice are
    computed again from the recorded answers and judgments, and the changes are shown. Where the policy would have
    called further models, it chooses from the recorded answers, and the reason says so.

    \b
    Examples:
      routemoa judge replay traces.jsonl                      # the default policy
      routemoa judge replay traces.jsonl --policy cheap.toml --json | jq .choice
    """
    mixture, judging = read_policy(policy)
    errors = ErrorCollector()
    replayed: list[tuple[SavedTrace, RejudgedTrace]] = []
    for number, saved in read_traces(traces, errors):
        result = rejudge(saved.trace, mixture, judging)
        replayed.append((saved, result))
        if as_json:
            keys = ("choice", "text", "scores", "stop_reason", "changed")
            click.echo(msgspec.json.encode({k: getattr(result, k) for k in keys}))
        elif result.changed:
            print_line(f"{number}: {_shorten(saved.trace.query.text)}")
            print_line(
                f"   was {result.recorded} after {counted(len(saved.trace.layers), 'layer')}: {saved.trace.stop_reason}"
            )
            print_line(f"   now {result.choice} after {result.layers}: {result.stop_reason}")
    if replayed and not as_json:
        _print_summary(replayed)
    errors.raise_if_any()
    if not replayed:
        raise ConfigError(f"{traces}: no trace in it; such lines are made by  routemoa ask --json QUESTION")


def _shorten(text: str) -> str:
    line = printable_line(text)
    return line if len(line) <= MAX_TITLE else line[: MAX_TITLE - 1] + "…"


def _print_summary(replayed: list[tuple[SavedTrace, RejudgedTrace]]) -> None:
    changed = [result for _, result in replayed if result.changed]
    other_choice = sum(result.choice != result.recorded for result in changed)
    before = sum(len(layer.proposals) for saved, _ in replayed for layer in saved.trace.layers)
    after = sum(result.calls for _, result in replayed)
    print_line(
        f"{counted(len(replayed), 'trace')}, {len(changed)} would have changed: {other_choice} with another "
        f"choice; proposals "
        f"{before} -> {after}"
    )
    pairs: list[tuple[float, float]] = []
    for saved, result in replayed:
        truth = score_answers(saved)
        was, now = _grade_of(truth, result.recorded), _grade_of(truth, result.choice)
        if was is not None and now is not None:
            pairs.append((was, now))
    if pairs:
        accuracy_before = sum(was for was, _ in pairs) / len(pairs)
        accuracy_after = sum(now for _, now in pairs) / len(pairs)
        print_line(f"accuracy on {counted(len(pairs), 'graded trace')}: {accuracy_before:.1%} -> {accuracy_after:.1%}")


def _grade_of(truth: Mapping[str, Any] | None, model: str | None) -> float | None:
    return None if truth is None or model is None else truth.get(model)
