"""The embedded runtime, with the real SmolLM2 in tests marked `weights`; and the errors where a part is missing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from routemoa.clients.http import HttpClient
from routemoa.clients.local import LocalRuntime, child
from routemoa.clients.local import runtime as local_runtime
from routemoa.clients.weights import load_manifest
from routemoa.core.errors import MissingExtra, ModelError
from routemoa.core.types import Completion, Message, ModelSpec, Request, Thinking

SMOL = load_manifest()["smollm2-135m"]
SPEC = ModelSpec("smol", "local", SMOL.name, parameters={"temperature": 0.0})
LONG = Request((Message("user", "Tell a long story about a fox and a crow."),), {"max_tokens": 1500})
SHORT = Request((Message("user", "Name three colours."),), {"max_tokens": 16})


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalRuntime]:
    """One runtime for the tests that do not break it: loading takes a second or two."""
    _need_weights()
    runtime = LocalRuntime(Path.cwd())
    yield runtime
    asyncio.run(runtime.close())


@pytest.fixture
async def own() -> AsyncIterator[LocalRuntime]:
    """A runtime for a test that breaks it."""
    _need_weights()
    runtime = LocalRuntime(Path.cwd())
    yield runtime
    await runtime.close()


def _need_weights() -> None:
    if not SMOL.is_fetched:
        pytest.skip(f"{SMOL.path} is not there: run  routemoa pool fetch --only {SMOL.name}")


def pids(runtime: LocalRuntime) -> list[int]:
    return [c._process.pid for c in runtime._servers.values() if c._process is not None]


async def kill(runtime: LocalRuntime) -> None:
    """Kill the model's process (SIGKILL) and wait until it is gone with all its threads."""
    (process,) = (c._process for c in runtime._servers.values())
    assert process is not None
    process.kill()
    await asyncio.to_thread(process.wait, 5)


def gone(pid: int, within: float = 5.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


async def idle(pid: int, within: float) -> bool:
    """Return whether the process soon stops computing: a cancelled request must not go on generating."""
    process, end = psutil.Process(pid), time.monotonic() + within
    while time.monotonic() < end:
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(0.3)
        if sum(process.cpu_times()[:2]) - before < 0.05:
            return True
    return False


class Lent:
    """A runtime that a client may use and not close."""

    def __init__(self, runtime: LocalRuntime) -> None:
        self.address = runtime.address

    async def close(self) -> None:
        pass


@asynccontextmanager
async def calling(
    runtime: LocalRuntime, request: Request = SHORT, spec: ModelSpec = SPEC
) -> AsyncIterator[AsyncGenerator[str | Thinking | Completion, None]]:
    client = HttpClient(Lent(runtime))
    try:
        async with aclosing(client.stream(spec, request)) as pieces:
            yield pieces
    finally:
        await client.close()


async def ask(runtime: LocalRuntime, request: Request = SHORT, spec: ModelSpec = SPEC) -> Completion:
    async with calling(runtime, request, spec) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return piece
    raise AssertionError("no completion")


# --- the real model


@pytest.mark.weights
async def test_one_answer_with_usage_and_logprobs(shared: LocalRuntime) -> None:
    done = await ask(shared, Request(SHORT.messages, {"max_tokens": 16}, logprobs=True))
    assert done.text
    assert done.usage.prompt_tokens
    assert done.usage.completion_tokens
    assert done.tokens
    assert all(t.logprob <= 0 for t in done.tokens)


@pytest.mark.weights
async def test_many_at_once_share_one_process(shared: LocalRuntime) -> None:
    twin = ModelSpec("twin", "local", SMOL.name)
    answers = await asyncio.gather(*[ask(shared, spec=s) for s in (SPEC, twin) * 4])
    assert all(a.text for a in answers)
    assert len(pids(shared)) == 1


@pytest.mark.alone
@pytest.mark.weights
async def test_loaded_once_however_many_threads_and_loops_need_it(own: LocalRuntime) -> None:
    found: list[str] = []

    async def several() -> None:
        found.extend(a.url for a in await asyncio.gather(*[own.address(SPEC) for _ in range(10)]))

    threads = [threading.Thread(target=lambda: asyncio.run(several())) for _ in range(4)]
    for t in threads:
        t.start()
    longest, before = 0.0, time.monotonic()
    while any(t.is_alive() for t in threads) or not found:  # and this loop is not held up meanwhile
        await asyncio.sleep(0.01)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    assert len(found) == 40
    assert len(set(found)) == 1
    assert longest < 0.5


@pytest.mark.weights
async def test_a_cancelled_caller_does_not_stop_the_loading_for_others(own: LocalRuntime) -> None:
    first, second = (asyncio.create_task(own.address(SPEC)) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    assert (await second).url.startswith("http://127.0.0.1:")
    assert first.cancelled()


@pytest.mark.weights
async def test_requests_without_the_key_are_refused(shared: LocalRuntime) -> None:
    address = await shared.address(SPEC)
    assert address.key
    assert address.key not in " ".join(psutil.Process(pids(shared)[0]).cmdline())
    request = urllib.request.Request(f"{address.url}/chat/completions", b"{}", {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        await asyncio.to_thread(urllib.request.urlopen, request, timeout=5)
    refused.value.close()
    assert refused.value.code == 401


@pytest.mark.weights
async def test_closing_a_stream_frees_the_slot(shared: LocalRuntime) -> None:
    await ask(shared)

    async def begin_and_leave() -> None:
        async with calling(shared, LONG) as pieces:
            async for _ in pieces:
                return

    await asyncio.gather(*[begin_and_leave() for _ in range(child.SLOTS)])
    assert await idle(pids(shared)[0], within=3)


@pytest.mark.weights
async def test_a_long_prompt_can_be_cancelled_while_it_is_read(shared: LocalRuntime) -> None:
    prompt = Request((Message("user", "word " * 3500),), {"max_tokens": 4})  # ten seconds to read
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(shared, prompt), 0.5)
    assert await idle(pids(shared)[0], within=4)


@pytest.mark.weights
async def test_a_crash_is_a_model_error_then_one_reload_then_no_more(own: LocalRuntime) -> None:
    async def cut_short() -> None:
        async with calling(own, LONG) as pieces:
            async for _ in pieces:
                await kill(own)

    with pytest.raises(ModelError, match=r"^smol: ") as lost:
        await cut_short()
    assert lost.value.produced
    assert (await ask(own)).text
    await kill(own)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"crashed twice \(killed by SIGKILL.*not loaded again for 10 min"):
            await own.address(SPEC)
    assert pids(own) == []


@pytest.mark.weights
async def test_after_ten_quiet_minutes_a_crash_is_a_first_one_again(
    own: LocalRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await own.address(SPEC)
    await kill(own)
    await own.address(SPEC)
    await kill(own)
    monkeypatch.setattr(local_runtime, "RELOAD_BLOCK", 0.0)
    assert (await own.address(SPEC)).url


@pytest.mark.alone
@pytest.mark.weights
async def test_closing_ends_the_process_and_the_runtime(own: LocalRuntime) -> None:
    await own.address(SPEC)
    (pid,) = pids(own)
    assert os.getsid(pid) != os.getsid(0)  # the terminal's Ctrl-C does not reach it
    began = time.monotonic()
    await own.close()
    assert gone(pid, 0.1)
    assert time.monotonic() - began < 2
    with pytest.raises(ModelError, match="closed"):
        await own.address(SPEC)


@pytest.mark.weights
async def test_closing_while_loading_does_not_wait(own: LocalRuntime) -> None:
    loading = asyncio.create_task(own.address(SPEC))
    await asyncio.sleep(0.02)
    await own.close()
    with pytest.raises(ModelError, match="closed"):
        await loading
    assert pids(own) == []


PARENT = """
import asyncio, pathlib, sys
from routemoa.clients.local import LocalRuntime
from routemoa.core.types import ModelSpec
runtime = LocalRuntime(pathlib.Path())
asyncio.run(runtime.address(ModelSpec("smol", "local", "smollm2-135m")))
print(*(c._process.pid for c in runtime._servers.values()), flush=True)
sys.stdin.readline()
"""


@pytest.mark.weights
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "exit"])
def test_no_child_outlives_its_parent(how: str, shared: LocalRuntime) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        if how == "exit":
            parent.stdin.write("\n")
            parent.stdin.flush()
        else:
            parent.send_signal(signal.Signals[how])
        parent.wait(10)
    assert gone(pid)


@pytest.mark.weights
async def test_a_file_of_ones_own_beside_the_pool_file(tmp_path: Path) -> None:
    _need_weights()
    (tmp_path / "mine.gguf").symlink_to(SMOL.path)
    runtime = LocalRuntime(tmp_path)
    try:
        spec = ModelSpec("mine", "local", "mine.gguf", context=512)
        assert (await ask(runtime, spec=spec)).text
        long = Request((Message("user", "word " * 600),), {"max_tokens": 4})
        with pytest.raises(ModelError, match="context"):
            await ask(runtime, long, spec)
    finally:
        await runtime.close()


# --- what is missing


async def test_missing_weights_name_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROUTEMOA_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="run  routemoa pool fetch --only smollm2-135m"):
        await LocalRuntime(tmp_path).address(SPEC)


async def test_a_missing_file_is_named_with_its_whole_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"'a.gguf' is neither embedded .* {tmp_path}/a.gguf does not exist"):
        await LocalRuntime(tmp_path).address(ModelSpec("a", "local", "a.gguf"))


async def test_a_missing_runtime_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"xllamacpp is not installed: run  .*\[local\]"):
        await LocalRuntime(tmp_path).address(SPEC)


async def test_a_file_that_is_no_model_gives_llama_cpps_reason_and_is_not_loaded_for_ever(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_text("hello, this is not a model")
    runtime = LocalRuntime(tmp_path)
    try:
        for pattern in ("bad.gguf did not load: .*magic", "bad.gguf did not load", "crashed twice .*magic.* 10 min"):
            with pytest.raises(ModelError, match=pattern):
                await runtime.address(ModelSpec("bad", "local", "bad.gguf"))
    finally:
        await runtime.close()
