"""compose.yaml is taken with and without its profile, and Prometheus and Grafana find what it gives them."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from routemoa.testing import FakeEndpoint
from tests.deploy.programs import ROOT, find_program, run
from tests.gateway.lifecycle.test_server import serve, write_pool

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
MONITORING = {"prometheus", "grafana"}
PROMETHEUS = "install Debian's package prometheus"
KEY = {"ROUTEMOA_KEY": "k" * 48}


def test_compose_takes_the_file_with_and_without_the_profile() -> None:
    compose = find_program("docker-compose", "install Debian's package docker-compose")
    for options, services in (((), {"weights", "server"}), (("--profile", "monitoring"), MONITORING)):
        done = run(compose, *options, "config", env=KEY)
        assert done.returncode == 0, done.stderr
        assert services <= set(yaml.safe_load(done.stdout)["services"])
    assert "ROUTEMOA_KEY" in run(compose, "config", env={"ROUTEMOA_KEY": ""}).stderr, "what is missing is named"


def test_what_watches_is_optional_pinned_and_for_this_machine_only() -> None:
    assert {name for name, s in COMPOSE["services"].items() if "profiles" in s} == MONITORING
    for name in MONITORING:
        service = COMPOSE["services"][name]
        assert service["image"].rpartition(":")[2][0] in "v123456789"
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert "no-new-privileges:true" in service["security_opt"]
        assert all(v in ("false", "${ROUTEMOA_KEY}") for v in service["environment"].values())
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists()


def test_grafana_is_told_of_the_dashboard_and_of_prometheus() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert any(p.endswith(f":{port}") for p in COMPOSE["services"][host]["ports"])
    (provider,) = yaml.safe_load((provisioning / "dashboards/routemoa.yml").read_text())["providers"]
    mounted = [v.split(":")[1] for v in COMPOSE["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/routemoa.json" in mounted


def test_prometheus_takes_its_configuration() -> None:
    promtool = find_program("promtool", PROMETHEUS)
    done = run(promtool, "check", "config", "--syntax-only", ROOT / "deploy/prometheus/prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def ask(port: int, expression: str) -> list[Any]:
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=5) as response:
        return list(json.load(response)["data"]["result"])


def wait_for(port: int, expression: str, seconds: float = 30.0) -> list[Any]:
    """Return the result of an expression once there is one."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if found := ask(port, expression):
                return found
        except OSError:  # it does not listen yet
            pass
        time.sleep(0.2)
    pytest.fail(f"no {expression} after {seconds} s")


async def test_prometheus_reads_the_metrics_with_the_key_and_evaluates_the_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of compose.yaml, with a real server: only addresses and folders differ."""
    prometheus = find_program("prometheus", PROMETHEUS)
    monkeypatch.setenv("ROUTEMOA_KEY", KEY["ROUTEMOA_KEY"])
    monkeypatch.setenv("ROUTEMOA_STORE", str(tmp_path / "store.db"))
    async with FakeEndpoint("four") as e:
        pool = write_pool(tmp_path, e.url)
        pool.write_text(pool.read_text() + '\n[[tenant]]\nname = "me"\nkey_env = "ROUTEMOA_KEY"\n')
        async with serve(pool) as s:
            await asyncio.to_thread(scrape, tmp_path, prometheus, s.url.removesuffix("/v1").removeprefix("http://"))


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def scrape(folder: Path, prometheus: str, address: str) -> None:
    for file in ("alerts.yml", "prometheus.yml"):
        text = (ROOT / "deploy/prometheus" / file).read_text()
        text = text.replace("server:8080", address).replace("15s", "1s").replace("/tmp/key", str(folder / "key"))
        (folder / file).write_text(text)
    service = COMPOSE["services"]["prometheus"]
    script = service["command"][0].replace("$$", "$").replace("/tmp/key", str(folder / "key"))
    script = script.replace("/bin/prometheus", prometheus).replace("/etc/prometheus", str(folder))
    port = find_port()
    script = script.replace("=/prometheus", f"={folder}/data").rstrip() + f" --web.listen-address=127.0.0.1:{port}"
    with subprocess.Popen([*service["entrypoint"], script], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port, 'up{job="routemoa"} == 1')
            assert {r["metric"]["model"] for r in wait_for(port, 'routemoa_breaker_state{state="closed"}')} == {
                "a",
                "b",
            }
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/rules", timeout=5) as response:
                (group,) = json.load(response)["data"]["groups"]
            assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
        finally:
            process.terminate()
