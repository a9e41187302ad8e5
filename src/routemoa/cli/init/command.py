"""`routemoa init`: write a pool file of what is there, and try it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from routemoa.cli.options import yes_option
from routemoa.cli.terminal.lines import fold_line, print_line

if TYPE_CHECKING:
    from routemoa.cli.init.discovery import Place
    from routemoa.cli.init.presets import Candidate, PresetName
    from routemoa.cli.init.run import Run
    from routemoa.cli.init.trial import TrialCost

__all__ = ["init"]

ROUNDS = 3
"""How often models are asked for a token: those that do not answer are replaced by others."""
NOTHING_FOUND = (
    "nothing found: no provider's key in the environment, no local server, no GGUF file; export OPENROUTER_API_KEY=... "
    "(https://openrouter.ai/settings/keys) or start Ollama, then run  routemoa init  again; "
    "routemoa demo  needs neither"
)


@click.command(short_help="Write a pool file of the keys, servers and model files that are there.")
@click.option(
    "--preset",
    type=click.Choice(["cheap", "balanced", "best"]),
    help="Which models to take from the providers' lists [default: balanced, or as answered].",
)
@click.option("--out", "-o", "out", metavar="FILE", default="pool.toml", show_default=True, help="The file to write.")
@click.option(
    "--provider",
    "names",
    multiple=True,
    metavar="NAME",
    help='Only this provider or local server, or "local" for GGUF files; may be repeated.',
)
@click.option("--force", "-f", is_flag=True, help="Overwrite the file.")
@click.option("--no-probe", is_flag=True, help="Write the file only; ask no model.")
@yes_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; ask nothing.")
def init(
    *,
    preset: PresetName | None,
    out: str,
    names: tuple[str, ...],
    force: bool,
    no_probe: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Write a pool file of what is there, and try it.

    Looked for are keys in the environment (OPENROUTER_API_KEY, OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY and
    more), servers on their usual ports (Ollama, llama.cpp, vLLM, LM Studio) and GGUF files. The models come from the
    providers' live lists, of families as different as can be, with their prices, context and, where a public table
    knows it, prior. Then each is asked for one token and the mixture one question; you are told first what that may
    cost. A model that does not answer is replaced.

    On a terminal at most three questions are asked, with --yes or without a terminal none. Without a terminal nothing
    is spent unless --yes is given. No file is overwritten without being asked or --force. Keys are never written.

    \b
    Examples:
      routemoa init
      routemoa init --preset cheap --yes
      routemoa init --provider openrouter --provider ollama --out work.toml
    """
    import asyncio
    import os
    from datetime import UTC, datetime

    from routemoa.cli.init.discovery import find_sources
    from routemoa.cli.init.run import Run

    run = Run(Path(out), datetime.now(UTC).date(), as_json, yes, preset or "balanced")
    places = _choose_places(names)
    _check_target(run, force=force)
    with_files = not names or "local" in names
    with run.wait("Looking for models: " + ", ".join([p.provider.title for p in places] + ["GGUF files"] * with_files)):
        run.findings = asyncio.run(find_sources(places, os.environ, run.today, with_files=with_files))
    run.show_findings()
    candidates = _collect_candidates(run)
    if not candidates:
        print_line("no pool file was written" if run.findings else NOTHING_FOUND, err=True)
        _finish(run, code=1)
    if preset is None and run.asks and any(not c.source.local for c in candidates):
        _ask_preset(run, candidates)
    _write(run, _select(run, candidates))
    run.show_models()
    if not no_probe and (cost := _estimate(run)) is not None:
        _try_pool(run, candidates, cost)
    failed = not run.works or (run.answer is not None and run.answer.problem is not None)
    _finish(run, code=1 if failed else 0)


def _choose_places(names: Sequence[str]) -> list[Place]:
    """Return the places to look at: all, or those that were named. Raises ConfigError for an unknown one."""
    import os

    from routemoa.cli.init.discovery import list_places
    from routemoa.core.catalog.providers import LOCAL, load_providers
    from routemoa.core.errors import ConfigError
    from routemoa.core.files.toml import suggest_name

    providers = load_providers()
    places = list_places(providers, os.environ)
    for name in names:
        provider = providers.get(name)
        if provider is None and name != LOCAL:
            raise ConfigError(f"--provider: '{name}' is unknown; {suggest_name(name, [LOCAL, *providers])}")
        if provider is not None and not provider.local and all(p.provider.name != name for p in places):
            page = f" ({provider.key_page})" if provider.key_page else ""
            raise ConfigError(f"--provider {name}: it needs a key: export {' or '.join(provider.keys)}=...{page}")
    return [p for p in places if not names or p.provider.name in names]


def _check_target(run: Run, *, force: bool) -> None:
    """Make sure that the file may be written, before anything is looked for. Raises ConfigError."""
    from routemoa.cli.terminal.files import check_writable
    from routemoa.core.errors import ConfigError

    target = run.target
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder; name a file with --out FILE")
    check_writable(str(target))
    if force or not target.exists():
        return
    remedy = "overwrite it with --force, or name another file with --out FILE"
    if not run.asks:
        raise ConfigError(f"{target} exists: {remedy}")
    if not click.confirm(fold_line(f"{target} exists. Overwrite it?", err=True), err=True):
        print_line("nothing was written; name another file with --out FILE", err=True)
        sys.exit(1)


def _collect_candidates(run: Run) -> list[Candidate]:
    """Return the models of all sources that a preset may take; note how many were left out and why."""
    from routemoa.cli.init.presets import describe_left_out, make_candidates

    candidates = []
    for source in run.sources:
        found, counts = make_candidates(source)
        run.left_out[source.endpoint] = counts
        candidates += found
        if not found:
            why = f" ({describe_left_out(counts)})" if counts else ""
            remedy = "; load one there first" if source.local else ""
            run.warn_once(f"{source.provider.title}: lists no model that a pool could take{why}{remedy}")
    return candidates


def _ask_preset(run: Run, candidates: Sequence[Candidate]) -> None:
    """Show what each preset would take, and ask for one."""
    from routemoa.cli.init.pool_text import build_models
    from routemoa.cli.init.presets import PRESETS

    run.show_presets((name, build_models(run.target, _select(run, candidates, name))) for name in PRESETS)
    chosen = click.prompt("Preset", type=click.Choice(list(PRESETS)), default=run.preset, err=True, show_choices=False)
    run.preset = chosen


def _select(run: Run, candidates: Sequence[Candidate], preset: PresetName | None = None) -> tuple[Candidate, ...]:
    from routemoa.cli.init.gguf_files import measure_memory
    from routemoa.cli.init.presets import choose_models

    memory = measure_memory()
    return choose_models(candidates, preset or run.preset, None if memory is None else int(0.6 * memory))


def _write(run: Run, chosen: Sequence[Candidate]) -> None:
    """Write the file in one step, once it is known to be a pool file."""
    import os

    from routemoa.cli.init.pool_text import build_models, write_pool
    from routemoa.cli.terminal.files import write_file
    from routemoa.core.pool_file.pool import parse_pool

    run.models = build_models(run.target, chosen)
    text = write_pool(run.models, run.preset, run.today, run.list_remarks(), run.list_failures())
    parse_pool(text, str(run.target), run.target.absolute().parent, os.environ)
    write_file(run.target, text.encode())


def _estimate(run: Run) -> TrialCost | None:
    """Say what trying the pool may cost at most, and ask where it costs anything; None where it is not to be tried."""
    from routemoa.cli.init.trial import estimate_trial
    from routemoa.core.catalog.price_list import price_hint
    from routemoa.core.pool_file.pool import Pool
    from routemoa.core.text.dollars import format_dollars

    pool = Pool.from_toml(run.target)
    cost = estimate_trial(pool)
    price = f"at most {format_dollars(cost.total)}" if cost.total else "nothing"
    if cost.unpriced:
        price = f"an unknown amount: no price for {', '.join(cost.unpriced)}"
        run.warn_once(f"{', '.join(cost.unpriced)}: no price is known; {price_hint(pool[cost.unpriced[0]])}")
    run.say()
    if run.asks:
        question = f"Try them now, one token from each, then one question? That costs {price}."
        return cost if click.confirm(fold_line(question, err=True), default=True, err=True) else None
    if run.assume_yes or not (cost.total or cost.unpriced):
        run.say(f"Trying them, one token from each, then one question; that costs {price}.")
        return cost
    run.say(f"Not tried, since that costs {price}:  routemoa pool check --pool {run.target}")
    return None


def _try_pool(run: Run, candidates: Sequence[Candidate], cost: TrialCost) -> None:
    """Ask every model for a token, replace those that do not answer, then ask the mixture one question."""
    from routemoa.cli.init.trial import ask_question, probe_new_models, without_failures
    from routemoa.core.pool_file.pool import Pool

    first = tuple(m.candidate for m in run.models)
    for number in range(1, ROUNDS + 1):
        named = [(m.name, m.candidate) for m in run.models]
        with run.wait("Asking each for one token"):
            probe_new_models(Pool.from_toml(run.target), named, run.results)
        failures = run.results.find_failures(named)
        if not failures:
            break
        run.failures += failures
        candidates, problems = without_failures(candidates, failures, run.results)
        for problem in problems:
            run.warn_once(problem)
        if number == ROUNDS:
            candidates = [c for c in candidates if run.results.has_answered(c)]
        chosen = _select(run, candidates)
        if not chosen:
            run.failures.clear()
            _write(run, first)
            print_line(f"no model answers; mend that, then  routemoa pool check --pool {run.target}", err=True)
            return
        _write(run, chosen)
    if run.works:
        with run.wait("Asking the mixture"):
            run.answer = ask_question(Pool.from_toml(run.target), cost, run.warn_once)
    run.show_trial()


def _finish(run: Run, code: int) -> None:
    """Print what comes next, or the JSON object, and exit where the code is not 0."""
    if run.as_json:
        click.echo(json.dumps(run.to_plain(), indent=2))
    elif run.models and run.works:
        run.show_next_steps()
    if code:
        sys.exit(code)
