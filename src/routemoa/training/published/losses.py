"""The two contrastive losses of RouterDC (arXiv 2409.19886), with which RouteMoA trains its scorer (arXiv 2601.18130).

Both are means of -log(exp(s+ / t) / (exp(s+ / t) + sum over negatives exp(s- / t))), with cosines s, temperature t.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sample_llm_loss", "sample_sample_loss"]

GOOD_SCORE = 0.5  # a model that scores above this on a query is never pushed away from it


def sample_llm_loss(  # noqa: PLR0917
    similarity: Tensor,
    scores: Tensor,
    top_k: int = 3,
    last_k: int = 3,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Queries pulled towards the models that answer them well and away from those that do not; a scalar.

    Each of a query's `top_k` best models with a score above 0 is a positive, contrasted with those of its `last_k`
    worst that score at most 0.5. Means over a query's positives, then over the queries that have any.

    Where this departs from the authors' code: a model that ties with the positive is no negative of it (theirs may set
    a model against itself), and ties for a place among the best or worst are broken by lot, not by column.

    Args:
        similarity: B x M cosines of queries and models.
        scores: B x M in [0, 1], NaN where a model was not measured; such a model is neither best nor worst.
        generator: for the lots; left out, ties go to the earlier column.
    """
    rows, count = scores.shape
    lots = torch.arange(count, device=scores.device).expand(rows, count)
    if generator is not None:
        lots = torch.rand(rows, count, generator=generator).argsort(1).to(scores.device)
    drawn = scores.gather(1, lots)
    best = lots.gather(1, _rank_columns(drawn, worst=False)[:, :top_k])
    worst = lots.gather(1, _rank_columns(drawn, worst=True)[:, :last_k])
    high, low = scores.gather(1, best), scores.gather(1, worst)
    # B x K x L: may this worst model stand against that best one? NaN compares as false.
    against = (high > 0)[:, :, None] & (low <= GOOD_SCORE)[:, None, :] & (low[:, None, :] < high[:, :, None])
    positives = similarity.gather(1, best)
    negatives = similarity.gather(1, worst)[:, None, :].expand(against.shape)
    losses, used = _contrastive_loss(positives, negatives, against, temperature)
    each = used.sum(1)
    return _masked_mean(losses.sum(1) / each.clamp(min=1), each > 0)


def sample_sample_loss(
    embeddings: Tensor,
    groups: Tensor,
    generator: torch.Generator | None = None,
    negatives: int = 3,
    temperature: float = 1.0,
) -> Tensor:
    """Queries of one group pulled together, against queries of other groups; a scalar.

    For each query one other of its group and up to `negatives` of other groups are drawn from the batch; the mean over
    the queries for which there are both.

    Args:
        embeddings: B x d, of any length.
        groups: B integers.
    """
    rows = len(embeddings)
    unit = torch.nn.functional.normalize(embeddings, dim=1)
    cosines = unit @ unit.T
    same = groups[:, None] == groups[None, :]
    mates = same & ~torch.eye(rows, dtype=torch.bool, device=same.device)
    lots = torch.rand(rows, rows, generator=generator).to(same.device) + 1.0  # above 0, which marks what is left out
    mate = (lots * mates).argmax(1, keepdim=True)
    drawn, others = (lots * ~same).topk(min(negatives, rows), dim=1)
    against = ((drawn > 0) & mates.any(1, keepdim=True))[:, None, :]
    losses, used = _contrastive_loss(cosines.gather(1, mate), cosines.gather(1, others)[:, None, :], against, temperature)
    return _masked_mean(losses[:, 0], used[:, 0])


def _rank_columns(scores: Tensor, worst: bool) -> Tensor:
    """B x M columns from best to worst, or from worst to best; what was not measured comes last."""
    last = float("inf") if worst else float("-inf")
    return scores.nan_to_num(nan=last).sort(dim=1, descending=not worst, stable=True).indices


def _contrastive_loss(positives: Tensor, negatives: Tensor, against: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """-log(e^s+ / (e^s+ + sum e^s-)), positives B x K, negatives B x K x L where `against`; and which have any, B x K.

    Written as softplus(logsumexp(s-) - s+); a positive without a negative has the loss 0 and the gradient 0.
    """
    used = against.any(2)
    # A finite stand-in for minus infinity: the gradient of logsumexp over nothing but infinities is NaN.
    pushed = (negatives / temperature).masked_fill(~against, torch.finfo(negatives.dtype).min / 2).logsumexp(2)
    losses = torch.nn.functional.softplus(pushed - positives / temperature)
    return losses.masked_fill(~used, 0.0), used


def _masked_mean(values: Tensor, used: Tensor) -> Tensor:
    """The mean of the values in use; 0, still part of the graph, where none is."""
    return (values * used).sum() / used.sum().clamp(min=1)
