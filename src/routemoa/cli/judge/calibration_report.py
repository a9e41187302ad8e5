"""What `routemoa judge calibrate` found: into the judge file, and onto the terminal in figures and words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from routemoa.cli.terminal.files import write_file
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.table import print_table
from routemoa.cli.terminal.warn import print_warnings
from routemoa.core.text.plural import counted
from routemoa.core.types import to_plain
from routemoa.judging.judge_model import JudgeModel, PairwiseJudge, encode_judge_model
from routemoa.routing.policies.open_answers import choose_open_policy

if TYPE_CHECKING:
    from routemoa.cli.judge.calibrate_options import Calibration
    from routemoa.evaluation.live.open_policies import AnswerPair, Orders
    from routemoa.training.judge.open_policies import Interval, PolicyFigures

__all__ = ["describe_judge", "finish_calibration", "print_policies"]


def finish_calibration(run: Calibration, pairs: Sequence[AnswerPair], orders: Sequence[Orders]) -> None:
    """Measure, write the judge file, and say what was found; write the pairs to label where there is no file yet."""
    from routemoa.evaluation.live.labelled_pairs import match_labels
    from routemoa.evaluation.live.open_policies import compare_pairs
    from routemoa.training.judge.open_policies import MIN_PAIRS, choose_evidence, measure_judge, measure_policies

    own = [p for p in pairs if p.method]
    matched = match_labels(own, run.labels or [])
    labels = dict(matched.by_pair) | {len(own) + i: verdict for i, (_, verdict) in enumerate(run.foreign)}
    compared = compare_pairs(pairs, orders, labels)
    unlabelled = run.options.labels is not None and run.labels is None
    if unlabelled:
        _write_pairs(run, own)
        if run.judge is None:
            return
    figures = measure_policies(compared, run.pool.mixture.dollars_per_point)
    sources = [run.judge.name] if run.judge else []
    sources += ["labels"] if matched.by_pair else []
    evidence = choose_evidence(figures, " and ".join(sources), [m.name for m in run.pool])
    model = replace(run.before, open_evidence=evidence or run.before.open_evidence)
    if run.judge:
        model = replace(
            model, pairwise_judge=_choose_judge(run, measure_judge(compared, run.judge.name, run.before.pairwise_judge))
        )
    write_file(run.out, encode_judge_model(model))
    warnings = _list_warnings(run, own, len(matched.unmatched))
    if unknown := sum(f.unknown for f in figures):
        by = f"{run.judge.name} gave no verdict that can be read, or failed" if run.judge else "no label tells"
        warnings.append(f"which answer is better is unknown of {counted(unknown, 'pair')}: {by}; these do not count")
    if evidence is None:
        most = round(max((f.weight for f in figures), default=0))
        warnings.append(
            f"{most} compared pairs of a policy are no evidence: at least {MIN_PAIRS} are needed, and a few "
            "hundred tell"
        )
    _report(run, model, figures, warnings)


def _choose_judge(run: Calibration, measured: PairwiseJudge) -> PairwiseJudge:
    """Return the figures to keep: not those of another judge in place of the one that `select` asks."""
    before = run.before.pairwise_judge
    asks = run.pool.mixture.judge_model
    return before if before.model and before.model == asks != measured.model else measured


def _write_pairs(run: Calibration, pairs: Sequence[AnswerPair]) -> None:
    """Write the pairs that people are to label."""
    from routemoa.datasets.pair_labels import encode_labels
    from routemoa.evaluation.live.labelled_pairs import pairs_to_label

    lines = pairs_to_label(pairs)
    if not lines:
        print_line("nothing to label: each policy answers as the one model alone does; ask other questions", err=True)
        return
    write_file(run.options.labels or "", encode_labels(lines))
    print_line(
        f'{run.options.labels}: {len(lines):,} pairs to label: set "winner" to "first", "second" or "tie", and run the '
        "same command again",
        err=True,
    )


def _list_warnings(run: Calibration, pairs: Sequence[AnswerPair], unmatched: int) -> list[str]:
    """Return why the figures may mislead."""
    warnings = []
    if unmatched:
        warnings.append(
            f"labels that fit no pair of this run, as they are about other answers or name no policy: {unmatched:,}"
        )
    if run.judge:
        name = run.judge.name
        biased = sum((p.writers[0] == name) != (p.writers[1] == name) for p in pairs if p.settled is None)
        if biased:
            warnings.append(f"{name} wrote one of the two answers in {biased:,} pairs; models prefer their own texts")
    left_out = len(run.questions) - len({p.question for p in pairs})
    if left_out:
        warnings.append(
            f"left out, since it turned out to have a result or was not answered: {counted(left_out, 'question')}"
        )
    return warnings


def _report(run: Calibration, model: JudgeModel, figures: Sequence[PolicyFigures], warnings: list[str]) -> None:
    now = choose_open_policy(replace(run.pool.mixture, open="auto"), model)
    if run.options.as_json:
        found = {
            "out": str(run.out),
            "folder": str(run.folder),
            "questions": len(run.questions),
            "policies": to_plain(figures),
            "pairwise_judge": to_plain(model.pairwise_judge),
            "open_evidence": to_plain(model.open_evidence),
            "auto": {"policy": now.name, "reason": now.reason},
            "warnings": [*run.warnings, *warnings],
        }
        click.echo(json.dumps(found, indent=2))
    else:
        print_policies(figures)
        if run.judge and model.pairwise_judge.model == run.judge.name:
            print_line(describe_judge(model.pairwise_judge))
        print_line(f'open = "auto" now means {now.name}: {now.reason}')
        if run.pool.mixture.open != "auto":
            print_line(f'but the pool file says open = "{run.pool.mixture.open}", which goes first')
    print_warnings(warnings)
    named = run.pool.judge is not None and run.pool.judge.absolute() == run.out.absolute()
    hint = "" if named else f'; name it in the pool file:  [mixture]  judge = "{run.out}"'
    print_line(f"{run.out}: written{hint}", err=True)


def print_policies(figures: Sequence[PolicyFigures]) -> None:
    """Print what each policy gained over the best model alone, in points."""
    heads = ["against one model", "pairs", "wins", "ties", "losses", "wins - losses", "at equal length", "more calls",
             "price", "gain less price"]  # fmt: skip
    rows = [
        [
            f.policy,
            str(f.pairs),
            str(f.wins),
            str(f.ties),
            str(f.losses),
            _points(f.raw),
            _points(f.gain),
            f"{f.extra_calls:.1f}",
            f"{100 * f.price:.1f}",
            _points(f.net),
        ]
        for f in figures
    ]
    print_table(heads, rows, left={heads[0]}, optional=["price", "more calls", "wins - losses", "ties", "pairs"])


def describe_judge(judge: PairwiseJudge) -> str:
    """Return what was measured of a judge, in a sentence."""
    parts = [] if judge.consistency is None else [f"its orders agree on {judge.consistency:.0%} of {judge.pairs} pairs"]
    if judge.length:
        parts.append(f"{judge.length:+.2f} log-odds for each e-fold of length")
    if judge.accuracy is not None and judge.accuracy_low is not None and judge.accuracy_high is not None:
        interval = f"[{judge.accuracy_low:.0%}, {judge.accuracy_high:.0%}]"
        parts.append(f"right where they agree on {judge.accuracy:.0%} {interval} of the labelled pairs")
    else:
        parts.append("how often it is right is unknown without labels")
    return f"{judge.model} as judge: {', '.join(parts)}"


def _points(interval: Interval) -> str:
    return f"{100 * interval.value:+.1f} [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
