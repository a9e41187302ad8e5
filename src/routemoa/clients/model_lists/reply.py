"""Read a provider's list of models into one shape. Pure functions; a figure that is absent or impossible is None."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from msgspec import Struct

from routemoa.core.catalog.providers import ListFormat
from routemoa.core.models.endpoint import MAX_PRICE

__all__ = ["ListedModel", "find_field", "parse_model_list"]

MAX_MODELS = 5000
MAX_ID = 200  # characters
MAX_NOTE = 120  # characters of what the list says about a deprecation
ENTRY_KEYS = ("data", "models")
"""Where the entries of a list are, if it is not a bare array."""
_ID = re.compile(r"[\x21-\x7e]+")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([BM])", re.IGNORECASE)


class ListedModel(Struct, frozen=True, omit_defaults=True):
    """A model as its provider lists it. Prices are dollars per million tokens; None is unknown."""

    id: str
    """The provider's name for it."""
    created: date | None = None
    context: int | None = None
    """Tokens of prompt and answer together."""
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    cache_write_price: float | None = None
    request_price: float | None = None
    """Dollars for each call."""
    price_source: str | None = None
    """Where its prices are from, if not from the list."""
    input_modalities: tuple[str, ...] = ()
    """What it reads, such as "text" and "image"; empty is unknown."""
    tools: bool | None = None
    """Whether it can call tools; None where the list says nothing."""
    chat: bool | None = None
    """Whether the list says that it is for chat; None where it says nothing."""
    deprecated: str | None = None
    """What the list says about its end."""
    size: float | None = None
    """Billions of parameters."""
    bytes: int | None = None
    """Of a file on this machine."""
    owner: str | None = None
    hosted: bool = False
    """A local server only passes calls on to a host elsewhere."""

    @property
    def free(self) -> bool:
        """Return whether the list says that it costs nothing."""
        return self.input_price == 0 and self.output_price == 0 and not self.request_price


def parse_model_list(reply: Any, form: ListFormat, today: date) -> list[ListedModel] | None:
    """Return the models of a provider's reply, each id once; None where it is no list of models.

    Args:
        reply: the decoded JSON.
        form: which field says what.
        today: a date of deprecation before this day is past.
    """
    entries = reply
    if isinstance(reply, Mapping):
        entries = next((reply[key] for key in ENTRY_KEYS if isinstance(reply.get(key), list)), None)
    if not isinstance(entries, list):
        return None
    parsed = [_parse_entry(entry, form, today) for entry in entries[:MAX_MODELS] if isinstance(entry, Mapping)]
    return list({model.id: model for model in parsed if model is not None}.values())


def find_field(entry: Any, path: str | None) -> Any:
    """Return the value at a path with dots, such as "pricing.prompt"; None where it leads nowhere."""
    found = entry
    for key in path.split(".") if path else ():
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if path else None


def _parse_entry(entry: Mapping[str, Any], form: ListFormat, today: date) -> ListedModel | None:
    name = next((v for v in (find_field(entry, form.id), entry.get("name")) if isinstance(v, str)), "")
    name = name.removeprefix(form.strip)
    if not _ID.fullmatch(name) or len(name) > MAX_ID:
        return None

    def price(path: str | None) -> float | None:
        return _price(find_field(entry, path), form.price_unit)

    owner = entry.get("owned_by")
    return ListedModel(
        name,
        _day(find_field(entry, form.created)),
        _first(_count(find_field(entry, path)) for path in form.context),
        input_price=price(form.input_price),
        output_price=price(form.output_price),
        cached_price=price(form.cached_price),
        cache_write_price=price(form.cache_write_price),
        request_price=_price(find_field(entry, form.request_price), 1.0),
        input_modalities=_input_modalities(entry, form),
        tools=_takes_tools(entry, form),
        chat=_is_chat(name, entry, form),
        deprecated=_deprecation(entry, form, today),
        size=_size(entry, form),
        owner=owner if isinstance(owner, str) else None,
        hosted=bool(find_field(entry, form.hosted)),
    )


def _is_chat(name: str, entry: Mapping[str, Any], form: ListFormat) -> bool | None:
    """Return what the list says: by the kind of the model, by what it writes, or by patterns of its name."""
    if any(re.search(pattern, name) for pattern in form.not_chat):
        return False
    kind = find_field(entry, form.kind)
    if kind is not None:
        return any(k in form.chat_kinds for k in (kind if isinstance(kind, list) else [kind]))
    written = _texts(find_field(entry, form.output_modalities))
    return written == ("text",) if written else None


def _input_modalities(entry: Mapping[str, Any], form: ListFormat) -> tuple[str, ...]:
    if read := _texts(find_field(entry, form.input_modalities)):
        return read
    vision = find_field(entry, form.vision)
    return () if not isinstance(vision, bool) else ("text", "image") if vision else ("text",)


def _takes_tools(entry: Mapping[str, Any], form: ListFormat) -> bool | None:
    found = find_field(entry, form.tools)
    if isinstance(found, list):
        return "tools" in found
    return found if isinstance(found, bool) else None


def _deprecation(entry: Mapping[str, Any], form: ListFormat, today: date) -> str | None:
    """Return in words when the model ends or ended, and what replaces it; None where the list names no end."""
    value = next((v for path in form.deprecated if (v := find_field(entry, path)) not in (None, False, "")), None)
    if value is None:
        return None
    day = _day(value)
    said = "deprecated" if day is None else f"{'ended' if day < today else 'ends'} {day.isoformat()}"
    other = find_field(entry, form.replacement)
    if isinstance(other, str) and _ID.fullmatch(other):
        said += f"; use {other}"
    return said[:MAX_NOTE]


def _size(entry: Mapping[str, Any], form: ListFormat) -> float | None:
    """Return billions of parameters, from a count or from a text such as "8.0B" or "567.00M"."""
    if count := _count(find_field(entry, form.parameter_count)):
        return count / 1e9
    text = find_field(entry, form.size)
    found = _SIZE.match(text[:20]) if isinstance(text, str) else None
    return None if found is None else float(found[1]) / (1 if found[2].upper() == "B" else 1000)


def _price(value: Any, unit: float) -> float | None:
    """Return a price as a number, rounded to what a list means; None where it is absent or none can be so."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) * unit
    except (ValueError, OverflowError):
        return None
    return float(f"{number:.8g}") if 0 <= number <= MAX_PRICE else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53 else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(v for v in value[:20] if isinstance(v, str)) if isinstance(value, list) else ()


def _day(value: Any) -> date | None:
    """Return the day of a Unix time or an ISO date; None for the epoch, which stands for unknown."""
    found: date | None = None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value, UTC).date()
        elif isinstance(value, str):
            found = datetime.fromisoformat(value[:40]).date()
    except (ValueError, OverflowError, OSError):
        return None
    return found if found is not None and found.year > 1971 else None


def _first(values: Iterable[int | None]) -> int | None:
    return next((v for v in values if v is not None), None)
