"""Two answers to one question, and what a judge or a person says of them. Pure."""

from __future__ import annotations

from msgspec import Struct

from routemoa.judging.pairwise import Verdict, combine_orders

__all__ = ["ComparedPair"]


class ComparedPair(Struct, frozen=True):
    """Two answers to a question, and what is said of them; the first one is the best model's alone."""

    question: str
    """Its key: pairs of one question are drawn together."""
    policy: str
    """What gave the second answer; empty for a labelled pair from elsewhere, which only measures the judge."""
    log_length: float
    """ln(length of the second answer / length of the first)."""
    orders: tuple[Verdict | None, Verdict | None] = (None, None)
    """What the judge preferred of the answers as it was shown them: in this order, then in the other one."""
    label: Verdict | None = None
    """What a person preferred."""
    settled: Verdict | None = None
    """Known without a judge: the answers are equal, or one is missing."""
    extra_calls: float = 0.0
    """Calls that the policy made beyond those of the model alone."""
    extra_cost: float | None = None
    """Dollars, likewise."""

    @property
    def judged(self) -> Verdict | None:
        """Return what the judge says in both orders together."""
        return combine_orders(*self.orders)

    @property
    def result(self) -> Verdict | None:
        """Which answer is better: as settled, else the label, else as judged; None where that is unknown."""
        return self.settled or self.label or self.judged
