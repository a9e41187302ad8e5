"""`routemoa pool`: showing, prices, checking models that do not answer, and fetching."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner, Result

from routemoa.cli import cli
from routemoa.cli.members.weights import fetch_missing
from routemoa.clients.weights import FetchError, load_manifest
from routemoa.clients.weights.absent import without_missing_weights
from routemoa.clients.weights.download import Fetcher
from routemoa.core.pool_file.pool import Pool
from tests.cli.pseudo_terminal import PseudoTerminal


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["pool", *arguments])


def pool_file(folder: Path, *models: str) -> str:
    path = folder / "pool.toml"
    path.write_text("\n".join(f"[[model]]\n{m}" for m in models))
    return str(path)


class Endpoint(BaseHTTPRequestHandler):
    """Answers model "good", knows no other, and remembers what it was asked."""

    asked: ClassVar[list[dict[str, object]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        status = {"good": 200, "secret": 401, "broken": 500}.get(body["model"], 404)
        chunk = {"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "length"}]}
        data = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        if status != 200:
            data = json.dumps({"error": {"message": f"model {body['model']}: no"}})
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream" if status == 200 else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    Endpoint.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROUTEMOA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ROUTEMOA_POOL", raising=False)
    return tmp_path / "cache"


# --- show


def test_show_has_a_line_for_each_model_and_one_for_the_mixture(empty_cache: Path) -> None:
    shown = run("show")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert [s.split()[0] for s in lines[2:5]] == ["smollm2-135m", "coder-0.5b", "coder-1.5b"]
    assert "not fetched (98 MB)" in lines[2]
    expected = "mixture: at most 9 layers of 2 models, prefer balanced, 3 models in all, stop above 0.99"
    assert lines[-1].startswith(expected)


def test_an_unknown_price_is_shown_as_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")
    at = 'endpoint = "http://127.0.0.1:9/v1"'
    file = pool_file(
        tmp_path,
        f'name = "a"\n{at}\napi_key_env = "SOME_KEY"',
        f'name = "b[/]"\n{at}\ninput_price = 0.1\noutput_price = 0.3',
        f'name = "c"\n{at}\ninput_price = 0',
    )
    shown = run("show", "--pool", file)
    a, b, c = shown.stdout.splitlines()[2:5]
    assert "unknown" in a
    assert "SOME_KEY" in a
    assert "0.1 / 0.3" in b
    assert b.startswith("b[/]")
    assert "0 / -" in c
    assert "sk-very-secret" not in shown.output
    plain = json.loads(run("show", "--pool", file, "--json").stdout)
    assert [m["input_price"] for m in plain["models"]] == [None, 0.1, 0.0]
    assert plain["mixture"]["stop_confidence"] == 0.99
    assert "sk-very-secret" not in json.dumps(plain)


def test_show_tells_whether_a_file_of_your_own_exists(tmp_path: Path) -> None:
    (tmp_path / "here.gguf").write_text("")
    file = pool_file(tmp_path, *[f'name = "{n}"\nendpoint = "local"\nmodel = "{n}.gguf"' for n in ("here", "nowhere")])
    models = json.loads(run("show", "--pool", file, "--json").stdout)["models"]
    assert [m["weights"] for m in models] == ["file", "file missing"]


# --- prices


def test_prices_show_where_each_is_from_and_how_old_it_is(tmp_path: Path) -> None:
    pytest.importorskip("genai_prices")
    own = "input_price = 1\noutput_price = 2\ncached_price = 0.5\nrequest_price = 0.01"
    file = pool_file(
        tmp_path,
        f'name = "own[/]"\nendpoint = "http://127.0.0.1:9/v1"\n{own}',
        'name = "claude"\nendpoint = "https://openrouter.ai/api/v1"\nmodel = "anthropic/claude-sonnet-4.5"',
        'name = "gpt-4o"\nendpoint = "http://127.0.0.1:9/v1"',
    )
    shown = run("prices", "--pool", file)
    assert shown.exit_code == 0, shown.output
    mine, claude, unknown = shown.stdout.splitlines()[2:5]
    assert mine.split() == ["own[/]", "1", "2", "0.5", "-", "0.01", "-", "pool", "file", "-", "-"]
    assert "over 200,000 tokens: input " in claude
    assert "genai-prices" in claude
    assert claude.rstrip().endswith("days")
    assert unknown.split()[:2] == ["gpt-4o", "unknown"]
    assert "gpt-4o: no price is known; add input_price and output_price to the pool file" in shown.stderr
    first, second, third = json.loads(run("prices", "--pool", file, "--json").stdout)["models"]
    assert (first["source"], first["date"], first["age_days"]) == ("pool file", None, None)
    assert first["price"] == {"input": 1.0, "output": 2.0, "cached": 0.5, "written": None, "request": 0.01}
    assert [set(tier) for tier in second["tiers"]] == [{"above", "input", "output", "cached", "written"}]
    assert second["age_days"] > 0
    assert third["price"] is None


# --- check


def test_check_asks_each_model_for_one_token(tmp_path: Path, endpoint: str) -> None:
    member = f'endpoint = "{endpoint}"\nmodel = "good"\nsystem = "Be brief."'
    file = pool_file(
        tmp_path,
        f'name = "a"\n{member}\nparameters = {{ max_tokens = 512, temperature = 0.5 }}',
        f'name = "b"\n{member}\nparameters = {{ max_completion_tokens = 512 }}',
    )
    checked = run("check", "--pool", file)
    assert checked.exit_code == 0, checked.output
    assert [s.split()[:2] for s in checked.stdout.splitlines()[2:]] == [["a", "ok"], ["b", "ok"]]
    limits = {(b.get("max_tokens"), b.get("max_completion_tokens")) for b in Endpoint.asked}
    assert limits == {(1, None), (None, 1)}


def test_check_names_file_model_key_and_fix_for_each_that_fails(tmp_path: Path, endpoint: str) -> None:
    file = pool_file(
        tmp_path,
        *[f'name = "{m}"\nendpoint = "{endpoint}"' for m in ("good", "secret", "broken", "absent")],
        'name = "down"\nendpoint = "http://127.0.0.1:9/v1"',
        'name = "own"\nendpoint = "local"\nmodel = "own.gguf"',
    )
    checked = run("check", "--pool", file)
    assert checked.exit_code == 1
    assert "good" in checked.stdout
    lines = dict(line.removeprefix(f"{file}: [[model]] '").split("': ", 1) for line in checked.stderr.splitlines())
    assert lines["secret"].startswith("api_key_env: HTTP 401")
    assert lines["broken"].startswith("endpoint: HTTP 500")
    assert lines["absent"].startswith("model: HTTP 404")
    assert lines["down"].startswith("endpoint: ")
    assert "start it, or correct `endpoint`" in lines["down"]
    assert lines["own"].startswith("model: ")
    assert "does not exist" in lines["own"]
    assert len(Endpoint.asked) == 4  # nothing is retried
    plain = json.loads(run("check", "--pool", file, "--json").stdout)
    assert [m["ok"] for m in plain["models"]] == [True] + [False] * 5
    assert plain["models"][0]["latency"] > 0


def test_each_of_several_endpoints_is_listed_and_checked(tmp_path: Path, endpoint: str) -> None:
    file = pool_file(
        tmp_path,
        f"""name = "good"
[[model.endpoints]]
url = "{endpoint}"
region = "eu"
[[model.endpoints]]
name = "down"
url = "http://127.0.0.1:9/v1"
priority = 2
[[model.endpoints]]
url = "http://me:secret@127.0.0.1:10/v1"
api_key_env = "NO_SUCH_KEY"
""",
    )
    shown = run("show", "--pool", file)
    assert "3 endpoints" in shown.stdout
    rows = [line.split() for line in shown.stdout.splitlines() if line.startswith("good  ")][1:]
    assert [row[:3] for row in rows] == [
        ["good", "1", endpoint],
        ["good", "down", "http://127.0.0.1:9/v1"],
        ["good", "3", "http://127.0.0.1:10/v1"],
    ]
    assert "NO_SUCH_KEY missing" in shown.stdout
    plain = json.loads(run("show", "--pool", file, "--json").stdout)["models"][0]
    assert plain["endpoints_without_key"] == ["3"]
    assert plain["endpoints"][1] == {"url": "http://127.0.0.1:9/v1", "name": "down", "priority": 2}
    checked = run("check", "--pool", file)
    assert checked.exit_code == 1
    assert [s.split()[:3] for s in checked.stdout.splitlines()[2:]] == [
        ["good", "1", "ok"],
        ["good", "down", "failed"],
        ["good", "3", "failed"],
    ]
    assert "'good': endpoint 'down': endpoint: http://127.0.0.1:9/v1 cannot be reached" in checked.stderr
    assert "endpoint '3': api_key_env: environment variable NO_SUCH_KEY is not set" in checked.stderr


def test_a_wrong_pool_file_is_an_error(tmp_path: Path) -> None:
    wrong = run("check", "--pool", pool_file(tmp_path, 'name = "a"\nendpoint = "nowhere"'))
    assert "neither" in str(wrong.exception)


# --- fetch


def test_fetch_announces_size_and_folder_and_continues_after_a_failure(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_the_smallest(self: Fetcher, weight: object) -> Path:
        smallest = load_manifest()["smollm2-135m"]
        if weight is not smallest:
            raise FetchError("no source had it")
        self.progress(smallest.bytes, smallest.bytes)
        return smallest.path

    monkeypatch.setattr(Fetcher, "fetch", only_the_smallest)
    fetched = run("fetch", "--json")
    assert fetched.exit_code == 1
    assert f"to download: 1,707 MB into {empty_cache}/weights" in fetched.stderr
    assert "smollm2-135m: 98 of 98 MB" in fetched.stderr
    assert "going on with smollm2-135m" in fetched.stderr
    plain = json.loads(fetched.stdout)
    assert list(plain["ready"]) == ["smollm2-135m"]
    assert set(plain["missing"]) == {"qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"}
    fetch_missing(Pool.embedded())  # the demo goes on, too


def test_the_demo_does_not_start_without_any_weights(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Fetcher, weight: object) -> Path:
        raise FetchError("no source had it")

    monkeypatch.setattr(Fetcher, "fetch", nothing)
    with pytest.raises(FetchError, match="no source had it"):
        fetch_missing(Pool.embedded())


def test_fetch_knows_its_names_and_needs_no_weights_for_a_remote_pool(empty_cache: Path, tmp_path: Path) -> None:
    assert "no weight is named 'gpt'" in str(run("fetch", "--only", "gpt").exception)
    remote = run("fetch", "--pool", pool_file(tmp_path, 'name = "a"\nendpoint = "http://127.0.0.1:9/v1"'))
    assert remote.exit_code == 0
    assert "nothing to fetch" in remote.stderr


@pytest.mark.weights
def test_fetched_and_verified_weights_are_not_fetched_again() -> None:
    weight = load_manifest()["smollm2-135m"]
    if not weight.is_fetched:
        pytest.skip("run  routemoa pool fetch --only smollm2-135m")
    again = run("fetch", "--only", weight.name, "--source", "registry", "--verify")
    assert again.exit_code == 0
    assert again.stderr.splitlines() == [f"{weight.name}: verified", f"{weight.name}: already there: {weight.path}"]


# --- keys that are not set


def keyed_pool(folder: Path, url: str) -> str:
    remote = f'endpoint = "{url}"\napi_key_env = "NOT_SET_KEY"'
    return pool_file(folder, f'name = "good"\nendpoint = "{url}"', f'name = "far"\n{remote}')


@pytest.mark.parametrize("columns", ["80", "120"])
def test_show_has_the_table_where_keys_are_missing(tmp_path: Path, columns: str) -> None:
    file = keyed_pool(tmp_path, "http://127.0.0.1:9/v1")
    with PseudoTerminal("pool", "show", "--pool", file, columns=int(columns)) as terminal:
        assert terminal.wait_for_exit() == 0
    rows = {line.split()[0]: line for line in terminal.screen if line}
    assert "NOT_SET_KEY missing" in rows["far"]
    assert "missing" not in rows["good"]
    only = pool_file(tmp_path, 'name = "far"\nendpoint = "http://127.0.0.1:9/v1"\napi_key_env = "NOT_SET_KEY"')
    assert "NOT_SET_KEY missing" in run("show", "--pool", only).stdout
    assert [m["key_missing"] for m in json.loads(run("show", "--pool", only, "--json").stdout)["models"]] == [True]


def test_check_asks_the_others_and_fails(tmp_path: Path, endpoint: str) -> None:
    done = run("check", "--pool", keyed_pool(tmp_path, endpoint))
    assert done.exit_code == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()[2:]] == [["good", "ok"], ["far", "failed"]]
    assert done.stderr.count("NOT_SET_KEY is not set") == 1
    assert [asked["model"] for asked in Endpoint.asked] == ["good"]


@pytest.mark.parametrize("method", ["routemoa", "moa", "cascade"])
def test_ask_goes_on_without_the_member_and_says_so(tmp_path: Path, endpoint: str, method: str) -> None:
    trace = tmp_path / "trace.json"
    arguments = ["ask", "Hi", "--pool", keyed_pool(tmp_path, endpoint), "--method", method, "--trace", str(trace)]
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, done.stdout) == (0, "ok\n"), done.stderr
    assert "NOT_SET_KEY is not set; export it, or remove the key; it is left out" in done.stderr
    skipped = json.loads(trace.read_text())["trace"]["skipped"]
    assert [(s["model"], s["kind"], s["reason"]) for s in skipped] == [("far", "key", "skipped: its key is not set")]


def test_a_run_that_measures_needs_every_key(tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": "1", "query": "2+2?", "reference": "4"}\n')
    task, out = str(tmp_path / "q.jsonl"), str(tmp_path / "out.jsonl")
    for command in (
        ["collect", task, "--out", out],
        ["bench", task, "--out", out],
        ["ask", "Hi", "--method", "single:far"],
    ):
        done = CliRunner().invoke(cli, [*command, "--pool", keyed_pool(tmp_path, endpoint)])
        assert "NOT_SET_KEY is not set" in str(done.exception), command
    assert not Endpoint.asked


# --- weights


def test_an_interrupted_download_says_that_it_goes_on(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Fetcher, "fetch_all", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_missing(Pool.embedded())
    assert "what has come so far is kept; run the same command again to go on with it" in capsys.readouterr().err
    assert not list(empty_cache.rglob("*.gguf"))


def test_ask_leaves_out_what_is_not_fetched_as_long_as_one_is_left(empty_cache: Path) -> None:
    pool = Pool.embedded()
    assert without_missing_weights(pool) is pool, "the error of the answer says what to fetch"
    weight = load_manifest()["smollm2-135m"]
    weight.path.parent.mkdir(parents=True)
    with weight.path.open("wb") as file:
        file.truncate(weight.bytes)
    left = without_missing_weights(pool)
    assert [m.name for m in left] == ["smollm2-135m"]
    assert {name: a.kind for name, a in left.absent.items()} == {"coder-0.5b": "weights", "coder-1.5b": "weights"}
    assert "routemoa pool fetch --only qwen2.5-coder-0.5b" in left.absent["coder-0.5b"].why
