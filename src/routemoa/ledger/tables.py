"""The tables of a ledger in a file, in SQLite's words. Those of a database are in `postgres/migrations.py`."""

from __future__ import annotations

__all__ = ["ADOPT_OPEN_CALLS", "CREATE_IDENTITY", "CREATE_KEYS", "CREATE_NOTES", "CREATE_OWNERS", "CREATE_TABLES"]

CREATE_TABLES = """
CREATE TABLE calls (
  id INTEGER PRIMARY KEY,
  request TEXT NOT NULL,      -- the calls of one request share it
  began REAL NOT NULL,        -- seconds since the epoch
  key TEXT NOT NULL,          -- the tenant, "-" where there is none
  method TEXT NOT NULL,
  model TEXT NOT NULL,
  purpose TEXT NOT NULL,
  most REAL,                  -- the most dollars that it can have cost
  prompt_tokens INTEGER,      -- the provider's own figures; NULL where it gave none
  completion_tokens INTEGER,
  cached_tokens INTEGER,
  cost REAL,
  charged REAL,               -- dollars that are counted against budgets
  seconds REAL,
  outcome TEXT NOT NULL,      -- "open", "ok", "cut", "lost", or the kind of the failure
  owner TEXT NOT NULL         -- the process that made it
);
CREATE INDEX calls_began ON calls (began);
CREATE TABLE windows (        -- totals of a UTC day ("2026-11-25") or month ("2026-11"), in picodollars: sums of
  key TEXT NOT NULL,          -- whole numbers have no rounding errors; key "*" is the sum of all tenants
  window TEXT NOT NULL,
  spent INTEGER NOT NULL,
  held INTEGER NOT NULL,      -- the most that calls under way can cost
  PRIMARY KEY (key, window)
) WITHOUT ROWID;
"""

CREATE_NOTES = """
CREATE TABLE IF NOT EXISTS notes (  -- what was found or corrected later; rows are only added
  id INTEGER PRIMARY KEY,
  call INTEGER NOT NULL,      -- calls.id, with its request: ids are given again once all newer calls are deleted
  request TEXT NOT NULL,
  at REAL NOT NULL,           -- seconds since the epoch
  cost REAL,                  -- the dollars that the call did cost; NULL where the note corrects nothing
  note TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS notes_call ON notes (call);
CREATE VIEW IF NOT EXISTS corrected_calls AS  -- the calls, with the last correction of each
  SELECT c.id, c.request, c.began, c.key, c.method, c.model, c.purpose, c.most, c.prompt_tokens, c.completion_tokens,
    c.cached_tokens, ifnull(n.cost, c.cost) AS cost, ifnull(n.cost, c.charged) AS charged, c.seconds, c.outcome
  FROM calls c LEFT JOIN notes n ON n.id = (
    SELECT max(id) FROM notes WHERE call = c.id AND request = c.request AND cost IS NOT NULL);
"""

CREATE_KEYS = """
CREATE TABLE IF NOT EXISTS keys (  -- tenants that are kept here: a name is given once, so that its calls stay its own
  name TEXT PRIMARY KEY,
  created REAL NOT NULL,      -- seconds since the epoch, as all times
  expires REAL,
  revoked REAL,
  models TEXT,                -- a JSON array, NULL where not limited
  methods TEXT,
  max_cost_per_day REAL,
  max_cost_per_month REAL,
  requests_per_minute INTEGER,
  tokens_per_minute INTEGER,
  concurrent_streams INTEGER,
  changed INTEGER NOT NULL    -- counts the changes of all keys: its maximum tells servers whether to read them again
);
CREATE INDEX IF NOT EXISTS keys_changed ON keys (changed);
CREATE TABLE IF NOT EXISTS key_secrets (
  digest BLOB PRIMARY KEY,    -- SHA-256 of the key, which is stored nowhere
  name TEXT NOT NULL,         -- keys.name
  prefix TEXT NOT NULL,       -- the key's first characters, to tell it from others
  created REAL NOT NULL,
  expires REAL                -- of a secret that was rotated: until when it is accepted
) WITHOUT ROWID;
"""

CREATE_OWNERS = """
CREATE TABLE IF NOT EXISTS owners (  -- the processes that may have open calls
  owner TEXT PRIMARY KEY,
  first INTEGER NOT NULL      -- none of these calls has a lower id
) WITHOUT ROWID;
"""

ADOPT_OPEN_CALLS = """
INSERT OR IGNORE INTO owners SELECT owner, min(id) FROM calls WHERE outcome = 'open' GROUP BY owner;
DROP INDEX calls_open;
"""
"""Of a file in which an index held the open calls."""

CREATE_IDENTITY = """
CREATE TABLE IF NOT EXISTS identity (  -- one row: tells this ledger from those of other machines that share budgets
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL
);
INSERT OR IGNORE INTO identity VALUES (1, lower(hex(randomblob(8))));
"""
