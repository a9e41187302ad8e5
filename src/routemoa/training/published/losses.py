"""The two contrastive losses of RouterDC (arXiv 2409.19886), with which RouteMoA trains its scorer (arXiv 2601.18130).

Both are means of -log(exp(s+ / t) / (exp(s+ / t) + sum over negatives exp(s- / t))), with cosines s, temperature t.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sample_llm_loss", "sample_sample_loss"]

GOOD_SCORE = 0.5
"""A model that scores above this on a query is never pushed away from it."""
NEGATIVES = 3


def sample_llm_loss(
    similarity: Tensor,
    scores: Tensor,
    *,
    top_k: int = 3,
    last_k: int = 3,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Pull queries towards the models that answer them well and away from those that do not; returns a scalar.

    Each of a query's `top_k` best models with a score above 0 is a positive, contrasted with those of its `last_k`
    worst that score at most 0.5. The loss is the mean over a query's positives, then over the queries that have any.

    It departs from the authors' code in two ways: a model that ties with the positive is no negative of it (theirs may
    set a model against itself), and ties for a place among the best or worst are broken at random, not by column.

    Args:
        similarity: B x M cosines of queries and models.
        scores: B x M in [0, 1], NaN where a model was not measured; such a model is neither best nor worst.
        top_k: candidates for positives.
        last_k: candidates for negatives.
        temperature: divides the cosines.
        generator: breaks the ties; None gives them to the earlier column.
    """
    rows, count = scores.shape
    order = torch.arange(count, device=scores.device).expand(rows, count)
    if generator is not None:
        order = torch.rand(rows, count, generator=generator).argsort(1).to(scores.device)
    shuffled = scores.gather(1, order)
    best = order.gather(1, _rank_columns(shuffled, worst=False)[:, :top_k])
    worst = order.gather(1, _rank_columns(shuffled, worst=True)[:, :last_k])
    high, low = scores.gather(1, best), scores.gather(1, worst)
    # B x K x L: is this worst model a negative of that best one? NaN compares as false.
    is_negative = (high > 0)[:, :, None] & (low <= GOOD_SCORE)[:, None, :] & (low[:, None, :] < high[:, :, None])
    positives = similarity.gather(1, best)
    negatives = similarity.gather(1, worst)[:, None, :].expand(is_negative.shape)
    losses, used = _contrastive_loss(positives, negatives, is_negative, temperature)
    counts = used.sum(1)
    return _masked_mean(losses.sum(1) / counts.clamp(min=1), counts > 0)


def sample_sample_loss(
    embeddings: Tensor,
    groups: Tensor,
    generator: torch.Generator | None = None,
    *,
    temperature: float = 1.0,
) -> Tensor:
    """Pull queries of one group together, and away from queries of other groups; returns a scalar.

    For each query one other of its group and up to NEGATIVES of other groups are drawn from the batch. The loss is
    the mean over the queries for which there are both.

    Args:
        embeddings: B x d, of any length.
        groups: B integers.
        generator: of the draws.
        temperature: divides the cosines.
    """
    rows = len(embeddings)
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    cosines = unit @ unit.T
    same = groups[:, None] == groups[None, :]
    mates = same & ~torch.eye(rows, dtype=torch.bool, device=same.device)
    draws = torch.rand(rows, rows, generator=generator).to(same.device) + 1.0  # above 0, which marks what is left out
    mate = (draws * mates).argmax(1, keepdim=True)
    values, others = (draws * ~same).topk(min(NEGATIVES, rows), dim=1)
    is_negative = ((values > 0) & mates.any(1, keepdim=True))[:, None, :]
    pulled, pushed = cosines.gather(1, mate), cosines.gather(1, others)[:, None, :]
    losses, used = _contrastive_loss(pulled, pushed, is_negative, temperature)
    return _masked_mean(losses[:, 0], used[:, 0])


def _rank_columns(scores: Tensor, worst: bool) -> Tensor:
    """Return B x M columns from best to worst, or from worst to best; what was not measured comes last."""
    last = float("inf") if worst else float("-inf")
    return scores.nan_to_num(nan=last).sort(dim=1, descending=not worst, stable=True).indices


def _contrastive_loss(
    positives: Tensor, negatives: Tensor, is_negative: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return -log(e^s+ / (e^s+ + sum e^s-)) of each positive, B x K, and which of them have a negative, B x K.

    Positives are B x K; negatives are B x K x L, used where `is_negative`. Written as softplus(logsumexp(s-) - s+); a
    positive without a negative has the loss 0 and the gradient 0.
    """
    used = is_negative.any(2)
    # A finite stand-in for minus infinity: the gradient of logsumexp over nothing but infinities is NaN.
    floor = torch.finfo(negatives.dtype).min / 2
    pushed = (negatives / temperature).masked_fill(~is_negative, floor).logsumexp(2)
    losses = torch.nn.functional.softplus(pushed - positives / temperature)
    return losses.masked_fill(~used, 0.0), used


def _masked_mean(values: Tensor, used: Tensor) -> Tensor:
    """Return the mean of the values in use; 0, still part of the graph, where none is."""
    return (values * used).sum() / used.sum().clamp(min=1)
