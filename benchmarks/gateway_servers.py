"""The servers that benchmarks/gateway.py compares, as processes: nginx as the endpoint, RouteMoA, LiteLLM, a bare one.

benchmarks/gateway_servers.py is imported by it. nginx answers every request with the same body: one completion, or a
stream of events that comes at once. LiteLLM lives in an environment of its own under a cache folder, made by the first
run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

KEY = "sk-benchmark"
MODEL = "upstream"
TOKENS = 64
"""Events with text in a stream."""
BARE_PACKAGES = ("starlette", "uvicorn", "uvloop", "httptools", "aiohttp")
LITELLM_PACKAGE = "litellm[proxy]!=1.82.7,!=1.82.8"
"""The newest release but two: these two were withdrawn, for they sent credentials away (March 2026)."""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_body_buffer_size 1m; tcp_nodelay on;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{whole} backlog=4096; default_type application/json;
    location / {{ return 200 '{body}'; }} }}
  server {{ listen 127.0.0.1:{streamed} backlog=4096; default_type text/event-stream;
    set $e '{event}'; set $e4 "$e$e$e$e"; set $e16 "$e4$e4$e4$e4";
    location / {{ return 200 "$e16$e16$e16${{e16}}{end}"; }} }}
}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def completion_body() -> str:
    message = {"role": "assistant", "content": "The journey takes about forty minutes, by way of the old bridge."}
    usage = {"prompt_tokens": 12, "completion_tokens": 14, "total_tokens": 26}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], "usage": usage}
    return json.dumps(body)


def chunk_event(content: str) -> str:
    """An event of a stream as endpoints write it; with the line ends written as nginx reads them."""
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return f"data: {json.dumps(chunk)}\\n\\n"


def stream_end() -> str:
    last = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 12, "completion_tokens": TOKENS, "total_tokens": 12 + TOKENS}
    events = [{**last, "choices": [choice]}, {**last, "choices": [], "usage": usage}]
    text = "".join(f"data: {json.dumps(e)}\\n\\n" for e in events) + "data: [DONE]\\n\\n"
    return text.replace('"', '\\"')


@contextmanager
def process(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the block ends."""
    with log.open("wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(env or {})})
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


@contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, int]]:
    """Serve the endpoint; give its ports: for whole responses, and for streams."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        sys.exit("benchmarks/gateway.py needs nginx:  apt-get install nginx-light wrk")
    whole, streamed = free_port(), free_port()
    conf = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # it writes into a folder that is ours alone
    conf.write_text(
        NGINX.format(
            folder=folder, whole=whole, streamed=streamed, user=user,
            body=completion_body(), event=chunk_event(" token"), end=stream_end(),
        )
    )  # fmt: skip
    with process([program, "-p", str(folder), "-c", str(conf)], folder / "nginx.out"):
        wait_for(whole, folder / "nginx.out", 5.0)
        yield whole, streamed


def wait_for(port: int, log: Path, seconds: float = 90.0) -> None:
    """Wait until a port accepts connections."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}: {log.read_text(errors='replace')[-800:]}")


def wait_for_line(start: str, log: Path, seconds: float = 90.0) -> None:
    """Wait until a line of a log begins so."""
    until = time.monotonic() + seconds
    while not any(line.startswith(start) for line in log.read_text().splitlines()):
        if time.monotonic() > until:
            sys.exit(f"it did not start: {log.read_text(errors='replace')[-800:]}")
        time.sleep(0.05)


@contextmanager
def routemoa(
    folder: Path, upstream: int, *, features: bool, workers: int = 1, options: Sequence[str] = ()
) -> Iterator[tuple[int, int]]:
    """Serve a pool of one member; with `features` a ledger, keys, budgets and prices. Give the port and process id."""
    port, name = free_port(), f"{'all' if features else 'bare'}-{upstream}-{workers}"
    pool = folder / f"{name}.toml"
    prices = "input_price = 1.0\noutput_price = 4.0\n" if features else ""
    tenant = '[[tenant]]\nname = "acme"\nkey_env = "BENCHMARK_KEY"\nmax_cost_per_day = 1e6\n' if features else ""
    model = f'[[model]]\nname = "{MODEL}"\nendpoint = "http://127.0.0.1:{upstream}/v1"\nprior = 0.5\n'
    pool.write_text(model + prices + tenant)
    kept = ["--store", str(folder / f"{name}.db")] if features else ["--no-store"]
    command = [sys.executable, "-c", "from routemoa.cli import main; main()", "serve", "--port", str(port)]
    command += ["--workers", str(workers)]
    with process(
        [*command, "--pool", str(pool), *kept, *options], folder / f"{name}.log", {"BENCHMARK_KEY": KEY}
    ) as running:
        wait_for(port, folder / f"{name}.log")
        wait_for_line("serving", folder / f"{name}.log")  # the port of several workers is bound before they are ready
        yield port, running.pid


@contextmanager
def bare(folder: Path, upstream: int, python: Path) -> Iterator[tuple[int, int]]:
    """Serve the bare pass-through."""
    port, log = free_port(), folder / f"starlette-{upstream}.log"
    script = str(Path(__file__).parent / "gateway_bare.py")
    with process([str(python), script, str(port), f"http://127.0.0.1:{upstream}/v1"], log) as running:
        wait_for(port, log)
        yield port, running.pid


@contextmanager
def litellm(folder: Path, upstream: int, python: Path) -> Iterator[tuple[int, int]]:
    """Serve LiteLLM's proxy, one worker, with a master key and without a database."""
    port, log = free_port(), folder / f"litellm-{upstream}.log"
    params = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "none"}
    config = folder / f"litellm-{upstream}.yaml"
    listed = [{"model_name": MODEL, "litellm_params": params}]
    config.write_text(json.dumps({"model_list": listed, "general_settings": {"master_key": KEY}}))  # JSON is YAML
    command = [str(python.parent / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    env = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
    env |= {"PATH": f"{python.parent}:{os.environ['PATH']}"}
    with process([*command, "--num_workers", "1"], log, env) as running:
        wait_for(port, log)
        yield port, running.pid


def install(folder: Path, name: str, *packages: str) -> Path | None:
    """Return the Python of an environment with packages, made where there is none yet; None where it cannot be had."""
    python, done = folder / name / "bin" / "python", folder / name / "installed"
    if done.exists():
        return python
    uv = shutil.which("uv")
    make = [uv, "venv", "-q"] if uv else [sys.executable, "-m", "venv"]
    pip = [uv, "pip", "install", "-q", "--python", str(python)] if uv else [str(python), "-m", "pip", "install", "-q"]
    folder.mkdir(parents=True, exist_ok=True)
    for command in ([*make, "--clear", str(folder / name)], [*pip, *packages]):
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return None
    done.touch()
    return python


def version_of(python: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def ask_once(port: int, *, stream: bool) -> bytes:
    """Send one request; its answer must be good."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "How long?"}]} | (
        {"stream": True} if stream else {}
    )
    body = json.dumps(asked).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        data: bytes = response.read()
    return data
