"""Write a pool of a model that vLLM serves, and ask it:  python examples/ray_vllm.py pool.toml Qwen/Qwen3-8B URL...

    vllm serve Qwen/Qwen3-8B                                                  # by hand: http://127.0.0.1:8000/v1
    serve run --app-dir examples --route-prefix /vllm ray_vllm:app model=Qwen/Qwen3-8B    # ... http://127.0.0.1:8000/vllm/v1

Tested with a stub that speaks vLLM's protocol. `app` was not run: it needs a GPU, and  pip install 'ray[llm]'
"""  # fmt: skip

import sys
from pathlib import Path
from typing import Any

from routemoa import RouteMoA


def app(args: dict[str, str]) -> Any:
    from ray.serve.llm import LLMConfig, build_openai_app

    model = {"model_id": args["model"], "model_source": args["model"]}
    scaling = {"autoscaling_config": {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 32}}
    return build_openai_app({"llm_configs": [LLMConfig(model_loading_config=model, deployment_config=scaling)]})


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    pool_file, model, *urls = sys.argv[1:]
    Path(pool_file).write_text(f'[[model]]\nname = "vllm"\nmodel = "{model}"\nendpoints = {urls}\n')
    print(RouteMoA(pool_file).ask("What is 17 * 23?").text)
