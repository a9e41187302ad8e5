"""Edits of a pool file leave comments and layout of all else as they are."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from routemoa.cli.pool.pool_file import (
    Change,
    PoolFile,
    add_table,
    change_table,
    find_pool_file,
    read_comments,
    remove_table,
)
from routemoa.core.errors import ConfigError

POOL = '''# My pool,
# of three

# about a
[[model]]
name = "a"   # first
endpoint = "http://127.0.0.1:9/v1"
system = """
[[model]]
# not a comment

"""
input_price = 0.5        # dollars per million tokens: OpenRouter's list of 2026-01-01
output_price = 10
[model.parameters]
temperature = 0.1

# A heading

# about b
[[model]]
name = "b"
endpoint = "local"
parameters = { stop = [
  "[[model]]",
  "x",
] }
# the end of b

[mixture]
prefer = "cheap"  # x

# late
[[ model ]]
name = 'c'
endpoint = "local"'''


def names(text: str) -> list[str]:
    return [m["name"] for m in tomllib.loads(text)["model"]]


@pytest.mark.parametrize(
    ("name", "gone", "left"),
    [
        ("a", ["about a", "not a comment", "temperature"], ["# My pool,\n# of three\n\n# A heading\n\n# about b"]),
        ("b", ["about b", "end of b", '"x"'], ["# A heading\n\n[mixture]", "# about a"]),
        ("c", ["# late", "'c'"], ["# about a", 'prefer = "cheap"  # x\n']),
    ],
)
def test_a_table_goes_with_its_comments_and_nothing_else(name: str, gone: list[str], left: list[str]) -> None:
    text = remove_table(POOL, name)
    assert names(text) == [n for n in "abc" if n != name]
    assert not any(part in text for part in gone)
    assert all(part in text for part in left)
    assert "\n\n\n" not in text
    before = len(os.path.commonprefix([POOL, text]))  # noqa: RUF071  (text, not paths)
    after = len(os.path.commonprefix([POOL[::-1], text[::-1]]))  # noqa: RUF071
    assert before + after >= len(text), "one piece is gone, and nothing else"


def test_a_table_comes_behind_the_last_one() -> None:
    text = add_table(POOL, ["[[model]]", 'name = "d"'])
    assert text == POOL + '\n\n[[model]]\nname = "d"\n'
    middle = POOL.partition("\n# late")[0]
    added = add_table(middle, ["[[model]]", 'name = "d"'])
    assert '# the end of b\n\n[[model]]\nname = "d"\n\n[mixture]' in added
    assert names(added) == ["a", "b", "d"]


def test_what_was_added_can_be_removed_again() -> None:
    middle = POOL.partition("\n# late")[0]
    assert remove_table(add_table(middle, ["[[model]]", 'name = "d"']), "d") == middle
    assert remove_table(add_table(POOL, ["[[model]]", 'name = "d"']), "d") == POOL + "\n"


def test_values_and_comments_change_in_place() -> None:
    changes = [
        Change("input_price", 0.25, "another"),
        Change("output_price", 9),
        Change("context", 4096),
        Change("name", comment="noted"),
    ]
    text = change_table(POOL, "a", changes)
    assert "input_price = 0.25       # another\n" in text, "the comment keeps its column"
    assert 'name = "a"   # noted\n' in text
    assert tomllib.loads(text)["model"][0]["context"] == 4096
    assert text.partition("# A heading")[2] == POOL.partition("# A heading")[2]
    assert "# not a comment\n\n" in text
    assert change_table(text, "a", [Change("name", comment="")]).count("# noted") == 0
    assert read_comments(text, "a") == {"name": "# noted", "input_price": "# another"}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_ends_stay(newline: str) -> None:
    text = POOL.replace("\n", newline)
    for edited in (
        remove_table(text, "b"),
        add_table(text, ["[[model]]", 'name = "d"']),
        change_table(text, "b", [Change("context", 1)]),
    ):
        assert tomllib.loads(edited)
        ends = {line[-2:] == "\r\n" for line in edited.splitlines(keepends=True)[:-1]}
        assert True in ends if newline == "\r\n" else ends == {False}


# --- the file


def write(folder: Path, text: str) -> PoolFile:
    path = folder / "pool.toml"
    path.write_text(text)
    return PoolFile(path)


def test_a_file_keeps_its_permissions_and_its_link(tmp_path: Path) -> None:
    file = write(tmp_path, POOL)
    file.path.chmod(0o600)
    link = tmp_path / "link.toml"
    link.symlink_to(file.path)
    linked = PoolFile(link)
    linked.save(remove_table(linked.text, "c"), linked.entries[:2])
    assert link.is_symlink()
    assert names(file.path.read_text()) == ["a", "b"]
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.toml", "pool.toml"]


def test_a_byte_order_mark_stays(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_bytes(b"\xef\xbb\xbf" + POOL.replace("\n", "\r\n").encode())
    file = PoolFile(path)
    file.save(remove_table(file.text, "b"), [e for e in file.entries if e["name"] != "b"])
    assert path.read_bytes().startswith(b"\xef\xbb\xbf# My pool,\r\n")
    assert names(path.read_text("utf-8-sig")) == ["a", "c"]


def test_an_edit_that_would_do_something_else_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, POOL)
    with pytest.raises(ConfigError, match="change it by hand"):
        file.save(remove_table(file.text, "a"), file.entries[:2])
    assert file.path.read_text() == POOL


def test_models_written_inline_are_left_to_their_owner(tmp_path: Path) -> None:
    file = write(tmp_path, 'model = [{name = "a", endpoint = "local"}, {name = "b", endpoint = "local"}]\n')
    with pytest.raises(ConfigError, match="by hand"):
        remove_table(file.text, "a")
    with pytest.raises(ConfigError, match=r"not valid TOML|by hand"):
        file.save(add_table(file.text, ["[[model]]", 'name = "c"', 'endpoint = "local"']), file.entries)


def test_keys_need_not_be_set_to_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    tenants = '[[tenant]]\nname = "t"\nkey_env = "NONE_A"\n[[tenant]]\nname = "u"\nkey_env = "NONE_B"\n'
    file = write(
        tmp_path,
        f'[[model]]\nname = "a"\nendpoint = "openrouter"\n[[model]]\nname = "b"\nendpoint = "local"\n{tenants}',
    )
    file.save(remove_table(file.text, "a"), file.entries[1:])
    assert names(file.path.read_text()) == ["b"]


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, POOL)
    (tmp_path / "other.toml").write_text(POOL)
    assert find_pool_file(None, {}).path == Path("pool.toml")
    assert find_pool_file(None, {"ROUTEMOA_POOL": "other.toml"}).path == Path("other.toml")
    assert find_pool_file("other.toml", {"ROUTEMOA_POOL": "no.toml"}).path == Path("other.toml")
    with pytest.raises(
        ConfigError, match=r"no\.toml: cannot be read: No such file or directory; make one with  routemoa init"
    ):
        find_pool_file("no.toml", {})
    (tmp_path / "latin.toml").write_bytes(b"# \xe4\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        find_pool_file("latin.toml", {})
