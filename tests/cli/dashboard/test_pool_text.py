"""A pool file's text over the network: secrets stay hidden, no other file is read, work is bounded."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from routemoa.cli.dashboard.operations import DashboardOperations
from routemoa.cli.dashboard.pool_paths import check_paths
from routemoa.cli.dashboard.pool_secrets import check_secrets, hide_secrets, show_secrets
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool

TEXT = """\
# the old key was sk-proj-AbCdEfGhIjKlMnOp123
[[model]]
name = "a"
endpoint = "https://user:p4ssw0rd@models.example/v1?sig=1f2e3d"
api_key_env = "A_KEY"
prior = 0.6
headers = { "X-Team" = "t0psecret" }
parameters = { extra_body = { access_token = "tok-123456" }, max_tokens = 100 }

[[model]]
name = "b"
endpoint = "http://127.0.0.1:9/v1"
prior = 0.5
"""
SECRETS = ("sk-proj-AbCdEfGhIjKlMnOp123", "p4ssw0rd", "t0psecret", "tok-123456", "1f2e3d")


def test_secrets_are_hidden_and_come_back() -> None:
    hidden = hide_secrets(TEXT)
    assert not any(secret in hidden for secret in SECRETS)
    assert 'api_key_env = "A_KEY"' in hidden
    assert show_secrets(hidden, TEXT) == TEXT
    without = "\n".join(line for line in hidden.splitlines() if "X-Team" not in line)
    assert "t0psecret" not in show_secrets(without, TEXT), "one may be left out"


@pytest.mark.parametrize(
    "change",
    [
        lambda hidden: hidden.replace("models.example", "evil.example"),  # to another endpoint
        lambda hidden: hidden.replace('"http://127.0.0.1:9/v1"', '"http://127.0.0.1:9/⟨hidden 1⟩"'),
        lambda hidden: hidden.replace("X-Team", "X-Other"),
        lambda hidden: hidden + 'system = "say ⟨hidden 2⟩ and ⟨hidden 3⟩"\n',  # to a model
        lambda hidden: hidden + 'model = "⟨hidden 17⟩"\n',
    ],
    ids=["endpoint", "url", "header", "prompt", "unknown"],
)
def test_a_hidden_secret_goes_nowhere_else(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="hidden"):
        show_secrets(change(hide_secrets(TEXT)), TEXT)


@pytest.mark.parametrize(
    "line",
    [
        'api_key_env = "sk-ant-REDACTED"',
        'api_key_env = "two words"',
        "# AIzaSyA-1234567890abcdefghij",
        'headers = { "X-Api-Key" = "whatever" }',
        "parameters = { api_key = 'abcdef' }",
        'system = "0123456789abcdef0123456789abcdef"',
        'endpoint = "http://me:secret@127.0.0.1/v1"',
    ],
)
def test_a_new_secret_is_not_written(line: str) -> None:
    with pytest.raises(ConfigError, match=r"environment|secret"):
        check_secrets(f'{TEXT}\n[[model]]\nname = "c"\n{line}\n', TEXT)


def test_ordinary_texts_are_no_secrets() -> None:
    more = """
[[model]]
name = "c"
endpoint = "openrouter"
model = "qwen/qwen-2.5-72b-instruct"
rename = { max_tokens = "max_completion_tokens" }
parameters = { prompt_cache_key = "my-app" }
"""
    check_secrets(TEXT + more, TEXT)
    assert hide_secrets(more) == more


def test_paths_stay_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    known = {"scorer": {"path": "/srv/scorer"}}
    for table in (
        {"learning": {"path": "/etc/passwd"}},
        {"mixture": {"judge": "../judge.json"}},
        {"mixture": {"policy": "~/policy.toml"}},
        {"scorer": {"path": "link/scorer"}},
        {"model": [{"name": "x", "endpoint": "local", "model": "/etc/hosts"}]},
        {"model": [{"name": "../../x.gguf", "endpoint": "local"}]},
    ):
        with pytest.raises(ConfigError, match="outside the folder"):
            check_paths(table, known, tmp_path)
    check_paths({**known, "mixture": {"judge": "judge/a.json"}}, known, tmp_path)
    check_paths({"model": [{"name": "qwen", "endpoint": "local"}]}, known, tmp_path, ["qwen"])


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    monkeypatch.setenv("A_KEY", "k")
    (tmp_path / "pool.toml").write_bytes(TEXT.replace("\n", "\r\n").encode())
    (tmp_path / "pool.toml").chmod(0o640)
    return Pool.from_toml(tmp_path / "pool.toml")


def test_a_text_is_checked_compared_and_written(pool: Pool) -> None:
    operations, path = DashboardOperations(), Path(pool.source)
    shown = operations.describe_pool(pool)
    assert not any(secret in str(shown) for secret in SECRETS)
    assert operations.check_pool(pool, shown["text"])["diff"] == []
    changed = shown["text"].replace("prior = 0.5", "prior = 0.7")
    found = operations.check_pool(pool, changed)
    assert found["ok"]
    assert [line for line in found["diff"] if line[0] in "+-"] == ["-prior = 0.5", "+prior = 0.7"]
    assert operations.check_pool(pool, changed.replace("0.7", "7"))["line"] == 13
    assert operations.check_pool(pool, changed.replace("[[model]]", "[[model]", 1))["line"] == 2
    with pytest.raises(ConfigError, match="changed meanwhile"):
        operations.write_pool(pool, changed, "another digest")
    with pytest.raises(ConfigError, match="out of range"):
        operations.write_pool(pool, changed.replace("0.7", "7"), shown["digest"])
    before = operations.write_pool(pool, changed, shown["digest"])
    assert path.read_bytes() == TEXT.replace("0.5", "0.7").replace("\n", "\r\n").encode()
    assert path.stat().st_mode & 0o777 == 0o640
    operations.restore_pool(pool, before)
    assert path.read_bytes() == TEXT.replace("\n", "\r\n").encode()


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 100_000 + "=1",
        "a=" + "[" * 100_000,
        "=\n" * 4_000,
        '"' * 200_000,
        "a='" + "sk-" * 60_000 + "'",
        "x" * 300_000,
    ],
    ids=["parts", "nested", "lines", "quotes", "keys", "long"],
)  # fmt: skip
def test_a_hostile_text_is_refused_soon(pool: Pool, text: str) -> None:
    began = time.monotonic()
    assert not DashboardOperations().check_pool(pool, text)["ok"]
    assert time.monotonic() - began < 5


def test_a_password_with_a_slash_is_hidden_too(pool: Pool) -> None:
    """Read as a URL, it ends the host and its name is a port."""
    path = Path(pool.source)
    path.write_bytes(path.read_bytes().replace(b"p4ssw0rd", b"p4ss/w0rd"))
    found = msgspec.structs.replace(pool["a"], endpoint="https://user:p4ss/w0rd@models.example/v1?sig=1f2e3d")
    shown = DashboardOperations().describe_pool(replace(pool, models=(found, pool["b"])))
    assert "w0rd" not in str(shown)
    assert shown["members"][0]["endpoint"] == "https://models.example/v1"


def test_a_pool_without_a_file_is_shown_only() -> None:
    operations, pool = DashboardOperations(), Pool.embedded()
    shown = operations.describe_pool(pool)
    assert shown["text"] is None
    assert "routemoa init" in shown["why"]
    with pytest.raises(ConfigError, match="routemoa init"):
        operations.check_pool(pool, "")
