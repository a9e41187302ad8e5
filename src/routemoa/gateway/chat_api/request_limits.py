"""Reads the limits of one request from its field `routemoa` and its headers; the stricter of the two holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast, get_args

import msgspec

from routemoa.core.errors import ConfigError, QueryError
from routemoa.core.pool_file.pool import parse_limits
from routemoa.core.types import Limits, PreferenceName

__all__ = ["LIMITS_FIELD", "LIMIT_HEADERS", "PREFER", "parse_preference", "parse_request_limits", "take_stricter"]

LIMITS_FIELD = "routemoa"
LIMIT_HEADERS = {key: "X-RouteMoA-" + "-".join(map(str.capitalize, key.split("_"))) for key in Limits.__struct_fields__}
"""Key of the field -> the header that says the same."""
_KEYS = {name.lower().encode(): key for key, name in LIMIT_HEADERS.items()}
"""Header, as ASGI has it -> key of the field."""

PREFER = "prefer"
"""Key of the field that is no limit: the caller's trade-off of quality, cost and time."""
MODE = "stream_mode"
MAX_ERROR_LENGTH = 300
"""Characters of an error message, which may repeat what was sent."""


def parse_request_limits(field: Any, headers: Iterable[tuple[bytes, bytes]]) -> Limits:
    """Return the limits of a request.

    Args:
        field: the body's field `routemoa`; None where there is none.
        headers: all headers of the request, their names in lower case.

    Raises:
        QueryError: a limit is unknown, of the wrong type or out of range; `param` names the field or the header.
    """
    limits = _parse_field(field)
    for raw, value in headers:
        if (key := _KEYS.get(raw)) is not None:
            header = LIMIT_HEADERS[key]
            limits = take_stricter(limits, _parse_limit(key, _parse_header(key, value.decode("latin-1")), header))
    return limits


def parse_preference(field: Any) -> PreferenceName | None:
    """Return the trade-off that a request asks for in its field `routemoa`; None where it asks for none.

    Raises:
        QueryError: there is none of that name.
    """
    name = field.get(PREFER) if isinstance(field, dict) else None
    if name is None:
        return None
    if name not in get_args(PreferenceName):
        known = ", ".join(get_args(PreferenceName))
        raise QueryError(f"'{LIMITS_FIELD}.{PREFER}' must be one of {known}", f"{LIMITS_FIELD}.{PREFER}")
    return cast("PreferenceName", name)


def take_stricter(first: Limits, second: Limits) -> Limits:
    """Return the smaller of each limit; the stream mode is that of `first`, where it has one."""
    limits: dict[str, Any] = {}
    for key in Limits.__struct_fields__:
        values = [v for v in (getattr(first, key), getattr(second, key)) if v is not None]
        limits[key] = (values[0] if key == MODE else min(values)) if values else None
    return Limits(**limits)


def _parse_field(field: Any) -> Limits:
    if field is None:
        return Limits()
    if not isinstance(field, dict):
        raise QueryError(f"'{LIMITS_FIELD}' must be an object of {', '.join((*LIMIT_HEADERS, PREFER))}", LIMITS_FIELD)
    limits = Limits()
    for key, value in field.items():
        if key == PREFER:
            continue
        limits = take_stricter(limits, _parse_limit(key, value, f"{LIMITS_FIELD}.{key[:100]}"))
    return limits


def _parse_header(key: str, text: str) -> Any:
    """Return the value of a header: a number as JSON writes it, or the name of a mode."""
    if key == MODE:
        return text.strip()
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as e:
        header = LIMIT_HEADERS[key]
        raise QueryError(f"The header {header} must be a number, such as 2 or 0.05", header) from e


def _parse_limit(key: str, value: Any, param: str) -> Limits:
    """Return one limit, within the same range as in the pool file."""
    try:
        return parse_limits({key: value}, LIMITS_FIELD)
    except ConfigError as e:
        reason = str(e).removesuffix("; see docs/reference/configuration.md")[:MAX_ERROR_LENGTH]
        raise QueryError(f"{reason} ({param}; see docs/reference/http-api.md)", param) from e
