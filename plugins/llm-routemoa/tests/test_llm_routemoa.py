"""The plug-in beside a small server: run it where llm and the plug-in are installed."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import llm
import pytest
from llm_routemoa import ServedChat, list_models, register_models

MODELS = {"data": [{"id": "routemoa"}, {"id": "strong"}]}
REPLY = {
    "id": "x",
    "object": "chat.completion",
    "created": 0,
    "model": "strong",
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "42."}}],
}


class Handler(BaseHTTPRequestHandler):
    seen = []  # noqa: RUF012

    def answer(self, body):
        self.seen.append((self.path, self.headers.get("Authorization")))
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(MODELS)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(REPLY)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{httpd.server_port}/v1"
    monkeypatch.setenv("ROUTEMOA_BASE_URL", url)
    Handler.seen.clear()
    yield httpd, url
    httpd.shutdown()
    httpd.server_close()


def register():
    found = {}
    register_models(lambda model, async_model: found.update({model.model_id: (model, async_model)}))
    return found


def test_the_servers_models_are_registered(server):
    found = register()
    assert set(found) == {"routemoa", "routemoa/strong"}
    assert str(found["routemoa"][0]) == "RouteMoA: routemoa"
    assert isinstance(llm.get_model("routemoa/strong"), ServedChat)


def test_a_question_is_answered_with_the_key(server, monkeypatch):
    monkeypatch.setenv("ROUTEMOA_API_KEY", "tenant-key")
    assert register()["routemoa/strong"][0].prompt("6 times 7?", stream=False).text() == "42."
    assert Handler.seen[-1] == ("/v1/chat/completions", "Bearer tenant-key")


def test_no_key_is_needed(server):
    assert register()["routemoa"][0].prompt("6 times 7?", stream=False).text() == "42."
    assert Handler.seen[-1][1] == "Bearer unused"


def test_models_are_remembered_where_the_server_is_away(server, tmp_path):
    httpd, url = server
    file = tmp_path / "models.json"
    assert list_models(url, file) == ["routemoa", "strong"]
    httpd.shutdown()
    httpd.server_close()
    assert list_models(url, file) == ["routemoa", "strong"]
    assert list_models("http://127.0.0.1:9/v1", file) == ["routemoa"]
    file.write_text("{")
    assert list_models(url, file) == ["routemoa"]
