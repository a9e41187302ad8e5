"""The two contrastive losses against numbers worked out by hand, and their gradients against finite differences."""

from __future__ import annotations

from math import exp, log
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from routemoa.training.published.losses import sample_llm_loss, sample_sample_loss  # noqa: E402  torch must be there

NAN = float("nan")


def double(rows: object) -> Any:
    return torch.tensor(rows, dtype=torch.float64)


def test_sample_llm_by_hand() -> None:
    # Best two: columns 0 and 2, both above 0. Worst two: column 3 (0.0) and column 1 (0.4), both at most 0.5.
    # Negatives: e^-0.1 + e^0.2 = 0.904837 + 1.221403 = 2.126240
    # column 0: -log(e^0.5 / (e^0.5 + 2.126240)) = -log(1.648721 / 3.774961) = 0.828390
    # column 2: -log(e^0.1 / (e^0.1 + 2.126240)) = -log(1.105171 / 3.231411) = 1.072919
    loss = sample_llm_loss(double([[0.5, 0.2, 0.1, -0.1]]), double([[1.0, 0.4, 0.8, 0.0]]), top_k=2, last_k=2)
    assert float(loss.detach()) == pytest.approx((0.828390 + 1.072919) / 2, abs=1e-5)


def test_a_worst_model_above_one_half_is_no_negative() -> None:
    # Worst two: column 2 (0.1) and column 1 (0.6, left out). -log(e^0.3 / (e^0.3 + e^0.4)) = log(1 + e^0.1)
    loss = sample_llm_loss(double([[0.3, 9.0, 0.4]]), double([[0.9, 0.6, 0.1]]), top_k=1, last_k=2)
    assert float(loss.detach()) == pytest.approx(log(1 + exp(0.1)))


def test_temperature_divides_the_cosines() -> None:
    loss = sample_llm_loss(double([[0.3, 0.4]]), double([[1.0, 0.0]]), temperature=0.1)
    assert float(loss.detach()) == pytest.approx(log(1 + exp((0.4 - 0.3) / 0.1)))


def test_what_was_not_measured_is_neither_positive_nor_negative() -> None:
    scores = double([[NAN, 1.0, 0.0, NAN]])
    similarity = double([[5.0, 0.1, 0.3, -5.0]]).requires_grad_()
    loss = sample_llm_loss(similarity, scores)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(log(1 + exp(0.2)))
    assert similarity.grad[0, 0] == 0
    assert similarity.grad[0, 3] == 0


@pytest.mark.parametrize("scores", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [NAN, NAN, NAN], [0.3, 0.3, 0.3]])
def test_a_query_that_tells_nothing_adds_nothing(scores: list[float]) -> None:
    telling = sample_llm_loss(double([[0.1, 0.2, 0.3]]), double([[1.0, 0.0, 0.0]]))
    similarity = double([[0.1, 0.2, 0.3], [0.5, 0.6, 0.7]]).requires_grad_()
    both = sample_llm_loss(similarity, double([[1.0, 0.0, 0.0], scores]))
    both.backward()
    assert float(both.detach()) == pytest.approx(float(telling))
    assert similarity.grad[1].tolist() == [0.0, 0.0, 0.0]
    alone = double([[0.5, 0.6, 0.7]]).requires_grad_()
    nothing = sample_llm_loss(alone, double([scores]))
    nothing.backward()
    assert float(nothing.detach()) == 0.0
    assert alone.grad.tolist() == [[0.0, 0.0, 0.0]]


def test_ties_are_broken_by_lot() -> None:
    # Four right models compete for one place among the positives: with a generator, each gets its turn.
    similarity = torch.zeros(400, 5, dtype=torch.float64, requires_grad=True)
    scores = double([[1.0, 1.0, 1.0, 1.0, 0.0]] * 400)
    sample_llm_loss(similarity, scores, top_k=1, generator=torch.Generator().manual_seed(0)).backward()
    pulled = (similarity.grad < 0).sum(0).tolist()
    assert sum(pulled) == 400
    assert min(pulled[:4]) > 60
    assert pulled[4] == 0


def test_sample_sample_by_hand() -> None:
    # Query 0 along x, query 1 at 60 degrees from it (cosine 0.5), both of group 0; query 2 along y, group 1.
    # 0: mate 1 (0.5), negative 2 (0):                    log(1 + e^(0 - 0.5))        = 0.474077
    # 1: mate 0 (0.5), negative 2 (sin 60 = 0.866025):    log(1 + e^(0.866025 - 0.5)) = 0.892817
    # 2: no other of its group: adds nothing.
    embeddings = double([[2.0, 0.0], [0.5, 0.8660254], [0.0, 3.0]])  # their lengths do not count
    loss = sample_sample_loss(embeddings, torch.tensor([0, 0, 1]))
    assert float(loss.detach()) == pytest.approx((0.474077 + 0.892817) / 2, abs=1e-5)


def test_three_others_at_most() -> None:
    # All at right angles or the same: mates have cosine 1, the five others 0, of which three are drawn.
    embeddings = double([[1.0, 0.0]] * 2 + [[0.0, 1.0]] * 5)
    loss = sample_sample_loss(embeddings, torch.tensor([0, 0, 1, 1, 1, 1, 1]), torch.Generator().manual_seed(0))
    first, others = log(1 + 3 * exp(-1)), log(1 + 2 * exp(-1))  # the five have only two of another group
    assert float(loss.detach()) == pytest.approx((2 * first + 5 * others) / 7)


def test_one_group_alone_is_no_loss() -> None:
    embeddings = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    loss = sample_sample_loss(embeddings, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not embeddings.grad.isnan().any()


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    similarity = torch.rand(6, 7, dtype=torch.float64, generator=generator).requires_grad_()
    scores = torch.rand(6, 7, dtype=torch.float64, generator=generator)
    scores[0, :3], scores[1] = NAN, NAN
    assert torch.autograd.gradcheck(lambda s: sample_llm_loss(s, scores, temperature=0.5), [similarity])
    embeddings = torch.randn(7, 4, dtype=torch.float64, generator=generator).requires_grad_()
    groups = torch.tensor([0, 0, 1, 1, 1, 2, 0])

    def pulled(e: Any) -> Any:  # the same draws every time
        return sample_sample_loss(e, groups, torch.Generator().manual_seed(1), temperature=0.5)

    assert torch.autograd.gradcheck(pulled, [embeddings])
