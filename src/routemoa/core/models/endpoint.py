"""One of several endpoints of a member: pure data (`endpoints_table` reads it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

__all__ = ["MAX_PRICE", "PRICE_KEYS", "Endpoint", "mark_far"]

PRICE_KEYS = ("input_price", "output_price", "cached_price", "cache_write_price", "request_price")
MAX_PRICE = 1_000_000
"""No price is higher, in dollars per million tokens or per request: a slip of the pen must not fill the ledger."""


class Endpoint(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of several places where a member answers; what is unset here is as the member has it."""

    url: str
    """Its base URL; a provider's name is replaced by its URL as the file is read."""
    name: str = ""
    """In traces, the ledger and /healthz, which callers can read; its number in the file where unset."""
    model: str | None = None
    """The endpoint's own name for the model."""
    api_key_env: str | None = None
    """The environment variable that holds its key; "" is an endpoint without a key."""
    region: str | None = None
    """Where it is: within a priority, endpoints of the region that this process runs in go first."""
    priority: int = 1
    """Endpoints of a higher number are called only while none of a lower number can be."""
    weight: float = 1.0
    """Its share of the calls, relative to the others of its priority."""
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    cache_write_price: float | None = None
    request_price: float | None = None
    headers: dict[str, str] = {}
    """Sent with its calls, beside the member's."""
    rename: dict[str, str] = {}
    omit: tuple[str, ...] = ()
    is_far: bool = msgspec.field(name="-far", default=False)
    """Whether it is in another region than this process; set by `mark_far`, not a key of the table."""

    def settings(self, member: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a `ModelSpec` that differ here from those of its `member`."""
        fields: dict[str, Any] = {
            "endpoint": self.url,
            "model": self.model or member["model"],
            "api_key_env": (self.api_key_env or None) if self.api_key_env is not None else member["api_key_env"],
            "headers": {**member["headers"], **self.headers},
            "rename": {**member["rename"], **self.rename},
            "omit": tuple(dict.fromkeys((*member["omit"], *self.omit))),
        }
        if self.input_price is not None:  # a price of its own, with none of the member's in it
            fields |= {key: getattr(self, key) for key in PRICE_KEYS} | {"list_price": None}
        return fields


def mark_far(endpoints: Sequence[Endpoint], region: str | None) -> tuple[Endpoint, ...]:
    """Return the endpoints, marked where they are in another region than this process; None is an unknown region."""
    return tuple(msgspec.structs.replace(e, is_far=region is not None and e.region != region) for e in endpoints)
