"""What a key may be asked to be: its name, its expiry, its terms in words; and how a key is shown. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from routemoa.core.access.tenants import StoredKey, Tenant, format_time
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import METHODS
from routemoa.core.tables.tenant_table import check_tenant, check_tenant_names

__all__ = ["TERMS", "describe_key", "make_tenant", "parse_duration", "parse_expiry"]

TERMS = Tenant.__struct_fields__[2:]
"""What may be said of a key beside its name: its budget, rates, models and methods."""
NAME = re.compile(r"(?!-)[\w.@+-]{1,64}")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def make_tenant(name: str, terms: dict[str, Any], where: str) -> Tenant:
    """Return the tenant that a new key is.

    Args:
        name: of the key.
        terms: values of TERMS; one that is None or left out is not limited.
        where: the place, for errors.

    Raises:
        ConfigError: the name or a value cannot be used; one line with the fix.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"{where}: name {name[:80]!r} cannot be used; choose up to 64 letters, digits and . _ @ + -")
    tenant = Tenant(name, "", **terms)
    for listed in ("models", "methods"):
        if getattr(tenant, listed) == ():
            raise ConfigError(f"{where}: {listed}: is empty; name one at least, or leave it out")
    check_tenant(tenant, where)
    check_tenant_names(tenant, None, METHODS, where)
    return tenant


def parse_duration(text: str, where: str) -> float:
    """Return a duration such as 45m, 12h, 30d or 2w in seconds. Raises ConfigError."""
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    if found is None:
        raise ConfigError(f"{where} {text[:40]!r} is no duration; write e.g. 45m, 12h, 30d or 2w")
    return int(found[1]) * UNITS[found[2]]


def parse_expiry(text: str, now: float, where: str) -> float:
    """Return when something expires, in seconds since the epoch.

    Args:
        text: a duration from now, or a UTC day, which is included.
        now: seconds since the epoch.
        where: the place, for errors.

    Raises:
        ConfigError: it is neither, or in the past.
    """
    try:
        moment = datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC).timestamp() + UNITS["d"]
    except ValueError:
        if not re.fullmatch(r"\d{1,6}[smhdw]", text.strip()):
            raise ConfigError(f"{where} {text[:40]!r} is no time; write e.g. 12h, 30d or 2027-01-31") from None
        moment = now + parse_duration(text, where)
    if moment <= now:
        raise ConfigError(f"{where} {text[:40]!r} is over already; give a time to come")
    if moment > datetime(9999, 1, 1, tzinfo=UTC).timestamp():
        raise ConfigError(f"{where} {text[:40]!r} is too far away; leave it out for a key that never expires")
    return moment


def describe_key(key: StoredKey, now: float) -> dict[str, Any]:
    """Return a key as JSON has it: times as ISO 8601 in UTC, null where there is none."""
    times = {"created": key.created, "expires": key.expires, "revoked": key.revoked}
    return {
        "name": key.tenant.name,
        "prefix": key.secrets[-1].prefix if key.secrets else None,
        "state": key.state(now),
        **{name: None if moment is None else format_time(moment) for name, moment in times.items()},
        "rotated": [
            {"prefix": s.prefix, "expires": format_time(s.expires)}
            for s in key.secrets[:-1]
            if s.expires is not None and key.accepts(s, now)
        ],
        **{term: getattr(key.tenant, term) for term in TERMS},
    }
