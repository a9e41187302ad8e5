"""Match people's labels to the pairs of a run, and write the pairs that people are to label. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from routemoa.datasets.pair_labels import PairLabel
from routemoa.evaluation.live.open_policies import AnswerPair
from routemoa.judging.pairwise import Verdict

__all__ = ["MatchedLabels", "foreign_pairs", "match_labels", "pairs_to_label"]

FLIPPED: Mapping[Verdict, Verdict] = {"first": "second", "second": "first", "tie": "tie"}


class MatchedLabels(Struct, frozen=True):
    """What people say of a run's pairs."""

    by_pair: Mapping[int, Verdict]
    """Place of a pair -> which answer is better; "first" is the one of the model alone."""
    unmatched: tuple[PairLabel, ...]
    """Labels of these questions that fit no pair: they are about other answers, or do not say which policy."""


def pairs_to_label(pairs: Sequence[AnswerPair]) -> list[PairLabel]:
    """Return the pairs as lines to label, in an order of the two answers that tells nothing."""
    return [
        PairLabel(p.id, None, p.policy, p.task, p.query, *((p.other, p.alone) if p.is_turned else (p.alone, p.other)))
        for p in pairs
        if p.settled is None
    ]


def match_labels(pairs: Sequence[AnswerPair], labels: Sequence[PairLabel]) -> MatchedLabels:
    """Return which pair each label is about; labels of other questions are left out.

    A label with both texts is about the pair with these texts, in either order. One without is about the pair of its
    question and policy, in the order of `pairs_to_label`.
    """
    places: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        places.setdefault(pair.id, [])
        if pair.settled is None:
            places[pair.id].append(i)
    by_pair: dict[int, Verdict] = {}
    unmatched = []
    for label in labels:
        if label.winner is None or label.id not in places:
            continue
        found = {i: v for i in places[label.id] if (v := _read(label, pairs[i])) is not None}
        if not found or (len(found) > 1 and label.first is None):
            unmatched.append(label)
        else:
            by_pair |= found
    return MatchedLabels(by_pair, tuple(unmatched))


def foreign_pairs(labels: Sequence[PairLabel], asked: Collection[str]) -> list[tuple[AnswerPair, Verdict]]:
    """Return the labelled pairs of questions that were not asked, which only show how well a judge judges.

    Args:
        labels: those without query and texts are left out.
        asked: the ids of the questions that were asked.
    """
    return [
        (AnswerPair(x.task or "labels", x.id, "", x.query, x.first, x.second), x.winner)
        for x in labels
        if x.winner and x.query and x.first and x.second and x.id not in asked
    ]


def _read(label: PairLabel, pair: AnswerPair) -> Verdict | None:
    """Return what a label says of a pair; None where it is about another one."""
    if label.winner is None or label.task not in (None, pair.task) or label.policy not in (None, pair.policy):
        return None
    if label.first is None or label.second is None:
        return FLIPPED[label.winner] if pair.is_turned else label.winner
    texts = label.first.strip(), label.second.strip()
    if texts == (pair.alone, pair.other):
        return label.winner
    return FLIPPED[label.winner] if texts == (pair.other, pair.alone) else None
