"""How an error of the network is put into words."""

from __future__ import annotations

import errno
import os
import ssl

__all__ = ["system_reason"]


def system_reason(error: BaseException) -> str:
    """Return the operating system's words for an error, without addresses and class names around them."""
    if isinstance(error, ssl.SSLError):  # its number is no error of the system
        return f"TLS: {getattr(error, 'verify_message', None) or error.reason or error}"
    number, words = getattr(error, "errno", None), getattr(error, "strerror", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    if isinstance(error, ConnectionResetError) and not str(error):  # as in the handshake of TLS
        return os.strerror(errno.ECONNRESET)
    return words if isinstance(words, str) and words else str(error) or type(error).__name__
