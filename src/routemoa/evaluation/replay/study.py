"""A replay from files to figures: the questions and the scorer's view of them, the study, and what must be said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.types import Scores
from routemoa.datasets.records import Record
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.list_prices import PRICE_DATE, load_list_prices
from routemoa.evaluation.replay.pool_sizes import simulate_sizes
from routemoa.evaluation.replay.simulator import ALWAYS, METHODS, Replay
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import compute_savings, summarize
from routemoa.judging.judge_model import read_policy
from routemoa.scoring.trained import load, manifest

__all__ = ["PreparedReplay", "compute_figures", "parse_methods", "prepare_replay"]

RIVALS = ("moa", "smoa")
SAME = "routemoa-no-aggregator"  # nobody writes in a replay: it is left out, and a note says so


class PreparedReplay(Struct, frozen=True):
    """A replay, how many records hold no answers, and which members have no price (None: none was asked for)."""

    replay: Replay
    skipped: int = 0
    unpriced: tuple[str, ...] | None = None


def parse_methods(given: str, models: Iterable[str] = ()) -> list[str]:
    """The methods of a list with commas, and those that stand beside any. Raises ConfigError.

    `models`, where they are known, are what single:NAME may name.
    """
    wanted = [name.strip() for name in given.split(",") if name.strip() not in ("", SAME)]
    known = list(models)
    for name in wanted:
        if name == "self-moa":
            raise ConfigError("--methods: 'self-moa' draws several answers of one model, and records hold one of each")
        single = name.removeprefix("single:") if name.startswith("single:") else None
        if single is not None and known and single not in known:
            raise ConfigError(f"--methods: '{name}' names no model here; known: {', '.join(known)}")
        if single is None and name not in METHODS:
            raise ConfigError(f"--methods: '{name}' cannot be replayed; known: {', '.join(METHODS)}, single:NAME")
    return list(dict.fromkeys([*wanted, *ALWAYS]))


def prepare_replay(
    records: Sequence[Record],
    scorer: str | Path,
    policy: str | None = None,
    *,
    use_list_prices: bool = False,
    judge_auc: float | None = None,
    keep_texts: bool = False,
) -> PreparedReplay:
    """The replay of those records that hold answers of models that a trained scorer knows. Raises ConfigError.

    Args:
        records: also such without answers, which are left out.
        scorer: the folder of a scorer that was trained on other questions.
        policy: a TOML file with a [mixture] table.
        priced: take list prices where the records hold no costs.
        auc: how reliable simulated judges are; None: nobody judges.
        texts: keep questions and answers in the outcomes.
    """
    predictor, chosen = load(scorer).predictor, manifest(scorer)["chosen"]
    usable = [r for r in records if r.responses]
    members = tuple(m for m in predictor.models if any((r.responses or {}).get(m) for r in usable))
    if not members:
        raise ConfigError("no record holds an answer (`responses`) of a model that the scorer knows; nothing to replay")
    rows = predictor.predict([r.query for r in usable])
    place = {m: i for i, m in enumerate(predictor.models)}
    priors: list[Scores] = [{m: float(row[place[m]]) for m in members} for row in rows]
    mean = {m: float(rows[:, place[m]].mean(dtype="float64")) for m in members}
    order = tuple(sorted(members, key=lambda m: (m != chosen["best_single"], -mean[m])))
    three = tuple(m for m in order if m in chosen["best_three"])
    prices = load_list_prices(members) if use_list_prices else {}
    unpriced = tuple(m for m in members if m not in prices and not _costed(usable, m)) if use_list_prices else None
    pages = [ReplayQuestion(r, members, prices) for r in usable]
    mixture, judging = read_policy(policy)
    replay = Replay(
        pages,
        members,
        priors,
        order,
        mixture,
        judging,
        three if len(three) == 3 else (),
        judge_auc,
        keep_texts=keep_texts,
    )
    return PreparedReplay(replay, len(records) - len(usable), unpriced)


def compute_figures(
    prepared: PreparedReplay, methods: Sequence[str], seed: int, seeds: int, sizes: Sequence[int] = ()
) -> tuple[dict[str, Any], list[Outcome]]:
    """All figures of a study as JSON, and the outcomes they are of."""
    replay = prepared.replay
    outcomes = replay.run(methods, seed, seeds)
    found = summarize(outcomes, seed)
    found["savings"] = _savings(outcomes, methods, seed)
    if sizes:
        found["scale"] = simulate_sizes(replay, methods, sizes, seed, seeds)
    if prepared.unpriced:
        found |= {"unpriced": list(prepared.unpriced), "priced": _priced(prepared, methods, seed, seeds)}
    found["notes"] = _notes(prepared, methods, sizes)
    found |= {"models": list(replay.members), "skipped": prepared.skipped, "seed": seed, "seeds": seeds}
    return found, outcomes


def _priced(prepared: PreparedReplay, methods: Sequence[str], seed: int, seeds: int) -> dict[str, Any] | None:
    """The study among the members whose price is known; None where that is no pool."""
    replay = prepared.replay
    left = [m for m in replay.members if m not in (prepared.unpriced or ())]
    if len(left) < 2:
        return None
    names = [m for m in methods if not m.startswith("single:") or m.removeprefix("single:") in left]
    outcomes = replay.restrict_to(left).run(names, seed, seeds)
    return {"models": left, **summarize(outcomes, seed), "savings": _savings(outcomes, names, seed)}


def _savings(outcomes: Sequence[Outcome], methods: Sequence[str], seed: int) -> dict[str, Any]:
    """What RouteMoA saves beside the mixtures that call everybody."""
    pairs = [("routemoa", rival) for rival in RIVALS if rival in methods and "routemoa" in methods]
    return {f"{a}|{b}": compute_savings(outcomes, a, b, seed) for a, b in pairs}


def _costed(records: Sequence[Record], model: str) -> bool:
    return all(r.costs is not None and r.costs.get(model) is not None for r in records)


def _notes(prepared: PreparedReplay, methods: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """What a reader must know before believing the figures."""
    replay = prepared.replay
    notes = [
        "replayed on recorded answers: nobody was called, and no aggregator writes (the leading answer stands in for "
        f"it); {SAME} would be the same and is left out",
        "tokens: prompts as they would be rendered, with answers quoted, and recorded replies; four characters to one",
        "random: panels of RouteMoA's sizes, on questions drawn at random; shuffled: its panels on other questions",
        "best-single and fixed-best-3 were chosen where the scorer was trained; oracle looks at the scores",
    ]
    if any(m in methods for m in RIVALS):
        layers = replay.dense_layers
        notes.append(
            "moa, smoa: the majority of all answers stands in for the aggregator's: a model answers in each layer "
            f"what it once wrote; calls and tokens are counted for {layers} layers and one aggregator"
        )
    if "smoa" in methods:
        notes.append(
            "smoa: its moderator keeps the answers that most gave, and ends the debate when more than half agree"
        )
    if "cascade" in methods and replay.judge_auc is None:
        notes.append(
            "cascade: the cheapest first; an answer stands once a second model gives it (no scores of its own)"
        )
    if replay.judge_auc is None:
        if deaf := [m for m in methods if m in ("routemoa-no-self", "routemoa-no-cross")]:
            notes.append(f"{', '.join(deaf)}: records hold no judgments, so only tokens change without --judges")
    else:
        notes.append(
            f"judges are simulated: scores of others tell right from wrong with an AUC of {replay.judge_auc:g}"
        )
    if any(p.record.costs for p in replay.questions):
        notes.append("dollars: as recorded for each model's plain call; what quoted answers add is not in them")
    if prepared.unpriced is not None:
        notes.append(
            f"dollars without recorded costs: list prices of {PRICE_DATE:%Y-%m-%d} (genai-prices), by the tokens above"
        )
    if prepared.unpriced:
        notes.append(
            f"no price is known of {len(prepared.unpriced)} models: methods that call one of them have no dollars; "
            "`priced` is the same study among the others"
        )
    if sizes:
        notes.append("scale: a random pool for each seed and size; best-single is the best of that pool")
    return notes
