"""`routemoa serve --workers 2` as processes: both answer, what they share holds over both, and one may die."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from routemoa.core.access.tenants import Tenant
from routemoa.ledger import read_calls
from routemoa.ledger.keys import create_key, revoke_key
from routemoa.testing import FakeEndpoint, Fault

ADMIN = "admin-key-of-the-tests-0123456789"
HI: Any = [{"role": "user", "content": "Hi"}]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
CALL = {"id": "x", "type": "function", "function": {"name": "look", "arguments": "{}"}}
SLOW = "one two three four five six seven eight nine ten"


def reply(body: dict[str, Any]) -> str | dict[str, Any]:
    last = body["messages"][-1]
    return {"tool_calls": [CALL]} if body.get("tools") and last["role"] == "user" else "four"


class Got(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Opened:
    """A response of which the head was read."""

    def __init__(self, connection: HTTPConnection) -> None:
        self.connection = connection
        self.response = connection.getresponse()
        self.status = self.response.status

    def whole(self) -> Got:
        try:
            return Got(self.status, dict(self.response.headers), self.response.read().decode())
        finally:
            self.close()

    def close(self) -> None:
        self.response.close()
        self.connection.close()


class Workers:
    """A running server, and connections to a worker of one's choice."""

    def __init__(self, folder: Path, url: str, slow: str, *options: str) -> None:
        self.store = folder / "s.db"
        self.pool = folder / "pool.toml"
        self.urls = url, slow
        self.write_pool("ab")
        command = [sys.executable, "-c", "from routemoa.cli import main; main()", "serve", "--pool", str(self.pool)]
        command += ["--port", "0", "--workers", "2", "--store", str(self.store), *options]
        env = {**os.environ, "ROUTEMOA_ADMIN_KEY": ADMIN}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
        assert self.process.stderr is not None
        self.lines: list[str] = [self.process.stderr.readline()]
        found = re.search(r"at http://127\.0\.0\.1:(\d+)/v1 by 2 workers", self.lines[0])
        assert found, self.lines[0] + self.process.stderr.read()
        self.port = int(found[1])
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr or ()), daemon=True)
        self._reader.start()

    def write_pool(self, names: str, more: str = "") -> None:
        priced = "input_price = 10.0\noutput_price = 10.0\nprior = 0.6\n"
        models = {**dict.fromkeys(names, self.urls[0]), "slow": self.urls[1]}
        text = "".join(f'[[model]]\nname = "{n}"\nendpoint = "{u}"\n{priced}' for n, u in models.items())
        fresh = self.pool.with_suffix(".new")
        fresh.write_text(text + more)
        fresh.replace(self.pool)

    @property
    def pids(self) -> list[int]:
        return [p.pid for p in psutil.Process(self.process.pid).children()]

    def connect(self, pid: int) -> HTTPConnection:
        """Return a connection that this worker has accepted."""
        refused: list[HTTPConnection] = []
        for _ in range(200):
            connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            own = connection.sock.getsockname()[1]
            if any(c.raddr and c.raddr.port == own for c in psutil.Process(pid).net_connections("tcp")):
                for other in refused:
                    other.close()
                return connection
            refused.append(connection)
        for other in refused:
            other.close()
        raise AssertionError(f"worker {pid} accepts nothing")

    def open(self, pid: int, path: str, body: Any = None, key: str = ADMIN) -> Opened:
        """Send a request to a worker; the head of its response is read."""
        connection = self.connect(pid)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
        return Opened(connection)

    def send(self, pid: int, path: str, body: Any = None, key: str = ADMIN) -> Got:
        """Send a request to a worker, and read its response."""
        return self.open(pid, path, body, key).whole()

    def ask(self, pid: int, key: str, model: str = "a", **more: Any) -> Got:
        path = more.pop("path", "/v1/chat/completions")
        body = {"model": model, "messages": HI, **more}
        return self.send(pid, path, {name: value for name, value in body.items() if value is not None}, key)

    def stream(self, pid: int, key: str) -> Opened:
        return self.open(pid, "/v1/chat/completions", {"model": "slow", "messages": HI, "stream": True}, key)

    def make_key(self, name: str, **terms: Any) -> str:
        """Return the secret of a new key, once all workers know it."""
        key = create_key(self.store, Tenant(name, "", **terms), time.time(), None).secret
        for pid in self.pids:
            wait(lambda pid=pid: self.send(pid, "/v1/models", None, key).status == 200)  # type: ignore[misc]
        return key

    def scrape(self, pid: int) -> dict[str, float]:
        text = self.send(pid, "/metrics").text
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        return {f"{s.name}{json.dumps(s.labels, sort_keys=True) if s.labels else ''}": s.value for s in samples}

    def names(self, pid: int, key: str) -> set[str]:
        data = self.send(pid, "/v1/models", None, key).json["data"]
        return {m["id"] for m in data} & set("abcdef")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(15)
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait until a condition holds; return the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


@contextmanager
def endpoints() -> Iterator[tuple[str, str]]:
    """Serve two endpoints from a thread: a fast one, and one that streams a word in 0.1 s."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    both = FakeEndpoint(reply), FakeEndpoint(SLOW, Fault(between=0.1))
    try:
        for endpoint in both:
            asyncio.run_coroutine_threadsafe(endpoint.__aenter__(), loop).result(5)
        yield both[0].url, both[1].url
    finally:
        for endpoint in both:
            asyncio.run_coroutine_threadsafe(endpoint.__aexit__(None, None, None), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[str, str]]:
    with endpoints() as urls:
        yield urls


@pytest.fixture(scope="module")
def served(upstream: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    workers = Workers(tmp_path_factory.mktemp("workers"), *upstream)
    try:
        yield workers
    finally:
        if workers.process.poll() is None:
            workers.end()


def test_both_answer_and_their_metrics_are_sums(served: Workers) -> None:
    key = served.make_key("sums")
    first, second = served.pids
    before = served.scrape(first)
    for pid, count in ((first, 3), (second, 2)):
        for _ in range(count):
            assert served.ask(pid, key).status == 200
    name = "routemoa_requests_total" + json.dumps(
        {"model": "a", "path": "/v1/chat/completions", "status": "200"}, sort_keys=True
    )
    seen = [served.scrape(pid) for pid in (first, second)]
    for found in seen:
        assert found[name] - before.get(name, 0) == 5
        assert found['routemoa_request_seconds_count{"model": "a"}'] >= 5
        assert found["routemoa_request_limit"] >= 2 * 16
        assert found['routemoa_breaker_state{"model": "a", "state": "closed"}'] == 1
        memory = sum(psutil.Process(pid).memory_info().rss for pid in (first, second))
        assert found["process_resident_memory_bytes"] == pytest.approx(memory, rel=0.2)


def test_the_page_of_one_shows_the_requests_of_both(served: Workers) -> None:
    key = served.make_key("live")
    first, second = served.pids
    for pid in (first, second):
        assert served.ask(pid, key).status == 200
    opened = served.open(first, "/ui/api/live")
    lines = (json.loads(line[6:]) for line in opened.response if line.startswith(b"data: "))
    both = next(m for m in lines if {r["worker"] for r in m["ended"] if r["tenant"] == "live"} == {1, 2})
    assert (both["workers"], both["first"]) == ([1, 2], True), "the whole hour of both is told again"
    assert both["hour"]["requests"] == sum(requests for _, requests, *_ in both["series"]) >= 2
    assert both["queue"]["limit"] >= 2 * 16
    assert {m["name"]: (m["state"], m["workers"]) for m in both["members"]}["a"] == ("closed", [])
    opened.close()


def test_rates_hold_over_both(served: Workers) -> None:
    key = served.make_key("rates", requests_per_minute=5)
    pids = served.pids
    statuses = [served.ask(pids[i % 2], key).status for i in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    response = served.send(pids[1], "/v1/models", None, key)
    assert response.headers["x-ratelimit-remaining-requests"] == "0"


def test_a_budget_is_not_overshot_by_two(served: Workers) -> None:
    key = served.make_key("budget", max_cost_per_day=0.0022)
    statuses: list[int] = []

    def ask(pid: int) -> None:
        statuses.extend(served.ask(pid, key, max_tokens=20).status for _ in range(20))

    threads = [threading.Thread(target=ask, args=(pid,)) for pid in served.pids for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # What is left once the reservations of the others are settled, a call at a time.
    while (status := served.ask(served.pids[len(statuses) % 2], key, max_tokens=20).status) == 200:
        statuses.append(status)
    assert {200, status} == {200, 429}
    spent = sum(call.charged or 0.0 for call in read_calls(served.store) if call.key == "budget")
    assert 0.0022 - 0.00157 - 1e-9 < spent <= 0.0022, "less is left than a call can cost"


@pytest.mark.alone
def test_keys_reach_both_within_two_seconds(served: Workers) -> None:
    first, second = served.pids
    made = served.send(first, "/admin/keys", {"name": "hand"})
    assert made.status == 201
    key = made.json["key"]
    assert wait(lambda: served.ask(second, key).status == 200) < 2.0
    revoke_key(served.store, "hand", time.time())
    assert wait(lambda: {served.ask(pid, key).status for pid in (first, second)} == {401}) < 2.0


def test_a_reload_by_route_or_signal_reaches_both(served: Workers) -> None:
    key = served.make_key("reload")
    first, second = served.pids
    served.write_pool("abc")
    reloaded = served.send(first, "/admin/reload", {})
    assert reloaded.status == 200, reloaded.text
    assert served.names(first, key) == served.names(second, key) == set("abc")
    served.write_pool("abd")
    served.process.send_signal(signal.SIGHUP)
    for pid in (first, second):
        wait(lambda pid=pid: served.names(pid, key) == set("abd"))  # type: ignore[misc]
    served.write_pool("ab", more="nonsense")
    refused = served.send(second, "/admin/reload", {})
    assert refused.status == 422
    assert "stays as it was" in refused.text
    assert served.names(first, key) == served.names(second, key) == set("abd")
    served.write_pool("ab")
    assert served.send(second, "/admin/reload", {}).status == 200


def test_what_one_began_the_other_goes_on_with(served: Workers) -> None:
    key = served.make_key("begun")
    first, second = served.pids
    asked = served.ask(first, key, "routemoa", tools=TOOLS).json
    message = asked["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "18 C"}
    answered = served.ask(second, key, "routemoa", messages=[*HI, message, result], tools=TOOLS).json
    extra = answered["routemoa"]
    assert extra["choice"] == asked["routemoa"]["choice"]
    assert extra["calls"] == 1, "the model that called the tool goes on alone"

    kept = served.send(second, f"/v1/traces/{answered['id']}", None, key)
    assert kept.status == 200
    response = served.ask(first, key, "routemoa", path="/v1/responses", input="Hi", messages=None).json
    more = {"input": "And?", "messages": None, "previous_response_id": response["id"]}
    assert served.ask(second, key, "routemoa", path="/v1/responses", **more).status == 200
    said = served.send(second, "/v1/feedback", {"id": response["id"], "thumb": "up"}, key)
    assert said.status == 200
    unknown = served.send(second, f"/v1/traces/{'0' * 32}", None, key)
    assert unknown.status == 404


def test_a_worker_that_is_killed_is_replaced_and_costs_no_more_than_its_calls(served: Workers) -> None:
    key = served.make_key("killed", concurrent_streams=1)
    first, second = served.pids
    before = served.scrape(second)
    stream = served.stream(first, key)
    assert stream.status == 200
    assert served.ask(second, key, "a", stream=True).status == 429, "the other worker's stream counts"
    os.kill(first, signal.SIGKILL)
    for _ in range(5):
        assert served.ask(second, key).status == 200
    stream.close()
    wait(lambda: served.ask(second, key, stream=True).status == 200)
    wait(lambda: len(served.pids) == 2 and first not in served.pids)
    (fresh,) = set(served.pids) - {second}
    wait(lambda: fresh_answers(served, fresh, key))
    wait(lambda: any(c.outcome == "lost" and c.key == "killed" for c in read_calls(served.store)))
    wait(lambda: not any(c.outcome == "open" for c in read_calls(served.store)))
    counters = {name for name in before if "_total" in name or name.endswith("_count")}
    for pid in (fresh, second):
        after = served.scrape(pid)
        assert [name for name in counters if after.get(name, -1) < before[name]] == []
    assert any(") was killed by SIGKILL; another takes its place in 0.1 s" in line for line in served.lines)


def fresh_answers(served: Workers, pid: int, key: str) -> bool:
    try:
        return served.ask(pid, key).status == 200
    except AssertionError:  # it does not accept yet
        return False


def test_sigterm_lets_a_running_stream_end(served: Workers) -> None:
    key = served.make_key("last")
    workers = served.pids
    streams = [served.stream(pid, key) for pid in workers]
    before = list(served.lines)
    served.process.terminate()
    time.sleep(0.4)
    with pytest.raises(ConnectionError):
        served.connect(workers[0])
    for stream in streams:
        text = stream.whole().text
        assert "ten" in text
        assert text.rstrip().endswith("data: [DONE]")
    assert served.end() == 0
    wait(lambda: not any(map(is_alive, workers)))
    assert served.lines == before, "it ends quietly"


def test_a_second_ctrl_c_ends_all_and_workers_end_with_their_supervisor(
    upstream: tuple[str, str], tmp_path: Path
) -> None:
    served = Workers(tmp_path, *upstream)
    key = served.make_key("k")
    stream = served.stream(served.pids[0], key)
    assert stream.status == 200
    served.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert served.end(signal.SIGINT) == 130
    assert served.lines[-1] == "interrupted\n"
    stream.close()
    assert {c.outcome for c in read_calls(served.store)} == {"cut"}

    orphans = Workers(tmp_path, *upstream)
    pids = orphans.pids
    orphans.process.kill()
    assert orphans.end() == -signal.SIGKILL
    wait(lambda: not any(map(is_alive, pids)))


def test_a_worker_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    pool.write_text('[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9/v1"\n[scorer]\npath = "none"\n')
    command = [sys.executable, "-c", "from routemoa.cli import main; main()", "serve", "--pool", str(pool)]
    done = subprocess.run(
        [*command, "--port", "0", "--workers", "2"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "none" in done.stderr
