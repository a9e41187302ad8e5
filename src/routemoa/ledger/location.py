"""Where a store is: a file of SQLite, or a database of PostgreSQL that a URL names. This tells them apart."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode

from msgspec import Struct
from platformdirs import user_data_path

from routemoa.core.errors import ConfigError

__all__ = ["StoreLocation", "StoreUrl", "default_path", "find_store", "local_folder", "parse_location"]

SCHEMES = ("postgresql", "postgres")
SHOWN_SETTINGS = ("host", "port", "dbname", "user")
"""Of a URL's query: all others may be secrets."""
MIN_SECRET = 2
"""Characters; a text cannot be kept free of a shorter one."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)


class StoreUrl(Struct, frozen=True):
    """The URL of a PostgreSQL database. As a text it has no password: it may be logged and shown."""

    secret: str
    """The URL as it was given, with its password."""

    def __str__(self) -> str:
        address, _, query = self.secret.partition("?")
        scheme, _, rest = address.partition("://")
        login, at, place = rest.rpartition("@")
        user = login.partition(":")[0]
        shown = urlencode([(k, v) for k, v in parse_qsl(query) if k in SHOWN_SETTINGS], safe="/")
        return f"{scheme}://{user}{at}{place}{'?' if shown else ''}{shown}"

    def __repr__(self) -> str:
        return f"StoreUrl('{self}')"

    def hide_secrets(self, text: str) -> str:
        """Return a text without the passwords of this URL: drivers may quote it in their errors."""
        address, _, query = self.secret.partition("?")
        login = address.partition("://")[2].rpartition("@")[0]
        for secret in (login.partition(":")[2], *(v for k, v in parse_qsl(query) if "password" in k)):
            for form in {secret, unquote(secret)}:
                text = text.replace(form, "...") if len(form) > MIN_SECRET else text
        return text


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
    return StoreUrl(text)


def default_path(env: Mapping[str, str] = os.environ) -> StoreLocation:
    """Return the store that ROUTEMOA_STORE names, a file or a URL, else the file in the user's data folder."""
    named = env.get("ROUTEMOA_STORE")
    return parse_location(named) if named else user_data_path("routemoa") / "store.db"


def find_store(named: str | None) -> StoreLocation:
    """Return the store that an option names, else the default one."""
    return parse_location(named) if named else default_path()


def local_folder() -> Path:
    """Return the folder for files beside the store: its own, or the user's data folder where it is a database."""
    store = default_path()
    return store.parent if isinstance(store, Path) else user_data_path("routemoa")
