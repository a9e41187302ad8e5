"""What a file looks like, from its first bytes, and which command makes the file that was wanted. Pure.

Every message that refuses a file says both, so that a file in the wrong place is recognised at a glance.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

import msgspec

__all__ = ["HEAD_BYTES", "FileKind", "Wanted", "detect_encoding", "detect_kind", "explain_wrong_file", "quote_line"]

HEAD_BYTES = 1 << 16
"""Bytes from a file's beginning that are enough to tell its kind."""
MAX_QUOTED = 60
"""Characters of a line that a message quotes."""
Wanted = Literal["questions", "records", "traces", "judge model", "run", "pool file"]

MAGIC = (
    (b"PAR1", "parquet", "a Parquet file"),
    (b"PK\x03\x04", "zip", "an Excel workbook or a zip archive"),
    (b"\xd0\xcf\x11\xe0", "zip", "an old Excel workbook"),
    (b"%PDF", "binary", "a PDF"),
    (b"SQLite format 3\x00", "binary", "an SQLite database"),
    (b"GGUF", "binary", "a model's weights (GGUF)"),
    (b"ARROW1", "binary", "an Arrow file"),
    (b"\x28\xb5\x2f\xfd", "binary", "a Zstandard archive"),
    (b"BZh", "binary", "a bzip2 archive"),
    (b"\xfd7zXZ", "binary", "an xz archive"),
    (b"\x93NUMPY", "binary", "a NumPy array"),
)
"""First bytes, kind and description of binary files."""
OBJECTS = (
    ({"trace"}, "traces", "traces"),
    ({"scores", "query"}, "records", "records"),
    ({"method", "right"}, "outcomes", "the outcomes of a run"),
    ({"method", "request", "model"}, "calls", "the calls of a run"),
    ({"coefficients"}, "judge model", "a judge model"),
    ({"kind", "methods", "models"}, "run", "the run.json of a run"),
    ({"query"}, "questions", "questions"),
    ({"question"}, "questions", "questions"),
    ({"messages"}, "messages", "requests with messages"),
)
"""Keys of a JSON object that tell what it is; the first set that it holds counts."""
TABLE = re.compile(r"\b(id|task|query|question|prompt|input|problem|reference|answer|target|label|grader)\b", re.I)
TOML = re.compile(r"\[\[?[\w.-]+\]\]?\s*(#.*)?$|[\w-]+\s*=")
HTML = re.compile(r"<(!doctype html|html|head|body)\b", re.I)
YAML = re.compile(r"(- )?[\w-]+:(\s|$)|---$")
MAKERS: dict[Wanted, str] = {
    "questions": 'write a JSON object a line, {"query": "...", "reference": "..."}, or a CSV or Parquet file',
    "records": "records are made by  routemoa collect QUESTIONS --out records.jsonl",
    "traces": "traces are made by  routemoa ask --json QUESTION >> traces.jsonl  and by  routemoa bench --out DIR",
    "judge model": "make one with  routemoa judge fit TRACES --out judge.json",
    "run": "make one with  routemoa bench TASK --out DIR  or  routemoa evaluate RECORDS --scorer DIR --out DIR2",
    "pool file": "make one with  routemoa init",
}


class FileKind(NamedTuple):
    """What a file looks like."""

    kind: str
    """Such as "csv", "json array", "records" or "text"."""
    description: str
    """The same for people, with its article."""
    first_line: str
    """The beginning of its first line, on one line and printable; empty for a binary file."""

    def __str__(self) -> str:
        return f"{self.description} (first line: {self.first_line})" if self.first_line else self.description


def detect_kind(head: bytes, name: str = "") -> FileKind:
    """Return what a file looks like from its first HEAD_BYTES, decompressed, and its name."""
    for magic, kind, description in MAGIC:
        if head.startswith(magic):
            return FileKind(kind, description, "")
    encoding = detect_encoding(head)
    text = head.decode(encoding or "utf-8", "replace").lstrip("\ufeff")
    if "\x00" in text:
        return FileKind("binary", "a binary file", "")
    stripped = text.lstrip()
    first, _, rest = stripped.partition("\n")
    if not stripped:
        return FileKind("empty", "an empty file", "")
    kind, description = _detect_text(first.strip(), rest, name)
    return FileKind(kind, description, quote_line(first if len(first.strip()) > 3 else stripped))


def detect_encoding(head: bytes) -> str | None:
    """Return "utf-8-sig" or the UTF-16 or UTF-32 of a file by its mark or its zero bytes; None where neither tells."""
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if head.startswith(mark):
            return encoding
    sample = head[:200]
    even, odd = sample[::2], sample[1::2]
    if len(odd) >= 2 and odd.count(0) > 0.7 * len(odd) and not even.count(0):
        return "utf-16-le"
    if len(odd) >= 2 and even.count(0) > 0.7 * len(even) and not odd.count(0):
        return "utf-16-be"
    return None


def explain_wrong_file(found: FileKind, wanted: Wanted, file: str) -> str:
    """Return the end of an error about a file of the wrong kind: what it looks like, and what to do."""
    article = "a " if wanted in ("judge model", "run", "pool file") else ""
    lines = ", one a line" if found.kind == "json object" and wanted in found.description else ""
    return f"not {article}{wanted}{lines}: looks like {found}; {_suggest(found, wanted, file)}"


def quote_line(line: bytes | str) -> str:
    """Return the beginning of a line for a message, without characters that a terminal would obey."""
    text = line[: 4 * MAX_QUOTED]
    text = text if isinstance(text, str) else text.decode("utf-8", "replace")
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= MAX_QUOTED else clean[: MAX_QUOTED - 1] + "…"


def _detect_text(first: str, rest: str, name: str) -> tuple[str, str]:
    """Return kind and description of a text by its first line and what follows."""
    if first.startswith("{"):
        return _detect_object(first, rest)
    lower = name.casefold().removesuffix(".gz")
    code = next((line for line in map(str.strip, (first, *rest.splitlines())) if line and line[0] != "#"), "")
    rules = (
        (HTML.match(first), "html", "an HTML page"),
        (first.startswith("<"), "xml", "XML"),
        (lower.endswith((".csv", ".tsv")), "csv", "CSV"),
        (lower.endswith(".toml") or TOML.match(code), "toml", "a TOML file"),
        (re.match(r"\[+\s*(?:$|[\]{\"\d-]|(?:null|true|false)\b)", first) is not None, "json array", "a JSON array"),
        (len(re.split(r"[,;\t]", first)) > 1 and TABLE.search(first), "csv", "CSV"),
        (YAML.match(first), "yaml", "YAML"),
    )
    return next(((kind, description) for holds, kind, description in rules if holds), ("text", "plain text"))


def _detect_object(first: str, rest: str) -> tuple[str, str]:
    """Return kind and description of a text that begins with a JSON object."""
    plain = _decode_object(first)
    if plain is not None:
        return _name_object(plain) or ("json lines", "JSON lines")
    if first.startswith("{'"):
        return "python", "Python dictionaries, with ' where JSON has \""
    if first == "{" or rest.startswith((" ", "\t", '"')):
        found = _name_object(_decode_object(f"{first}\n{rest}") or {})
        what = "one JSON object over several lines"
        return "json object", f"{found[1]}, {what}" if found else what
    return "json lines", "JSON lines"


def _name_object(plain: dict[str, Any]) -> tuple[str, str] | None:
    """Return kind and description of an object with known keys."""
    return next(((kind, description) for keys, kind, description in OBJECTS if keys <= plain.keys()), None)


def _decode_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a text is, or None."""
    try:
        plain = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return plain if isinstance(plain, dict) else None


def _suggest(looks: FileKind, wanted: Wanted, file: str) -> str:
    """Return what to do with a file of one kind where another is wanted."""
    found, tables = looks.kind, ("csv", "parquet", "questions")
    if wanted == "records" and found in tables:
        return f"make records of it with  routemoa collect {file} --out records.jsonl"
    if found == "json array" and wanted in ("questions", "records", "traces"):
        return f"write one object a line:  jq -c '.[]' {file} > lines.jsonl"
    if found == "json object" and looks.description.startswith((wanted, "one JSON")) and wanted != "pool file":
        return f"write each object on one line:  jq -c . {file} > lines.jsonl"
    if found == "python":
        return "write lines with json.dumps(...) instead of str(...)"
    if found == "zip" and wanted == "questions":
        return "save the sheet as CSV (UTF-8)"
    if found == "traces" and wanted == "records":
        return f"traces with grades are for  routemoa judge fit {file}; {MAKERS[wanted]}"
    if found in ("outcomes", "calls", "run") and wanted in ("records", "questions", "traces"):
        return f"show the run with  routemoa report DIR; {MAKERS[wanted]}"
    return MAKERS[wanted]
