"""What one request may take, as its caller says it: the field `routemoa` and headers, the stricter of the two. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from routemoa.core.errors import ConfigError, QueryError
from routemoa.core.pool import parse_limits
from routemoa.core.types import Limits

__all__ = ["LIMITS_FIELD", "LIMIT_HEADERS", "parse_request_limits", "take_stricter"]

LIMITS_FIELD = "routemoa"
LIMIT_HEADERS = {key: "X-RouteMoA-" + "-".join(map(str.capitalize, key.split("_"))) for key in Limits.__struct_fields__}
"""The header that says the same as each key of the field."""

MODE = "stream_mode"
SHOWN = 300  # characters of a complaint, which may repeat what was sent


def parse_request_limits(given: Any, headers: Iterable[tuple[bytes, bytes]]) -> Limits:
    """The contract of a request: `given` is the body's field, `headers` are all that came, their names in lower case.

    Raises:
        QueryError: something in it is unknown, of the wrong type or out of range; `param` names the field or header.
    """
    contract = _field(given)
    known = {name.lower().encode(): key for key, name in LIMIT_HEADERS.items()}
    for raw, value in headers:
        if (key := known.get(raw)) is not None:
            contract = take_stricter(contract, _checked(key, _value(key, value.decode("latin-1")), LIMIT_HEADERS[key]))
    return contract


def take_stricter(first: Limits, second: Limits) -> Limits:
    """The smaller of each limit that either sets; the stream's mode is the first's, where it has one."""
    limits: dict[str, Any] = {}
    for key in Limits.__struct_fields__:
        given = [v for v in (getattr(first, key), getattr(second, key)) if v is not None]
        limits[key] = (given[0] if key == MODE else min(given)) if given else None
    return Limits(**limits)


def _field(given: Any) -> Limits:
    if given is None:
        return Limits()
    if not isinstance(given, dict):
        raise QueryError(f"'{LIMITS_FIELD}' must be an object of {', '.join(LIMIT_HEADERS)}", LIMITS_FIELD)
    contract = Limits()
    for key, value in given.items():
        contract = take_stricter(contract, _checked(key, value, f"{LIMITS_FIELD}.{key[:100]}"))
    return contract


def _value(key: str, text: str) -> Any:
    """A header's value: a number as JSON writes it, or the name of a mode."""
    if key == MODE:
        return text.strip()
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as e:
        raise QueryError(f"The header {LIMIT_HEADERS[key]} must be a number, such as 2 or 0.05", LIMIT_HEADERS[key]) from e


def _checked(key: str, value: Any, param: str) -> Limits:
    """One limit; in range as the pool file's are."""
    try:
        return parse_limits({key: value}, LIMITS_FIELD)
    except ConfigError as e:
        said = str(e).removesuffix("; see docs/configuration.md")[:SHOWN]
        raise QueryError(f"{said} ({param}; see docs/server.md)", param) from e
