"""The gateway under a real Ray Serve: two replicas behind its proxy answer as `routemoa serve` does."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
import yaml
from openai import APIStatusError, AsyncOpenAI

from routemoa.core.errors import ConfigError
from routemoa.gateway.ray_app import DEPLOYMENT, ReplicaSettings, ServeApp, check_machines, read_settings
from routemoa.ledger.location import StoreUrl
from routemoa.testing import FakeEndpoint, Fault
from tests.doc_blocks import find_commands, page_blocks, read_table
from tests.gateway.harness import until
from tests.gateway.lifecycle.test_server import serve

HI: Any = [{"role": "user", "content": "Hi"}]
KEY, TIGHT_KEY = "key-of-acme-0123456789", "key-of-tight-0123456789"
CLUSTER = """
import sys
import ray
from ray import serve
from routemoa.gateway.ray_app import app
pool, store, port = sys.argv[1:]
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
serve.start(http_options={"port": int(port)})
serve.run(app({"pool": pool, "store": store, "min_replicas": "2"}), name="routemoa")
print("ready", flush=True)
sys.stdin.read()
ray.shutdown()
"""


def write_pool(folder: Path, fast: str, slow: str) -> Path:
    """Write a pool of two fast members and a slow one, with keys, a rate and a limit of bodies."""
    members = (("a", fast, 0.6), ("b", fast, 0.6), ("c", slow, 0.1))
    models = [f'[[model]]\nname = "{n}"\nendpoint = "{url}"\nprior = {p}\n' for n, url, p in members]
    tenants = [
        '[[tenant]]\nname = "acme"\nkey_env = "ACME_KEY"\n',
        '[[tenant]]\nname = "tight"\nkey_env = "TIGHT_KEY"\nrequests_per_minute = 3\n',
    ]
    file = folder / "pool.toml"
    file.write_text("".join([*models, *tenants, "[server]\nmax_body_bytes = 2000\n"]))
    return file


class Running(NamedTuple):
    """The application under Ray Serve, and beside it `routemoa serve` with the same pool file."""

    url: str
    direct: str
    slow: FakeEndpoint
    pool: Path

    def sdk(self, key: str = KEY) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.url, api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def port() -> int:
    pytest.importorskip("fastapi", reason="needs the extra [ray-serve]")
    pytest.importorskip("grpc", reason="needs the extra [ray-serve]")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        number: int = free.getsockname()[1]
    return number


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(port: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    folder = tmp_path_factory.mktemp("ray")
    with pytest.MonkeyPatch.context() as env:
        env.setenv("ACME_KEY", KEY)
        env.setenv("TIGHT_KEY", TIGHT_KEY)
        slow_fault = Fault(between=0.05)
        async with FakeEndpoint("four") as fast, FakeEndpoint("word " * 500, faults=slow_fault) as slow:
            beside = write_pool(tmp_path_factory.mktemp("direct"), fast.url, slow.url)
            pool = write_pool(folder, fast.url, slow.url)
            pool.write_text(f'{pool.read_text()}[learning]\nevery = "5s"\nexplore = 0\n')
            words = (str(pool), str(folder / "ray.db"), str(port))
            cluster = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CLUSTER, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert cluster.stdin is not None
            assert cluster.stdout is not None
            async with serve(beside, "--store", str(folder / "direct.db")) as direct:
                assert (await cluster.stdout.readline()).strip() == b"ready"
                yield Running(f"http://127.0.0.1:{port}/v1", direct.url, slow, pool)
            cluster.stdin.close()
            assert await asyncio.wait_for(cluster.wait(), 60) == 0


class Reply(NamedTuple):
    status: int
    headers: list[str]
    body: Any


async def send(url: str, method: str, path: str, body: bytes | None, key: str | None) -> Reply:
    """Send a request; return its response without what differs between two servers."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url.removesuffix("/v1") + path, data=body, headers=headers) as response,
    ):
        names = sorted(name.lower() for name in response.headers if name.lower() != "server")
        read = await response.text()
        return Reply(response.status, names, json.loads(read) if response.content_type.endswith("json") else read)


def chat(**fields: Any) -> bytes:
    return json.dumps({"model": "routemoa", "messages": HI, **fields}).encode()


REQUESTS: list[tuple[str, str, bytes | None, str | None]] = [
    ("GET", "/healthz", None, None),
    ("GET", "/v1/models", None, None),
    ("GET", "/v1/models/nobody", None, KEY),
    ("GET", "/nothing", None, KEY),
    ("GET", "/v1/chat/completions", None, KEY),
    ("POST", "/v1/chat/completions", chat(), "wrong"),
    ("POST", "/v1/chat/completions", chat(model="nobody"), KEY),
    ("POST", "/v1/chat/completions", chat(temperature="hot"), KEY),
    ("POST", "/v1/chat/completions", chat(routemoa={"max_cost": 1e-9}), KEY),
    ("POST", "/v1/chat/completions", b"{", KEY),
    ("POST", "/v1/chat/completions", chat(user="x" * 2000), KEY),
    ("POST", "/v1/messages", b"{}", KEY),
    ("POST", "/v1/messages", chat(), None),
]


@pytest.mark.asyncio(loop_scope="module")
async def test_errors_and_their_heads_are_those_of_a_direct_server(running: Running) -> None:
    for request in REQUESTS:
        served, direct = [await send(url, *request) for url in (running.url, running.direct)]
        assert served == direct, request
        assert served.headers.count("x-request-id") == 1, request


@pytest.mark.asyncio(loop_scope="module")
async def test_the_official_client_gets_answers_and_streams_under_its_own_id(running: Running) -> None:
    async with running.sdk() as sdk:
        raw = await sdk.chat.completions.with_raw_response.create(
            model="routemoa", messages=HI, extra_headers={"x-request-id": "mine-1"}
        )
        assert raw.headers["x-request-id"] == "mine-1"
        assert raw.parse().choices[0].message.content == "four"
        stream = await sdk.chat.completions.create(
            model="routemoa", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "four"
        assert chunks[-1].usage is not None


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("model", ["c", "moa"])
async def test_a_caller_that_leaves_ends_the_calls(running: Running, model: str) -> None:
    """The member takes 25 s, so that its first words come long before its last: the stream is not held back."""
    async with running.sdk() as sdk:
        if model == "c":
            stream = await sdk.chat.completions.create(model=model, messages=HI, stream=True)
            await anext(aiter(stream))
            assert running.slow.open_requests == 1
            await stream.close()
        else:
            asking = asyncio.create_task(sdk.chat.completions.create(model=model, messages=HI))
            await until(lambda: running.slow.open_requests == 1, 20)
            asking.cancel()
        await until(lambda: running.slow.open_requests == 0, 20)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_rate_of_a_tenant_holds_over_both_replicas(running: Running) -> None:
    async with running.sdk(TIGHT_KEY) as sdk:
        asking: list[Awaitable[Any]] = [sdk.chat.completions.create(model="a", messages=HI) for _ in range(8)]
        done = await asyncio.gather(*asking, return_exceptions=True)
    refused = [e for e in done if isinstance(e, APIStatusError)]
    assert [e.status_code for e in refused] == [429] * 5
    assert all("retry-after" in e.response.headers for e in refused)


@pytest.mark.asyncio(loop_scope="module")
async def test_metrics_are_those_of_both_replicas(running: Running) -> None:
    def count(text: str) -> float:
        named = 'routemoa_requests_total{model="b",path="/v1/chat/completions",status="200"} '
        return sum(float(line.removeprefix(named)) for line in text.splitlines() if line.startswith(named))

    async with running.sdk() as sdk:
        await asyncio.gather(*(sdk.chat.completions.create(model="b", messages=HI) for _ in range(12)))
    for _ in range(4):
        assert count((await send(running.url, "GET", "/metrics", None, KEY)).body) == 12


@pytest.mark.asyncio(loop_scope="module")
async def test_every_replica_takes_over_a_changed_pool_file(running: Running) -> None:
    running.pool.write_text(running.pool.read_text().replace('name = "b"', 'name = "d"'))
    in_a_row = 0
    async with asyncio.timeout(20), running.sdk() as sdk:
        while in_a_row < 12:
            in_a_row = in_a_row + 1 if "d" in [m.id async for m in sdk.models.list()] else 0


@pytest.mark.asyncio(loop_scope="module")
async def test_a_replica_learns_by_itself(running: Running) -> None:
    """It finds too little to learn from, and says so in the log."""
    log = running.pool.with_name("learned") / "log.jsonl"
    async with running.sdk() as sdk:
        done = await sdk.chat.completions.create(model="routemoa", messages=HI)
        await sdk.post("/feedback", body={"id": done.id, "expected": "4", "grader": "numeric"}, cast_to=object)
    await until(lambda: log.exists() and log.read_text().endswith("\n"), 30.0)
    assert json.loads(log.read_text().splitlines()[0])["action"] == "kept"


def test_arguments_are_words_and_wrong_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = read_settings({"pool": "pool.toml", "max_replicas": "8", "insecure": "true", "num_cpus": "0.5"})
    assert found == ReplicaSettings(str(tmp_path / "pool.toml"), insecure=True, num_cpus=0.5, max_replicas=8)
    with pytest.raises(ConfigError, match="unknown field `replicas`; there are pool, store, "):
        read_settings({"replicas": "8"})


def test_the_page_names_arguments_that_there_are() -> None:
    page = "docs/how-to/ray.md"
    for command in find_commands("serve"):
        _, run, path, *words = command.words
        assert (run, path) == ("run", "routemoa.gateway.ray_app:app")
        read_settings(dict(word.split("=", 1) for word in words))
    config = yaml.safe_load(next(b.text for b in page_blocks(page) if b.language == "yaml"))
    for application in config["applications"]:
        read_settings(application["args"])
        assert application["deployments"][0]["name"] == DEPLOYMENT
    assert list(read_table(page, "Arguments")) == list(ReplicaSettings.__struct_fields__)


def test_several_machines_need_a_store_that_they_share(tmp_path: Path) -> None:
    check_machines(tmp_path, 1)
    check_machines(StoreUrl("postgresql://db/moa"), 3)
    check_machines(None, 3)
    with pytest.raises(ConfigError, match=r"has 3 machines, and .* ROUTEMOA_STORE=postgresql://"):
        check_machines(tmp_path / "store.db", 3)


@pytest.mark.parametrize(
    ("root", "path", "seen"),
    [("", "/v1/x", "/v1/x"), ("/moa", "/moa/admin/keys", "/admin/keys"), ("/moa", "/moa", "/")],
)
async def test_the_prefix_of_the_application_is_no_part_of_a_path(root: str, path: str, seen: str) -> None:
    """Else the routes of the operator would not be told from others by their path."""
    scopes: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    await ServeApp(inner)({"type": "http", "path": path, "root_path": root}, None, None)  # type: ignore[arg-type]
    assert (scopes[0]["path"], scopes[0]["root_path"]) == (seen, "")
