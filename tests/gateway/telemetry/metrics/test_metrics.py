"""GET /metrics over real sockets: what was counted is what was done, and callers cannot add labels."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from routemoa.clients.endpoints.memory import MemberMemory
from routemoa.core.pool_file.pool import Pool
from routemoa.core.protocols import CallResult, CallStart
from routemoa.core.tables.mixture_table import Mixture
from routemoa.core.tables.tenant_table import parse_tenants
from routemoa.core.types import ModelSpec
from routemoa.core.usage import Usage
from routemoa.gateway.access.keyring import Keyring
from routemoa.gateway.access.rates import MemoryRates
from routemoa.gateway.guards.load import LoadGate
from routemoa.gateway.telemetry.metrics.endpoint import StateCollector
from routemoa.gateway.telemetry.metrics.server_metrics import ServerMetrics
from routemoa.ledger import Store
from routemoa.testing import FakeEndpoint, Fault
from tests import ROOT
from tests.gateway.harness import HI, Serving, serving

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


async def scrape(served: Serving, headers: dict[str, str] | None = None) -> Samples:
    async with aiohttp.ClientSession() as session, session.get(served.url[:-3] + "/metrics", headers=headers) as got:
        assert got.status == 200
        assert got.headers["content-type"].startswith("text/plain")
        return read(await got.text())


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def pool_of(url: str, names: str = "ab", **options: Any) -> Pool:
    specs = (ModelSpec(n, url, f"up-{n}", prior=0.6, input_price=1.0, output_price=2.0, **options) for n in names)
    return Pool(tuple(specs), Mixture())


async def test_requests_calls_tokens_and_dollars_are_counted() -> None:
    async with FakeEndpoint("The answer is 4.") as upstream, serving(pool=pool_of(upstream.url)) as served:
        for _ in range(2):
            await served.sdk.chat.completions.create(model="routemoa", messages=HI)
        await served.sdk.chat.completions.create(model="a", messages=HI)
        stream = await served.sdk.chat.completions.create(model="routemoa", messages=HI, stream=True)
        async for _ in stream:
            pass
        samples = await scrape(served)
        calls = len(upstream.requests)
    path = "/v1/chat/completions"
    assert value(samples, "routemoa_requests_total", path=path, model="routemoa", status="200") == 3
    assert value(samples, "routemoa_requests_total", path=path, model="a", status="200") == 1
    assert sum(v for (n, _), v in samples.items() if n == "routemoa_calls_total") == calls
    assert value(samples, "routemoa_calls_total", model="a", purpose="direct", outcome="ok") == 1
    assert value(samples, "routemoa_request_seconds_count", model="routemoa") == 3
    assert value(samples, "routemoa_first_token_seconds_count", model="routemoa") == 1
    assert value(samples, "routemoa_first_token_seconds_count", model="a") is None, "nothing was streamed"
    tokens = {k: v for (n, k), v in samples.items() if n == "routemoa_tokens_total"}
    assert tokens
    assert all(v > 0 for v in tokens.values())
    dollars = sum(v for (n, _), v in samples.items() if n == "routemoa_cost_dollars_total")
    prompt = sum(v for k, v in tokens.items() if ("kind", "prompt") in k)
    completion = sum(v for k, v in tokens.items() if ("kind", "completion") in k)
    assert dollars == pytest.approx((prompt + 2.0 * completion) / 1e6)


async def test_choices_and_agreement() -> None:
    async with FakeEndpoint("The answer is 4.") as upstream:
        chosen = replace(pool_of(upstream.url), mixture=Mixture(fusion="published-small", layers=1))
        async with serving(pool=chosen) as served:
            await served.sdk.chat.completions.create(model="routemoa", messages=HI)
            samples = await scrape(served)
    assert value(samples, "routemoa_panels_total", method="routemoa", agreement="agreed") == 1
    assert sum(v for (n, _), v in samples.items() if n == "routemoa_choices_total") == 1
    assert value(samples, "routemoa_panel_calls_count", method="routemoa") == 1


async def test_failures_and_breakers() -> None:
    broken = FakeEndpoint("x", Fault(status=500))
    async with broken as upstream, serving(pool=pool_of(upstream.url, "a")) as served:
        for _ in range(4):
            reply = await (await served.raw({"model": "a", "messages": HI})).whole()
            assert reply.status >= 500
        samples = await scrape(served)
    assert value(samples, "routemoa_breaker_state", model="a", state="open") == 1
    assert value(samples, "routemoa_breaker_state", model="a", state="closed") == 0
    failed = [v for (n, k), v in samples.items() if n == "routemoa_calls_total" and ("outcome", "ok") not in k]
    assert sum(failed) >= 3
    assert value(samples, "routemoa_request_seconds_count", model="a") is None, "errors are no answers"


async def test_callers_add_no_labels() -> None:
    async with serving() as served:
        before = len(await scrape(served))
        for number in range(30):
            await (await served.raw({"model": f"x{number}\n", "messages": HI})).whole()
            await (await served.raw({"model": "a"}, path=f"/x{number}")).whole()
        samples = await scrape(served)
    path = "/v1/chat/completions"
    assert value(samples, "routemoa_requests_total", path=path, model="unknown", status="404") == 30
    assert len(samples) <= before + 8


async def test_the_servers_own_state_and_budgets(tmp_path: Path) -> None:
    table = {"tenant": [{"name": "team", "key_env": "TEAM_KEY", "max_cost_per_day": 5.0}]}
    tenants = parse_tenants(table, "pool.toml", {"TEAM_KEY": "key-of-the-team"})
    chosen = replace(pool_of("http://127.0.0.1:9/v1"), tenants=tenants)
    store = Store(tmp_path / "s.db", tenants)
    async with serving(pool=chosen, store=store) as served:
        async with aiohttp.ClientSession() as session, session.get(served.url[:-3] + "/metrics") as got:
            assert got.status == 401
        samples = await scrape(served, {"authorization": "Bearer key-of-the-team"})
    assert value(samples, "routemoa_budget_left_dollars", tenant="team", span="day") == 5.0
    assert value(samples, "routemoa_requests_running") == 0
    assert value(samples, "routemoa_ledger_waiting") == 0
    assert value(samples, "routemoa_request_limit") == 100
    assert (value(samples, "process_resident_memory_bytes") or 0) > 1e6


async def test_open_metrics_where_they_are_asked_for() -> None:
    async with serving() as served, aiohttp.ClientSession() as session:
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        async with session.get(served.url[:-3] + "/metrics", headers=accept) as got:
            assert (await got.text()).endswith("# EOF\n")


async def test_unknown_figures_are_not_counted_as_zero() -> None:
    metrics = ServerMetrics()
    recorder = metrics.count_calls(None)
    number = await recorder.start(CallStart("a", "proposal", None))
    recorder.finish(number, CallResult(Usage(), None, None, 0.5, "ok"))
    sample = metrics.registry.get_sample_value
    assert sample("routemoa_calls_of_unknown_cost_total", {"model": "a"}) == 1
    assert sample("routemoa_cost_dollars_total", {"model": "a"}) is None
    assert sample("routemoa_tokens_total", {"model": "a", "kind": "prompt"}) is None
    assert not recorder.has_budget


def known_metrics() -> set[str]:
    """The names of what is counted, histograms without their ending."""
    pool = pool_of("http://127.0.0.1:9/v1")
    metrics = ServerMetrics()
    state = StateCollector(pool, MemberMemory(), LoadGate(1.0), Keyring(pool.tenants, None), None, rates=MemoryRates())
    families = [*metrics.registry.collect(), *state.collect()]
    return {f.name + ("_total" if f.type == "counter" else "") for f in families if f.name.startswith("routemoa")}


STORED = {"routemoa_ledger_waiting", "routemoa_ledger_lag_seconds", "routemoa_budget_left_dollars"}


def test_the_docs_name_every_metric_and_no_other() -> None:
    table = re.findall(r"^\| `(routemoa_\w+)`", (ROOT / "docs/how-to/operate.md").read_text(), re.MULTILINE)
    assert set(table) == known_metrics() | STORED


@pytest.mark.parametrize("file", ["deploy/prometheus/alerts.yml", "deploy/grafana/routemoa.json"])
def test_alerts_and_dashboard_name_metrics_that_exist(file: str) -> None:
    names = set(re.findall(r"routemoa_\w+", (ROOT / file).read_text()))
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert bare <= known_metrics() | STORED
    assert len(bare) > 6


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not installed")
def test_prometheus_takes_the_alert_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(ROOT / "deploy/prometheus/alerts.yml")], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout
