"""Searches the facts of traces: by text, key, model, method, cost, agreement, what was given up, feedback. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from msgspec import Struct

from routemoa.gateway.errors import HttpError
from routemoa.gateway.traces.trace_facts import Panel, TraceFacts

__all__ = ["NO_KEY_NAME", "TraceFilter", "list_choices", "read_filter", "search_traces"]

NO_KEY_NAME = "-"
"""Of traces without a tenant, as in the ledger."""
FeedbackFilter = Literal["any", "none", "good", "bad"]
Order = Literal["newest", "cost", "slowest"]
GOOD_SCORE = 0.5
"""A score above it is good, one of at most it is bad."""


class TraceFilter(Struct, frozen=True):
    """What a trace must be to be listed; None wants nothing."""

    text: str = ""
    """Stands in the question, or begins the id; upper and lower case are the same."""
    key: str | None = None
    model: str | None = None
    """The one that was chosen."""
    method: str | None = None
    panel: Panel | None = None
    gave_up: bool = False
    min_cost: float | None = None
    """Dollars."""
    feedback: FeedbackFilter | None = None
    since: float | None = None
    """Seconds since the epoch."""
    order: Order = "newest"


def read_filter(params: Mapping[str, str]) -> TraceFilter:
    """Return the filter that a query string describes; empty values want nothing. Raises HttpError."""
    found = {name: value for name, value in params.items() if value}
    return TraceFilter(
        text=found.get("text", "").casefold().strip(),
        key=found.get("key"),
        model=found.get("model"),
        method=found.get("method"),
        panel=_read_choice(found, "panel", get_args(Panel)),
        gave_up=found.get("gave_up") == "1",
        min_cost=_read_number(found, "min_cost"),
        feedback=_read_choice(found, "feedback", get_args(FeedbackFilter)),
        since=_read_number(found, "since"),
        order=_read_choice(found, "order", get_args(Order)) or "newest",
    )


def search_traces(facts: Iterable[TraceFacts], wanted: TraceFilter) -> list[TraceFacts]:
    """Return the traces that fit, in the order that is wanted; unknown costs and times come last."""
    tests = _make_tests(wanted)
    found = [f for f in facts if all(test(f) for test in tests)]
    if wanted.order == "cost":
        return sorted(found, key=lambda f: -1.0 if f.cost is None else f.cost, reverse=True)
    if wanted.order == "slowest":
        return sorted(found, key=lambda f: -1.0 if f.seconds is None else f.seconds, reverse=True)
    return found


def list_choices(facts: Sequence[TraceFacts]) -> dict[str, list[str]]:
    """Return the keys, models and methods that occur, in alphabetical order."""
    return {
        "keys": sorted({f.tenant or NO_KEY_NAME for f in facts}),
        "models": sorted({f.choice for f in facts if f.choice is not None}),
        "methods": sorted({f.method for f in facts}),
    }


def _make_tests(wanted: TraceFilter) -> list[Callable[[TraceFacts], bool]]:
    """Return a test for each thing that is wanted: none for what is not keeps a search of thousands quick."""
    tests: list[Callable[[TraceFacts], bool]] = []
    if (text := wanted.text) != "":
        tests.append(lambda f: text in f.question.casefold() or f.id.startswith(text))
    if (key := wanted.key) is not None:
        tests.append(lambda f: (f.tenant or NO_KEY_NAME) == key)
    if (model := wanted.model) is not None:
        tests.append(lambda f: f.choice == model)
    if (method := wanted.method) is not None:
        tests.append(lambda f: f.method == method)
    if (panel := wanted.panel) is not None:
        tests.append(lambda f: f.panel == panel)
    if wanted.gave_up:
        tests.append(lambda f: f.gave_up)
    if (least := wanted.min_cost) is not None:
        tests.append(lambda f: f.cost is not None and f.cost >= least)
    if (since := wanted.since) is not None:
        tests.append(lambda f: f.at >= since)
    if (feedback := wanted.feedback) is not None:
        tests.append(lambda f: _has_feedback(f, feedback))
    return tests


def _has_feedback(facts: TraceFacts, wanted: FeedbackFilter) -> bool:
    if wanted in ("any", "none"):
        return (facts.feedback > 0) == (wanted == "any")
    return facts.score is not None and (facts.score > GOOD_SCORE) == (wanted == "good")


def _read_choice(found: Mapping[str, str], name: str, choices: tuple[Any, ...]) -> Any:
    value = found.get(name)
    if value is not None and value not in choices:
        raise HttpError(400, f"'{name}' must be one of {', '.join(choices)}.", param=name)
    return value


def _read_number(found: Mapping[str, str], name: str) -> float | None:
    if (value := found.get(name)) is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not 0 <= number < 1e15:
        raise HttpError(400, f"'{name}' must be a number from 0 up.", param=name)
    return number
