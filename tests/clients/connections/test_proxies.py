"""NO_PROXY as curl and requests read it."""

from __future__ import annotations

import pytest

from routemoa.clients.connections.proxies import find_proxy, is_exempt
from routemoa.clients.connections.target import parse_target


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "exempt"),
    [
        ("10.1.2.3", 8080, "10.0.0.0/8", True),
        ("11.1.2.3", 8080, "10.0.0.0/8", False),
        ("192.168.7.9", 80, "localhost, 192.168.0.0/16 ,example.org", True),
        ("192.168.7.9", 80, "localhost 192.168.0.0/16", True),
        ("192.168.7.9", 80, "192.168.7.9", True),
        ("192.168.7.9", 9000, "192.168.7.9:9000", True),
        ("192.168.7.9", 9001, "192.168.7.9:9000", False),
        ("192.168.7.90", 80, "192.168.7.9", False),
        ("fd00::1", 80, "fd00::/8", True),
        ("fd00::1", 8080, "[fd00::1]:8080", True),
        ("fd00::1", 80, "[fd00::1]:8080", False),
        ("fd00::1", 80, "fd00::1", True),
        ("gpu.lan", 80, "gpu.lan", True),
        ("gpu.lan", 11434, "gpu.lan:11434", True),
        ("gpu.lan", 80, "gpu.lan:11434", False),
        ("a.gpu.lan", 80, ".lan", True),
        ("a.gpu.lan", 80, "*.gpu.lan", True),
        ("GPU.Lan", 80, "gpu.LAN", True),
        ("notgpu.lan", 80, "gpu.lan", False),
        ("gpu.lan.evil.org", 80, "gpu.lan", False),
        ("anything.org", 443, "*", True),
        ("10.1.2.3", 80, "10.0.0.0/99, what?, :, [, ::", False),
        ("10.1.2.3", 80, "", False),
    ],
)
def test_no_proxy(host: str, port: int, no_proxy: str, exempt: bool) -> None:
    assert is_exempt(host, port, no_proxy) == exempt


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        ("http://10.1.2.3:9000/v1", "10.0.0.0/8", False),
        ("http://10.1.2.3:9000/v1", "10.1.2.3:9000", False),
        ("http://10.1.2.3/v1", "10.1.2.3:80", False),
        ("http://10.1.2.3:9000/v1", "172.16.0.0/12", True),
        ("http://127.0.0.1:9000/v1", "", False),
        ("http://bücher.lan/v1", "bücher.lan", False),
        ("http://bücher.lan/v1", "xn--bcher-kva.lan", False),
        ("http://bücher.lan/v1", "x" * 70 + "ü.lan", True),
    ],
)
def test_the_environments_proxy(url: str, no_proxy: str, proxied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert find_proxy(parse_target(url)) == ("http://proxy:3128" if proxied else None)
