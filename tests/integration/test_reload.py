"""A changed pool file with a real server process: taken over, refused where it is wrong, and no request is dropped."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from routemoa.core.pool_file.pool_files import POLL_SECONDS
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.harness import HI
from tests.gateway.lifecycle.test_server import serve

MEMBER = '[[model]]\nname = "{}"\nendpoint = "{}"\nprior = 0.6\n'


def write(file: Path, url: str, names: str, more: str = "") -> Path:
    """Write a pool file as editors do: whole, in another file that takes its place."""
    fresh = file.with_suffix(".new")
    fresh.write_text("".join(MEMBER.format(name, url) for name in names) + more)
    os.replace(fresh, file)
    return file


async def models(sdk: AsyncOpenAI) -> set[str]:
    return {m.id async for m in sdk.models.list()} & set("abcdefgh")


async def until(sdk: AsyncOpenAI, condition: Callable[[set[str]], bool]) -> float:
    began = time.monotonic()
    async with asyncio.timeout(10):
        while not condition(await models(sdk)):  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.05)
    return time.monotonic() - began


async def until_refused(url: str, times: int) -> None:
    said = f'routemoa_pool_reloads_total{{outcome="refused"}} {times}.0'
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        while said not in await (await session.get(f"{url.removesuffix('/v1')}/metrics")).text():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.alone
async def test_a_changed_file_is_taken_over_and_a_wrong_one_refused(tmp_path: Path) -> None:
    async with FakeEndpoint("four") as e:
        file = write(tmp_path / "pool.toml", e.url, "ab")
        async with serve(file, "--no-store") as s:
            assert await models(s.sdk) == {"a", "b"}
            write(file, e.url, "bc")
            assert await until(s.sdk, lambda found: found == {"b", "c"}) < 4.0
            done = await s.sdk.chat.completions.create(model="c", messages=HI)
            assert done.choices[0].message.content == "four"
            with pytest.raises(openai.NotFoundError):
                await s.sdk.chat.completions.create(model="a", messages=HI)
            file.write_text(f"a = {'[' * 5000}")
            await until_refused(s.url, 1)
            assert await models(s.sdk) == {"b", "c"}
            assert (await s.sdk.chat.completions.create(model="routemoa", messages=HI)).choices
            file.unlink()
            await until_refused(s.url, 2)
            assert await models(s.sdk) == {"b", "c"}
            write(file, e.url, "d", "[gateway]\nredact = true\n[limits]\nmax_calls = 4\n[traces]\ndays = 1.0\n")
            await until(s.sdk, lambda found: found == {"d"})
            s.process.terminate()
            code, log = await s.end()
    assert code == 0
    assert "the pool file was read again; new: c; gone: a" in log
    assert "new: d; gone: b, c; changed: [limits]; only after a restart: [traces], redact" in log
    assert log.count("is refused, and stays as it was") == 2
    assert "Traceback" not in log


async def test_what_is_not_watched_is_read_by_the_admin_route_which_says_what_is_wrong_and_at_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTEMOA_ADMIN_KEY", "operator-1")
    monkeypatch.setenv("TEAM", "sk-team")
    tenant = '[[tenant]]\nname = "{}"\nkey_env = "TEAM"\nmax_cost_per_day = 5.0\n'
    async with FakeEndpoint("four") as e:
        file = write(tmp_path / "pool.toml", e.url, "a", tenant.format("one"))
        async with serve(file, "--store", str(tmp_path / "s.db"), "--no-watch") as s:
            admin = AsyncOpenAI(base_url=s.url.removesuffix("/v1"), api_key="operator-1", max_retries=0)
            team = AsyncOpenAI(base_url=s.url, api_key="sk-team", max_retries=0)
            write(file, e.url, "ab", tenant.format("two"))
            await asyncio.sleep(3 * POLL_SECONDS)
            assert await models(team) == {"a"}
            done: Any = await admin.post("/admin/reload", cast_to=object)
            assert done["reloaded"] is True
            assert await models(team) == {"a", "b"}
            file.write_text("wings = 2")
            with pytest.raises(openai.UnprocessableEntityError, match="wings"):
                await admin.post("/admin/reload", cast_to=object)
            assert await models(team) == {"a", "b"}
            with pytest.raises(openai.AuthenticationError):
                await team.with_options(base_url=s.url.removesuffix("/v1")).post("/admin/reload", cast_to=object)
            write(file, e.url, "abc", tenant.format("two"))
            s.process.send_signal(signal.SIGHUP)
            await until(team, lambda found: found == {"a", "b", "c"})
            await admin.close()
            await team.close()


async def test_no_request_is_dropped_by_reloads_under_load(tmp_path: Path) -> None:
    """Sixteen callers, streams and whole answers, and one stream that outlives several readings."""
    async with (
        FakeEndpoint("word " * 40, Fault(between=0.005)) as e,
        FakeEndpoint("slow " * 80, Fault(between=0.05)) as slow,
    ):
        file = write(tmp_path / "pool.toml", e.url, "ab", MEMBER.format("h", slow.url))
        async with serve(file, "--no-store") as s:
            stop = False
            served = [0]

            async def caller(number: int) -> None:
                while not stop:
                    model = ("routemoa", "a")[number % 2]
                    if number % 3:
                        done = await s.sdk.chat.completions.create(model=model, messages=HI)
                        text = done.choices[0].message.content or ""
                    else:
                        stream = await s.sdk.chat.completions.create(model=model, messages=HI, stream=True)
                        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
                    assert text.count("word") == 40
                    served[0] += 1

            async def long_one() -> str:
                stream = await s.sdk.chat.completions.create(model="h", messages=HI, stream=True)
                return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

            callers = [asyncio.create_task(caller(n)) for n in range(16)]
            long = asyncio.create_task(long_one())
            await asyncio.sleep(0.3)
            for number in range(5):
                names = "ab" + "cdefg"[number]
                write(file, e.url, names)  # the long one's member is gone
                await until(s.sdk, lambda found, names=names: set(names) <= found)  # type: ignore[misc]
            stop = True
            await asyncio.gather(*callers)
            assert (await long).count("slow") == 80
            assert served[0] > 50
