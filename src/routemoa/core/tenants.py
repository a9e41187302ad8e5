"""Who may call the server, what each may spend in a day and a month, and what all may together. Pure.

A tenant's secret comes from the environment and is kept as a digest only: it cannot be shown, logged or traced.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

from msgspec import Struct

from routemoa.core.errors import ConfigError
from routemoa.core.toml import check_range, parse_table

__all__ = [
    "ALL_TENANTS",
    "NO_KEY",
    "SPANS",
    "Span",
    "SpendingLimits",
    "Tenant",
    "Tenants",
    "BudgetWindows",
    "format_time",
    "parse_tenants",
    "find_windows",
]

ALL_TENANTS = "*"
"""Whose windows hold what everybody spends; no tenant is called so."""
NO_KEY = "-"
"""Whom calls without a key are put down to; no tenant is called so."""

Span = Literal["day", "month"]
SPANS: tuple[Span, ...] = get_args(Span)


class SpendingLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars of a UTC calendar day and month, the table `[totals]`; None is no limit."""

    max_cost_per_day: float | None = None
    max_cost_per_month: float | None = None

    def __bool__(self) -> bool:
        return self.max_cost_per_day is not None or self.max_cost_per_month is not None

    def for_span(self, span: Span) -> float | None:
        """Dollars of a day or a month."""
        return self.max_cost_per_day if span == "day" else self.max_cost_per_month


class Tenant(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[tenant]]` table: a name, the variable of the environment that holds its secret, and its limits."""

    name: str
    key_env: str
    max_cost_per_day: float | None = None
    max_cost_per_month: float | None = None

    @property
    def limits(self) -> SpendingLimits:
        """What it may spend."""
        return SpendingLimits(self.max_cost_per_day, self.max_cost_per_month)


@dataclass(frozen=True)
class Tenants:
    """All tenants in the file's order, and the limits of everybody together. Iterating gives the tenants."""

    members: tuple[Tenant, ...] = ()
    totals: SpendingLimits = field(default_factory=SpendingLimits)
    digests: tuple[bytes, ...] = field(default=(), repr=False)  # of the members' secrets, in their order

    def __iter__(self) -> Iterator[Tenant]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def find(self, bearer: str) -> Tenant | None:
        """Whose secret this is. Takes as long for a wrong one as for any right one."""
        given = _digest(bearer)
        found = None
        for tenant, digest in zip(self.members, self.digests, strict=True):
            if hmac.compare_digest(given, digest):
                found = tenant
        return found

    def limits(self, name: str | None) -> SpendingLimits:
        """What the tenant of this name may spend; nobody else has limits of their own."""
        return self._limits.get(name, SpendingLimits())

    @cached_property
    def _limits(self) -> Mapping[str | None, SpendingLimits]:
        return {t.name: t.limits for t in self.members}


class BudgetWindows(Struct, frozen=True):
    """The UTC day and month that a moment is in: their ids, and when they end (seconds since the epoch)."""

    day: str  # "2026-11-25"
    month: str  # "2026-11"
    day_start: float  # the day
    day_reset: float
    month_reset: float

    def id(self, span: Span) -> str:
        """The day's or the month's id."""
        return self.day if span == "day" else self.month

    def reset(self, span: Span) -> float:
        """When the day or the month ends."""
        return self.day_reset if span == "day" else self.month_reset


def find_windows(now: float) -> BudgetWindows:
    """The windows of a moment in seconds since the epoch."""
    return _day(int(now // 86_400))


def format_time(moment: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


@lru_cache(maxsize=64)
def _day(number: int) -> BudgetWindows:
    day = datetime.fromtimestamp(number * 86_400, UTC)
    month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)  # 32 days on is always in the next
    tomorrow = day + timedelta(days=1)
    return BudgetWindows(f"{day:%Y-%m-%d}", f"{day:%Y-%m}", day.timestamp(), tomorrow.timestamp(), month.timestamp())


def parse_tenants(table: Mapping[str, Any], source: str, env: Mapping[str, str]) -> Tenants:
    """The tables `[[tenant]]` and `[totals]` of a pool file; the secrets must be set in `env`. Raises ConfigError."""
    totals = parse_table(table.get("totals", {}), SpendingLimits, f"{source}: [totals]")
    _check(totals, f"{source}: [totals]")
    entries = table.get("tenant", [])
    if not isinstance(entries, list):
        raise ConfigError(f"{source}: tenant: write [[tenant]], with double brackets, once for each")
    members: list[Tenant] = []
    digests: list[bytes] = []
    for number, entry in enumerate(entries, 1):
        tenant, where = _tenant(entry, f"{source}: [[tenant]] {number}", members)
        digest = _digest(_secret(tenant, where, env))
        if digest in digests:
            same = members[digests.index(digest)]
            raise ConfigError(f"{where}: {tenant.key_env} and {same.key_env} hold the same key; give each its own")
        members.append(tenant)
        digests.append(digest)
    return Tenants(tuple(members), totals, tuple(digests))


def _tenant(entry: Any, where: str, others: Iterable[Tenant]) -> tuple[Tenant, str]:
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        where = f"{where} {entry['name']!r}"
    tenant = parse_table(entry, Tenant, where)
    if not tenant.name.strip() or tenant.name in (ALL_TENANTS, NO_KEY) or not tenant.name.isprintable():
        raise ConfigError(f"{where}: name {tenant.name!r} cannot be a tenant's; give it letters and digits")
    for other in others:
        if other.name == tenant.name:
            raise ConfigError(f"{where}: name '{tenant.name}' is taken already; names are unique")
        if other.key_env == tenant.key_env:
            raise ConfigError(f"{where}: key_env {tenant.key_env} is that of '{other.name}' already; give each its own")
    _check(tenant.limits, where)
    return tenant, where


def _check(limits: SpendingLimits, where: str) -> None:
    for key in limits.__struct_fields__:
        value = getattr(limits, key)
        check_range(f"{where}: {key}", value, 0, None, "dollars")
        if value == float("inf"):
            raise ConfigError(f"{where}: {key} = inf is no limit; leave it out")


def _secret(tenant: Tenant, where: str, env: Mapping[str, str]) -> str:
    secret = env.get(tenant.key_env)
    if not secret:
        raise ConfigError(
            f"{where}: key_env: environment variable {tenant.key_env} is not set; export the key that '{tenant.name}' "
            "shall send as its bearer token"
        )
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError(
            f"{where}: key_env: the value of {tenant.key_env} is no bearer token; use letters, digits and -._~+/"
        )
    return secret


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
