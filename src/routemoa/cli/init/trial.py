"""Try a new pool: one token from each model, then one question to the mixture; find others for those that fail."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as with_fields

from msgspec.structs import replace

from routemoa.cli.init.discovery import Place, describe_problem
from routemoa.cli.init.presets import Candidate, make_candidates
from routemoa.cli.members.probe import Probe, probe_models
from routemoa.cli.terminal.lines import print_line
from routemoa.cli.terminal.session import run_query
from routemoa.clients.connect import connect
from routemoa.clients.model_lists.fetch import ListProblem, classify_refusal
from routemoa.core.errors import RouteMoAError
from routemoa.core.pool_file.pool import Pool
from routemoa.core.trace import Trace
from routemoa.core.types import Limits, Query
from routemoa.ledger import Store, StoreError, default_path
from routemoa.mixture.engine import RouteMoA

__all__ = [
    "QUESTION",
    "Failure",
    "ProbeResults",
    "TrialAnswer",
    "TrialCost",
    "ask_question",
    "estimate_trial",
    "probe_new_models",
    "without_failures",
]

QUESTION = "Which number is larger, 9.9 or 9.11? Answer with the number only."
PROBE_TOKENS = (30, 16)
"""Tokens read and written, at most, by the probe of one model."""
QUESTION_TOKENS = (400, 600)
"""The same for one of the two models that the question is meant for."""
MAX_COST = 0.10
"""Dollars of the question at most."""
MAX_SECONDS = 120.0
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class TrialCost:
    """The most that a trial may cost, before it begins."""

    probes: float
    """Dollars of the models whose price is known."""
    question: float
    """The limit of the question, in dollars."""
    unpriced: tuple[str, ...] = ()
    """Models whose price is unknown."""

    @property
    def total(self) -> float:
        """Dollars of all that is priced."""
        return self.probes + self.question


@dataclass(frozen=True)
class Failure:
    """A model that did not answer its probe."""

    candidate: Candidate
    name: str
    problem: ListProblem
    reason: str


@dataclass(frozen=True)
class TrialAnswer:
    """What the mixture answered."""

    text: str
    trace: Trace | None = None
    problem: str | None = None


@dataclass
class ProbeResults:
    """The probes of all rounds, by the model's id at its provider."""

    probes: dict[tuple[str, str], Probe] = field(default_factory=dict)

    def has_answered(self, candidate: Candidate) -> bool:
        """Return whether a model was asked and answered."""
        probe = self.probes.get((candidate.source.endpoint, candidate.listed.id))
        return probe is not None and probe.ok

    def find_failures(self, models: Sequence[tuple[str, Candidate]]) -> list[Failure]:
        """Return the failures among models, given as name and candidate."""
        failures = []
        for name, candidate in models:
            probe = self.probes.get((candidate.source.endpoint, candidate.listed.id))
            if probe is not None and (failure := _find_failure(name, candidate, probe)) is not None:
                failures.append(failure)
        return failures


def estimate_trial(pool: Pool) -> TrialCost:
    """Return what probing every model and one question may cost at most."""
    priced = [m for m in pool if m.price is not None]
    probes = sum(m.worst_cost(*PROBE_TOKENS) or 0.0 for m in priced)
    most_expensive = sorted((m.worst_cost(*QUESTION_TOKENS) or 0.0 for m in priced), reverse=True)[:2]
    question = min(MAX_COST, math.ceil(sum(most_expensive) * 1000) / 1000)
    return TrialCost(probes, question, tuple(m.name for m in pool if m.price is None))


def probe_new_models(pool: Pool, models: Sequence[tuple[str, Candidate]], results: ProbeResults) -> None:
    """Ask those models for one token that were not asked before, and add the results."""
    new = {n: c for n, c in models if (c.source.endpoint, c.listed.id) not in results.probes}
    if not new:
        return
    part = with_fields(pool, models=tuple(m for m in pool if m.name in new))
    for probe in asyncio.run(probe_models(part)):
        candidate = new[probe.name]
        results.probes[candidate.source.endpoint, candidate.listed.id] = probe


def without_failures(
    candidates: Sequence[Candidate], failures: Sequence[Failure], results: ProbeResults
) -> tuple[list[Candidate], list[str]]:
    """Return the models that may still be taken after some failed, and a line for each thing that went wrong.

    A key that is refused takes all models of its provider away that did not answer; an account without credit all that
    are not free.
    """
    failed = {(f.candidate.source.endpoint, f.candidate.listed.id) for f in failures}
    left = [c for c in candidates if (c.source.endpoint, c.listed.id) not in failed]
    lines: list[str] = []
    for source in {f.candidate.source.endpoint: f.candidate.source for f in failures}.values():
        own = [f for f in failures if f.candidate.source.endpoint == source.endpoint]
        place = Place(source.provider, source.provider.url, source.key_variable)
        account = next((f for f in own if f.problem in (ListProblem.KEY, ListProblem.BALANCE)), None)
        if account is None:
            lines += [f"{f.name}: {f.reason}" for f in own]
            continue
        line = describe_problem(place, account.problem, account.reason.partition(";")[0])
        if source.free_only and account.problem == ListProblem.BALANCE:
            lines += [f"{f.name}: {f.reason}" for f in own]
            continue
        left = [c for c in left if c.source.endpoint != source.endpoint or results.has_answered(c)]
        if account.problem == ListProblem.BALANCE:
            free, _ = make_candidates(replace(source, free_only=True))
            left += free
            line += "; until then its free models are taken, which are limited to a few calls a minute" if free else ""
        lines.append(line)
    return left, lines


def ask_question(pool: Pool, cost: TrialCost, report: Callable[[str], None]) -> TrialAnswer:
    """Ask the mixture one question, within the limits that were announced; the calls stand in the ledger."""
    return asyncio.run(_ask(pool, cost, report))


async def _ask(pool: Pool, cost: TrialCost, report: Callable[[str], None]) -> TrialAnswer:
    limits = Limits(max_seconds=MAX_SECONDS, max_calls=4, max_output_tokens=2 * QUESTION_TOKENS[1])
    if not cost.unpriced and cost.question:
        limits = Limits(max_cost=cost.question, max_seconds=MAX_SECONDS)
    try:
        store: Store | None = Store(default_path())
    except StoreError as e:
        report(f"warning: the calls are not written to the ledger: {e}")
        store = None
    client = connect(pool)
    method = RouteMoA(pool, client)
    try:
        recorder = None if store is None else store.recorder(None, method.name)
        built = await run_query(method, Query(Query.from_text(QUESTION).messages, limits=limits), recorder=recorder)
    except RouteMoAError as e:
        return TrialAnswer("", problem=str(e))
    finally:
        await client.close()
        if store is not None:
            await store.aclose()
    return TrialAnswer(_CONTROL.sub("", built.text).strip()[:500], built.trace)


def _find_failure(name: str, candidate: Candidate, probe: Probe) -> Failure | None:
    """Return what a probe found wrong; a model that is only busy now stays in the pool."""
    if probe.ok or probe.problem is None:
        return None
    reason = probe.problem.partition(f"'{probe.name}': ")[2].partition(": ")[2] or probe.problem
    problem = ListProblem.OTHER if probe.status is None else classify_refusal(probe.status, reason)
    if probe.status == 429 and problem == ListProblem.OTHER:
        print_line(f"{name}: busy now (HTTP 429); it stays in the pool", err=True)
        return None
    return Failure(candidate, name, problem, reason)
