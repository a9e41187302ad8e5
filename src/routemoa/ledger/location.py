"""Where a store is: a file of SQLite, or a database of PostgreSQL that a URL names; and where gateways share state."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode

from msgspec import Struct
from platformdirs import user_data_path

from routemoa.core.errors import ConfigError

__all__ = [
    "SecretUrl",
    "SharedUrl",
    "StoreLocation",
    "StoreUrl",
    "default_path",
    "find_fleet",
    "find_shared",
    "find_store",
    "local_folder",
    "parse_location",
]

SCHEMES = ("postgresql", "postgres")
SHARED_SCHEMES = ("redis", "rediss", "unix")
SHARED_VARIABLE = "ROUTEMOA_SHARED"
SHOWN_SETTINGS = ("host", "port", "dbname", "user", "db")
"""Of a URL's query: all others may be secrets."""
MIN_SECRET = 2
"""Characters; a text cannot be kept free of a shorter one."""
_REDIS_PLACE = re.compile(r"[^/?#]*(/[0-9]*)?([?#].*)?")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)


class SecretUrl(Struct, frozen=True):
    """The URL of a server. As a text it has no password: it may be logged and shown."""

    secret: str
    """The URL as it was given, with its password."""

    def __str__(self) -> str:
        address, _, query = self.secret.partition("?")
        scheme, _, rest = address.partition("://")
        login, at, place = rest.rpartition("@")
        user = login.partition(":")[0]
        shown = urlencode([(k, v) for k, v in parse_qsl(query) if k in SHOWN_SETTINGS], safe="/")
        return f"{scheme}://{user}{at if user else ''}{place}{'?' if shown else ''}{shown}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self}')"

    def hide_secrets(self, text: str) -> str:
        """Return a text without the passwords of this URL: drivers may quote it in their errors."""
        address, _, query = self.secret.partition("?")
        login = address.partition("://")[2].rpartition("@")[0]
        for secret in (login.partition(":")[2], *(v for k, v in parse_qsl(query) if "password" in k)):
            for form in {secret, unquote(secret)}:
                text = text.replace(form, "...") if len(form) > MIN_SECRET else text
        return text


class StoreUrl(SecretUrl, frozen=True):
    """The URL of a PostgreSQL database."""


class SharedUrl(SecretUrl, frozen=True):
    """The URL of a Redis or Valkey server."""


StoreLocation = Path | StoreUrl
"""A file, or the URL of a database."""


def parse_location(text: str) -> StoreLocation:
    """Return what the text names: a URL with a scheme of PostgreSQL, else a file.

    Raises:
        ConfigError: a URL of something else.
    """
    match = _URL.match(text)
    if match is None:
        return Path(text).expanduser()
    if match[1].lower() not in SCHEMES:
        raise ConfigError(f"{match[1]}://...: no such kind of store; name a file, or postgresql://USER@HOST/DATABASE")
    if match[2].partition("/")[0].count("@") > 1:  # the driver would take the rest of a password for the host
        raise ConfigError(f"{match[1]}://...: '@' in a user's name or password is written %40 in a URL")
    return StoreUrl(text)


def default_path(env: Mapping[str, str] = os.environ) -> StoreLocation:
    """Return the store that ROUTEMOA_STORE names, a file or a URL, else the file in the user's data folder."""
    named = env.get("ROUTEMOA_STORE")
    return parse_location(named) if named else user_data_path("routemoa") / "store.db"


def find_shared(env: Mapping[str, str] = os.environ) -> SharedUrl | None:
    """Return the server that ROUTEMOA_SHARED names, through which gateways share state; None where it names none.

    Raises:
        ConfigError: it is not the URL of a Redis server.
    """
    named = env.get(SHARED_VARIABLE)
    if not named:
        return None
    match = _URL.match(named)
    if match is None or match[1].lower() not in SHARED_SCHEMES:
        what = f"{match[1]}://...: no such kind of server" if match else "not a URL"
        raise ConfigError(
            f"{SHARED_VARIABLE}: {what}; write redis://HOST:6379/0, or unset it: gateways with one PostgreSQL database "
            "in ROUTEMOA_STORE share through that"
        )
    shared = SharedUrl(named)
    if match[1].lower() != "unix" and not _REDIS_PLACE.fullmatch(match[2]):  # the driver would take database 0
        raise ConfigError(f"{SHARED_VARIABLE}: {shared}: the database is a number; write redis://HOST:6379/0")
    return shared


def find_fleet(store: StoreLocation | None) -> SharedUrl | StoreUrl | None:
    """Return through what this gateway shares state: the server of ROUTEMOA_SHARED, else a database that is its store.

    Raises:
        ConfigError: ROUTEMOA_SHARED is not the URL of a Redis server.
    """
    return find_shared() or (store if isinstance(store, StoreUrl) else None)


def find_store(named: str | None) -> StoreLocation:
    """Return the store that an option names, else the default one."""
    return parse_location(named) if named else default_path()


def local_folder() -> Path:
    """Return the folder for files beside the store: its own, or the user's data folder where it is a database."""
    store = default_path()
    return store.parent if isinstance(store, Path) else user_data_path("routemoa")
