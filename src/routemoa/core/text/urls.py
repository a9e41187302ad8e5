"""URLs as they may be shown: without a name and a password. Pure."""

from __future__ import annotations

import re

__all__ = ["find_userinfo", "hide_userinfo", "hide_userinfo_and_query"]

_USERINFO = re.compile(r"(?<=://)(?:[^/?#]*@|[^/?#@:\[]*:\d*[^\d/?#@].*@)")
"""Also where a password holds a slash that was not percent-encoded, so that it reads as a port."""


def find_userinfo(url: str) -> str | None:
    """Return the name and the password in a URL; None where there is neither."""
    found = _USERINFO.search(url)
    return None if found is None else found[0][:-1] or None


def hide_userinfo(url: str) -> str:
    """Return a URL without the name and the password in it, to be shown."""
    return _USERINFO.sub("", url)


def hide_userinfo_and_query(url: str) -> str:
    """Return a URL without name, password, query and fragment: a query may hold a key."""
    return re.split(r"[?#]", hide_userinfo(url), maxsplit=1)[0]
