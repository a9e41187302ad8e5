"""Opens a PostgreSQL store, with its tables as this version has them."""

from __future__ import annotations

from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.driver import PostgresConnection, connect_database
from routemoa.ledger.postgres.migrations import prepare_schema

__all__ = ["open_database"]


def open_database(url: StoreUrl, *, reading: bool = False) -> PostgresConnection | None:
    """Connect to a store; create or upgrade its tables where that is needed. Blocks.

    Args:
        url: of the database.
        reading: return None where there is no store yet, and create none.

    Raises:
        StoreError: there is no connection, or the store is of a newer version.
    """
    raw = connect_database(url, reading=reading)
    try:
        if prepare_schema(raw, url, create=not reading):
            return PostgresConnection(raw, url)
    except BaseException:
        raw.close()
        raise
    raw.close()
    return None
