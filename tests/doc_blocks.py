"""Reads the documentation: its pages, their code blocks, the commands in them, and the rows of their tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(?:\{ \.)?(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SNIPPET = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)
SEPARATORS = {"|", "&&", ";", "&"}


@dataclass(frozen=True)
class Block:
    """One fenced code block."""

    page: str
    """Relative to the root."""
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a block of shell lines."""

    block: Block
    words: tuple[str, ...]
    output_file: str | None
    """Where its standard output goes, if it is redirected."""

    def __str__(self) -> str:
        return f"{self.block}: {' '.join(self.words)}"


def read_page(page: str) -> str:
    return (ROOT / page).read_text()


def find_blocks(language: str) -> list[Block]:
    """Return the blocks of a language on all pages."""
    return [b for page in PAGES for b in page_blocks(str(page.relative_to(ROOT))) if b.language == language]


def page_blocks(page: str) -> list[Block]:
    """Return the blocks of a page."""
    text = read_page(page)
    return [Block(page, text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in FENCE.finditer(text)]


def find_commands(program: str) -> list[Command]:
    """Return the commands of all blocks of shell lines that run `program`."""
    return [c for block in find_blocks("sh") for c in split_commands(block) if c.words[0] == program]


def split_commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a block: without comments, each part of a pipeline by itself, and those in $(...)."""
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in SEPARATORS:
                words.append(word)
                continue
            output_file = None
            if ">" in words:
                output_file = words[words.index(">") + 1]
                words = words[: words.index(">")]
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # a variable before the command
                words = words[1:]
            words = strip_privileges(words)
            if words:
                yield Command(block, tuple(words), output_file)
            for inner in re.findall(r"\$\(([^()]+)\)", " ".join(words)):
                yield Command(block, tuple(shlex.split(inner)), None)
            words = []


def strip_privileges(words: list[str]) -> list[str]:
    """Return the words of a command without `sudo`, and without the path of the service's environment."""
    if words[:1] == ["sudo"]:
        words = words[3:] if words[1] == "-u" else words[1:]
    return [re.sub(r"^/opt/routemoa(-[\d.]+)?/bin/", "", words[0]), *words[1:]] if words else words


def read_prose(page: Path) -> list[tuple[int, str]]:
    """Return the numbered lines of a page outside its code blocks."""
    text = FENCE.sub(lambda m: "\n" * m[0].count("\n"), page.read_text())
    return list(enumerate(text.splitlines(), 1))


def read_table(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of the first table under a heading: each name in the first cell -> the other cells."""
    section = re.split(rf"^#+ {re.escape(heading)}$", read_page(page), flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    rows: dict[str, list[str]] = {}
    for line in re.findall(r"^\| (.+) \|$", section, re.MULTILINE)[2:]:
        first, *others = line.split(" | ")
        rows |= dict.fromkeys(re.findall(r"`([^`]+)`", first), others)
    return rows
