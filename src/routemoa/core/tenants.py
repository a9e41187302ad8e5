"""The tenants of a server and their budgets: dollars of a day and a month, for each and for all together. Pure.

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
    "BudgetWindows",
    "Span",
    "SpendingLimits",
    "Tenant",
    "Tenants",
    "find_windows",
    "format_time",
    "parse_tenants",
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


class Tenant(Struct, frozen=True, forbid_unknown_fields=True):
    """One `[[tenant]]` table."""

    name: str
    key_env: str
    """The environment variable that holds its secret."""
    max_cost_per_day: float | None = None
    max_cost_per_month: float | None = None

    @property
    def limits(self) -> SpendingLimits:
        """Its budget."""
        return SpendingLimits(self.max_cost_per_day, self.max_cost_per_month)


@dataclass(frozen=True)
class Tenants:
    """All tenants. Iterating gives them in the file's order."""

    members: tuple[Tenant, ...] = ()
    totals: SpendingLimits = field(default_factory=SpendingLimits)
    """The budget of all callers together."""
    digests: tuple[bytes, ...] = field(default=(), repr=False)
    """Of the members' secrets, in their order."""

    def __iter__(self) -> Iterator[Tenant]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def find(self, bearer: str) -> Tenant | None:
        """Return the tenant with this secret, or None. Takes equally long for every secret, right or wrong."""
        given = _digest(bearer)
        found = None
        for tenant, digest in zip(self.members, self.digests, strict=True):
            if hmac.compare_digest(given, digest):
                found = tenant
        return found

    def limits(self, name: str | None) -> SpendingLimits:
        """Return the budget of the tenant with this name; any other name has no limits."""
        return self._limits.get(name, SpendingLimits())

    @cached_property
    def _limits(self) -> Mapping[str | None, SpendingLimits]:
        return {t.name: t.limits for t in self.members}


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

    def reset(self, span: Span) -> float:
        """Return the end of the day or of the month."""
        return self.day_reset if span == "day" else self.month_reset


def find_windows(moment: float) -> BudgetWindows:
    """Return the day and month of a moment, given in seconds since the epoch."""
    return _windows_of_day(int(moment // 86_400))


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


def parse_tenants(table: Mapping[str, Any], source: str, env: Mapping[str, str]) -> Tenants:
    """Read the tables `[[tenant]]` and `[totals]` of a pool file; the secrets must be set in `env`.

    Raises:
        ConfigError: one line with the place, the fault and the fix.
    """
    totals = parse_table(table.get("totals", {}), SpendingLimits, f"{source}: [totals]")
    _check_limits(totals, f"{source}: [totals]")
    entries = table.get("tenant", [])
    if not isinstance(entries, list):
        raise ConfigError(f"{source}: tenant: write [[tenant]], with double brackets, once for each tenant")
    members: list[Tenant] = []
    digests: list[bytes] = []
    for number, entry in enumerate(entries, 1):
        where = f"{source}: [[tenant]] {number}"
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            where = f"{where} {entry['name']!r}"
        tenant = _parse_tenant(entry, where, members)
        digest = _digest(_read_secret(tenant, where, env))
        if digest in digests:
            same = members[digests.index(digest)]
            raise ConfigError(f"{where}: {tenant.key_env} and {same.key_env} hold the same key; give each its own")
        members.append(tenant)
        digests.append(digest)
    return Tenants(tuple(members), totals, tuple(digests))


def _parse_tenant(entry: Any, where: str, others: Iterable[Tenant]) -> Tenant:
    tenant = parse_table(entry, Tenant, where)
    if not tenant.name.strip() or tenant.name in (ALL_TENANTS, NO_KEY) or not tenant.name.isprintable():
        raise ConfigError(f"{where}: name {tenant.name!r} cannot be used; choose one of letters and digits")
    for other in others:
        if other.name == tenant.name:
            raise ConfigError(f"{where}: name '{tenant.name}' is taken already; names are unique")
        if other.key_env == tenant.key_env:
            raise ConfigError(f"{where}: key_env {tenant.key_env} is used by '{other.name}' already; give each its own")
    _check_limits(tenant.limits, where)
    return tenant


def _check_limits(limits: SpendingLimits, where: str) -> None:
    for key in limits.__struct_fields__:
        value = getattr(limits, key)
        check_range(f"{where}: {key}", value, 0, None, "dollars")
        if value == float("inf"):
            raise ConfigError(f"{where}: {key} = inf is not a limit; leave it out")


def _read_secret(tenant: Tenant, where: str, env: Mapping[str, str]) -> str:
    secret = env.get(tenant.key_env)
    if not secret:
        raise ConfigError(
            f"{where}: key_env: environment variable {tenant.key_env} is not set; export the key that '{tenant.name}' "
            "will send as its bearer token"
        )
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ConfigError(
            f"{where}: key_env: the value of {tenant.key_env} cannot be a bearer token; use letters, digits and -._~+/"
        )
    return secret


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
