"""The published losses: worked by hand, and their gradients against finite differences."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason='needs  pip install "routemoa[train]"')

from routemoa.train.losses import sample_llm_loss, sample_sample_loss  # noqa: E402

NAN = math.nan


def contrast(positive: float, *negatives: float) -> float:
    return -math.log(math.exp(positive) / (math.exp(positive) + sum(map(math.exp, negatives))))


def test_sample_llm_by_hand() -> None:
    """Scores 1, 0.8, 0.6, 0: the best two against the worst two, but 0.6 is too good to be pushed away."""
    similarity = torch.tensor([[0.9, 0.5, 0.1, -0.3]])
    scores = torch.tensor([[1.0, 0.8, 0.6, 0.0]])
    found = sample_llm_loss(similarity, scores, top_k=2, last_k=2)
    assert float(found) == pytest.approx((contrast(0.9, -0.3) + contrast(0.5, -0.3)) / 2, abs=1e-6)


def test_sample_llm_with_two_negatives_and_a_temperature() -> None:
    similarity = torch.tensor([[0.4, 0.2, -0.2]])
    scores = torch.tensor([[1.0, 0.0, 0.5]])
    found = sample_llm_loss(similarity, scores, top_k=1, last_k=2, temperature=0.5)
    assert float(found) == pytest.approx(contrast(0.8, 0.4, -0.4), abs=1e-6)


def test_sample_llm_leaves_out_what_says_nothing() -> None:
    """All wrong, all right, or not measured: no loss, and no NaN in the gradient."""
    similarity = torch.randn(3, 3, requires_grad=True)
    scores = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [NAN, NAN, 1.0]])
    loss = sample_llm_loss(similarity, scores)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not similarity.grad.isnan().any()


def test_sample_sample_by_hand() -> None:
    """Two questions of one group at right angles to the one of another: each contrasts cosine 1 with cosine 0."""
    embeddings = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 3.0]])
    found = sample_sample_loss(embeddings, torch.tensor([0, 0, 1]))
    assert float(found) == pytest.approx(contrast(1.0, 0.0), abs=1e-6)  # the third has no mate, and does not count


def test_gradients() -> None:
    torch.manual_seed(0)
    scores = torch.tensor([[1.0, 0.7, 0.2, 0.0], [0.0, 1.0, NAN, 0.4]], dtype=torch.float64)
    similarity = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: sample_llm_loss(s, scores), (similarity,))
    embeddings = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    groups = torch.tensor([0, 0, 1, 1, 2, 2])

    def same_draws(e: object) -> object:
        return sample_sample_loss(e, groups, torch.Generator().manual_seed(1))

    assert torch.autograd.gradcheck(same_draws, (embeddings,))
