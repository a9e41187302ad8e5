"""The tenants of a server: their keys, what each may use, and its budget of a day and a month. Pure.

A tenant stands in the pool file, with its secret in the environment, or is a key of the store (`api_keys`). Of either
only a digest is kept: it cannot be shown, logged or traced.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Literal, get_args

from msgspec import Struct

from routemoa.core.access.secret_keys import digest_secret

__all__ = [
    "ALL_TENANTS",
    "NO_KEY",
    "SPANS",
    "BudgetWindows",
    "Span",
    "SpendingLimits",
    "StoredKey",
    "StoredSecret",
    "Tenant",
    "Tenants",
    "find_windows",
    "format_time",
]

ALL_TENANTS = "*"
"""The key under which the spending of all callers together is counted; no tenant may have this name."""
NO_KEY = "-"
"""The key under which calls without a tenant are recorded; no tenant may have this name."""

Span = Literal["day", "month"]
SPANS: tuple[Span, ...] = get_args(Span)


class SpendingLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars that may be spent in a UTC calendar day and month, as in the table `[totals]`; None is no limit."""

    max_cost_per_day: float | None = None
    max_cost_per_month: float | None = None

    def __bool__(self) -> bool:
        return self.max_cost_per_day is not None or self.max_cost_per_month is not None

    def for_span(self, span: Span) -> float | None:
        """Return the limit of a day or of a month, in dollars."""
        return self.max_cost_per_day if span == "day" else self.max_cost_per_month


NO_LIMITS = SpendingLimits()


class Tenant(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[tenant]]` table, or a key of the store. What is None is not limited."""

    name: str
    key_env: str
    """The environment variable that holds its secret; empty for a key of the store."""
    max_cost_per_day: float | None = None
    max_cost_per_month: float | None = None
    models: tuple[str, ...] | None = None
    """The models of the pool that it may name; where only `methods` are listed, none."""
    methods: tuple[str, ...] | None = None
    """The methods that it may name; where only `models` are listed, none."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Of prompts and answers, all calls of a request together."""
    concurrent_streams: int | None = None
    """Streamed answers at the same time."""

    @property
    def limits(self) -> SpendingLimits:
        """Its budget."""
        return SpendingLimits(self.max_cost_per_day, self.max_cost_per_month)

    @property
    def has_rates(self) -> bool:
        """Return whether its requests, tokens or streams are limited."""
        return (self.requests_per_minute, self.tokens_per_minute, self.concurrent_streams) != (None, None, None)

    @property
    def is_restricted(self) -> bool:
        """Return whether it may name only some models and methods."""
        return self.models is not None or self.methods is not None

    def may_use(self, name: str, *, is_method: bool) -> bool:
        """Return whether it may name a method, or else a model of the pool."""
        if not self.is_restricted:
            return True
        return name in ((self.methods if is_method else self.models) or ())


class StoredSecret(Struct, frozen=True):
    """One secret of a stored key: the current one, or one that was rotated and is accepted for a while."""

    digest: bytes
    """The SHA-256 of the key."""
    prefix: str
    """The key's first characters, by which a person can tell it from others."""
    created: float
    """Seconds since the epoch."""
    expires: float | None = None
    """Until when it is accepted, in seconds since the epoch; None is as long as its key."""


class StoredKey(Struct, frozen=True):
    """A key that is kept in the store: a tenant with an expiry, which can be revoked and rotated."""

    tenant: Tenant
    created: float
    """Seconds since the epoch."""
    expires: float | None = None
    """Seconds since the epoch; None is never."""
    revoked: float | None = None
    """When it was revoked, in seconds since the epoch."""
    secrets: tuple[StoredSecret, ...] = ()
    """Oldest first; the last one is the current one."""

    def accepts(self, secret: StoredSecret, now: float) -> bool:
        """Return whether one of its secrets lets a request in at a moment."""
        ends = [end for end in (self.expires, secret.expires, self.revoked) if end is not None]
        return now < min(ends, default=float("inf"))

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        """Return whether it is in use at a moment."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


@dataclass(frozen=True)
class Tenants:
    """All tenants. Iterating gives those of the file in its order, then those of the store."""

    members: tuple[Tenant, ...] = ()
    """Of the pool file."""
    totals: SpendingLimits = field(default_factory=SpendingLimits)
    """The budget of all callers together."""
    digests: tuple[bytes, ...] = field(default=(), repr=False)
    """Of the members' secrets, in their order."""
    keys: tuple[StoredKey, ...] = field(default=(), repr=False)
    """Of the store."""

    def __iter__(self) -> Iterator[Tenant]:
        yield from self.members
        yield from (key.tenant for key in self.keys)

    def __len__(self) -> int:
        return len(self.members) + len(self.keys)

    def with_keys(self, keys: Iterable[StoredKey]) -> Tenants:
        """Return the tenants of the file with these keys of the store; a key with the name of one is left out."""
        names = {tenant.name for tenant in self.members}
        return replace(self, keys=tuple(key for key in keys if key.tenant.name not in names))

    def prepare(self) -> Tenants:
        """Return the same tenants, with all that is looked up in them sorted."""
        _ = self._by_digest, self._limits, self.budgeted
        return self

    def find(self, bearer: str, now: float = 0.0) -> Tenant | None:
        """Return the tenant with this secret, or None.

        How long that takes does not depend on how much of a secret is right: whole digests are compared.

        Args:
            bearer: the secret.
            now: seconds since the epoch, by which keys of the store expire.
        """
        given = digest_secret(bearer)
        found = None
        for tenant, digest in zip(self.members, self.digests, strict=True):
            if hmac.compare_digest(given, digest):
                found = tenant
        stored = self._by_digest.get(given)
        if stored is not None and stored[0].accepts(stored[1], now):
            return stored[0].tenant
        return found

    def limits(self, name: str | None) -> SpendingLimits:
        """Return the budget of the tenant with this name; any other name has no limits."""
        return self._limits.get(name, NO_LIMITS)

    @property
    def have_budgets(self) -> bool:
        """Return whether anything of dollars is limited, for one tenant or for all together."""
        return bool(self.totals) or bool(self.budgeted)

    @cached_property
    def budgeted(self) -> frozenset[str]:
        """The names of the tenants that have a budget of their own."""
        return frozenset(t.name for t in self if t.limits)

    @cached_property
    def _limits(self) -> Mapping[str | None, SpendingLimits]:
        return {t.name: t.limits for t in self}

    @cached_property
    def _by_digest(self) -> Mapping[bytes, tuple[StoredKey, StoredSecret]]:
        return {secret.digest: (key, secret) for key in self.keys for secret in key.secrets}


class BudgetWindows(Struct, frozen=True):
    """The UTC day and month of a moment. Times are seconds since the epoch."""

    day: str
    """Its id, such as "2026-11-25"."""
    month: str
    """Its id, such as "2026-11"."""
    day_start: float
    day_reset: float
    """The end of the day, when its budget starts again."""
    month_reset: float
    """The end of the month, when its budget starts again."""

    def id(self, span: Span) -> str:
        """Return the id of the day or of the month."""
        return self.day if span == "day" else self.month

    def start(self, span: Span) -> float:
        """Return the beginning of the day or of the month."""
        return self.day_start if span == "day" else datetime.fromisoformat(f"{self.month}-01T00:00Z").timestamp()

    def reset(self, span: Span) -> float:
        """Return the end of the day or of the month."""
        return self.day_reset if span == "day" else self.month_reset


def find_windows(moment: float) -> BudgetWindows:
    """Return the day and month of a moment, given in seconds since the epoch."""
    return _windows_of_day(int(moment // 86_400))


@lru_cache(maxsize=64)
def format_time(moment: float) -> str:
    """Format seconds since the epoch as ISO 8601 in UTC."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


@lru_cache(maxsize=64)
def _windows_of_day(number: int) -> BudgetWindows:
    """Return the windows of a day, counted from the epoch."""
    day = datetime.fromtimestamp(number * 86_400, UTC)
    month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)  # 32 days later is always in the next month
    tomorrow = day + timedelta(days=1)
    return BudgetWindows(f"{day:%Y-%m-%d}", f"{day:%Y-%m}", day.timestamp(), tomorrow.timestamp(), month.timestamp())
