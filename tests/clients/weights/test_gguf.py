"""The head of a GGUF file is read in bounded work, whatever it says."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from routemoa.clients.weights import load_manifest
from routemoa.clients.weights.gguf import GGUFHeader, parse_gguf_header, read_gguf_header


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(*entries: bytes, count: int | None = None) -> bytes:
    """Return a file's head; `count` is what it says, by default the truth."""
    return b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries) if count is None else count) + b"".join(entries)


def string(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


LLAMA = string("general.architecture", "llama")


def test_what_a_head_says() -> None:
    numbers = text("llama.rope") + struct.pack("<IIQ", 9, 6, 2) + struct.pack("<ff", 1, 2)
    words = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 10**9)
    data = gguf(LLAMA, numbers, string("general.name", "Llama"), number("llama.context_length", 8192), words)
    assert parse_gguf_header(data) == GGUFHeader("llama", "Llama", 8192, None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"GGML" + bytes(100),
        gguf(),
        gguf(number("general.architecture", 3)),
        gguf(count=2**63),
        gguf(struct.pack("<Q", 2**63)),
        gguf(text("a") + struct.pack("<I", 99)),
        gguf(text("a") + struct.pack("<IIQ", 9, 4, 2**60)),
    ],
)
def test_what_is_no_head(data: bytes) -> None:
    assert parse_gguf_header(data) is None


@pytest.mark.parametrize(
    "rest", [b"", text("b"), text("b") + struct.pack("<I", 99), text("b") + struct.pack("<IIQ", 9, 4, 2**60)]
)
def test_what_comes_before_a_fault_counts(rest: bytes) -> None:
    assert parse_gguf_header(gguf(LLAMA, rest, count=50)) == GGUFHeader("llama")


def test_files(tmp_path: Path) -> None:
    assert read_gguf_header(tmp_path / "none") is None
    assert read_gguf_header(tmp_path) is None
    (tmp_path / "a.gguf").write_bytes(gguf(LLAMA))
    assert read_gguf_header(tmp_path / "a.gguf") == GGUFHeader("llama")


@pytest.mark.weights
def test_a_real_file() -> None:
    weight = load_manifest()["smollm2-135m"]
    if not weight.is_fetched:
        pytest.skip("run  routemoa pool fetch --only smollm2-135m")
    header = read_gguf_header(weight.path)
    assert header is not None
    assert (header.architecture, header.kind) == ("llama", "model")
