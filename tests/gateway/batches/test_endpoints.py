"""`/v1/files` and `/v1/batches` with OpenAI's own client: each tenant's own, bounded, and going on after a restart."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import openai
import pytest
from openai import AsyncOpenAI
from openai.types import Batch

from routemoa.core.access.tenants import Tenant
from routemoa.core.errors import ConfigError
from routemoa.core.pool_file.pool import Pool, parse_pool
from routemoa.gateway.batches import manager, stored
from routemoa.ledger import Store, read_calls
from routemoa.ledger.keys import create_key
from routemoa.testing import FakeEndpoint, Fault
from tests.gateway.batches.job_setup import chat_row, small_disk
from tests.gateway.harness import Serving, serving

MEMBER = '[[model]]\nname = "{}"\nendpoint = "{}"\ninput_price = 10.0\noutput_price = 10.0\nprior = 0.6\n'


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "LOOK_SECONDS", 0.05)


def make_pool(folder: Path, url: str, more: str = "") -> Pool:
    members = "".join(MEMBER.format(name, url) for name in ("a", "b"))
    return parse_pool(f'{members}[batches]\nfolder = "batches"\n{more}', "pool.toml", folder, {})


@asynccontextmanager
async def serving_batches(folder: Path, url: str, more: str = "", **options: Any) -> AsyncIterator[Serving]:
    pool = make_pool(folder, url, more)
    async with serving(pool=pool, store=Store(folder / "s.db", pool.tenants), **options) as s:
        yield s


async def upload(sdk: AsyncOpenAI, *rows: Any) -> str:
    data = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    return (await sdk.files.create(file=("in.jsonl", data.encode()), purpose="batch")).id


async def begin(sdk: AsyncOpenAI, *rows: Any, **more: Any) -> Batch:
    id = await upload(sdk, *rows)
    return await sdk.batches.create(input_file_id=id, endpoint="/v1/chat/completions", completion_window="24h", **more)


async def until(sdk: AsyncOpenAI, id: str, *statuses: str) -> Batch:
    async with asyncio.timeout(15):
        while (batch := await sdk.batches.retrieve(id)).status not in statuses:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return batch


async def lines_of(sdk: AsyncOpenAI, file: str | None) -> list[dict[str, Any]]:
    assert file is not None
    return [json.loads(line) for line in (await sdk.files.content(file)).text.splitlines()]


def kept(folder: Path) -> set[str]:
    return {p.name for p in (folder / "batches").rglob("*") if p.is_file()}


def new_keys(folder: Path, *tenants: Tenant) -> list[str]:
    """Return keys that a server knows which starts after this: a running one looks for keys once a second."""
    Store(folder / "s.db")
    return [create_key(folder / "s.db", tenant, time.time(), None).secret for tenant in tenants]


@asynccontextmanager
async def clients(s: Serving, *keys: str) -> AsyncIterator[list[AsyncOpenAI]]:
    async with AsyncExitStack() as stack:
        opened = [AsyncOpenAI(base_url=s.url, api_key=key, max_retries=0) for key in keys]
        yield [await stack.enter_async_context(sdk) for sdk in opened]


async def test_a_batch_from_the_upload_to_its_files(tmp_path: Path) -> None:
    async with FakeEndpoint("4") as endpoint, serving_batches(tmp_path, endpoint.url) as s:
        rows = [*(chat_row(f"r{i}", n=1 + i % 2) for i in range(3)), chat_row("r0"), "no row", {"query": "2+2?"}]
        batch = await begin(s.sdk, *rows, metadata={"job": "1"})
        batch = await until(s.sdk, batch.id, "completed")
        assert batch.request_counts is not None
        assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (6, 3, 3)
        output = await lines_of(s.sdk, batch.output_file_id)
        assert sorted(line["custom_id"] for line in output) == ["r0", "r1", "r2"]
        assert sorted(len(line["response"]["body"]["choices"]) for line in output) == [1, 1, 2]
        errors = await lines_of(s.sdk, batch.error_file_id)
        assert sorted(line["custom_id"] for line in errors) == ["content-6", "content.jsonl:5", "r0"]
        assert str(tmp_path) not in json.dumps(errors)
        assert [b.id async for b in s.sdk.batches.list(limit=1)] == [batch.id]
        newest, oldest = [[f.id async for f in s.sdk.files.list(order=order)] for order in ("desc", "asc")]
        assert len(newest) == 3
        assert newest == oldest[::-1]
        files = [f.id async for f in s.sdk.files.list(purpose="batch")]
        assert files == [batch.input_file_id]
        await s.sdk.files.delete(files[0])
        with pytest.raises(openai.NotFoundError):
            await s.sdk.files.retrieve(files[0])
    purposes = {call.purpose for call in read_calls(tmp_path / "s.db")}
    assert purposes == {"batch"}
    assert not list((tmp_path / "batches").rglob("results.jsonl"))  # the output file has what they said


async def test_tenants_see_and_delete_their_own_and_ask_within_their_terms(tmp_path: Path) -> None:
    keys = new_keys(tmp_path, Tenant("ann", "", models=("a",)), Tenant("bob", ""))
    slow = Fault(first_byte=0.1)
    async with (
        FakeEndpoint("4", slow) as endpoint,
        serving_batches(tmp_path, endpoint.url) as s,
        clients(s, *keys) as (ann, bob),
    ):
        batch = await begin(ann, chat_row("x", model="a"), chat_row("y", model="b"))
        with pytest.raises(openai.ConflictError, match="The batch has not ended"):
            await ann.delete(f"/batches/{batch.id}", cast_to=object)
        batch = await until(ann, batch.id, "completed")
        assert [line["custom_id"] for line in await lines_of(ann, batch.output_file_id)] == ["x"]
        failed = await lines_of(ann, batch.error_file_id)
        assert failed[0]["error"]["code"] == "model_not_found"
        assert [f.id async for f in bob.files.list()] == [b.id async for b in bob.batches.list()] == []
        for call in (
            bob.files.content(batch.input_file_id),
            bob.batches.retrieve(batch.id),
            bob.files.delete("x"),
            bob.delete(f"/batches/{batch.id}", cast_to=object),
            bob.batches.create(
                input_file_id=batch.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
            ),
        ):
            with pytest.raises(openai.NotFoundError):
                await call
        with pytest.raises(openai.AuthenticationError):
            await s.sdk.files.list()
        deleted = await ann.delete(f"/batches/{batch.id}", cast_to=object)
        assert deleted == {"id": batch.id, "object": "batch", "deleted": True}
        assert [b.id async for b in ann.batches.list()] == []
        assert [f.id async for f in ann.files.list()] == [batch.input_file_id]
        await ann.files.delete(batch.input_file_id)
        assert {p.name for p in (tmp_path / "batches").rglob("*") if p.is_file()} == {"tenant.json"}
    assert {call.key for call in read_calls(tmp_path / "s.db")} == {"ann"}


async def test_a_budget_holds_and_its_end_is_a_reason_of_rows(tmp_path: Path) -> None:
    terms = '[[tenant]]\nname = "t"\nkey_env = "T_KEY"\nmax_cost_per_day = 0.045\n'
    members = "".join(MEMBER.format(n, "{}") for n in ("a",))
    async with FakeEndpoint("4") as endpoint:
        text = members.format(endpoint.url) + '[batches]\nfolder = "batches"\nconcurrency = 1\n' + terms
        pool = parse_pool(text, "pool.toml", tmp_path, {"T_KEY": "sk-secret-of-a-tenant"})
        async with serving(pool=pool, store=Store(tmp_path / "s.db", pool.tenants)) as s:
            sdk = AsyncOpenAI(base_url=s.url, api_key="sk-secret-of-a-tenant", max_retries=0)
            rows = (chat_row(f"r{i}", "w " * 300, model="a", max_tokens=1000) for i in range(16))
            batch = await until(sdk, (await begin(sdk, *rows)).id, "completed")
            assert batch.request_counts is not None
            assert 0 < batch.request_counts.failed < 16
            failed = await lines_of(sdk, batch.error_file_id)
            assert {line["error"]["code"] for line in failed} == {"insufficient_quota"}
            await sdk.close()
    assert sum(call.charged or 0.0 for call in read_calls(tmp_path / "s.db")) <= 0.045


async def test_a_batch_can_be_cancelled(tmp_path: Path) -> None:
    slow = Fault(first_byte=0.1)
    more = "concurrency = 2\n"
    async with FakeEndpoint("4", slow) as endpoint, serving_batches(tmp_path, endpoint.url, more) as s:
        batch = await begin(s.sdk, *(chat_row(f"r{i}", model="a") for i in range(200)))
        while not endpoint.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        with pytest.raises(openai.ConflictError, match="A batch reads this file"):
            await s.sdk.files.delete(batch.input_file_id)
        assert (await s.sdk.batches.cancel(batch.id)).status == "cancelling"
        batch = await until(s.sdk, batch.id, "cancelled")
        asked = len(endpoint.requests)
        assert 0 < asked < 50
        assert len(await lines_of(s.sdk, batch.output_file_id)) == asked
        with pytest.raises(openai.ConflictError):
            await s.sdk.batches.cancel(batch.id)


async def test_a_batch_goes_on_after_a_restart_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    more = "concurrency = 2\n"
    async with FakeEndpoint("4", Fault(first_byte=0.05)) as endpoint:
        async with serving_batches(tmp_path, endpoint.url, more) as s:
            batch = await begin(s.sdk, *(chat_row(f"r{i}", model="a") for i in range(30)))
            while len(endpoint.requests) < 8:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async with serving_batches(tmp_path, endpoint.url, more) as s:
            batch = await until(s.sdk, batch.id, "completed")
            assert len(await lines_of(s.sdk, batch.output_file_id)) == 30
        assert len(endpoint.requests) <= 32  # those under way at the end


async def test_what_a_server_does_not_take_is_said(tmp_path: Path) -> None:
    more = "max_rows = 2\nmax_file_megabytes = 0.001\nmax_megabytes = 0.01\nmax_batches = 1\n"
    async with FakeEndpoint("4") as endpoint, serving_batches(tmp_path, endpoint.url, more) as s:
        with pytest.raises(openai.APIStatusError) as too_large:
            await upload(s.sdk, "x" * 100_000)
        assert too_large.value.status_code == 413
        with pytest.raises(openai.BadRequestError, match="'purpose' must be batch"):
            await s.sdk.files.create(file=("x", b"x"), purpose="assistants")
        batch = await until(s.sdk, (await begin(s.sdk, *(chat_row(i) for i in range(3)))).id, "failed")
        assert batch.errors is not None
        assert batch.errors.data is not None
        assert "a batch may have 2" in str(batch.errors.data[0].message)
        id = await upload(s.sdk, chat_row("x"))
        for wrong in ({"endpoint": "/v1/embeddings"}, {"completion_window": "1h"}, {"metadata": {"a": "x" * 600}}):
            body = {"input_file_id": id, "endpoint": "/v1/chat/completions", "completion_window": "24h", **wrong}
            assert (await (await s.raw(body, "/batches")).whole()).status == 400
        page = await (await s.raw({}, "/files", {"Origin": "http://127.0.0.1:5000"})).whole()
        assert page.status == 415
        for _ in range(8):
            with suppress_full():
                await upload(s.sdk, "y" * 900)
        with pytest.raises(openai.APIStatusError, match=r"Your files take the 0\.01 MB"):
            await upload(s.sdk, "y" * 900)


async def test_files_expire_when_their_caller_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "SCAN_SECONDS", 0.05)
    now = time.time()
    hour: Any = {"anchor": "created_at", "seconds": 3600}
    month: Any = {"anchor": "created_at", "seconds": 2_592_000}
    async with FakeEndpoint("4") as endpoint, serving_batches(tmp_path, endpoint.url) as s:
        sent = ("in.jsonl", json.dumps(chat_row("x")).encode())
        file = await s.sdk.files.create(file=sent, purpose="batch", expires_after=hour)
        assert file.expires_at == file.created_at + 3600
        asked: Any = {"endpoint": "/v1/chat/completions", "completion_window": "24h", "input_file_id": file.id}
        batch = await s.sdk.batches.create(**asked, output_expires_after=month)
        batch = await until(s.sdk, batch.id, "completed")
        output = await s.sdk.files.retrieve(batch.output_file_id or "")
        assert output.expires_at == output.created_at + 2_592_000
        for fault in ({"seconds": 3599}, {"seconds": 2_592_001}, {"seconds": "soon"}, {"anchor": "now"}):
            wrong: Any = {**hour, **fault}
            with pytest.raises(openai.BadRequestError, match=r"'expires_after' must have anchor created_at.*3600"):
                await s.sdk.files.create(file=sent, purpose="batch", expires_after=wrong)
            with pytest.raises(openai.BadRequestError, match="'output_expires_after' must have"):
                await s.sdk.batches.create(**asked, output_expires_after=wrong)
        with pytest.raises(openai.BadRequestError, match="'expires_after' must have"):
            await s.sdk.files.create(file=sent, purpose="batch", extra_body={"expires_after": "9" * 5000})
        monkeypatch.setattr(stored, "time", lambda: now + 4000)
        for call in (s.sdk.files.retrieve(file.id), s.sdk.files.content(file.id), s.sdk.batches.create(**asked)):
            with pytest.raises(openai.NotFoundError):
                await call
        assert [f.id async for f in s.sdk.files.list()] == [output.id]
        async with asyncio.timeout(5):
            while any((tmp_path / "batches").rglob(file.id)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_files_that_come_at_the_same_time_pass_no_limit(tmp_path: Path) -> None:
    more = "max_megabytes = 0.01\n"
    async with FakeEndpoint("4") as endpoint, serving_batches(tmp_path, endpoint.url, more) as s:
        sent = await asyncio.gather(*(upload(s.sdk, "y" * 4000) for _ in range(12)), return_exceptions=True)
        kept = sum(p.stat().st_size for p in (tmp_path / "batches").rglob("*") if p.is_file())
        assert kept <= 10_000
        assert all(isinstance(r, str) or (isinstance(r, openai.APIStatusError) and r.status_code == 413) for r in sent)
        assert not list((tmp_path / "batches").rglob("*.part"))


async def test_the_type_of_a_form_may_be_written_in_any_case(tmp_path: Path) -> None:
    form = (
        b'--X\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--X\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n{}\r\n--X--\r\n'
    )
    async with FakeEndpoint("4") as endpoint, serving_batches(tmp_path, endpoint.url) as s:
        request = Request(f"{s.url}/files", form, {"Content-Type": "Multipart/Form-Data; boundary=X"})
        with await asyncio.to_thread(urlopen, request) as response:
            assert response.status == 200


async def test_a_batch_waits_for_room_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "SCAN_SECONDS", 0.2)
    with small_disk(tmp_path / "batches", "120k") as resize:
        async with FakeEndpoint("4") as endpoint, serving_batches(tmp_path, endpoint.url) as s:
            batch = await begin(s.sdk, *(chat_row(f"r{i}", model="a") for i in range(200)))
            sent = [await asyncio.gather(upload(s.sdk, "y" * 30_000), return_exceptions=True) for _ in range(5)]
            full = sent[-1][0]
            assert isinstance(full, openai.InternalServerError)
            assert (full.status_code, full.code) == (503, "storage_error")
            await asyncio.sleep(0.5)
            assert (await s.sdk.batches.retrieve(batch.id)).status == "in_progress"
            await asyncio.to_thread(resize, "9m")
            batch = await until(s.sdk, batch.id, "completed")
            assert len(await lines_of(s.sdk, batch.output_file_id)) == 200


class suppress_full:
    """The last files may find no place any more."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: object) -> bool:
        return isinstance(error, openai.APIStatusError) and error.status_code == 413


async def test_without_a_folder_there_are_no_such_routes(tmp_path: Path) -> None:
    async with serving() as s:
        with pytest.raises(openai.NotFoundError, match="Unknown request URL"):
            await s.sdk.files.list()


@pytest.mark.parametrize("line", ["max_rows = 0", "max_file_megabytes = -1", "unknown = 1", "folder = 5"])
def test_wrong_settings_are_said(line: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[batches\]"):
        parse_pool(f"{MEMBER.format('a', 'http://x/v1')}[batches]\n{line}\n", "pool.toml", tmp_path, {})
