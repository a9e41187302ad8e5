"""Reads the outcomes of a store: traces of which something was said."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from routemoa.core.errors import ConfigError

if TYPE_CHECKING:
    from routemoa.core.types import Scores
    from routemoa.datasets.outcomes import Outcome
    from routemoa.ledger.location import StoreLocation
    from routemoa.ledger.trace_store.traces import StoredTrace
    from routemoa.training.drift import Residual

__all__ = ["find_traces", "list_residuals", "load_outcomes", "read_stored"]


def find_traces(store_file: str | None) -> StoreLocation:
    """Return where the traces of a ledger are. Raises ConfigError: there is no file of them."""
    from routemoa.ledger.location import find_store
    from routemoa.ledger.trace_store.traces import traces_path

    store = find_store(store_file)
    path = traces_path(store)
    if isinstance(path, Path) and not path.is_file():
        raise ConfigError(
            f"{path}: there are no traces; `routemoa serve --store {store}` keeps them, unless [traces] keep = false"
        )
    return path


def read_stored(store_file: str | None, *, with_feedback: bool) -> Iterator[StoredTrace]:
    """Yield the traces of a store, the oldest first. Raises ConfigError."""
    from routemoa.ledger.trace_store.traces import read_traces

    return read_traces(find_traces(store_file), with_feedback=with_feedback)


def load_outcomes(
    store_file: str | None, keeps: Callable[[str], bool] = lambda _: True, unasked: Collection[str] = ()
) -> list[Outcome]:
    """Return the outcomes of a store, the oldest first. Raises ConfigError."""
    from routemoa.datasets.outcomes import read_outcome

    found = (read_outcome(stored, keeps, unasked) for stored in read_stored(store_file, with_feedback=True))
    return sorted((outcome for outcome in found if outcome is not None), key=lambda o: o.at)


def list_residuals(outcomes: Sequence[Outcome], priors: Sequence[Scores] | None = None) -> list[tuple[str, Residual]]:
    """Return (member, outcome) for each score that teaches, the oldest first.

    Args:
        outcomes: the oldest first.
        priors: the scorer's own predictions of each, without what was learned; by default those of the time.
    """
    from routemoa.training.drift import Residual

    predicted = [o.predict(p) for o, p in zip(outcomes, priors or [o.prior for o in outcomes], strict=True)]
    return [
        (model, Residual(o.at, score, prior.get(model)))
        for o, prior in zip(outcomes, predicted, strict=True)
        for model, score in o.taught.items()
        if score is not None
    ]
