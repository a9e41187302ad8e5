"""One model as several candidates: it is asked more than once, or at several reasoning efforts. Pure.

    samples = 3                       "small", "small#2", "small#3"
    efforts = ["low", "high"]         "large@low", "large@high"
    orders = 3                        "small", "small~2", "small~3", where a question has options to reorder
    code_samples = 3                  "small", "small~2", "small~3", where code is run

Each candidate is a member of the pool like any other: it has its own prior, price and seconds, is called on
disagreement and can be collected, scored and learned about. So self-consistency (samples), Self-MoA (samples and an
aggregator) and escalation of effort are one rule: grow the panel while that pays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from routemoa.core.errors import ConfigError
from routemoa.core.types import ModelSpec

__all__ = [
    "SAMPLE_TEMPERATURE",
    "add_votes",
    "count_votes",
    "draw_again",
    "expand_candidates",
    "expand_models",
    "find_samples",
    "names_of_votes",
    "plain_name",
]

SAMPLE_TEMPERATURE = 0.7
"""Of the second sample and the following ones, where the pool file sets none above 0 (there all would be the same): as
in self-consistency (arXiv 2203.11171) and Self-MoA (arXiv 2502.00674)."""
SAMPLE_MARK, VOTE_MARK = "#", "~"
SEEDS = 2**31
"""Every endpoint takes a non-negative seed of 31 bits."""
EFFORT = "reasoning_effort"
"""The field of a request that says how long a model may think."""


def expand_candidates(
    spec: ModelSpec, samples: int | None = None, efforts: Sequence[str] = ()
) -> tuple[ModelSpec, ...]:
    """Return the candidates of a model: each effort, each as often as it is sampled; itself, where it is one.

    Args:
        spec: the model, with its own `samples` and `efforts`.
        samples: instead of its own.
        efforts: instead of its own; one that is named twice counts once.
    """
    count, levels = samples or spec.samples, tuple(dict.fromkeys(efforts)) or spec.efforts
    plain = replace(spec, samples=1, efforts=(), member=spec.name if count > 1 or levels else None)
    settings = [_with_effort(plain, level) for level in levels] or [plain]
    return tuple(_sample(setting, number) for setting in settings for number in range(1, count + 1))


def expand_models(
    models: Iterable[ModelSpec], samples: int | None = None, efforts: Sequence[str] = ()
) -> tuple[ModelSpec, ...]:
    """Return the candidates of all models; one that is a candidate stays.

    Raises:
        ConfigError: another model has a candidate's name already.
    """
    found = tuple(c for m in models for c in ((m,) if m.member else expand_candidates(m, samples, efforts)))
    return _check_names(found)


def add_votes(models: Iterable[ModelSpec]) -> tuple[ModelSpec, ...]:
    """Return the models, each followed by its further votes: itself with the options of a multiple choice in other
    orders, or drawn again.

    Only a mixture asks so, and only where quality is preferred (`judging.votes`).

    Raises:
        ConfigError: another model has a candidate's name already.
    """
    return _check_names(tuple(c for model in models for c in _expand_votes(model)))


def names_of_votes(model: ModelSpec) -> tuple[str, ...]:
    """Return the name of a model, and those of its further votes."""
    return (model.name, *(f"{model.name}{VOTE_MARK}{number}" for number in range(2, count_votes(model) + 1)))


def count_votes(model: ModelSpec) -> int:
    """Return how often a mixture that prefers quality may ask a model, at most."""
    return max(model.orders, model.code_samples)


def plain_name(model: ModelSpec) -> str:
    """Return the name of the model that a candidate is a vote of."""
    return model.name.removesuffix(f"{VOTE_MARK}{model.vote}")


def find_samples(names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return the places of a model's further samples, of each model that has several: "x#2" and "x#3" beside "x".

    They are drawn alike, so what is known of one is known of all. The first is asked as the model itself is, which may
    be at another temperature.
    """
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        model, mark, number = name.rpartition(SAMPLE_MARK)
        if mark and number.isdecimal() and model in names:
            found.setdefault(model, []).append(place)
    return tuple(tuple(places) for places in found.values() if len(places) > 1)


def draw_again(spec: ModelSpec, number: int, parameters: Mapping[str, Any]) -> ModelSpec:
    """Return a model as it is asked for one more answer to a question, under its own name.

    Where the pool file fixes a temperature above 0, that one is used.

    Args:
        spec: the model; its parameters go before the caller's.
        number: of the sample, which shifts the seed.
        parameters: of the caller's request.
    """
    own = spec.parameters
    first = own.get("seed", parameters.get("seed"))
    drawn = {"temperature": own.get("temperature") or SAMPLE_TEMPERATURE, "seed": _shift_seed(first, number)}
    return replace(spec, parameters={**own, **drawn})


def _shift_seed(first: object, number: int) -> int:
    return ((first if isinstance(first, int) else 0) + number) % SEEDS


def _expand_votes(model: ModelSpec) -> list[ModelSpec]:
    if count_votes(model) == 1:
        return [model]
    member = model.member or model.name
    return [replace(model, name=n, vote=i, member=member) for i, n in enumerate(names_of_votes(model), 1)]


def _check_names(models: tuple[ModelSpec, ...]) -> tuple[ModelSpec, ...]:
    names = [m.name for m in models]
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise ConfigError(f"'{twice}' would be the name of two models: rename one, or ask for other candidates")
    return models


def _with_effort(spec: ModelSpec, level: str) -> ModelSpec:
    return replace(spec, name=f"{spec.name}@{level}", parameters={**spec.parameters, EFFORT: level})


def _sample(spec: ModelSpec, number: int) -> ModelSpec:
    """Return a model's sample; the first one is asked as the model itself is."""
    if number == 1:
        return spec
    return replace(draw_again(spec, number - 1, {}), name=f"{spec.name}{SAMPLE_MARK}{number}", orders=1, code_samples=1)
