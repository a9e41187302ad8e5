"""The `[gateway]` table of a pool file: how requests to `routemoa serve` are read, and the operator's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from routemoa.core.access.secret_keys import check_secret, digest_secret
from routemoa.core.access.tenants import Tenants
from routemoa.core.errors import ConfigError
from routemoa.core.files.toml import parse_table

__all__ = ["ADMIN_KEY_ENV", "GatewaySettings", "parse_gateway_table", "read_admin_key"]

ADMIN_KEY_ENV = "ROUTEMOA_ADMIN_KEY"
"""The environment variable of the admin key, where the pool file names no other."""


class GatewaySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How requests are read, and what the operator wants."""

    unknown_parameters: Literal["pass", "refuse"] = "refuse"
    """Fields of a request to a method that the server does not know: passed to the members, or refused by name."""
    redact: bool = False
    """Leave out of the log what endpoints and errors say in their own words: they may quote a prompt or an answer."""
    admin_key_env: str | None = None
    """The environment variable that holds the admin key; without it ROUTEMOA_ADMIN_KEY is read."""
    region: str | None = None
    """Where this server runs, for members with endpoints in several regions; ROUTEMOA_REGION goes before it."""


def parse_gateway_table(table: Any, where: str) -> GatewaySettings:
    """Read a `[gateway]` table. Raises ConfigError."""
    return parse_table(table, GatewaySettings, where)


def read_admin_key(settings: GatewaySettings, tenants: Tenants, env: Mapping[str, str], source: str) -> bytes | None:
    """Return the digest of the admin key, None where there is none, so that there are no admin routes.

    Args:
        settings: name its variable.
        tenants: of which none may have the same key.
        env: the environment.
        source: the name of the pool file.

    Raises:
        ConfigError: the variable that the file names is not set, or its value cannot be used.
    """
    name = settings.admin_key_env or ADMIN_KEY_ENV
    secret = env.get(name)
    if not secret:
        if settings.admin_key_env is None:
            return None
        raise ConfigError(
            f"{source}: [gateway]: admin_key_env: environment variable {name} is not set; export the key of the admin "
            "routes, or leave admin_key_env out"
        )
    check_secret(secret, f"the value of {name}")
    if tenants.find(secret) is not None:
        raise ConfigError(f"{name}: a tenant has the same key; give the admin routes their own")
    return digest_secret(secret)
