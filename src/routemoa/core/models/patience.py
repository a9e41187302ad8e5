"""How long to wait for an endpoint: the `[patience]` table of a pool and of its models."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import astuple

from routemoa.core.errors import ConfigError

__all__ = ["Patience", "check_patience"]


class Patience(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Seconds to wait for an endpoint; None is as the pool has it, or its default."""

    connect: float | None = None
    """To connect."""
    first: float | None = None
    """From the request to the first byte of the response, for each attempt."""
    between: float | None = None
    """Between two pieces of a response."""
    total: float | None = None
    """For a whole call, its repetition included."""

    def with_defaults(self, default: Patience) -> Patience:
        """Return this patience, with `default` where a time is unset."""
        own, other = astuple(self), astuple(default)
        return Patience(*(b if a is None else a for a, b in zip(own, other, strict=True)))


def check_patience(patience: Patience, where: str) -> None:
    """Check that each time is seconds, more than 0. Raises ConfigError."""
    for key in Patience.__struct_fields__:
        if (value := getattr(patience, key)) is not None and not 0 < value < float("inf"):
            raise ConfigError(f"{where}: {key} = {value} is out of range; it is seconds, more than 0, or left out")
