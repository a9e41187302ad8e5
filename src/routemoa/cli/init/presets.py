"""Choose the models of a pool from what providers list: a ceiling on the price, then diversity of families. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Literal

from msgspec import Struct

from routemoa.cli.init.names import (
    ModelName,
    PublishedScore,
    expected_score,
    family_rank,
    find_score,
    is_small,
    parse_name,
)
from routemoa.clients.model_lists.reply import ListedModel
from routemoa.core.catalog.providers import Provider

__all__ = [
    "PRESETS",
    "Candidate",
    "Preset",
    "PresetName",
    "Source",
    "choose_models",
    "describe_left_out",
    "make_candidates",
    "mean_price",
]

PresetName = Literal["cheap", "balanced", "best"]


class Preset(Struct, frozen=True):
    """What a preset stands for."""

    ceiling: float
    """The highest mean of input and output price, in dollars per million tokens."""
    count: int
    """How many models, if there are as many."""
    prefer: Literal["cheap", "balanced", "quality"]
    """Of `[mixture]`."""
    max_local: int
    """Models on this machine beside paid ones."""
    max_size: float
    """Billions of parameters of a model on this machine."""


PRESETS: Mapping[PresetName, Preset] = {
    "cheap": Preset(1.0, 5, "cheap", 2, 10.0),
    "balanced": Preset(6.0, 4, "balanced", 1, 40.0),
    "best": Preset(40.0, 3, "quality", 0, 500.0),
}
LEAST = 3
"""A pool has at least as many models, if that can be, and a pool on this machine alone not more."""
MOST = 5
RECENT = timedelta(days=183)
"""How much older than the newest of its family a model may be."""
OLDEST = timedelta(days=550)
"""How much older than the newest of all a model may be."""


class Source(Struct, frozen=True):
    """Where models were found."""

    provider: Provider
    endpoint: str
    """What stands as `endpoint` in the pool file: a provider's name, a URL, or "local"."""
    models: tuple[ListedModel, ...]
    price_source: str = ""
    """Where the prices of `models` are from, such as "OpenRouter's list of 2026-11-26"."""
    key_variable: str | None = None
    free_only: bool = False
    """The account has no credit."""

    @property
    def local(self) -> bool:
        """Return whether its models run on this machine."""
        return self.provider.local


class Candidate(Struct, frozen=True):
    """A model that a pool could take."""

    source: Source
    listed: ListedModel
    name: ModelName
    score: PublishedScore | None
    note: str | None = None
    """What it should be known of it, such as that it is a preview."""


def make_candidates(source: Source) -> tuple[list[Candidate], Counter[str]]:
    """Return the models of a source that a preset may choose, and how many were left out for which reason."""
    listed = [Candidate(source, m, name := parse_name(m.id), find_score(name)) for m in source.models]
    has_paid = any(not c.listed.free and c.listed.input_price is not None for c in listed)
    names = {key for c in listed if "alias" not in c.name.marks for key in (c.name.base, c.name.family)}
    kept, left_out = [], Counter[str]()
    for candidate in listed:
        reason = _reason_against(candidate, names, has_paid=has_paid)
        if reason is None:
            kept.append(candidate)
        else:
            left_out[reason] += 1
    if not any("special" not in c.name.marks for c in kept):
        return kept, left_out
    special = [c for c in kept if "special" in c.name.marks]
    left_out["for one purpose"] += len(special)
    return [c for c in kept if c not in special], +left_out


def describe_left_out(counts: Mapping[str, int]) -> str:
    """Return in words how many models were left out for which reason, the commonest first."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda item: -item[1]))


def choose_models(
    candidates: Iterable[Candidate], preset: PresetName, memory: int | None = None
) -> tuple[Candidate, ...]:
    """Return the models of a pool: of families as different as can be, then of providers, the best first.

    Superseded models are left out. Of those within the ceiling that a provider offers of one family, the recent ones
    come first: the best by the public tables or, where these do not know all of them, the most expensive. Old models
    and those above the ceiling are taken, the cheapest first, only where a pool would have fewer than three otherwise.

    Args:
        candidates: of all sources.
        preset: the ceiling and the number of models.
        memory: bytes that model files may fill together; None is no limit.
    """
    rules = PRESETS[preset]
    candidates = list(candidates)
    local = [c for c in candidates if c.source.local]
    remote = _without_superseded([c for c in candidates if not c.source.local])
    newest = max((c.listed.created for c in remote if c.listed.created), default=date.min)
    within = [c for c in remote if (mean_price(c) or 0.0) <= rules.ceiling and not _is_old(c, newest)]
    queues = [_by_quality(group, frugal=preset != "best") for group in _group(within)]
    queues += [_by_size(group, rules.max_size) for group in _group(local)]
    count = max(rules.count, len({c.source.endpoint for c in remote})) if remote else LEAST
    enough = len({c.name.base for c in within}) >= LEAST
    most_local = (rules.max_local if enough else LEAST) if remote else count
    chosen = _pick(queues, min(MOST, count), most_local, memory)
    others = sorted((c for c in remote if c not in within), key=lambda c: mean_price(c) or 0.0)
    return (*chosen, *others[: max(0, LEAST - len(chosen))])


def mean_price(candidate: Candidate) -> float | None:
    """Return the mean of input and output price, in dollars per million tokens; None where one is unknown."""
    m = candidate.listed
    return None if m.input_price is None or m.output_price is None else (m.input_price + m.output_price) / 2


def _reason_against(candidate: Candidate, names: set[str], *, has_paid: bool) -> str | None:
    """Return why a preset does not take a model, as words to count; None where it may."""
    listed, name, source = candidate.listed, candidate.name, candidate.source
    if listed.chat is False or (listed.chat is None and "other" in name.marks) or "other" in name.marks:
        return "not for chat"
    if source.local:
        return "run elsewhere" if listed.hosted else None
    if listed.deprecated:
        return "deprecated"
    free = listed.free or name.variant == "free"
    if free != source.free_only and (has_paid or source.free_only):
        return "free (rate limits)" if free else "paid"
    moving = name.short.endswith("latest") and name.family in names
    if listed.id.startswith("~") or name.variant not in ("", "free") or moving:
        return "under another name"
    if "alias" in name.marks and name.base in names:
        return "under another name"
    return None


def _without_superseded(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return of each line of a provider's models the newest; previews only of families that have nothing else."""
    lines: dict[tuple[str, str, str], Candidate] = {}
    for group in _group(candidates):
        lasting = [c for c in group if "preview" not in c.name.marks]
        notes = [] if lasting else [_with_note(c, "a preview: it may change or vanish") for c in group]
        for candidate in sorted(lasting or notes, key=_age, reverse=True):
            lines.setdefault((candidate.source.endpoint, candidate.name.family, candidate.name.line), candidate)
    return list(lines.values())


def _group(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """Return the candidates by provider and family."""
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.source.endpoint, candidate.name.family), []).append(candidate)
    return list(groups.values())


def _by_quality(group: Sequence[Candidate], *, frugal: bool) -> list[Candidate]:
    """Order a family's models: the recent ones by the public tables, else by price; then the others by age.

    `frugal`: where no price is known, those whose names say that they are small come first.
    """
    by_age = sorted(group, key=_age, reverse=True)
    recent = [c for c in by_age if _is_recent(c, by_age[0])]
    scores = {c.listed.id: expected_score(c.name) for c in recent}
    if all(score is not None for score in scores.values()):
        recent.sort(key=lambda c: (scores[c.listed.id] or 0.0, mean_price(c) or 0.0), reverse=True)
    else:
        recent.sort(key=lambda c: mean_price(c) or 0.0, reverse=True)
    if frugal and any(mean_price(c) is None for c in recent):
        recent.sort(key=lambda c: is_small(c.name), reverse=True)
    return [*recent, *(c for c in by_age if c not in recent)]


def _by_size(group: Sequence[Candidate], most: float) -> list[Candidate]:
    """Order the models on this machine: general ones first, the largest within the bound first, the rest by size."""

    def size(candidate: Candidate) -> float:
        return candidate.listed.size or candidate.name.size or 0.0

    within = sorted((c for c in group if size(c) <= most), key=size, reverse=True)
    return [*within, *sorted((c for c in group if c not in within), key=size)]


def _is_old(candidate: Candidate, newest: date) -> bool:
    return candidate.listed.created is not None and newest - candidate.listed.created > OLDEST


def _age(candidate: Candidate) -> tuple[date, tuple[int, ...], str]:
    """Return a key that sorts models by age, as far as list and name tell it."""
    return candidate.listed.created or date.min, candidate.name.version, candidate.name.date


def _is_recent(candidate: Candidate, newest: Candidate) -> bool:
    """Return whether a model belongs to its family's last half year or, without dates, to its last major version."""
    if candidate.listed.created and newest.listed.created:
        return newest.listed.created - candidate.listed.created <= RECENT
    return candidate.name.version[:1] == newest.name.version[:1]


def _pick(queues: Sequence[Sequence[Candidate]], count: int, most_local: int, memory: int | None) -> list[Candidate]:
    """Take models one by one: of the family used least, then of the provider used least, then the best."""
    waiting = [list(queue) for queue in queues]
    chosen: list[Candidate] = []
    families, providers = Counter[str](), Counter[str]()
    models: set[str] = set()
    left = memory
    while len(chosen) < count:
        heads = [queue[0] for queue in waiting if queue]
        if not heads:
            break
        # Of the same model at two providers that with the shorter list is taken: the other has more to offer besides.
        best = min(
            heads,
            key=lambda c: (
                families[c.name.family],
                providers[c.source.endpoint],
                *_promise(c),
                len(c.source.models),
                c.listed.id,
            ),
        )
        for queue in waiting:
            if queue and queue[0] is best:
                del queue[0]
        is_file = best.source.endpoint == "local"
        size = best.listed.bytes or 0 if is_file else 0
        if best.source.local:
            if sum(c.source.local for c in chosen) >= most_local or (left is not None and size > left):
                continue
        elif best.name.base in models:
            continue
        left = None if left is None else left - size
        models.add(best.name.base)
        families[best.name.family] += 1
        providers[best.source.endpoint] += 1
        chosen.append(best)
    return chosen


def _promise(candidate: Candidate) -> tuple[float, tuple[float, int], float]:
    """Return a key that sorts models of different families: by the public figure, by the family's, by price."""
    return -(expected_score(candidate.name) or 0.0), family_rank(candidate.name.family), -(mean_price(candidate) or 0.0)


def _with_note(candidate: Candidate, note: str) -> Candidate:
    return Candidate(candidate.source, candidate.listed, candidate.name, candidate.score, note)
