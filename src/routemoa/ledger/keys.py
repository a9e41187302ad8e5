"""Keys that are kept in the store: created, rotated and revoked by a command or an admin route, read by servers.

A key is a tenant: its budget is kept in the same windows, and its calls stand in the same ledger, under its name. The
store holds the digest of a key and its first characters; the key itself is returned once, by what made it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from routemoa.core.access.secret_keys import digest_secret, make_key, show_prefix
from routemoa.core.access.tenants import StoredKey, StoredSecret, Tenant
from routemoa.core.errors import ConfigError
from routemoa.ledger.connections import Connection, has_table, open_reading, transact
from routemoa.ledger.location import StoreLocation, StoreUrl
from routemoa.ledger.schema import StoreError, raise_file_errors, to_store_error

__all__ = ["KeyNameTaken", "KeyReader", "MadeKey", "UnknownKey", "create_key", "read_keys", "revoke_key", "rotate_key"]

TABLE = "keys"
"""Changes of keys are made one after another, so that `changed` counts them."""
TENANT_COLUMNS = (
    "name",
    "models",
    "methods",
    "max_cost_per_day",
    "max_cost_per_month",
    "requests_per_minute",
    "tokens_per_minute",
    "concurrent_streams",
)
INSERT_KEY = (
    "INSERT INTO keys (name, models, methods, max_cost_per_day, max_cost_per_month, requests_per_minute, "
    "tokens_per_minute, concurrent_streams, created, expires, changed) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(changed), 0) + 1 FROM keys))"
)
INSERT_SECRET = "INSERT INTO key_secrets (digest, name, prefix, created) VALUES (?, ?, ?, ?)"  # noqa: S105  (SQL)
END_SECRETS = "UPDATE key_secrets SET expires = ? WHERE name = ? AND (expires IS NULL OR expires > ?)"
RENEW_KEY = "UPDATE keys SET expires = ?, changed = (SELECT max(changed) + 1 FROM keys) WHERE name = ?"
REVOKE_KEY = "UPDATE keys SET revoked = ?, changed = (SELECT max(changed) + 1 FROM keys) WHERE name = ?"


class KeyNameTaken(ConfigError):
    """There is a key with this name, or was one."""


class UnknownKey(ConfigError):
    """There is no key with this name."""


class MadeKey(Struct, frozen=True):
    """A key that was just made. Its secret is not kept: it is shown now or never."""

    key: StoredKey
    secret: str

    def __repr__(self) -> str:
        return f"MadeKey({self.key!r})"


def create_key(path: StoreLocation, tenant: Tenant, now: float, expires: float | None = None) -> MadeKey:
    """Make a key. Blocks.

    Args:
        path: of the store, which is created where there is none.
        tenant: its name, and what it may use.
        now: seconds since the epoch.
        expires: seconds since the epoch; None is never.

    Raises:
        KeyNameTaken: the name was given before.
        StoreError: the store cannot be written.
    """
    secret = make_key()
    values = [_to_column(getattr(tenant, column)) for column in TENANT_COLUMNS]

    def insert(connection: Connection) -> MadeKey:
        if (known := _find(connection, tenant.name)) is not None:
            if _has_secret(known, secret):  # the commit of the attempt before went through
                return MadeKey(known, secret)
            if known.revoked is None:
                raise KeyNameTaken(f"there is a key '{tenant.name}'; rotate it, or choose another name")
            raise KeyNameTaken(f"key '{tenant.name}' was revoked, and its name stays its own; choose another one")
        connection.execute(INSERT_KEY, (*values, now, expires))
        connection.execute(INSERT_SECRET, (digest_secret(secret), tenant.name, show_prefix(secret), now))
        return MadeKey(_get(connection, tenant.name), secret)

    return transact(path, insert, table=TABLE)


def rotate_key(path: StoreLocation, name: str, now: float, grace: float = 0.0, expires: float | None = None) -> MadeKey:
    """Give a key a new secret. Blocks.

    Args:
        path: of the store.
        name: of the key.
        now: seconds since the epoch.
        grace: seconds for which the secret of before is accepted beside the new one.
        expires: when the key expires from now on, in seconds since the epoch; None leaves that as it is.

    Raises:
        UnknownKey: there is no such key.
        ConfigError: it was revoked, or has expired and gets no new expiry.
        StoreError: the store cannot be written.
    """
    _require_file(path, name)
    secret = make_key()

    def renew(connection: Connection) -> MadeKey:
        key = _get(connection, name)
        if _has_secret(key, secret):
            return MadeKey(key, secret)
        if key.revoked is not None:
            raise ConfigError(f"key '{name}' was revoked; create another one under a new name")
        until = key.expires if expires is None else expires
        if until is not None and until <= now:
            raise ConfigError(f"key '{name}' has expired; give it a new expiry, too")
        connection.execute(END_SECRETS, (now + grace, name, now + grace))
        connection.execute(INSERT_SECRET, (digest_secret(secret), name, show_prefix(secret), now))
        connection.execute(RENEW_KEY, (until, name))
        return MadeKey(_get(connection, name), secret)

    return transact(path, renew, table=TABLE)


def revoke_key(path: StoreLocation, name: str, now: float) -> StoredKey:
    """Revoke a key for ever; one that was revoked before stays so. Blocks. Raises UnknownKey, StoreError."""
    _require_file(path, name)

    def revoke(connection: Connection) -> StoredKey:
        if _get(connection, name).revoked is None:
            connection.execute(REVOKE_KEY, (now, name))
        return _get(connection, name)

    return transact(path, revoke, table=TABLE)


def read_keys(path: StoreLocation) -> tuple[StoredKey, ...]:
    """Return all keys, oldest first; none where there is no store. Blocks. Raises StoreError."""
    connection = open_reading(path)
    if connection is None:
        return ()
    with closing(connection), raise_file_errors(path):
        return _read(connection) if has_table(connection, "key_secrets") else ()


class KeyReader:
    """Reads the keys again when they have changed, also while other processes write. Any thread may use it.

    Looking takes a query of one row. A store that is replaced by another file is read anew.
    """

    def __init__(self, path: StoreLocation) -> None:
        self._path = path
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        self._seen: int | None = None
        self._lock = threading.Lock()

    def read_changed(self) -> tuple[StoredKey, ...] | None:
        """Return all keys where they are not those of the last time, else None. Blocks. Raises StoreError."""
        with self._lock:
            return self._read_changed()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _read_changed(self) -> tuple[StoredKey, ...] | None:
        keys: tuple[StoredKey, ...] = ()
        changed = 0  # of a file without keys, or none
        try:
            self._open()
            if self._connection is not None and has_table(self._connection, "key_secrets"):
                changed = self._connection.execute("SELECT coalesce(max(changed), 0) FROM keys").fetchone()[0]
                keys = _read(self._connection) if changed != self._seen else ()
        except (sqlite3.Error, OSError, StoreError) as e:
            self._close()
            raise e if isinstance(self._path, StoreUrl) else to_store_error(self._path, e) from e
        if changed == self._seen:
            return None
        self._seen = changed
        return keys

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._file = self._seen = None

    def _open(self) -> None:
        """Open the store; a file is the one that is at the path now. Raises OSError, StoreError."""
        file = None
        with suppress(FileNotFoundError):
            status = None if isinstance(self._path, StoreUrl) else os.stat(self._path)
            file = status and (status.st_dev, status.st_ino)
        if file != self._file or self._connection is None:
            self._close()
            self._connection = open_reading(self._path, check_same_thread=False)
            self._file = file


def _require_file(path: StoreLocation, name: str) -> None:
    """Raise UnknownKey where there is no store."""
    if isinstance(path, Path) and not path.exists():
        raise UnknownKey(f"there is no key '{name[:64]}': there is no file {path}")


def _has_secret(key: StoredKey, secret: str) -> bool:
    return any(known.digest == digest_secret(secret) for known in key.secrets)


def _find(connection: Connection, name: str) -> StoredKey | None:
    return next(iter(_read(connection, name)), None)


def _get(connection: Connection, name: str) -> StoredKey:
    """Return a key. Raises UnknownKey."""
    key = _find(connection, name)
    if key is None:
        raise UnknownKey(f"there is no key '{name[:64]}'; list them with  routemoa keys list")
    return key


def _read(connection: Connection, name: str | None = None) -> tuple[StoredKey, ...]:
    """Return all keys, or those of one name, oldest first."""
    chosen, values = ("", ()) if name is None else ("WHERE name = ? ", (name,))
    secrets: dict[str, list[StoredSecret]] = {}
    rows = connection.execute(
        f"SELECT name, digest, prefix, created, expires FROM key_secrets {chosen}ORDER BY created, expires IS NULL",  # noqa: S608
        values,
    )
    for owner, *secret in rows:
        secrets.setdefault(owner, []).append(StoredSecret(*secret))
    columns = f"created, expires, revoked, {', '.join(TENANT_COLUMNS)}"
    query = f"SELECT {columns} FROM keys {chosen}ORDER BY created, name"  # noqa: S608  (ours)
    return tuple(
        StoredKey(_to_tenant(terms), created, expires, revoked, tuple(secrets.get(terms[0], ())))
        for created, expires, revoked, *terms in connection.execute(query, values).fetchall()
    )


def _to_column(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, tuple) else value


def _to_tenant(values: list[Any]) -> Tenant:
    table = dict(zip(TENANT_COLUMNS, values, strict=True))
    for column in ("models", "methods"):
        if table[column] is not None:
            table[column] = msgspec.json.decode(table[column], type=tuple[str, ...])
    return Tenant(key_env="", **table)
