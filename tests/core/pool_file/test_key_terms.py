"""What a key may be asked to be, and how it is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from routemoa.core.access.secret_keys import digest_secret, make_key, show_prefix
from routemoa.core.access.tenants import StoredKey, StoredSecret, Tenant, Tenants
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.key_terms import describe_key, make_tenant, parse_duration, parse_expiry
from routemoa.core.tables.gateway_table import GatewaySettings, read_admin_key

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


def test_keys_are_random_and_easy_to_recognize() -> None:
    made = {make_key() for _ in range(1000)}
    assert len(made) == 1000
    for key in made:
        assert key.startswith("rmk_")
        assert len(key) == 47
        assert key[4:].isalnum()
        assert key.startswith(show_prefix(key))
        assert len(show_prefix(key)) == 10


@pytest.mark.parametrize(
    ("text", "seconds"), [("45m", 2700), ("12h", 43_200), ("30d", 2_592_000), ("2w", 1_209_600), ("0s", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--grace") == seconds


def test_an_expiry_is_a_time_from_now_or_the_end_of_a_day() -> None:
    assert parse_expiry("12h", NOW, "--expires") == NOW + 43_200
    assert parse_expiry("2026-11-25", NOW, "--expires") == NOW + 43_200
    assert parse_expiry("2027-01-31", NOW, "--expires") == datetime(2027, 2, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-1d", "1.5h", "2026-13-01", "2026-11-24", "0s", "999999w", "1y", "９d x"]
)
def test_an_expiry_that_is_none_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--expires ") as e:
        parse_expiry(text, NOW, "--expires")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "terms", "words"),
    [
        ("", {}, ["name ''", "letters"]),
        ("-x", {}, ["name '-x'"]),
        ("*", {}, ["name '*'"]),
        ("a b", {}, ["name 'a b'"]),
        ("a/b", {}, ["name 'a/b'"]),
        ("a\n", {}, ["name"]),
        ("x" * 65, {}, ["up to 64"]),
        ("a", {"models": ()}, ["models: is empty"]),
        ("a", {"methods": ("routmoa",)}, ["no method 'routmoa'", "did you mean 'routemoa'"]),
        ("a", {"models": ("moa",)}, ["'moa' is a method", "methods"]),
        ("a", {"models": (" ",)}, ["no model"]),
        ("a", {"max_cost_per_day": float("inf")}, ["max_cost_per_day = inf"]),
        ("a", {"max_cost_per_month": float("nan")}, ["out of range"]),
        ("a", {"tokens_per_minute": 0}, ["tokens_per_minute = 0", "at least 1"]),
        ("a", {"concurrent_streams": -1}, ["concurrent_streams = -1"]),
        ("a", {"tokens_per_minute": 10**30}, ["tokens_per_minute = 1000", "leave it out"]),
        ("a", {"max_cost_per_day": 1e300}, ["max_cost_per_day = 1e+300", "leave it out"]),
    ],
)
def test_terms_that_cannot_be_are_one_line(name: str, terms: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as e:
        make_tenant(name, terms, "here")
    assert str(e.value).startswith("here: ")
    assert all(word in str(e.value) for word in words), e.value
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["a", "ci-2", "équipe", "ann@example.com", "x" * 64, "_", "a.b+c"])
def test_names(name: str) -> None:
    assert make_tenant(name, {}, "here") == Tenant(name, "")


@pytest.mark.parametrize(
    ("tenant", "allowed"),
    [
        (Tenant("t", ""), {"moa", "routemoa", "a", "b"}),
        (Tenant("t", "", models=("a",)), {"a"}),
        (Tenant("t", "", methods=("moa",)), {"moa"}),
        (Tenant("t", "", models=("a", "moa"), methods=("routemoa",)), {"a", "routemoa"}),
    ],
)
def test_with_one_list_only_what_is_listed_may_be_named(tenant: Tenant, allowed: set[str]) -> None:
    names = {"moa": True, "routemoa": True, "a": False, "b": False}
    assert {name for name, is_method in names.items() if tenant.may_use(name, is_method=is_method)} == allowed


def stored(name: str, *secrets: StoredSecret, **more: Any) -> StoredKey:
    return StoredKey(Tenant(name, ""), NOW, secrets=secrets, **more)


def test_a_secret_is_accepted_until_the_first_of_its_ends() -> None:
    old = StoredSecret(digest_secret("old"), "rmk_old", NOW, NOW + 60)
    new = StoredSecret(digest_secret("new"), "rmk_new", NOW)
    key = stored("k", old, new, expires=NOW + 100)
    tenants = Tenants().with_keys([key])
    assert [bool(tenants.find("old", NOW + t)) for t in (0, 59, 60, 99)] == [True, True, False, False]
    assert [bool(tenants.find("new", NOW + t)) for t in (0, 60, 99, 100)] == [True, True, True, False]
    gone = Tenants().with_keys([stored("k", old, new, revoked=NOW + 10)])
    assert [bool(gone.find("new", NOW + t)) for t in (0, 10)] == [True, False]
    assert [key.state(NOW + t) for t in (0, 99, 100)] == ["active", "active", "expired"]
    assert describe_key(key, NOW)["rotated"] == [{"prefix": "rmk_old", "expires": "2026-11-25T12:01:00Z"}]
    assert describe_key(key, NOW + 60)["rotated"] == []


def test_a_tenant_of_the_file_goes_before_a_key_of_its_name() -> None:
    tenants = Tenants((Tenant("acme", "K", 5.0),), digests=(digest_secret("file"),))
    both = tenants.with_keys([stored("acme", StoredSecret(digest_secret("store"), "", NOW)), stored("zeta")])
    assert [t.name for t in both] == ["acme", "zeta"]
    assert both.find("store", NOW) is None
    assert both.limits("acme").max_cost_per_day == 5.0
    assert both.with_keys([]).keys == ()


def test_no_digest_is_shown() -> None:
    key = stored("k", StoredSecret(digest_secret("secret"), "rmk_", NOW))
    assert digest_secret("secret").hex() not in str(describe_key(key, NOW))
    assert "digest" not in repr(Tenants().with_keys([key]))


# --- the admin key


def test_the_admin_key_is_of_the_variable_that_the_file_names_else_of_the_usual_one() -> None:
    env = {"OPS": "op-1", "ROUTEMOA_ADMIN_KEY": "op-2"}
    named = GatewaySettings(admin_key_env="OPS")
    assert read_admin_key(named, Tenants(), env, "p") == digest_secret("op-1")
    assert read_admin_key(GatewaySettings(), Tenants(), env, "p") == digest_secret("op-2")
    assert read_admin_key(GatewaySettings(), Tenants(), {}, "p") is None
    assert read_admin_key(GatewaySettings(), Tenants(), {"ROUTEMOA_ADMIN_KEY": ""}, "p") is None


@pytest.mark.parametrize(
    ("value", "words"), [("", ["OPS is not set"]), ("op 7", ["value of OPS"]), ("sk-acme", ["OPS", "a tenant"])]
)
def test_an_admin_key_that_cannot_be_is_one_line(value: str, words: list[str]) -> None:
    tenants = Tenants((Tenant("acme", "K"),), digests=(digest_secret("sk-acme"),))
    with pytest.raises(ConfigError) as e:
        read_admin_key(GatewaySettings(admin_key_env="OPS"), tenants, {"OPS": value}, "pool.toml")
    assert all(word in str(e.value) for word in words)
    assert not value or value not in str(e.value)
