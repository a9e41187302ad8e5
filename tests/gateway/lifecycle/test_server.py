"""`routemoa serve` as a process: its output, its memory, and how it ends."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from click.testing import CliRunner
from openai import APIConnectionError, AsyncOpenAI, AuthenticationError

from routemoa.cli import cli
from routemoa.core.errors import ConfigError
from routemoa.gateway.lifecycle.server import listen
from routemoa.ledger import read_calls
from routemoa.testing import FakeEndpoint, Fault

ROUTEMOA = [sys.executable, "-c", "from routemoa.cli import main; main()"]
HI: Any = [{"role": "user", "content": "Hi"}]


def write_pool(folder: Path, url: str) -> Path:
    file = folder / "pool.toml"
    file.write_text("".join(f'[[model]]\nname = "{n}"\nendpoint = "{url}"\nprior = 0.6\n' for n in ("a", "b")))
    return file


class Served:
    """A running `routemoa serve`."""

    def __init__(self, process: Process, url: str) -> None:
        self.process = process
        self.url = url
        self.sdk = AsyncOpenAI(base_url=url, api_key="unused", max_retries=0)

    async def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the rest of stderr."""
        _, stderr = await asyncio.wait_for(self.process.communicate(), 10)
        return self.process.returncode or 0, stderr.decode()


@asynccontextmanager
async def serve(pool: Path, *options: str, url: str = r"http://127\.0\.0\.1:(\d+)/v1") -> AsyncIterator[Served]:
    command = [*ROUTEMOA, "serve", "--pool", str(pool), "--port", "0", *options]
    process = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
    assert process.stderr is not None
    try:
        lines = [(await process.stderr.readline()).decode() for _ in range(4)]
        found = re.search(url, lines[0])
        assert found, lines
        served = Served(process, found[0])
        assert f'base_url="{served.url}"' in lines[1]
        async with served.sdk:
            yield served
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_answers_quietly_stays_small_and_ends_cleanly(tmp_path: Path) -> None:
    async with FakeEndpoint("four") as e, serve(write_pool(tmp_path, e.url)) as s:
        done = await s.sdk.chat.completions.create(model="routemoa", messages=HI)
        assert done.choices[0].message.content == "four"
        assert psutil.Process(s.process.pid).memory_info().rss < 120 * 2**20
        s.process.terminate()
        assert await s.end() == (0, "")


async def test_it_offers_every_mixture_and_every_member(tmp_path: Path) -> None:
    async with FakeEndpoint("four") as e, serve(write_pool(tmp_path, e.url)) as s:
        listed = [m.id async for m in s.sdk.models.list()]
        assert listed == ["routemoa", "moa", "smoa", "self-moa", "best-single", "random", "cascade", "a", "b"]
        for name in listed:
            done = await s.sdk.chat.completions.create(model=name, messages=HI)
            assert done.choices[0].message.content == "four"
        sent = len(e.requests)
        done = await s.sdk.chat.completions.create(model="moa", messages=HI)
        assert done.model == "moa"
        assert done.model_extra is not None
        assert done.model_extra["routemoa"]["calls"] == len(e.requests) - sent == 7


async def test_a_local_model_whose_weights_are_not_fetched_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTEMOA_CACHE", str(tmp_path / "cache"))
    local = '[[model]]\nname = "small"\nendpoint = "local"\nmodel = "smollm2-135m"\nprior = 0.9\n'
    async with FakeEndpoint("four") as e:
        pool = write_pool(tmp_path, e.url)
        pool.write_text(local + pool.read_text())
        async with serve(pool) as s:
            listed = [m.id async for m in s.sdk.models.list()]
            assert listed[-2:] == ["a", "b"]
            done = await s.sdk.chat.completions.create(model="routemoa", messages=HI)
            assert done.choices[0].message.content == "four"
            s.process.terminate()
            code, stderr = await s.end()
    assert code == 0
    warning = "small: its weights are not fetched:  routemoa pool fetch --only smollm2-135m; it is left out"
    assert warning in stderr


async def test_a_pool_without_any_weights_says_how_to_fetch_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTEMOA_CACHE", str(tmp_path / "cache"))
    pool = tmp_path / "pool.toml"
    pool.write_text('[[model]]\nname = "small"\nendpoint = "local"\nmodel = "smollm2-135m"\n')
    async with serve(pool) as s:
        s.process.terminate()
        _, stderr = await s.end()
    assert f"no model can answer: their weights are not fetched; run  routemoa pool fetch --pool {pool}" in stderr


async def test_verbose_logs_requests_but_not_their_text(tmp_path: Path) -> None:
    async with FakeEndpoint("four") as e, serve(write_pool(tmp_path, e.url), "--verbose") as s:
        await s.sdk.chat.completions.create(model="routemoa", messages=[{"role": "user", "content": "secret"}])
        s.process.send_signal(signal.SIGINT)
        code, stderr = await s.end()
        assert code == 0
        assert "POST /v1/chat/completions" in stderr
        assert "secret" not in stderr


@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_sigterm_lets_a_running_stream_end_and_takes_no_new_one(tmp_path: Path, model: str) -> None:
    slow = FakeEndpoint("one two three four five six", faults=Fault(between=0.15))
    async with slow as e, serve(write_pool(tmp_path, e.url)) as s:
        asking = asyncio.create_task(whole_stream(s.sdk, model))
        while not e.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        s.process.terminate()
        await asyncio.sleep(0.4)
        async with AsyncOpenAI(base_url=s.url, api_key="unused", max_retries=0) as late:
            with pytest.raises(APIConnectionError):
                await late.models.list()
        assert not asking.done()
        assert await asking == "one two three four five six"
        assert await s.end() == (0, "")


async def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    async with FakeEndpoint(faults=Fault(first_byte=30.0)) as e, serve(write_pool(tmp_path, e.url)) as s:
        asking = asyncio.create_task(whole_stream(s.sdk, "routemoa"))
        while e.open_requests < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        s.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.3)
        assert s.process.returncode is None, "the first one waits for the answer"
        s.process.send_signal(signal.SIGINT)
        assert await s.end() == (130, "interrupted\n")
        with pytest.raises(Exception):  # noqa: B017, PT011  (cut off: whichever error the SDK makes of it)
            await asking
        await asyncio.sleep(0.05)
        assert e.open_requests == 0


async def whole_stream(sdk: AsyncOpenAI, model: str) -> str:
    asked: Any = [{"role": "user", "content": "2+2?"}]
    stream = await sdk.chat.completions.create(model=model, messages=asked, stream=True)
    return "".join([c.choices[0].delta.content or "" async for c in stream])


def test_a_piece_of_a_stream_waits_for_no_acknowledgement_of_the_one_before() -> None:
    with listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()[:2]):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_taken_port_is_one_line_with_the_fix() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} on 127.0.0.1 is taken; choose another with --port"):
            listen("127.0.0.1", port)


def test_a_host_that_is_not_ours_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1 port 0: .*correct --host"):
        listen("192.0.2.1", 0)


def test_a_wrong_pool_file_ends_it_before_it_listens(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["serve", "--pool", str(tmp_path / "none.toml")])
    assert isinstance(result.exception, ConfigError)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "10.0.0.1", "fe80::1"])
def test_it_lets_no_other_machine_in_without_keys(tmp_path: Path, host: str) -> None:
    pool = str(write_pool(tmp_path, "http://127.0.0.1:9/v1"))
    result = CliRunner().invoke(cli, ["serve", "--pool", pool, "--host", host, "--port", "0"])
    assert result.exit_code == 2
    assert "no authentication" in result.output
    assert "--insecure" in result.output


async def test_with_insecure_it_warns_when_others_can_reach_it(tmp_path: Path) -> None:
    file = write_pool(tmp_path, "http://127.0.0.1:9/v1")
    command = [*ROUTEMOA, "serve", "--pool", str(file), "--host", "0.0.0.0", "--port", "0", "--insecure"]
    process = await asyncio.create_subprocess_exec(*command, stderr=PIPE)
    assert process.stderr is not None
    try:
        assert b"no authentication" in await process.stderr.readline()
    finally:
        process.kill()
        await process.communicate()


async def test_it_raises_the_soft_limit_on_descriptors(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    file = write_pool(tmp_path, "http://127.0.0.1:9/v1")
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        async with serve(file) as s:
            assert psutil.Process(s.process.pid).rlimit(psutil.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_names_and_origins_of_the_command_line_are_let_in(tmp_path: Path) -> None:
    file = write_pool(tmp_path, "http://127.0.0.1:9/v1")
    options = ("--allow-origin", "https://chat.example.com", "--allow-host", "models.example.com")
    async with serve(file, *options) as s, aiohttp.ClientSession() as client:
        for host, status in {"models.example.com": 200, "models.example.com:8": 200, "evil.example": 403}.items():
            async with client.get(f"{s.url}/models", headers={"host": host}) as response:
                assert response.status == status
        for origin, let_in in {"https://chat.example.com": True, "https://evil.example": False}.items():
            async with client.get(f"{s.url}/models", headers={"origin": origin}) as response:
                assert ("access-control-allow-origin" in response.headers) == let_in


@pytest.mark.parametrize("origin", ["chat.example.com", "https://chat.example.com/path", "https://", ""])
def test_what_is_no_origin_is_one_line(tmp_path: Path, origin: str) -> None:
    pool = str(write_pool(tmp_path, "http://127.0.0.1:9/v1"))
    result = CliRunner().invoke(cli, ["serve", "--pool", pool, "--port", "0", "--allow-origin", origin])
    assert isinstance(result.exception, ConfigError)
    assert "without a path" in str(result.exception)


TENANT = '[[tenant]]\nname = "acme"\nkey_env = "ACME_KEY"\nmax_cost_per_day = 1.0\n'
PRICED = "input_price = 1.0\noutput_price = 1.0\n"


def write_tenant(folder: Path, url: str) -> Path:
    file = write_pool(folder, url)
    file.write_text(file.read_text().replace("prior", PRICED + "prior") + TENANT)
    return file


async def test_with_tenants_it_needs_keys_records_their_calls_and_prints_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-acme")
    store = tmp_path / "bill.db"
    async with FakeEndpoint("four") as e:
        file = write_tenant(tmp_path, e.url)
        async with serve(file, "--host", "0.0.0.0", "--store", str(store), url=r"http://0\.0\.0\.0:(\d+)/v1") as s:
            with pytest.raises(AuthenticationError):
                await s.sdk.chat.completions.create(model="routemoa", messages=HI)
            done = await s.sdk.with_options(api_key="sk-acme").chat.completions.create(model="routemoa", messages=HI)
            assert done.choices[0].message.content == "four"
            s.process.terminate()
            assert await s.end() == (0, "")
        rows = list(read_calls(store))
        assert len(rows) == len(e.requests)
        assert {(r.key, r.outcome) for r in rows} == {("acme", "ok")}


@pytest.mark.parametrize("model", ["routemoa", "a"])
async def test_a_second_ctrl_c_leaves_no_call_open_in_the_ledger(tmp_path: Path, model: str) -> None:
    store = tmp_path / "bill.db"
    async with (
        FakeEndpoint(faults=Fault(first_byte=30.0)) as e,
        serve(write_pool(tmp_path, e.url), "--store", str(store)) as s,
    ):
        asking = asyncio.create_task(whole_stream(s.sdk, model))
        while not e.open_requests:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        s.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        s.process.send_signal(signal.SIGINT)
        assert (await s.end())[0] == 130
        with pytest.raises(Exception):  # noqa: B017, PT011
            await asking
    assert {r.outcome for r in read_calls(store)} == {"cut"}


async def test_no_store_keeps_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEMOA_STORE", str(tmp_path / "none.db"))
    async with FakeEndpoint("four") as e, serve(write_pool(tmp_path, e.url), "--no-store") as s:
        assert await whole_stream(s.sdk, "a") == "four"
        s.process.terminate()
        assert await s.end() == (0, "")
    assert not (tmp_path / "none.db").exists()


def test_a_broken_store_or_budgets_without_one_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-acme")
    pool = str(write_tenant(tmp_path, "http://127.0.0.1:9/v1"))
    broken = tmp_path / "broken.db"
    broken.write_text("no database at all, but long enough to be looked at" * 20)
    common = ["serve", "--port", "0", "--pool", pool]
    for options, reason in ((["--store", str(broken)], "broken.db"), (["--no-store"], "kept in the store")):
        result = CliRunner().invoke(cli, [*common, *options])
        assert isinstance(result.exception, ConfigError)
        assert reason in str(result.exception)
        assert "\n" not in str(result.exception)
    assert CliRunner().invoke(cli, [*common, "--no-store", "--store", "x"]).exit_code == 2
