"""No method gains where there is nothing to gain: records whose scores, or answers, are permuted among the models.

Two null hypotheses. With the scores alone permuted (the texts stay) neither names nor agreement tell which model is
right: no method may gain over random panels. With (score, text) pairs permuted, names tell nothing, but votes still do:
methods are compared with the same vote, or the same growth, of randomly chosen models. The oracle knows the scores, so
it always gains: it shows that a leak would be detected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from routemoa.core.types import Scores
from routemoa.datasets.records import Record, read_records
from routemoa.evaluation.outcomes import Outcome
from routemoa.evaluation.replay.methods import METHODS, Replay
from routemoa.evaluation.replay.token_counts import ReplayQuestion
from routemoa.evaluation.statistics import summarize
from tests import SHARED
from tests.evaluation.replay.test_simulator import MODELS, make_records

FILE = SHARED / "data" / "records" / "zeroeval" / "math_l5.jsonl.gz"
DEALS = 3


def permute(records: Sequence[Record], names: Sequence[str], seed: int, *, texts: bool) -> list[Record]:
    """Each question's scores, and its texts with them where `texts`, among other models."""
    out: list[Record] = []
    for r in records:
        order = Random(f"{seed}:{r.id}").sample(names, len(names))
        responses = r.responses or {}
        out.append(
            replace(
                r,
                scores={m: r.scores[o] for m, o in zip(names, order, strict=True)},
                responses={m: responses[o] for m, o in zip(names, order, strict=True)} if texts else dict(responses),
            )
        )
    return out


def learn_prior(records: Sequence[Record], names: Sequence[str]) -> Scores:
    return {m: (sum(r.scores[m] or 0.0 for r in records) + 1) / (len(records) + 2) for m in names}


def make_replay(records: Sequence[Record], names: Sequence[str], prior: Scores) -> Replay:
    order = tuple(sorted(names, key=lambda m: -(prior[m] or 0.0)))
    return Replay([ReplayQuestion(r, names) for r in records], tuple(names), [prior] * len(records), order)


def merge_deals(parts: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """The outcomes of several deals of the same questions, each as a seed of its own."""
    return [replace(o, seed=100 * i + o.seed) for i, part in enumerate(parts) for o in part]


def load_zeroeval() -> tuple[list[Record], list[str]]:
    if not FILE.exists():
        pytest.skip("no ../shared")
    records = list(read_records(FILE))[:300]
    names = [m for m in records[0].scores if all(r.scores.get(m) is not None and (r.responses or {}).get(m)
                                                 for r in records)]  # fmt: skip
    names.sort(key=lambda m: -sum(r.scores[m] or 0.0 for r in records))
    return records, names[::3][:12]


def make_synthetic() -> tuple[list[Record], list[str]]:
    return make_records(200, 5), list(MODELS)


@pytest.mark.parametrize("source", [make_synthetic, load_zeroeval])
def test_on_permuted_scores_no_method_gains(source: Callable[[], tuple[list[Record], list[str]]]) -> None:
    """Neither with priors learned where names meant something (even deals), nor on other permuted questions (odd)."""
    records, names = source()
    half = len(records) // 2
    parts: list[list[Outcome]] = []
    for seed in range(DEALS):
        null = permute(records, names, seed, texts=False)
        prior = learn_prior((null if seed % 2 else records)[half:], names)
        parts.append(make_replay(null[:half], names, prior).run([m for m in METHODS if m != "random"], seed))
        parts[-1] += make_replay(null[:half], names, prior).run(["random"], seed, 5)
    paired = summarize([*merge_deals(parts), *expected_random_model(make_replay(null[:half], names, prior))], 0)[
        "paired"
    ]
    for method in [m for m in METHODS if m != "random"]:
        pair = paired.get(f"{method}|random") or invert(paired[f"random|{method}"])
        for gain in (pair, paired[f"{method}|random-model"]):
            assert (lower_bound(gain) > 0.0) == (method == "oracle"), f"{method}: {gain}"


def lower_bound(pair: dict[str, Any]) -> float:
    """The lower end, at 95 % for all methods together (Bonferroni: 2.9 standard errors for 14 methods, not 1.96)."""
    low, high = pair["ci95"]
    return float(pair["difference"] - 2.9 / 1.96 * (high - low) / 2)


def invert(pair: dict[str, Any]) -> dict[str, Any]:
    low, high = pair["ci95"]
    return {"difference": -pair["difference"], "ci95": [-high, -low]}


def expected_random_model(one: Replay) -> list[Outcome]:
    """The expected score of a random model: a question's mean score, which no permutation changes."""
    out: list[Outcome] = []
    for page in one.questions:
        known = [s for m in one.members if (s := page.record.scores.get(m)) is not None]
        out.append(Outcome("random-model", page.record.task, page.record.id, sum(known) / len(known)))
    return out


@pytest.mark.parametrize("source", [make_synthetic, load_zeroeval])
def test_on_permuted_answers_choosing_models_gains_nothing(
    source: Callable[[], tuple[list[Record], list[str]]],
) -> None:
    """Panels against the same vote of a random panel; RouteMoA against itself with a random prior."""
    records, names = source()
    half = len(records) // 2
    parts: list[list[Outcome]] = []
    for seed in range(DEALS):
        null = permute(records, names, seed, texts=True)
        ours = make_replay(null[:half], names, learn_prior(records[half:], names))
        parts.append(ours.run(["routemoa", "best-single", "fixed-best-3", "random", "shuffled"], seed))
        for method, of in (("routemoa", "random-order"), ("best-single", "random-1"), ("fixed-best-3", "random-3")):
            randomized = [randomize_order(ours, i, seed).run([method], seed)[0] for i in range(half)]
            parts[-1] += [replace(o, method=of) for o in randomized]
    paired = summarize(merge_deals(parts), 0)["paired"]
    for pair in ("routemoa|random-order", "best-single|random-1", "fixed-best-3|random-3", "random|shuffled"):
        low, high = paired[pair]["ci95"]
        assert low <= 0.0 <= high, f"{pair}: {paired[pair]}"


def randomize_order(ours: Replay, question: int, seed: int) -> Replay:
    """One question, with the models in random order."""
    order = Random(f"{seed}:{question}").sample(ours.order, len(ours.order))
    values = sorted(ours.priors[question].values(), key=lambda p: -(p or 0.0))
    prior: Scores = dict(zip(order, values, strict=True))
    return replace(ours, questions=[ours.questions[question]], priors=[prior], order=tuple(order), members=tuple(order))
