"""The `[server]` table of a pool file."""

from __future__ import annotations

from pathlib import Path

import pytest

from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import parse_pool
from routemoa.core.tables.server_table import ServerSettings, parse_server_table


def test_it_is_read_from_a_pool_file() -> None:
    text = '[[model]]\nname = "a"\nendpoint = "http://x/v1"\n[server]\nmax_connections = 5\nallow_hosts = ["b"]\n'
    assert parse_pool(text, "pool", Path(), {}).server == ServerSettings(max_connections=5, allow_hosts=("b",))


def test_origins_are_written_as_browsers_send_them() -> None:
    given = ["HTTPS://Chat.Example.com/", "http://localhost:3000", "*", "app://obsidian.md", "null"]
    settings = parse_server_table({"allow_origins": given}, "pool")
    assert settings.allow_origins == (
        "https://chat.example.com",
        "http://localhost:3000",
        "*",
        "app://obsidian.md",
        "null",
    )


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"workers": 65}, "workers = 65 is out of range"),
        ({"max_connections": 0}, "max_connections = 0 is out of range"),
        ({"max_connections_per_address": -1}, "out of range"),
        ({"max_body_bytes": 0}, "out of range"),
        ({"max_body_bytes": 1.5}, "max_body_bytes"),
        ({"head_seconds": 0.0}, "head_seconds = 0.0 is out of range"),
        ({"body_seconds": -1.0}, "out of range"),
        ({"write_seconds": float("inf")}, "out of range"),
        ({"queue_seconds": float("nan")}, "out of range"),
        ({"head_second": 1.0}, "did you mean 'head_seconds'?"),
        ({"allow_origins": ["example.com"]}, "'example.com' is no origin"),
        ({"allow_origins": ["https://a/b"]}, "without a path"),
        ({"allow_origins": "*"}, "allow_origins"),
        ([], "must be a table"),
    ],
)
def test_what_is_wrong_is_one_line(table: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_server_table(table, "pool: [server]")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
