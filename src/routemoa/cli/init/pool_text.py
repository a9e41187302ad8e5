"""Write the text of a pool file: a table for each model, with a comment for each figure and where it is from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from textwrap import wrap
from typing import get_args

from msgspec import Struct

from routemoa.cli.init.presets import PRESETS, Candidate, PresetName, Source
from routemoa.clients.model_lists.reply import ListedModel
from routemoa.core.catalog.price_list import find_listing
from routemoa.core.catalog.providers import LOCAL
from routemoa.core.content.media import Modality
from routemoa.core.models.endpoint import PRICE_KEYS
from routemoa.core.models.pricing import Price
from routemoa.core.pool_file.pool import METHODS

__all__ = [
    "PoolModel",
    "build_models",
    "find_tiered_price",
    "name_models",
    "shorten_path",
    "summarize_prices",
    "without_repetition",
    "write_model_table",
    "write_pool",
]

COMMENT_COLUMN = 44
"""Characters before the comments of a table."""
GUESSES = ((4, 0.3), (9, 0.4), (16, 0.45), (40, 0.55), (1000, 0.6))
"""Billions of parameters -> a guess of how often such a local model is right, where others have a figure."""
CONTEXT = 4096
"""Tokens that a model file gets: what it was trained for may need more memory than there is."""
ANSWER_TOKENS = 512
"""Of a model file, as in the embedded pool: small models do not always end by themselves."""
EXPLAINED = ("name", "endpoint", "model", "context", "modalities", "tools", "parameters")
"""Keys whose comment stands once in a file."""
LIMIT_NOTE = "ends an answer that does not end; more for a model that thinks"


class PoolModel(Struct, frozen=True):
    """A model of the file to be written."""

    name: str
    candidate: Candidate
    model: str
    """The provider's name for it, or the path of its file."""
    tiered: Price | None = None
    """A price that depends on the length of the prompt: left to the price library."""


def name_models(candidates: Sequence[Candidate], taken: Iterable[str] = ()) -> list[str]:
    """Return a short unique name for each model: the last part of its id, with its provider where another has it."""
    names: list[str] = []
    used = {*taken, *METHODS}
    for candidate in candidates:
        last = re.split(r"[/\\]", candidate.listed.id)[-1]
        short = re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", last, flags=re.IGNORECASE).removesuffix(":latest") or last
        forms = [short, f"{_label(candidate)}/{short}", *(f"{short}-{n}" for n in range(2, 100))]
        name = next(form for form in forms if form not in used)
        used.add(name)
        names.append(name)
    return names


def build_models(target: Path, chosen: Sequence[Candidate], names: Sequence[str] | None = None) -> list[PoolModel]:
    """Return the models of the file `target`: named, files relative to its folder, prices with tiers noted."""
    models = []
    for name, candidate in zip(names or name_models(chosen), chosen, strict=True):
        source, listed = candidate.source, candidate.listed
        model = shorten_path(listed.id, target.absolute().parent) if source.endpoint == LOCAL else listed.id
        models.append(PoolModel(name, candidate, model, find_tiered_price(source, listed)))
    return models


def find_tiered_price(source: Source, listed: ListedModel) -> Price | None:
    """Return the library's price of a model where it is the list's and depends on the length of the prompt.

    A pool file has no key for such a price; left out of it, the library's counts.
    """
    if source.endpoint not in (source.provider.name, source.provider.url) or source.local:
        return None
    listing = find_listing(source.provider.url, listed.id)
    price = None if listing is None else listing.price
    return price if price is not None and price.input.tiers and price.input.base == listed.input_price else None


def write_pool(
    models: Sequence[PoolModel], preset: PresetName, today: date, remarks: Sequence[str], left_out: Sequence[str] = ()
) -> str:
    """Return the text of a whole pool file.

    Args:
        models: in their order.
        preset: named in the head; sets `prefer`.
        today: named in the head.
        remarks: lines of the head, such as what was not considered.
        left_out: lines at the end, such as models that did not answer.
    """
    head = [
        f"# Written by  routemoa init --preset {preset}  on {today}. Change what you like: it is yours.",
        "# A pool is the models, what they cost and how they are mixed. Keys of providers stay in the environment.",
        *(f"# {part}" for line in remarks for part in wrap(line, 110)),
        "#   routemoa pool check   asks each model for one token      routemoa pool add NAME   takes another model",
        "#   routemoa pool update  takes over new prices              routemoa pool remove NAME",
    ]
    known = any(m.candidate.score for m in models)
    tables: list[list[str]] = []
    said: set[str] = set()
    for model in models:
        tables.append(without_repetition(write_model_table(model, guess=known), said))
    tail = [
        "[mixture]",
        _line("prefer", PRESETS[preset].prefer, "what a better answer may cost: quality, balanced, cheap or fast"),
        "",
        "# [limits]                                 # of every request that brings none; never overshot",
        "# max_cost = 0.05                          # dollars",
        "# max_seconds = 60",
    ]
    ends = [[f"# {line}" for line in left_out]] if left_out else []
    return "\n\n".join("\n".join(part) for part in [head, *tables, tail, *ends]) + "\n"


def write_model_table(model: PoolModel, *, guess: bool) -> list[str]:
    """Return the lines of a `[[model]]` table; `guess`: a local model without a figure gets a guess as its prior."""
    candidate = model.candidate
    source, listed = candidate.source, candidate.listed
    lines = ["[[model]]", _line("name", model.name, candidate.note or "what answers and traces call it")]
    lines += _endpoint_lines(candidate)
    lines.append(_line("model", model.model, "its name there" if source.endpoint != LOCAL else "the file"))
    lines += _price_lines(model)
    context = CONTEXT if source.endpoint == LOCAL else listed.context
    if context is not None:
        lines.append(_line("context", context, "tokens of prompt and answer"))
    if modalities := [kind for kind in get_args(Modality) if kind in listed.input_modalities]:
        lines.append(_line("modalities", modalities, "what it takes, by its provider's list"))
    if listed.tools is not None:
        lines.append(_line("tools", listed.tools, "whether it can call tools, by its provider's list"))
    lines += _prior_lines(candidate, guess=guess)
    if source.endpoint == LOCAL:
        limit = f"parameters = {{ max_tokens = {ANSWER_TOKENS} }}"
        lines.append(f"{limit:<{COMMENT_COLUMN - 2}}  # {LIMIT_NOTE}")
    return lines


def without_repetition(lines: Sequence[str], said: set[str]) -> list[str]:
    """Return a table's lines without the comments that an earlier table explained already, and note its own."""
    kept = []
    for line in lines:
        code, mark, comment = line.partition("  # ")
        key = f"{code.partition('=')[0]}#{comment}"
        explains = code.startswith(EXPLAINED) or comment.startswith("it runs here")
        kept.append(code.rstrip() if mark and explains and key in said else line)
        said.add(key)
    return kept


def _endpoint_lines(candidate: Candidate) -> list[str]:
    source = candidate.source
    if source.endpoint == LOCAL:
        return [_line("endpoint", LOCAL, "the embedded runtime (llama.cpp)")]
    if source.endpoint == source.provider.name:
        key = f", key in {source.key_variable}" if source.key_variable else ""
        return [_line("endpoint", source.endpoint, f"{source.provider.url}{key}")]
    lines = [_line("endpoint", source.endpoint)]
    return [*lines, _line("api_key_env", source.key_variable, "holds the key")] if source.key_variable else lines


def _price_lines(model: PoolModel) -> list[str]:
    """Return the lines of what a model costs; a comment where that is unknown or left to the price library."""
    listed, source = model.candidate.listed, model.candidate.source
    if source.local:
        return [_line("input_price", 0.0, "it runs here: there is no bill"), _line("output_price", 0.0)]
    if listed.input_price is None or listed.output_price is None:
        return ["# price unknown: add input_price and output_price, in dollars per million tokens"]
    if model.tiered is not None:
        return [
            f"# ${listed.input_price:g} / ${listed.output_price:g} per million tokens, more for long prompts: "
            f"left to {model.tiered}"
        ]
    prices = {key: getattr(listed, key) for key in PRICE_KEYS}
    lines: list[str] = []
    for key, price in prices.items():
        if price is None or (key == "request_price" and not price):
            continue
        note = "" if lines else f"dollars per million tokens: {listed.price_source or source.price_source}"
        lines.append(_line(key, price, "dollars per call" if key == "request_price" else note))
    return lines


def _prior_lines(candidate: Candidate, *, guess: bool) -> list[str]:
    if (found := candidate.score) is not None:
        effort = f" (effort {found.effort})" if found.effort else ""
        comment = f"{found.table}{effort}: {found.score:g} % of its questions right"
        return [_line("prior", round(found.score / 100, 2), comment)]
    size = candidate.listed.size or candidate.name.size
    if not guess or not candidate.source.local or size is None:
        return []
    prior = next((p for most, p in GUESSES if size <= most), GUESSES[-1][1])
    return [_line("prior", prior, "a guess from its size; train a scorer to know")]


def _label(candidate: Candidate) -> str:
    """Return a word for the place of a model, for a name that another place has, too."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", candidate.source.endpoint.rpartition("//")[2]).strip("-")


def _line(key: str, value: str | float | Sequence[str], comment: str = "") -> str:
    """Return a line of TOML, its comment aligned; what stands in JSON here is written the same in TOML."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{key} = {value if is_number else json.dumps(value, ensure_ascii=False)}"
    return f"{text:<{COMMENT_COLUMN - 2}}  # {comment}" if comment else text


def shorten_path(path: str, folder: Path) -> str:
    """Return a path as a pool file in `folder` names it: relative below it, else with ~ for the home folder."""
    found = Path(path)
    for base, prefix in ((folder, ""), (Path.home(), "~/")):
        if found.is_relative_to(base):
            return prefix + found.relative_to(base).as_posix()
    return str(found)


def summarize_prices(models: Iterable[PoolModel]) -> Mapping[str, float | None]:
    """Return what asking every model once with 500 tokens in and 500 out costs, in dollars; None is unknown."""
    return {
        m.name: None
        if m.candidate.listed.input_price is None or m.candidate.listed.output_price is None
        else 500e-6 * (m.candidate.listed.input_price + m.candidate.listed.output_price)
        for m in models
    }
