"""A server that gives the recorded lists of all providers, and answers chats; and `routemoa` as a process before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from routemoa.core.catalog.providers import load_providers
from tests.cli.in_process import run_in_process

FIXTURES = Path(__file__).parent.parent.parent / "fixtures" / "providers"
KEY = "sk-good-0123456789"
ANSWER = "9.9"


@dataclass
class Recorded:
    """What the server does, and what it was asked."""

    url: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    """Provider -> the key that it takes; by default KEY."""
    no_balance: set[str] = field(default_factory=set)
    """Providers that refuse paid models with 402."""
    key_info: dict[str, Any] = field(default_factory=lambda: {"data": {"limit_remaining": None, "is_free_tier": False}})
    """The reply to OpenRouter's check of a key."""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Model -> status and message."""
    lists: dict[str, Any] = field(default_factory=dict)
    """Provider -> its list, instead of the recorded one."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Provider and body of each chat."""
    headers: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of each request, names in lower case."""

    def base(self, provider: str) -> str:
        """Return the base URL at which a provider is served."""
        return f"{self.url}/{provider}/v1"

    def write_table(self, path: Path, *names: str) -> Path:
        """Write a table of providers in which those named are served here, and no other server of one's own runs."""
        lines = []
        for name, provider in load_providers({}).items():
            if name in names:
                lines.append(f'["{name}"]\nurl = "{self.base(name)}"\nprice_url = "{provider.url}"\n')
            elif provider.local:
                lines.append(f'["{name}"]\nurl = "http://127.0.0.1:9/v1"\n')
        path.write_text("\n".join(lines))
        return path


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Recorded

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, status: int, body: Any, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _provider(self) -> str:
        self.state.headers.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        return self.path.split("/")[1]

    def _key_is_good(self, provider: str) -> bool:
        if not load_providers({})[provider].keys:
            return True
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        given = given or self.headers.get("x-api-key") or self.headers.get("x-goog-api-key") or ""
        return given == self.state.keys.get(provider, KEY)

    def do_GET(self) -> None:
        name = self._provider()
        is_list = self.path.split("?")[0].endswith(("/models", "/language-models", "/tags"))
        is_public = is_list and (name == "openrouter" or "/public/" in self.path)
        if not is_public and not self._key_is_good(name):
            return self._send(401, {"error": {"message": "Incorrect API key provided: sk-\x1b[31mbad", "code": 401}})
        if self.path.endswith("/key"):
            return self._send(200, self.state.key_info)
        if name in self.state.lists:
            return self._send(200, self.state.lists[name])
        return self._send(200, (FIXTURES / f"{name}.json").read_bytes())

    def do_POST(self) -> None:
        name = self._provider()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.state.asked.append((name, body))
        if not self._key_is_good(name):
            return self._send(401, {"error": {"message": "Incorrect API key provided", "code": 401}})
        if name in self.state.no_balance and not body["model"].endswith(":free"):
            return self._send(402, {"error": {"message": "Insufficient credits. Add more", "code": 402}})
        if body["model"] in self.state.refusals:
            status, message = self.state.refusals[body["model"]]
            return self._send(status, {"error": {"message": message}})
        text = "ok" if "Say ok" in json.dumps(body["messages"]) else ANSWER
        usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
        events = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        ]
        data = "".join(f"data: {json.dumps(e)}\n\n" for e in events) + "data: [DONE]\n\n"
        return self._send(200, data.encode(), "text/event-stream")


@contextmanager
def recorded_providers() -> Iterator[Recorded]:
    """Serve the recorded lists on the loopback interface."""
    state = Recorded()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class Machine:
    """A machine with nothing on it but what a test puts there: a home folder, keys, providers."""

    folder: Path
    env: dict[str, str]

    def routemoa(self, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command without a terminal."""
        return run_in_process(*map(str, arguments), folder=self.folder, environment={**self.env, **env})


def make_machine(folder: Path, table: Path, **keys: str) -> Machine:
    """Return a machine whose work folder, home and ledger are below `folder`."""
    (folder / "home").mkdir(exist_ok=True)
    (folder / "work").mkdir(exist_ok=True)
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(folder / "home"),
        "ROUTEMOA_PROVIDERS": str(table),
        "ROUTEMOA_STORE": str(folder / "store.db"),
        **keys,
    }
    return Machine(folder / "work", env)


if __name__ == "__main__":  # to try it by hand: python -m tests.cli.init.recorded openrouter ollama
    with recorded_providers() as recorded:
        print(recorded.write_table(Path("/tmp/providers.toml"), *sys.argv[1:]), recorded.url, flush=True)
        threading.Event().wait()
