"""One model as several candidates: it is asked more than once, or at several reasoning efforts. Pure.

    samples = 3                       "small", "small#2", "small#3"
    efforts = ["low", "high"]         "large@low", "large@high"

Each candidate is a member of the pool like any other: it has its own prior, price and seconds, is called on
disagreement and can be collected, scored and learned about. So self-consistency (samples), Self-MoA (samples and an
aggregator) and escalation of effort are one rule: grow the panel while that pays.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from routemoa.core.types import ModelSpec

__all__ = ["SAMPLE_TEMPERATURE", "expand_candidates"]

SAMPLE_TEMPERATURE = 0.7
"""Of the second sample and the following ones, where the pool file sets none: as in self-consistency (arXiv 2203.11171)
and Self-MoA (arXiv 2502.00674)."""
EFFORT = "reasoning_effort"
"""The field of a request that says how long a model may think."""


def expand_candidates(
    spec: ModelSpec, samples: int | None = None, efforts: Sequence[str] = ()
) -> tuple[ModelSpec, ...]:
    """Return the candidates of a model: each effort, each as often as it is sampled; itself, where it is one.

    Args:
        spec: the model, with its own `samples` and `efforts`.
        samples: instead of its own.
        efforts: instead of its own.
    """
    count, levels = samples or spec.samples, tuple(efforts) or spec.efforts
    plain = replace(spec, samples=1, efforts=(), member=spec.name if count > 1 or levels else None)
    settings = [_with_effort(plain, level) for level in levels] or [plain]
    return tuple(_sample(setting, number) for setting in settings for number in range(1, count + 1))


def _with_effort(spec: ModelSpec, level: str) -> ModelSpec:
    return replace(spec, name=f"{spec.name}@{level}", parameters={**spec.parameters, EFFORT: level})


def _sample(spec: ModelSpec, number: int) -> ModelSpec:
    """Return a model's sample; the first one is asked as the model itself is."""
    if number == 1:
        return spec
    own = {"temperature": SAMPLE_TEMPERATURE, "seed": number, **spec.parameters}
    return replace(spec, name=f"{spec.name}#{number}", parameters=own)
