"""How long a file is kept, as OpenAI's `expires_after` and `output_expires_after` say it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from routemoa.gateway.errors import HttpError

__all__ = ["ExpiresAfter", "check_expiry"]

MIN_SECONDS = 3600
MAX_SECONDS = 30 * 24 * 3600


class ExpiresAfter(Struct, frozen=True):
    """So long after its beginning a file is deleted."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=MIN_SECONDS, le=MAX_SECONDS)]


def check_expiry(value: Any, param: str, *, as_text: bool = False) -> ExpiresAfter | None:
    """Return how long a caller wants a file to be kept, None where it does not say; numbers of a form are text.

    Raises:
        HttpError: it is something else.
    """
    if value is None:
        return None
    try:
        return msgspec.convert(value, ExpiresAfter, strict=not as_text)
    except ValueError as e:  # also of an int of thousands of digits
        message = f"'{param}' must have anchor created_at, and seconds from {MIN_SECONDS} to {MAX_SECONDS}."
        raise HttpError(400, message, param=param) from e
