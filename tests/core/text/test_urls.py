"""What of a URL is shown."""

from __future__ import annotations

import pytest

from routemoa.core.text.urls import find_userinfo, hide_userinfo, hide_userinfo_and_query


@pytest.mark.parametrize("login", ["me:secret", "me:se/cret", "me:se?cret", "me"])
def test_a_password_is_not_shown(login: str) -> None:
    url = f"http://{login}@models.test/v1?a=b#c"
    assert hide_userinfo(url) == "http://models.test/v1?a=b#c"
    assert hide_userinfo_and_query(url) == "http://models.test/v1"
    assert find_userinfo(url) == login


def test_an_at_behind_the_host_stays() -> None:
    assert hide_userinfo("http://me:secret@models.test/@cf?a=b@c") == "http://models.test/@cf?a=b@c"


@pytest.mark.parametrize("url", ["http://[::1]:80/@cf", "https://models.test:80/@cf", "http://models.test/a:b@c", "x"])
def test_what_only_looks_like_a_password_stays(url: str) -> None:
    assert hide_userinfo(url) == hide_userinfo_and_query(url) == url
    assert find_userinfo(url) is None
