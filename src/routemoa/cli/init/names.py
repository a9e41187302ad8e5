"""What the name of a model says: its family, its line within that, its version, its size, what it is not for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from msgspec import Struct

__all__ = ["ModelName", "PublishedScore", "expected_score", "family_rank", "find_score", "is_small", "parse_name"]

_DATE = re.compile(r"(20\d\d-?[01]\d-?[0-3]\d|(?<=-)2[3-9][01]\d|(?<=-)[01]\d[0-3]\d|(?<=-)[01]\d-20\d\d)(?=-|$)")
"""A day or a month: 2025-12-11, 20251211, 2512, 0813, 09-2025."""
_SIZE = re.compile(r"^(?:\d+x)?\d+(?:\.\d+)?[bm]$|^a\d+(?:\.\d+)?b$|^e\d+b$")
_BILLIONS = re.compile(r"(?:^|[-_ ])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?=$|[-_. :])")
MARKS = ("other", "special", "preview", "alias")
_FILE = re.compile(r"(-\d{5}-of-\d{5})?\.gguf$")
_QUANT = re.compile(r"[-._](i?q\d\w*|[bf]?f16|f32|mxfp4)$")
"""How the weights of a file are stored."""
_VERSION = re.compile(r"\d+(?:\.\d+)*")


class ModelName(Struct, frozen=True):
    """A model's name, taken apart."""

    id: str
    short: str
    """The last part of it, as the public tables spell it: lower case, versions with dots, no date."""
    base: str
    """`short` without the words that a name may have or lack: equal for a model and its aliases."""
    family: str
    known: bool
    """Whether the family is one of the table."""
    line: str
    """What stays when the model gets a new version, such as "flash"."""
    version: tuple[int, ...]
    date: str
    """The day or month in the name, as digits; empty without one."""
    variant: str
    """What follows a colon, such as "free" or the tag of a local server."""
    size: float | None
    """Billions of parameters."""
    marks: frozenset[str]
    """Which lists of words it is on: "other", "special", "preview", "alias"."""


class PublishedScore(Struct, frozen=True):
    """A figure of a public table."""

    score: float
    """Percent."""
    table: str
    effort: str | None = None


def parse_name(model: str) -> ModelName:
    """Take the name of a model apart, as any provider spells it."""
    lower = model.lower()
    last, _, variant = re.split(r"[/\\]", lower)[-1].partition(":")
    last = _QUANT.sub("", _FILE.sub("", last)) if _FILE.search(last) else last
    spelled = re.sub(r"(?<=\d)p(?=\d)", ".", re.sub(r"^(meta|open|zai)-", "", last))  # Fireworks: glm-5p3
    found = _DATE.search(spelled)
    undated = re.sub(r"--+", "-", _DATE.sub("", spelled)).strip("-")
    short = re.sub(r"(?<![\d.])(\d{1,2})-(\d{1,2})(?=-|$)", r"\1.\2", undated)  # claude-opus-4-1
    listed = _load()["words"]
    family = next((name for name, pattern in _load()["families"].items() if re.search(pattern, short)), None)
    parts, words = short.split("-"), set(re.split(r"[-_.]", short))
    return ModelName(
        model,
        short,
        "-".join(p for p in parts if p not in listed["dress"] and p not in listed["alias"]),
        family or re.split(r"[-_.\d]", short)[0] or short,
        family is not None,
        _line(parts, family),
        _version(parts),
        re.sub(r"\D", "", found[0]) if found else "",
        variant,
        _billions(f"{short} {variant}"),
        frozenset(mark for mark in MARKS if words & set(listed[mark])),
    )


def find_score(name: ModelName) -> PublishedScore | None:
    """Return what a public table says about a model; None where it is in none."""
    scores: Mapping[str, PublishedScore] = _scores()
    plain = "-".join(p for p in name.base.split("-") if p not in _load()["words"]["preview"])
    forms = (name.short, name.base, plain)
    dated = [f"{form}-{name.date}" for form in forms if name.date]
    return next((scores[form] for form in (*dated, *forms) if form in scores), None)


def is_small(name: ModelName) -> bool:
    """Return whether a name says that the model is one of its provider's small ones."""
    return bool(set(re.split(r"[-_.]", name.short)) & set(_load()["words"]["small"]))


def expected_score(name: ModelName) -> float | None:
    """Return a model's figure or, where no table has it, that of the last known model of its line before it; percent.

    It sorts models; it is no prior.
    """
    if (own := find_score(name)) is not None:
        return own.score
    line = [(n.version, score) for n, score in _parsed_scores() if (n.family, n.line) == (name.family, name.line)]
    return max((entry for entry in line if entry[0] <= name.version), default=((), None))[1]


def family_rank(family: str) -> tuple[float, int]:
    """Return a key that sorts families: the best figure of one of its models first, then the order of the table."""
    best = max((score for name, score in _parsed_scores() if name.family == family), default=0.0)
    order = list(_load()["families"])
    return -best, order.index(family) if family in order else len(order)


def _line(parts: list[str], family: str | None) -> str:
    """Return the words of a name that are neither family nor version; sizes stay: they are models of their own."""
    rest = [re.sub(r"^[a-z]?\d+(\.\d+)*$|(?<=[a-z])\d+(\.\d+)*$", "", p) if not _SIZE.match(p) else p for p in parts]
    words = _load()["words"]
    skipped = {family, *words["dress"], *words["alias"], *words["preview"], ""}
    return "-".join(p for p in rest if p not in skipped)


def _version(parts: list[str]) -> tuple[int, ...]:
    """Return the first number of a name that is no size, such as (4, 1) of gpt-4.1-mini."""
    for part in parts:
        if not _SIZE.match(part) and (found := _VERSION.search(part)):
            return tuple(int(n) for n in found[0].split(".")[:4] if len(n) < 6)
    return ()


def _billions(text: str) -> float | None:
    """Return the parameters that a name tells, in billions; of a mixture of experts all of them."""
    found = _BILLIONS.search(text)
    if found is None:
        return None
    size = float(found[2]) * int(found[1] or 1)
    return size / 1000 if found[3] == "m" else size


@cache
def _load() -> dict[str, Any]:
    return tomllib.loads(resources.files("routemoa.cli.init").joinpath("models.toml").read_text("utf-8"))


@cache
def _parsed_scores() -> tuple[tuple[ModelName, float], ...]:
    return tuple((parse_name(model), figure.score) for model, figure in _scores().items())


@cache
def _scores() -> dict[str, PublishedScore]:
    """Return model -> its figure; of the tables the first that has it."""
    found: dict[str, PublishedScore] = {}
    for table in reversed(_load()["scores"]):
        for model, entry in table["models"].items():
            found[model] = PublishedScore(entry["score"], table["table"], entry.get("effort"))
    return found
