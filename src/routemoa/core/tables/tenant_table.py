"""The tables `[[tenant]]` and `[totals]` of a pool file, and the checks of what a tenant may have. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from routemoa.core.access.secret_keys import check_secret, digest_secret
from routemoa.core.access.tenants import ALL_TENANTS, NO_KEY, SpendingLimits, Tenant, Tenants
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import check_range, parse_table, suggest_name

__all__ = ["check_tenant", "check_tenant_names", "parse_tenants"]

MAX_LIMIT = 10**12
"""Of a rate, and of dollars: counted in picodollars, too, it is a number that every store can hold."""


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
        digest = digest_secret(_read_secret(tenant, where, env))
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
    if not tenant.key_env:
        raise ConfigError(f"{where}: key_env is empty; name the environment variable that holds its key")
    for other in others:
        if other.name == tenant.name:
            raise ConfigError(f"{where}: name '{tenant.name}' is taken already; names are unique")
        if other.key_env == tenant.key_env:
            raise ConfigError(f"{where}: key_env {tenant.key_env} is used by '{other.name}' already; give each its own")
    check_tenant(tenant, where)
    return tenant


def check_tenant(tenant: Tenant, where: str) -> None:
    """Check a tenant's budget and rates. Raises ConfigError."""
    _check_limits(tenant.limits, where)
    for key in ("requests_per_minute", "tokens_per_minute", "concurrent_streams"):
        _check_size(f"{where}: {key}", value := getattr(tenant, key))
        check_range(f"{where}: {key}", value, 1, None, "a whole number")


def check_tenant_names(tenant: Tenant, models: Collection[str] | None, methods: Collection[str], where: str) -> None:
    """Check that a tenant's models and methods exist.

    Args:
        tenant: that lists them.
        models: that there are; None where that is not known.
        methods: that there are.
        where: the place, for the error.

    Raises:
        ConfigError: one does not.
    """
    for name in tenant.methods or ():
        if name not in methods:
            raise ConfigError(f"{where}: methods: there is no method '{name}'; {suggest_name(name, methods)}")
    for name in tenant.models or ():
        if name in methods:
            raise ConfigError(f"{where}: models: '{name}' is a method; list it under methods")
        if not name.strip() or (models is not None and name not in models):
            raise ConfigError(f"{where}: models: there is no model '{name}'; {suggest_name(name, models or ())}")


def _check_limits(limits: SpendingLimits, where: str) -> None:
    for key in limits.__struct_fields__:
        value = getattr(limits, key)
        _check_size(f"{where}: {key}", value)
        check_range(f"{where}: {key}", value, 0, None, "dollars")


def _check_size(where: str, value: float | None) -> None:
    if value is not None and value > MAX_LIMIT:
        raise ConfigError(f"{where} = {str(value)[:32]} is not a limit; leave it out")


def _read_secret(tenant: Tenant, where: str, env: Mapping[str, str]) -> str:
    secret = env.get(tenant.key_env)
    if not secret:
        raise ConfigError(
            f"{where}: key_env: environment variable {tenant.key_env} is not set; export the key that '{tenant.name}' "
            "will send as its bearer token"
        )
    check_secret(secret, f"{where}: key_env: the value of {tenant.key_env}")
    return secret
