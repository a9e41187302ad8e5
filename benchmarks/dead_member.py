"""One broken member of five, against the pool without it:  .venv/bin/python benchmarks/dead_member.py [--json FILE]

Four scripted endpoints answer after 50 ms in eight pieces. The fifth, ranked best, is broken in one of seven ways. For
each way two servers run, one with the pool of four and one with the pool of five; the same questions go to both in
turn (A B A B), one at a time, and whole queries are timed. Reported are p50, p95 and the slowest in milliseconds, how
often the broken member was called, and in how many answers `usage` or `cost` was null.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import quantiles
from time import perf_counter, sleep
from typing import Any

QUERIES = 60
FIRST, PIECES, BETWEEN = 0.05, 8, 0.01
PRIORS = (0.9, 0.8, 0.75, 0.7, 0.65)
BROKEN = {
    "refused": "nothing listens at its address",
    "503": "it answers 503",
    "401": "it refuses the key",
    "retry-after 20": "it answers 429 with Retry-After: 20",
    "reset": "it closes each connection after the request",
    "no connection": "its address swallows connections",
    "silent": "it accepts the request and never answers",
}


class Endpoint(BaseHTTPRequestHandler):
    """A scripted model: streams one answer, or breaks as the first part of the path says."""

    protocol_version = "HTTP/1.1"
    calls = 0
    """Of the broken member."""

    def handle(self) -> None:
        with suppress(ConnectionError):  # a call that the mixture has cancelled
            super().handle()

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind = self.path.split("/")[1].replace("%20", " ")
        self.close_connection = True
        if kind == "good":
            self._answer(body)
            return
        Endpoint.calls += 1
        if kind == "silent":
            sleep(600)
        elif kind != "reset":
            status, header = {"503": (503, {}), "401": (401, {})}.get(kind, (429, {"Retry-After": "20"}))
            self._send(status, "application/json", b'{"error": {"message": "scripted"}}', header)

    def _answer(self, body: dict[str, Any]) -> None:
        sleep(FIRST)
        words = ["Seventeen", "and", "twenty-five.", "The", "answer", "is", "42", "."]
        usage = {"prompt_tokens": 40, "completion_tokens": len(words), "total_tokens": 40 + len(words)}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for i, word in enumerate(words):
            self._event([{"index": 0, "delta": {"content": ("" if not i else " ") + word}, "finish_reason": None}])
            sleep(BETWEEN)
        self._event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        self._event([], usage)
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, choices: list[Any], usage: Any = None) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
        self.wfile.write(f"data: {json.dumps(chunk | {'usage': usage})}\n\n".encode())
        self.wfile.flush()

    def _send(self, status: int, kind: str, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def swallow_connections() -> tuple[int, list[socket.socket]]:
    """Return a port whose queue of connections is full, so that the next ones get no answer; and what keeps it so."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    held = [listening]
    for _ in range(8):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(listening.getsockname())
        held.append(waiting)
    sleep(0.2)
    return listening.getsockname()[1], held


class Server:
    """A `routemoa serve` in a process of its own."""

    def __init__(self, folder: Path, name: str, urls: list[str], priors: tuple[float, ...]) -> None:
        pool = folder / f"{name}.toml"
        pool.write_text(
            "".join(
                f'[[model]]\nname = "m{i}"\nendpoint = "{url}"\nprior = {prior}\n'
                f"input_price = 1.0\noutput_price = 2.0\n\n"
                for i, (url, prior) in enumerate(zip(urls, priors, strict=True))
            )
        )
        command = [sys.executable, "-c", "from routemoa.cli import main; main()"]
        command += ["serve", "--pool", str(pool), "--port", "0", "--no-store"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r" at http://127.0.0.1:(\d+)/v1", line):
                self._port = int(found[1])
                break
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def ask(self, text: str) -> tuple[float, dict[str, Any]]:
        """Return the seconds of a whole query and its answer."""
        body = json.dumps({"model": "routemoa", "messages": [{"role": "user", "content": text}]})
        begun = perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return perf_counter() - begun, answer

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def measure(kind: str, queries: int, good: str, folder: Path) -> dict[str, Any]:
    """Return the figures of one way to be broken."""
    broken, held = good.replace("good", kind.replace(" ", "%20")), list[socket.socket]()
    if kind == "refused":
        with socket.create_server(("127.0.0.1", 0)) as closed:
            broken = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    elif kind == "no connection":
        port, held = swallow_connections()
        broken = f"http://127.0.0.1:{port}/v1"
    Endpoint.calls = 0
    four = Server(folder, "four", [good] * 4, PRIORS[1:])
    five = Server(folder, "five", [broken, *[good] * 4], PRIORS)
    seconds: dict[str, list[float]] = {"four": [], "five": []}
    nulls = {"four": 0, "five": 0}
    try:
        for i in range(queries):
            for name, server in (("four", four), ("five", five)):
                took, answer = server.ask(f"What is 17 + 25? ({i})")
                seconds[name].append(took)
                nulls[name] += answer["usage"] is None or answer["routemoa"]["cost"] is None
    finally:
        four.stop()
        five.stop()
        for s in held:
            s.close()
    out = {name: summarize(values) for name, values in seconds.items()}
    ratio = out["five"]["p50"] / out["four"]["p50"]
    calls = None if kind in ("refused", "no connection") else Endpoint.calls
    return {**out, "p50_ratio": round(ratio, 3), "calls_to_the_broken": calls, "null_usage_or_cost": nulls}


def summarize(seconds: list[float]) -> dict[str, float]:
    """Return milliseconds: the median, the 95th percentile, the slowest, and the first query."""
    cut = quantiles(seconds, n=20, method="inclusive")
    figures = {"p50": cut[9], "p95": cut[18], "max": max(seconds), "first": seconds[0]}
    return {name: round(1000 * value, 1) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--queries", type=int, default=QUERIES, help="questions to each server")
    parser.add_argument("--only", choices=list(BROKEN), help="one way to be broken")
    options = parser.parse_args()
    endpoints = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    endpoints.daemon_threads = True
    threading.Thread(target=endpoints.serve_forever, daemon=True).start()
    good = f"http://127.0.0.1:{endpoints.server_port}/good/v1"
    results: dict[str, Any] = {"queries": options.queries, "unit": "ms", "ways": {}}
    with tempfile.TemporaryDirectory() as folder:
        for kind, meaning in BROKEN.items():
            if options.only in (None, kind):
                figures = measure(kind, options.queries, good, Path(folder))
                results["ways"][kind] = {"what": meaning, **figures}
                print(json.dumps({kind: figures}), flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
