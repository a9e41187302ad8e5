"""Read the beginning of a GGUF file: what model it holds. Bounded: a few hundred kilobytes, whatever the file says."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from msgspec import Struct

__all__ = ["GGUFHeader", "parse_gguf_header", "read_gguf_header"]

HEAD_BYTES = 256 * 1024
MAX_ENTRIES = 200
MAX_TEXT = 1000  # bytes of a text that is kept
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type number of a value -> its form for `struct`."""
STRING, ARRAY = 8, 9


class GGUFHeader(Struct, frozen=True):
    """What the head of a GGUF file says."""

    architecture: str
    name: str | None = None
    context: int | None = None
    """Tokens that the model was trained for."""
    kind: str | None = None
    """"model", or "adapter", "mmproj" and the like."""


def read_gguf_header(path: Path) -> GGUFHeader | None:
    """Return the header of a file; None where it is no GGUF file or cannot be read."""
    try:
        with path.open("rb") as f:
            return parse_gguf_header(f.read(HEAD_BYTES))
    except OSError:
        return None


def parse_gguf_header(data: bytes) -> GGUFHeader | None:
    """Return the header that `data` begins with; None where it is none.

    Entries up to the vocabulary are read; what `data` does not reach, or says wrongly, is unknown.
    """
    if len(data) < 24 or data[:4] != b"GGUF":
        return None
    (count,) = struct.unpack_from("<Q", data, 16)
    entries: dict[str, Any] = {}
    position = 24
    try:
        for _ in range(min(count, MAX_ENTRIES)):
            key, position = _read_string(data, position)
            (kind,) = struct.unpack_from("<I", data, position)
            value, position = _read_value(data, position + 4, kind)
            if position < 0:
                break
            entries[key.decode("utf-8", "replace")] = value
    except (struct.error, IndexError):
        pass  # the entries so far are what there is
    architecture = entries.get("general.architecture")
    if not isinstance(architecture, str):
        return None
    name, kind, context = (entries.get(k) for k in ("general.name", "general.type", f"{architecture}.context_length"))
    return GGUFHeader(
        architecture,
        name if isinstance(name, str) else None,
        context if isinstance(context, int) and context > 0 else None,
        kind if isinstance(kind, str) else None,
    )


def _read_value(data: bytes, position: int, kind: int) -> tuple[Any, int]:
    """Return a value and the position behind it; arrays are skipped, and one of texts ends the reading with -1."""
    if kind == STRING:
        text, position = _read_string(data, position)
        return text[:MAX_TEXT].decode("utf-8", "replace"), position
    if kind == ARRAY:
        item, count = struct.unpack_from("<IQ", data, position)
        if item not in SCALARS:
            return None, -1
        return None, position + 12 + count * struct.calcsize(SCALARS[item])
    if kind not in SCALARS:
        return None, -1
    (value,) = struct.unpack_from("<" + SCALARS[kind], data, position)
    return value, position + struct.calcsize(SCALARS[kind])


def _read_string(data: bytes, position: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", data, position)
    end = position + 8 + length
    if end > len(data):
        raise IndexError(end)
    return data[position + 8 : end], end
