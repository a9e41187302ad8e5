"""examples/ray_vllm.py with a stub that speaks vLLM's protocol: its chunks with nulls, its usage."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

EXAMPLE = Path(__file__).parents[2] / "examples" / "ray_vllm.py"
MODEL = "Qwen/Qwen3-8B"
PIECES = ("17 * 23", " = ", "391")


class Vllm(BaseHTTPRequestHandler):
    """Answers as vLLM's server does."""

    protocol_version = "HTTP/1.1"
    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        assert body["stream"]
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        first = {"role": "assistant", "content": "", "reasoning_content": None}
        deltas = [first, *({"content": p, "reasoning_content": None} for p in PIECES)]
        choices: list[dict[str, Any]] = [{"delta": d, "logprobs": None, "finish_reason": None} for d in deltas]
        choices.append({"delta": {"content": ""}, "logprobs": None, "finish_reason": "stop", "stop_reason": None})
        usage = {"prompt_tokens": 9, "total_tokens": 14, "completion_tokens": 5, "prompt_tokens_details": None}
        chunks: list[dict[str, Any]] = [{**head, "choices": [{"index": 0, **c}]} for c in choices]
        if body.get("stream_options", {}).get("include_usage"):
            chunks.append({**head, "choices": [], "usage": usage})
        text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def vllm() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The URL of a server, and what it was asked."""
    asked: list[dict[str, Any]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Vllm,), {"asked": asked})) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()


def test_two_servers_are_one_member_that_answers(tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    with vllm() as (one, asked_one), vllm() as (other, asked_other):
        command = [sys.executable, str(EXAMPLE), str(pool), MODEL, one, other]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "17 * 23 = 391\n")
    (member,) = tomllib.loads(pool.read_text())["model"]
    assert member == {"name": "vllm", "model": MODEL, "endpoints": [one, other]}
    asked = asked_one + asked_other
    assert asked
    assert all(body["model"] == MODEL and body["stream_options"]["include_usage"] for body in asked)
