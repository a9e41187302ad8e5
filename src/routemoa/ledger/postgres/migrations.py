"""The tables of a PostgreSQL store, in numbered steps. A store of before is upgraded when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from routemoa.ledger.location import StoreUrl
from routemoa.ledger.postgres.driver import OTHER_STORE, SCHEMA_NAME, connect_database, raise_store_errors
from routemoa.ledger.schema import StoreError

if TYPE_CHECKING:
    import psycopg

__all__ = ["MIGRATIONS", "migrate", "prepare_schema", "read_version"]

LEDGER_AND_KEYS = """
CREATE TABLE calls (
  id BIGINT PRIMARY KEY,
  request TEXT NOT NULL,
  began DOUBLE PRECISION NOT NULL,
  key TEXT NOT NULL,
  method TEXT NOT NULL,
  model TEXT NOT NULL,
  purpose TEXT NOT NULL,
  most DOUBLE PRECISION,
  prompt_tokens BIGINT,
  completion_tokens BIGINT,
  cached_tokens BIGINT,
  cost DOUBLE PRECISION,
  charged DOUBLE PRECISION,
  seconds DOUBLE PRECISION,
  outcome TEXT NOT NULL,
  owner TEXT NOT NULL
);
CREATE SEQUENCE call_ids OWNED BY calls.id;
CREATE INDEX calls_began ON calls (began);
CREATE INDEX calls_open ON calls (owner) WHERE outcome = 'open';
CREATE TABLE windows (
  key TEXT NOT NULL,
  "window" TEXT NOT NULL,
  spent BIGINT NOT NULL,
  held BIGINT NOT NULL,
  PRIMARY KEY (key, "window")
) WITH (fillfactor = 50);
CREATE TABLE notes (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  call BIGINT NOT NULL,
  request TEXT NOT NULL,
  at DOUBLE PRECISION NOT NULL,
  cost DOUBLE PRECISION,
  note TEXT NOT NULL
);
CREATE INDEX notes_call ON notes (call);
CREATE VIEW corrected_calls AS
  SELECT c.id, c.request, c.began, c.key, c.method, c.model, c.purpose, c.most, c.prompt_tokens, c.completion_tokens,
    c.cached_tokens, coalesce(n.cost, c.cost) AS cost, coalesce(n.cost, c.charged) AS charged, c.seconds, c.outcome
  FROM calls c LEFT JOIN notes n ON n.id = (
    SELECT max(id) FROM notes WHERE call = c.id AND request = c.request AND cost IS NOT NULL);
CREATE TABLE owners (            -- a process that writes: until when it counts as alive, and its last transaction
  id TEXT PRIMARY KEY,
  expires TIMESTAMPTZ NOT NULL,
  batch BIGINT NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE keys (
  name TEXT PRIMARY KEY,
  created DOUBLE PRECISION NOT NULL,
  expires DOUBLE PRECISION,
  revoked DOUBLE PRECISION,
  models TEXT,
  methods TEXT,
  max_cost_per_day DOUBLE PRECISION,
  max_cost_per_month DOUBLE PRECISION,
  requests_per_minute BIGINT,
  tokens_per_minute BIGINT,
  concurrent_streams BIGINT,
  changed BIGINT NOT NULL
);
CREATE INDEX keys_changed ON keys (changed);
CREATE TABLE key_secrets (
  digest BYTEA PRIMARY KEY,
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  created DOUBLE PRECISION NOT NULL,
  expires DOUBLE PRECISION
);
"""
TRACES = """
CREATE TABLE traces (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  at DOUBLE PRECISION NOT NULL,
  tenant TEXT,
  method TEXT NOT NULL,
  choice TEXT,
  calls BIGINT NOT NULL,
  cost DOUBLE PRECISION,
  bytes BIGINT NOT NULL,
  answer BYTEA NOT NULL
);
ALTER TABLE traces ALTER answer SET STORAGE EXTERNAL;
CREATE INDEX traces_at ON traces (at);
CREATE TABLE feedback (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id TEXT NOT NULL REFERENCES traces (id) ON DELETE CASCADE,
  at DOUBLE PRECISION NOT NULL,
  feedback TEXT NOT NULL
);
CREATE INDEX feedback_id ON feedback (id);
"""
COPIES = """
CREATE TABLE copied_calls (      -- what `routemoa store copy` has brought: a call of a file -> its call here
  source TEXT NOT NULL,
  id BIGINT NOT NULL,
  request TEXT NOT NULL,
  call BIGINT NOT NULL,
  PRIMARY KEY (source, id, request)
);
CREATE TABLE copied_notes (
  source TEXT NOT NULL,
  id BIGINT NOT NULL,
  PRIMARY KEY (source, id)
);
CREATE TABLE copied_windows (    -- how much of a window's `spent` came from a file
  source TEXT NOT NULL,
  key TEXT NOT NULL,
  "window" TEXT NOT NULL,
  spent BIGINT NOT NULL,
  PRIMARY KEY (source, key, "window")
);
"""
TRACE_FACTS = """
CREATE TABLE trace_facts (
  number BIGINT PRIMARY KEY REFERENCES traces (number) ON DELETE CASCADE,
  version BIGINT NOT NULL,
  facts TEXT NOT NULL
);
"""
RATES = """
CREATE TABLE rates (             -- what a tenant has used of a minute's requests and tokens, and not yet filled again
  tenant TEXT PRIMARY KEY,
  at TIMESTAMPTZ NOT NULL,
  requests DOUBLE PRECISION NOT NULL,
  tokens DOUBLE PRECISION NOT NULL
) WITH (fillfactor = 10);
CREATE TABLE rate_streams (      -- the streams of one process, which count until its lease ends
  tenant TEXT NOT NULL,
  owner TEXT NOT NULL,
  streams BIGINT NOT NULL,
  expires TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (tenant, owner)
) WITH (fillfactor = 50);
CREATE FUNCTION take_rates(
  a_tenant TEXT, a_owner TEXT, lease DOUBLE PRECISION,
  request_limit DOUBLE PRECISION, token_limit DOUBLE PRECISION, stream_limit BIGINT,
  more_requests DOUBLE PRECISION, more_tokens DOUBLE PRECISION, more_streams BIGINT, is_forced BOOLEAN,
  least_requests DOUBLE PRECISION, least_tokens DOUBLE PRECISION,
  OUT is_taken BOOLEAN, OUT requests DOUBLE PRECISION, OUT tokens DOUBLE PRECISION, OUT streams BIGINT
) LANGUAGE plpgsql AS $$
DECLARE
  before rates%ROWTYPE;
  moment TIMESTAMPTZ;
  minutes DOUBLE PRECISION;
BEGIN
  SELECT * INTO before FROM rates r WHERE r.tenant = a_tenant FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO rates VALUES (a_tenant, clock_timestamp(), 0, 0) ON CONFLICT DO NOTHING;
    SELECT * INTO before FROM rates r WHERE r.tenant = a_tenant FOR UPDATE;
  END IF;
  moment := clock_timestamp();
  minutes := greatest(0, extract(epoch FROM moment - before.at)) / 60;
  requests := greatest(least_requests, before.requests - minutes * coalesce(request_limit, 0));
  tokens := greatest(least_tokens, before.tokens - minutes * coalesce(token_limit, 0));
  SELECT coalesce(sum(s.streams), 0) INTO streams FROM rate_streams s
    WHERE s.tenant = a_tenant AND s.expires > moment;
  is_taken := is_forced OR (
    coalesce(requests + more_requests <= request_limit + 1e-9, TRUE)
    AND coalesce(tokens + greatest(1, more_tokens) <= token_limit + 1e-9, TRUE)
    AND (more_streams = 0 OR coalesce(streams < stream_limit, TRUE)));
  IF is_taken THEN
    requests := greatest(0, requests + more_requests);
    tokens := greatest(0, tokens + more_tokens);
  END IF;
  IF is_taken OR moment < before.at THEN
    UPDATE rates r SET at = moment, requests = take_rates.requests, tokens = take_rates.tokens
      WHERE r.tenant = a_tenant;
  END IF;
  IF is_taken AND more_streams <> 0 THEN
    INSERT INTO rate_streams VALUES (a_tenant, a_owner, greatest(0, more_streams), moment + lease * interval '1 second')
      ON CONFLICT (tenant, owner) DO UPDATE
      SET streams = greatest(0, rate_streams.streams + more_streams), expires = excluded.expires;
    streams := greatest(0, streams + more_streams);
  END IF;
END $$;
"""
NEWS = """
CREATE UNLOGGED TABLE news (     -- what gateways tell one another of models; a crash forgets it
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at TIMESTAMPTZ NOT NULL,
  sender TEXT NOT NULL,
  message BYTEA NOT NULL
);
CREATE INDEX news_at ON news (at);
CREATE FUNCTION exchange_news(a_last BIGINT, a_sender TEXT, a_message BYTEA, kept DOUBLE PRECISION)
RETURNS TABLE (id BIGINT, age DOUBLE PRECISION, message BYTEA) LANGUAGE plpgsql AS $$
DECLARE
  since TIMESTAMPTZ := clock_timestamp() - kept * interval '1 second';
BEGIN
  IF length(a_message) > 0 THEN  -- one at a time, so that ids are in the order in which they can be seen
    PERFORM pg_advisory_xact_lock(hashtext('routemoa.news'));
    DELETE FROM news n WHERE n.at < since;
    INSERT INTO news (at, sender, message) VALUES (clock_timestamp(), a_sender, a_message);
  END IF;
  RETURN QUERY SELECT n.id, greatest(0, extract(epoch FROM clock_timestamp() - n.at))::DOUBLE PRECISION, n.message
    FROM news n WHERE n.id > a_last AND n.at >= since AND n.sender <> a_sender ORDER BY n.id LIMIT 1000;
END $$;
"""
MIGRATIONS: tuple[LiteralString, ...] = (LEDGER_AND_KEYS, TRACES, COPIES, TRACE_FACTS, RATES, NEWS)
"""Version 1, 2 and so on. A step that was released is never changed."""
LOCK = 0x726D6F61
"""The advisory lock: one process at a time migrates."""


def read_version(raw: psycopg.Connection[Any], url: StoreUrl) -> int:
    """Return the version of the tables, 0 where there are none. Raises PostgresError."""
    with raise_store_errors(url):
        found = raw.execute("SELECT to_regclass(%s)", (f"{SCHEMA_NAME}.schema_version",)).fetchone()
        if found is None or found[0] is None:
            return 0
        row = raw.execute("SELECT max(version) FROM schema_version").fetchone()
        return int(row[0] or 0) if row else 0


def prepare_schema(raw: psycopg.Connection[Any], url: StoreUrl, *, create: bool) -> bool:
    """Upgrade the tables where they are of before; return whether there are any now.

    Args:
        raw: the connection.
        url: of the database.
        create: make them where there are none.

    Raises:
        StoreError: they are of a newer version, or cannot be made.
    """
    version = read_version(raw, url)
    if not version and not create:
        return False
    _check_version(version, url)
    if version < len(MIGRATIONS):
        migrate(url)
    return True


def _check_version(version: int, url: StoreUrl) -> None:
    """Raise StoreError where the tables are of a newer version."""
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{url}: the store was written by a newer routemoa (schema {version}, this one knows {len(MIGRATIONS)}); "
            f"upgrade routemoa, or {OTHER_STORE}"
        )


def migrate(url: StoreUrl) -> tuple[int, int]:
    """Bring the tables to this version, all steps in one transaction; return the versions before and after. Blocks.

    Raises:
        StoreError: they are of a newer version, or the user may not make them.
    """
    raw = connect_database(url)
    with raw, raise_store_errors(url):
        raw.execute("SET statement_timeout = 0; SET lock_timeout = 0")
        encoding = raw.execute("SHOW server_encoding").fetchone()
        if encoding is None or encoding[0] != "UTF8":
            raise StoreError(
                f"{url}: the database is not in UTF8; make one with  createdb --encoding UTF8 --template template0"
            )
        with raw.transaction():
            raw.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            version = read_version(raw, url)
            _check_version(version, url)
            if version < len(MIGRATIONS):
                if raw.execute("SELECT to_regnamespace(%s)", (SCHEMA_NAME,)).fetchone() == (None,):
                    raw.execute(f"CREATE SCHEMA {SCHEMA_NAME}")  # IF NOT EXISTS asks for the right even where it exists
                raw.execute(
                    "CREATE TABLE IF NOT EXISTS schema_version "
                    "(version INTEGER PRIMARY KEY, applied TIMESTAMPTZ NOT NULL DEFAULT now())"
                )
            for number, statements in enumerate(MIGRATIONS[version:], version + 1):
                raw.execute(statements)
                raw.execute("INSERT INTO schema_version (version) VALUES (%s)", (number,))
    return version, max(version, len(MIGRATIONS))
