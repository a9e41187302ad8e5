"""One answer of a server of which something was said, as the figures of its quality need it."""

from __future__ import annotations

from msgspec import Struct

from routemoa.core.types import Scores

__all__ = ["JudgedAnswer"]


class JudgedAnswer(Struct, frozen=True):
    """An answer with feedback. Scores and probabilities are in [0, 1]; None is unknown."""

    id: str
    at: float
    """Seconds since the epoch."""
    question: str
    is_mixture: bool
    """It was answered by the mixture, not by a baseline or a single model."""
    choice: str | None
    given: float | None
    """Score of the text that was given."""
    prior: Scores
    """Member -> what was predicted before any call."""
    posterior: Scores
    """Member -> what was believed of its answer at the end."""
    scores: Scores
    """Member -> score of its own answer; None where it was not asked, or its answer was not judged."""
    fair_scores: Scores
    """Those of `scores` that teach (`Outcome.taught`): they are known whatever the answer said. A thumb for the given
    answer tells the scores of the members that say the same: of these alone, a member would look better than it is."""
    is_thumb: bool = False
    """Only the given answer was judged."""
    called: tuple[str, ...] = ()
    """The members that wrote an answer of their own."""
    costs: dict[str, float] = {}
    """Member -> dollars of its own answer, where known."""
    seconds: dict[str, float] = {}
    """Member -> seconds of its own answer, where known."""
    cost: float | None = None
    """Dollars of the whole answer."""
    latency: float | None = None
    """Seconds of the whole answer."""
