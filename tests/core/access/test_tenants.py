"""Tenants and totals of a pool file; secrets are never shown; windows are UTC days and months."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routemoa.core.access.tenants import SpendingLimits, find_windows
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool, parse_pool

MODEL = '[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9001/v1"\n'
ACME = '[[tenant]]\nname = "acme"\nkey_env = "ACME_KEY"\n'
ZETA = '[[tenant]]\nname = "zeta"\nkey_env = "ZETA_KEY"\n'
ENV = {"ACME_KEY": "sk-acme-secret", "ZETA_KEY": "sk-zeta-secret"}


def read(text: str, env: dict[str, str] | None = None) -> Pool:
    return parse_pool(MODEL + text, "pool.toml", Path("."), ENV if env is None else env)


def test_tenants_and_totals_are_read_in_order() -> None:
    tenants = read(
        ACME + "max_cost_per_day = 5.0\nmax_cost_per_month = 100\n" + ZETA + "[totals]\nmax_cost_per_day = 50"
    ).tenants
    assert [t.name for t in tenants] == ["acme", "zeta"]
    assert tenants.limits("acme") == SpendingLimits(5.0, 100.0)
    assert tenants.totals == SpendingLimits(50.0, None)
    assert not tenants.limits("zeta")
    assert not tenants.limits(None)


def test_without_tenants_no_secret_is_known() -> None:
    tenants = read("").tenants
    assert len(tenants) == 0
    assert not tenants.totals
    assert tenants.find("sk-acme-secret") is None


def test_a_bearer_finds_its_tenant_alone() -> None:
    tenants = read(ACME + ZETA).tenants
    found = [tenants.find(b) for b in ("sk-acme-secret", "sk-zeta-secret", "sk-acme-secre", "", "schlüssel\ud800")]
    assert [t and t.name for t in found] == ["acme", "zeta", None, None, None]


def test_the_secret_is_nowhere_in_what_is_kept() -> None:
    pool = read(ACME)
    for shown in (repr(pool), str(pool.tenants), repr(pool.tenants.find("sk-acme-secret"))):
        assert "sk-acme" not in shown
        assert "digest" not in shown
    assert b"sk-acme" not in pickle.dumps(pool.tenants)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ACME + ACME, ["[[tenant]] 2 'acme'", "taken", "unique"]),
        (ACME + ACME.replace("acme", "b"), ["[[tenant]] 2 'b'", "ACME_KEY", "'acme' already", "its own"]),
        (ACME + "max_cost_per_dya = 1", ["'acme'", "did you mean 'max_cost_per_day'"]),
        (ACME + "max_cost_per_day = -1", ["'acme': max_cost_per_day = -1.0", "at least 0"]),
        (ACME + "max_cost_per_day = inf", ["leave it out"]),
        (ACME + "max_cost_per_day = nan", ["out of range"]),
        (ACME + "max_cost_per_day = '5'", ["'acme': max_cost_per_day", "str"]),
        ('[[tenant]]\nname = "acme"', ["'acme'", "missing key 'key_env'"]),
        ('[[tenant]]\nname = "-"\nkey_env = "ACME_KEY"', ["name '-'", "letters"]),
        ('[[tenant]]\nname = "*"\nkey_env = "ACME_KEY"', ["name '*'", "letters"]),
        ('[[tenant]]\nname = "a\\nb"\nkey_env = "ACME_KEY"', ["letters"]),
        ('[tenant]\nname = "acme"', ["[[tenant]]", "double brackets"]),
        ("[totals]\nmax_cost = 1", ["[totals]", "unknown key 'max_cost'", "did you mean"]),
        ("[totals]\nmax_cost_per_month = -2", ["[totals]: max_cost_per_month = -2.0", "dollars"]),
        ("[tenants]", ["did you mean 'tenant'"]),
    ],
)
def test_errors_are_one_line(text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as e:
        read(text)
    message = str(e.value)
    assert message.startswith("pool.toml: ")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, ["ACME_KEY is not set", "export", "bearer"]),
        ({"ACME_KEY": ""}, ["ACME_KEY is not set"]),
        ({"ACME_KEY": "hemlig nyckel"}, ["ACME_KEY", "cannot be a bearer token", "letters"]),
        ({"ACME_KEY": "hemlig\n"}, ["ACME_KEY", "cannot be a bearer token"]),
        ({"ACME_KEY": "hemlig", "ZETA_KEY": "hemlig"}, ["ZETA_KEY and ACME_KEY hold the same key"]),
    ],
)
def test_a_wrong_secret_is_refused_without_being_shown(env: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as e:
        read(ACME + ZETA, env)
    for word in words:
        assert word in str(e.value)
    assert "hemlig" not in str(e.value)


def test_a_window_ends_where_the_next_begins() -> None:
    w = find_windows(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
    assert (w.day, w.month) == ("2026-12-31", "2026-12")
    assert w.day_reset == w.month_reset == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert find_windows(w.day_reset).day == "2027-01-01"


@given(st.floats(0, 4e9))
def test_windows_follow_one_another(now: float) -> None:
    w = find_windows(now)
    at = datetime.fromtimestamp(now, UTC)
    assert w.day_start <= now < w.day_reset <= w.month_reset
    assert w.day_reset - w.day_start == timedelta(days=1).total_seconds()
    assert w.id("day") == at.date().isoformat()
    assert (
        find_windows(w.month_reset - 1).month
        == w.month
        == at.date().isoformat()[:7]
        != find_windows(w.month_reset).month
    )
