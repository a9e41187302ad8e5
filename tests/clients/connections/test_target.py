"""Where a request goes, and its head."""

from __future__ import annotations

import pytest

from routemoa.clients.connections.target import encode_head, parse_target

TARGET = parse_target("http://me:secret@models.test:8080/v1/ä?b=c d")


def test_a_head() -> None:
    head = encode_head("POST", TARGET, {"x-own": "1", "X-Own": "2"}, 7).decode()
    assert head.startswith("POST /v1/%C3%A4?b=c%20d HTTP/1.1\r\nHost: models.test:8080\r\n")
    assert "\r\nAuthorization: Basic bWU6c2VjcmV0\r\n" in head
    assert "\r\nX-Own: 2\r\n" in head
    assert "x-own" not in head
    assert head.endswith("\r\nContent-Length: 7\r\n\r\n")


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "A B", ""])
def test_a_header_that_changes_where_the_request_ends_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not valid"):
        encode_head("POST", TARGET, {name: "1"}, 7)


def test_an_address_with_an_odd_password_is_refused_without_it() -> None:
    with pytest.raises(ValueError, match=r"^its port is not valid$"):
        parse_target("http://me:se/cret@models.test/")
