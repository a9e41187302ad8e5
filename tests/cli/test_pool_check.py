"""`routemoa pool check`: what endpoints refuse is shown, and written into the pool file on request."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from routemoa.cli.pool.dialects import write_dialects
from routemoa.clients.protocol.dialect import Dialect
from routemoa.core.pool_file.pool import Pool
from routemoa.testing import FakeEndpoint
from tests.cli.in_process import run_in_process

Reply = Callable[[dict[str, Any]], tuple[int, dict[str, Any] | str]]
OK = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}


@contextmanager
def endpoint(reply: Reply) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            status, body = reply(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            if status == 429:
                self.send_header("retry-after", "20")
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def refuse(*names: str) -> Reply:
    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        for name in names:
            if name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                return 400, {"error": {"message": message, "param": name}}
        return 200, OK

    return reply


def check(file: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return run_in_process("pool", "check", "--pool", str(file), *args)


POOL = """\
# our models
[[model]]
name = "reasoner"   # thinks
endpoint = "{url}"
# its price is secret

[mixture]
prefer = "fast"
self_assessment = "logprob"
"""


def test_what_an_endpoint_refuses_is_shown_and_written(tmp_path: Path) -> None:
    file = tmp_path / "pool.toml"
    with endpoint(refuse("max_tokens", "logprobs", "stream_options")) as url:
        file.write_text(POOL.format(url=url))
        before = file.read_text()
        shown = check(file)
        assert shown.returncode == 0, shown.stderr
        differs = 'omit = ["logprobs", "stream_options"], rename = { max_tokens = "max_completion_tokens" }'
        assert f"reasoner: its endpoint differs: {differs}" in shown.stdout
        assert "routemoa pool check --write" in shown.stdout
        assert file.read_text() == before
        plain = json.loads(check(file, "--json").stdout)["models"][0]
        assert plain["learned"] == {
            "omit": ["logprobs", "stream_options"],
            "rename": {"max_tokens": "max_completion_tokens"},
        }
        written = check(file, "--write")
        assert written.returncode == 0, written.stderr
        assert f"written into {file}" in written.stdout
        again = check(file, "--write")
        assert "nothing to write" in again.stdout
    text = file.read_text()
    assert text == before.replace(
        "# its price is secret\n",
        '# its price is secret\nomit = ["logprobs", "stream_options"]\n'
        'rename = {max_tokens = "max_completion_tokens"}\n',
    )
    [model] = Pool.from_toml(file).models
    assert model.rename == {"max_tokens": "max_completion_tokens"}
    assert list(tmp_path.iterdir()) == [file], "no temporary file is left"


def test_a_reasoning_model_that_cannot_answer_in_one_token_is_well(tmp_path: Path) -> None:
    message = "Could not finish the message because max_tokens or model output limit was reached. Please try again."
    with endpoint(lambda _: (400, {"error": {"message": message}})) as url:
        (tmp_path / "pool.toml").write_text(POOL.format(url=url))
        assert check(tmp_path / "pool.toml").returncode == 0


def test_a_member_that_fails_says_what_to_do_and_for_how_long_a_server_would_skip_it(tmp_path: Path) -> None:
    with endpoint(lambda _: (429, {"error": {"message": "slow down"}})) as url:
        (tmp_path / "pool.toml").write_text(POOL.format(url=url))
        done = check(tmp_path / "pool.toml")
        assert done.returncode == 1
        assert done.stderr.endswith("HTTP 429: slow down; wait, or check the provider's quota\n")
        assert "loading" not in done.stdout  # no local model
        [shown] = json.loads(check(tmp_path / "pool.toml", "--json").stdout)["models"]
        assert 19 < shown["cool_down"] <= 20


def test_a_page_and_a_missing_key_are_explained(tmp_path: Path) -> None:
    refusals: Iterator[tuple[int, dict[str, Any] | str]] = iter(
        [(200, "<html>Welcome</html>"), (401, {"error": {"message": "no key"}})]
    )
    with endpoint(lambda _: next(refusals)) as url:
        (tmp_path / "pool.toml").write_text(POOL.format(url=url))
        page, keyless = check(tmp_path / "pool.toml").stderr, check(tmp_path / "pool.toml").stderr
    assert page.endswith("an HTML page in place of an answer; check `endpoint`: it often ends in /v1\n")
    assert keyless.endswith("no key; name the environment variable that holds the key as `api_key_env`\n")


def test_the_embedded_pool_is_not_written_to() -> None:
    code = "from routemoa.cli.pool.dialects import write_dialects; from routemoa.core.pool_file.pool import Pool\n"
    code += "write_dialects(Pool.embedded(), {})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "the embedded pool is no file of yours" in done.stderr


@pytest.mark.parametrize(
    ("table", "learned", "lines"),
    [
        ('omit = ["seed"]', Dialect(frozenset({"top_p"})), ['omit = ["seed", "top_p"]']),
        ('rename = { a = "b" }', Dialect(rename={"c": "d"}), ['rename = {a = "b", c = "d"}']),
        ('omit = ["seed"] # ours', Dialect(rename={"c": "d"}), ['omit = ["seed"] # ours', 'rename = {c = "d"}']),
        ("context = 5", Dialect(), ["context = 5"]),
        ("", Dialect(frozenset({"seed"}), {"system": "user"}), ['omit = ["seed"]', 'rename = {system = "user"}']),
    ],
)
def test_what_is_there_stays(table: str, learned: Dialect, lines: list[str], tmp_path: Path) -> None:
    file = tmp_path / "pool.toml"
    text = f'[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9/v1"\n{table}\n\n'
    file.write_text(text + '[[model]]\nname = "b" # second\nendpoint = "http://127.0.0.1:9/v1"\n')
    write_dialects(Pool.from_toml(file), {"a": learned})
    edited = file.read_text()
    for line in lines:
        assert line in edited
    assert '\n\n[[model]]\nname = "b" # second\n' in edited


def test_a_providers_own_dialect_is_kept_beside_what_was_learned(tmp_path: Path) -> None:
    file = tmp_path / "pool.toml"
    file.write_text('[[model]]\nname = "a"\nendpoint = "mistral"\napi_key_env = "K"\n')
    pool = Pool.from_toml(file, {"K": "k"})
    assert pool.models[0].omit
    write_dialects(pool, {"a": Dialect(frozenset({"stop"}))})
    [model] = Pool.from_toml(file, {"K": "k"}).models
    assert set(model.omit) == {*pool.models[0].omit, "stop"}
    assert model.rename == pool.models[0].rename


async def test_watch_checks_again_when_the_file_changes(tmp_path: Path) -> None:
    async with FakeEndpoint("four") as e:
        file = tmp_path / "pool.toml"
        member = '[[model]]\nname = "{}"\nendpoint = "' + e.url + '"\n'
        file.write_text(member.format("first"))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", "-m", "routemoa", "pool", "check", "--pool", str(file), "--watch"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None

        async def read_until(word: str) -> None:
            assert process.stdout is not None
            async with asyncio.timeout(20):
                while word not in (await process.stdout.readline()).decode():
                    pass

        await read_until("first")
        file.write_text("wings = 2\n")
        await read_until("error: ")
        file.write_text(member.format("second"))
        await read_until("second")
        process.send_signal(signal.SIGINT)
        assert await process.wait() in (1, 130)
        assert b"Traceback" not in await process.stdout.read()
