"""Ask models that vLLM serves:  python examples/ray_vllm.py pool.toml http://127.0.0.1:8000/v1

It writes the pool file from what the servers list, and asks a first question. A server is started by hand

    vllm serve Qwen/Qwen3-8B --port 8000

or by Ray Serve (pip install 'ray[llm]', a GPU), which starts more of them under load, beside the gateway:

    serve run --app-dir examples --name vllm --route-prefix /vllm ray_vllm:app model=Qwen/Qwen3-8B
    python examples/ray_vllm.py pool.toml http://127.0.0.1:8000/vllm/v1
    serve run --name routemoa routemoa.gateway.ray_app:app pool=pool.toml

Servers of the same model are one member at several endpoints: name all their URLs. The tests run this file against a
stub that speaks vLLM's protocol. `app` was not run: it needs vLLM.
"""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from routemoa import RouteMoA


def app(args: dict[str, str]) -> Any:
    """Return the application of Ray Serve that serves a model with vLLM."""
    from ray.serve.llm import LLMConfig, build_openai_app

    model = args["model"]
    config = LLMConfig(
        model_loading_config={"model_id": model, "model_source": model},
        deployment_config={
            "autoscaling_config": {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 32},
            "max_ongoing_requests": 64,
        },
        engine_kwargs={"max_model_len": 16_384},
    )
    return build_openai_app({"llm_configs": [config]})


def write_pool(file: Path, urls: list[str]) -> None:
    """Write a pool of all models that the servers list."""
    endpoints: dict[str, list[str]] = {}
    context: dict[str, int] = {}
    for url in urls:
        with urlopen(f"{url}/models", timeout=10) as response:
            for listed in json.load(response)["data"]:
                endpoints.setdefault(listed["id"], []).append(url)
                if tokens := listed.get("max_model_len"):
                    context[listed["id"]] = min(tokens, context.get(listed["id"], tokens))
    lines = []
    for model, at in endpoints.items():
        lines += ["[[model]]", f"name = {json.dumps(model.rpartition('/')[2])}", f"model = {json.dumps(model)}"]
        lines += [f"endpoints = {json.dumps(at)}", "input_price = 0.0", "output_price = 0.0"]
        lines += [f"context = {context[model]}"] if model in context else []
        lines.append("")
    file.write_text("\n".join(lines))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    pool_file = Path(sys.argv[1])
    write_pool(pool_file, sys.argv[2:])
    print(pool_file.read_text())
    answer = RouteMoA(str(pool_file)).ask("What is 17 * 23?")
    print(answer.text)
    print("asked:", ", ".join(answer.trace.layers[0].selected), " calls:", answer.trace.calls)
