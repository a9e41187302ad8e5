"""`routemoa traces`: show and export the traces that a server kept, and say which models drift."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from routemoa.cli.command_group import SuggestingGroup
from routemoa.cli.learning.outcome_reader import list_residuals, load_outcomes, read_stored
from routemoa.cli.options import json_option, store_option
from routemoa.cli.terminal.lines import print_line
from routemoa.core.errors import ConfigError
from routemoa.core.learned.learned_log import describe_drift
from routemoa.core.text.moments import describe_moment
from routemoa.core.text.plural import counted

if TYPE_CHECKING:
    from routemoa.ledger.trace_store.traces import StoredTrace
    from routemoa.routing.call_drift import CallDrift

__all__ = ["traces"]

SETTINGS = {"max_content_width": 100}


@click.group(cls=SuggestingGroup, context_settings=SETTINGS)
def traces() -> None:
    """Show and export the traces that `routemoa serve` kept, with what callers said of the answers.

    \b
    Examples:
      routemoa traces show chatcmpl-0f3c...  how an answer came about
      routemoa traces export --out records.jsonl.gz --with-feedback
      routemoa traces drift                  which models changed
    """


@traces.command(short_help="Show how an answer came about.", context_settings=SETTINGS)
@click.argument("id_", metavar="ID")
@store_option
@json_option
def show(*, id_: str, store_file: str | None, as_json: bool) -> None:
    """Show how the answer with this ID came about, every answer in full, and what its caller said of it.

    ID is that of the response, with or without its prefix.

    \b
    Example:
      routemoa traces show chatcmpl-0f3c --json | jq .answer.trace.stop_reason
    """
    from routemoa.core.types import to_json
    from routemoa.gateway.http_exchange.response_ids import bare_id

    bare = bare_id(id_)
    stored = next((s for s in read_stored(store_file, with_feedback=False) if s.id == bare), None)
    if stored is None:
        raise ConfigError(f"there is no trace '{id_}': it is another store's (--store), too old, or was not kept")
    if as_json:
        click.echo(to_json(stored))
    else:
        _print_trace(stored)


@traces.command(short_help="Write traces as records.", context_settings=SETTINGS)
@click.option("--out", required=True, metavar="FILE", help="The file to write; gzip where its name ends in .gz.")
@click.option("--with-feedback", is_flag=True, help="Only traces whose feedback scores a model's answer.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["records", "traces"]),
    default="records",
    show_default=True,
    help="Lines for training and evaluation, or for `routemoa judge fit` and `judge replay`.",
)
@store_option
def export(*, out: str, with_feedback: bool, form: str, store_file: str | None) -> None:
    """Write traces as records: questions, answers, scores, dollars and seconds of each model.

    Scores are what feedback says; a model that was not asked, or of whose answer nothing is known, has null. Records
    are what `routemoa scorer train`, `scorer learn`, `evaluate` and `tune` read. Traces without texts are left out.

    \b
    Examples:
      routemoa traces export --out records.jsonl.gz --with-feedback
      routemoa traces export --out graded.jsonl --with-feedback --as traces
      routemoa judge fit graded.jsonl
    """
    from routemoa.datasets.appender import Appender
    from routemoa.datasets.outcomes import record_from_stored
    from routemoa.evaluation.saved_traces import SavedTrace

    if Path(out).exists():
        raise ConfigError(f"{out}: is there already; name another file, or remove it")
    stored = read_stored(store_file, with_feedback=with_feedback)
    written = left_out = 0
    with closing(Appender(out)) as file:
        for each in stored:
            record = record_from_stored(each, with_feedback=with_feedback)
            if record is None:
                left_out += 1
                continue
            answer = each.answer
            file.write(record if form == "records" else SavedTrace(answer.trace, answer.text, dict(record.scores)))
            written += 1
    skipped = f"; {left_out:,} left out, without texts or scores" if left_out else ""
    print_line(f"{out}: {counted(written, form[:-1])}{skipped}", err=True)


@traces.command(short_help="Say which models have changed.", context_settings=SETTINGS)
@click.option("--pool", "pool_file", metavar="FILE", help="Pool file whose prices bills are compared with.")
@store_option
@json_option
def drift(*, pool_file: str | None, store_file: str | None, as_json: bool) -> None:
    """Say which models changed, since when and by how much: quality by feedback, and speed, refusals and price.

    Quality: a cumulative sum of score minus prediction raises an alarm. Without a change, it does in fewer than one of
    300 series of 10,000 outcomes. A fall from 80 to 40 % right is noticed after about 50 outcomes of the model. A model
    needs 100 outcomes first.

    Speed, refusals and price: of all kept traces. Without a change a false alarm of one kind comes once in 100,000
    calls of a model or later, on average, as far as calls are independent. A model needs 400 calls first; its price
    needs none, but --pool, and an endpoint that says what a call cost.

    \b
    Examples:
      routemoa traces drift --pool pool.toml
      routemoa traces drift --json | jq '.drift[].model'
    """
    import msgspec

    from routemoa.training.drift import find_drifts

    residuals = list_residuals(load_outcomes(store_file))
    found = [{**msgspec.to_builtins(d), "change": d.change} for d in find_drifts(residuals)]
    calls, changes = _find_call_drifts(pool_file, store_file)
    if as_json:
        report = {"scores": len(residuals), "drift": found, "calls": calls, "call_drift": msgspec.to_builtins(changes)}
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
        return
    for each in found:
        print_line(describe_drift(each))
    for change in changes:
        print_line(f"{change} since {describe_moment(change.since)}")
    if not found and not changes:
        print_line(f"no drift in {counted(len(residuals), 'score')} and {counted(calls, 'call')}")


def _find_call_drifts(pool_file: str | None, store_file: str | None) -> tuple[int, list[CallDrift]]:
    """Return the number of calls of the kept traces, and what changed in them, in the order in which it shows."""
    from routemoa.core.pool_file.pool import Pool
    from routemoa.routing.call_drift import CallDriftDetector, list_calls

    pool = Pool.from_toml(pool_file, needs_keys=False) if pool_file else ()
    prices = {m.name: m.price for m in pool}
    detector, count, found = CallDriftDetector(), 0, list["CallDrift"]()
    for stored in read_stored(store_file, with_feedback=False):
        for call in list_calls(stored.answer.trace, stored.at, prices):
            count += 1
            found += detector.add(call)
    return count, found


def _print_trace(stored: StoredTrace) -> None:
    """Print what is known of an answer; what models and callers wrote is printed without control characters."""
    from rich.console import Console

    from routemoa.cli.chat.why import explain_answer
    from routemoa.core.text.printable import printable
    from routemoa.core.types import to_json

    def say(text: str) -> None:
        print_line(printable(text))

    answer = stored.answer
    say(f"{stored.id}, {describe_moment(stored.at)}{f', key {stored.tenant}' if stored.tenant else ''}")
    say(f"\nquestion:\n{answer.trace.query.text or '(kept without texts)'}\n")
    Console().print(explain_answer(answer), highlight=False)
    for number, layer in enumerate(answer.trace.layers, 1):
        for proposal in layer.proposals:
            say(f"\n{proposal.model}, layer {number}:\n{proposal.text or '(no text)'}")
    say(f"\nanswer:\n{answer.text or '(no text)'}")
    for feedback in stored.feedback:
        say(f"\nfeedback: {to_json(feedback).decode()}")
