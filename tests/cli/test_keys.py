"""`routemoa keys`, as it is typed: real processes, one store."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from routemoa.core.access.secret_keys import digest_secret
from routemoa.core.access.tenants import Tenant
from routemoa.ledger.keys import read_keys
from tests.cli.in_process import run_in_process


def keys(store: Path, *words: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
    done = run_in_process("keys", *words, "--store", str(store))
    assert "Traceback" not in done.stderr
    assert (done.returncode != 0) == fails, done.stderr
    return done


def test_a_key_is_made_listed_rotated_and_revoked(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    empty = keys(store, "list")
    assert "routemoa keys create" in empty.stderr
    terms = ["--models", "a, b,a", "--methods", "routemoa", "--max-cost-per-day", "2", "--requests-per-minute", "60"]
    made = keys(store, "create", "ci", "--expires", "30d", *terms)
    secret = made.stdout.strip()
    assert re.fullmatch(r"rmk_[A-Za-z0-9]{43}", secret), "alone on standard output, for scripts"
    assert secret not in made.stderr
    assert "first key" in made.stderr
    (key,) = read_keys(store)
    assert key.tenant == Tenant("ci", "", 2.0, None, ("a", "b"), ("routemoa",), 60)
    assert key.secrets[0].digest == digest_secret(secret)

    listed = keys(store, "list").stdout
    assert "ci" in listed
    assert secret[:10] in listed
    assert secret[:12] not in listed
    assert "routemoa, a, b" in listed
    (plain,) = json.loads(keys(store, "list", "--json").stdout)["keys"]
    assert (plain["name"], plain["state"], plain["requests_per_minute"]) == ("ci", "active", 60)
    assert plain["tokens_per_minute"] is None

    rotated = keys(store, "rotate", "ci", "--grace", "1h")
    assert rotated.stdout.strip() not in ("", secret)
    assert "1h" in rotated.stderr
    again = json.loads(keys(store, "rotate", "ci", "--json").stdout)
    assert again["key"].startswith(again["prefix"])
    revoked = keys(store, "revoke", "ci")
    assert "revoked" in revoked.stdout
    assert "refuses every request" in revoked.stderr, "no other key is left"
    assert json.loads(keys(store, "revoke", "ci", "--json").stdout)["state"] == "revoked"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create"], "Missing argument 'NAME'"),
        (["create", "a b"], "letters"),
        (["create", "x", "--expires", "3y"], "30d"),
        (["create", "x", "--expires", "2001-01-01"], "over already"),
        (["create", "x", "--methods", "moaa"], "did you mean 'moa'"),
        (["create", "x", "--models", ","], "models: is empty"),
        (["create", "x", "--tokens-per-minute", "0"], "at least 1"),
        (["create", "x", "--max-cost-per-day", "nan"], "out of range"),
        (["rotate", "nix"], "no key 'nix'"),
        (["revoke", "nix"], "no key 'nix'"),
        (["rotate", "nix", "--grace", "1"], "45m"),
        (["creat", "x"], "did you mean create"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(tmp_path: Path, words: list[str], said: str) -> None:
    store = tmp_path / "s.db"
    failed = keys(store, *words, fails=True)
    assert said in failed.stderr
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert not store.exists()
