"""`routemoa init` as a process in recorded situations: the right file, or one clear line each."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from routemoa.clients.weights import load_manifest
from routemoa.core.catalog.providers import load_providers
from tests.cli.init.recorded import KEY, Machine, Recorded, make_machine, recorded_providers

NO_SERVER = "http://127.0.0.1:9/v1"


@pytest.fixture
def providers() -> Iterator[Recorded]:
    with recorded_providers() as served:
        yield served


def machine(folder: Path, providers: Recorded, *names: str, key: str = KEY) -> Machine:
    """Return a machine on which these providers have a key or run; no other local server does."""
    table = providers.write_table(folder / "providers.toml", *names)
    known = load_providers({})
    return make_machine(folder, table, **{known[n].keys[0]: key for n in names if known[n].keys})


def pool_of(machine: Machine) -> dict[str, Any]:
    text = (machine.folder / "pool.toml").read_text()
    assert KEY not in text
    return tomllib.loads(text)


def endpoints(pool: dict[str, Any]) -> list[str]:
    return [m["endpoint"] for m in pool["model"]]


def problem_lines(done: CompletedProcess[str]) -> list[str]:
    """Return what went wrong; nothing of it is a traceback, a key, or obeyed by a terminal."""
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done.stderr.splitlines()


def test_1_a_key_of_openrouter(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "openrouter")
    done = here.routemoa("init", "--yes")
    assert done.returncode == 0, done.stderr
    assert problem_lines(done) == []
    pool = pool_of(here)
    assert endpoints(pool) == ["openrouter"] * 4
    models = {m["model"]: m for m in pool["model"]}
    families = {re.split(r"[/-]", m)[1].rstrip("0123456789.") for m in models}
    assert len(families) == 4, "no family twice"
    assert models["deepseek/deepseek-v4.1-flash"]["context"] == 163840, "what its first host holds, not the most of all"
    qwen = models["qwen/qwen3.8-max-0902"]
    assert (qwen["input_price"], qwen["output_price"], qwen["prior"]) == (2.0, 6.0, 0.79)
    assert not any(word in m for m in models for word in (":free", "preview", "audio", "image", "guard", "coder", "~"))
    text = (here.folder / "pool.toml").read_text()
    assert re.search(r"OpenRouter's list of \d{4}-\d\d-\d\d", text)
    assert "LiveBench 2026-06-25" in text
    # Each was asked for as few tokens as the provider takes, then the mixture one question, which is in the ledger.
    probes = [b for _, b in providers.asked if b["messages"][-1]["content"] == "Say ok."]
    assert len(probes) == 4
    assert {b["max_tokens"] for b in probes} == {16}
    assert "at most $" in done.stdout
    assert "answer: 9.9" in done.stdout
    calls = json.loads(here.routemoa("ledger", "--json").stdout)["calls"]
    assert len(calls) == len(providers.asked) - 4
    # The commands that it names work.
    assert here.routemoa("ask", "--pool", "pool.toml", "-q", "Why?").stdout.strip() == "9.9"


def test_2_keys_of_several_providers_each_in_its_dialect(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "openai", "anthropic", "google", "mistral")
    done = here.routemoa("init", "--yes", "--preset", "balanced")
    assert done.returncode == 0, done.stderr
    pool = pool_of(here)
    assert set(endpoints(pool)) == {"openai", "anthropic", "google", "mistral"}
    listed = dict(providers.headers)
    assert listed["/anthropic/v1/models?limit=1000"]["x-api-key"] == KEY
    assert listed["/anthropic/v1/models?limit=1000"]["anthropic-version"] == "2023-06-01"
    assert listed["/google/models?pageSize=1000"]["x-goog-api-key"] == KEY
    sent = {name: body for name, body in providers.asked if body["messages"][-1]["content"] == "Say ok."}
    assert sent["openai"]["max_completion_tokens"] == 1
    assert "max_tokens" not in sent["openai"]
    assert sent["anthropic"]["max_tokens"] == 1
    assert "stream_options" not in sent["mistral"]
    assert all("seed" not in body for body in sent.values())


def test_3_ollama_alone_costs_nothing_and_is_tried_without_being_asked(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "ollama")
    done = here.routemoa("init")
    assert done.returncode == 0, done.stderr
    pool = pool_of(here)
    assert {m["model"] for m in pool["model"]} == {"qwen2.5:7b", "llama3.2:latest", "qwen2.5:0.5b"}
    assert all((m["input_price"], m["output_price"]) == (0.0, 0.0) for m in pool["model"])
    assert all("prior" not in m and "api_key_env" not in m for m in pool["model"])
    assert "that costs nothing" in done.stdout
    assert len([b for _, b in providers.asked if b["messages"][-1]["content"] == "Say ok."]) == 3


def test_4_the_other_servers_on_their_ports(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "llama.cpp", "vllm", "lmstudio")
    done = here.routemoa("init", "--no-probe")
    assert done.returncode == 0, done.stderr
    models = {m["endpoint"]: m for m in pool_of(here)["model"]}
    assert set(models) == {"llama.cpp", "vllm", "lmstudio"}
    assert models["vllm"]["context"] == 32768
    assert models["llama.cpp"]["context"] == 8192
    assert models["lmstudio"]["context"] == 8192, "what is loaded, not what was trained"


def test_4b_another_program_on_a_port_is_named_by_its_address(tmp_path: Path, providers: Recorded) -> None:
    providers.lists["vllm"] = {"object": "list", "data": [{"id": "tiny", "object": "model", "owned_by": "sglang"}]}
    providers.lists["llama.cpp"] = {"object": "list", "data": [{"id": "routemoa", "owned_by": "routemoa"}]}
    here = machine(tmp_path, providers, "llama.cpp", "vllm")
    assert here.routemoa("init", "--no-probe").returncode == 0
    assert endpoints(pool_of(here)) == [providers.base("vllm")], "and our own server is none: it would ask itself"


def test_5_a_key_and_a_local_server(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "openrouter", "ollama")
    assert here.routemoa("init", "--yes", "--preset", "cheap").returncode == 0
    pool = pool_of(here)
    assert sorted(endpoints(pool)) == ["ollama", "ollama", "openrouter", "openrouter", "openrouter"]
    assert all(m["prior"] <= 0.6 for m in pool["model"] if m["endpoint"] == "ollama"), "a guess, below the known ones"
    assert "a guess from its size" in (here.folder / "pool.toml").read_text()
    assert here.routemoa("init", "--force", "--yes", "--preset", "best").returncode == 0
    assert endpoints(pool_of(here)) == ["openrouter"] * 3
    only = here.routemoa("init", "--force", "--provider", "ollama")
    assert only.returncode == 0
    assert set(endpoints(pool_of(here))) == {"ollama"}


def test_6_nothing_at_all(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers)
    done = here.routemoa("init", "--yes")
    assert done.returncode == 1
    (line,) = problem_lines(done)
    assert line.startswith("nothing found: ")
    assert "OPENROUTER_API_KEY" in line
    assert "routemoa demo" in line
    assert not (here.folder / "pool.toml").exists()


def test_7_offline(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "ollama")
    table = tmp_path / "providers.toml"
    table.write_text(table.read_text() + f'[openrouter]\nurl = "{NO_SERVER}"\n')
    done = here.routemoa("init", "--yes", OPENROUTER_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    (line,) = problem_lines(done)
    assert line.startswith("OpenRouter: 127.0.0.1:9 cannot be reached: ")
    assert "check the network" in line
    assert set(endpoints(pool_of(here))) == {"ollama"}, "what works is written"
    alone = here.routemoa("init", "--out", "other.toml", "--provider", "openrouter", OPENROUTER_API_KEY=KEY)
    assert alone.returncode == 1
    assert problem_lines(alone)[1:] == ["no pool file was written"]


@pytest.mark.parametrize("name", ["openrouter", "openai", "anthropic", "google", "cerebras"])
def test_8_a_wrong_key(name: str, tmp_path: Path, providers: Recorded) -> None:
    providers.keys[name] = "another"
    here = machine(tmp_path, providers, name, "mistral" if name != "mistral" else "groq")
    done = here.routemoa("init", "--yes")
    assert done.returncode == 0, done.stderr
    (line,) = problem_lines(done)
    provider = load_providers({})[name]
    assert line.startswith(f"{provider.title}: the key in {provider.keys[0]} is refused (HTTP 401")
    assert str(provider.key_page) in line
    assert set(endpoints(pool_of(here))) == {"mistral"}, "what works is written"


def test_9_no_balance_takes_the_free_models(tmp_path: Path, providers: Recorded) -> None:
    providers.no_balance.add("openrouter")
    here = machine(tmp_path, providers, "openrouter")
    done = here.routemoa("init", "--yes")
    assert done.returncode == 0, done.stderr
    (line,) = problem_lines(done)
    assert line.startswith("OpenRouter: the account has no credit (HTTP 402")
    assert "https://openrouter.ai/settings/credits" in line
    models = [m["model"] for m in pool_of(here)["model"]]
    assert models
    assert all(m.endswith(":free") for m in models)


def test_9b_no_balance_and_nothing_free_keeps_the_file(tmp_path: Path, providers: Recorded) -> None:
    providers.no_balance.add("deepseek")
    here = machine(tmp_path, providers, "deepseek")
    done = here.routemoa("init", "--yes")
    assert done.returncode == 1
    account, end = problem_lines(done)
    assert account.startswith("DeepSeek: the account has no credit (HTTP 402")
    assert "https://platform.deepseek.com/top_up" in account
    assert "routemoa pool check" in end
    assert endpoints(pool_of(here)) == ["deepseek"] * 2, "it works once there is credit"


def test_9c_a_key_without_money_left(tmp_path: Path, providers: Recorded) -> None:
    providers.key_info = {"data": {"limit": 5, "limit_remaining": 0, "is_free_tier": False}}
    here = machine(tmp_path, providers, "openrouter")
    done = here.routemoa("init", "--no-probe")
    assert done.returncode == 0, done.stderr
    assert problem_lines(done)[0].startswith("OpenRouter: the account has no credit")
    assert all(m["model"].endswith(":free") for m in pool_of(here)["model"])


def test_10_a_file_that_is_there_stays(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "openrouter")
    file = here.folder / "pool.toml"
    file.write_text("# mine\n")
    done = here.routemoa("init", "--yes")
    assert done.returncode == 2
    (line,) = problem_lines(done)
    assert "--force" in line
    assert "--out" in line
    assert file.read_text() == "# mine\n"
    assert providers.headers == [], "before anything is looked for"
    assert here.routemoa("init", "--yes", "--out", "new.toml").returncode == 0
    assert file.read_text() == "# mine\n"
    assert here.routemoa("init", "--yes", "--force").returncode == 0
    assert endpoints(pool_of(here))


def test_11_a_model_that_does_not_answer_is_replaced(tmp_path: Path, providers: Recorded) -> None:
    providers.refusals = {
        "deepseek/deepseek-v4.1-flash": (404, "No endpoints found"),
        "qwen/qwen3.8-max-0902": (400, "Could not finish the message because ... model output limit was reached"),
        "z-ai/glm-5.3": (429, "Provider returned error: busy"),
    }
    here = machine(tmp_path, providers, "openrouter")
    done = here.routemoa("init", "--yes")
    assert done.returncode == 0, done.stderr
    models = [m["model"] for m in pool_of(here)["model"]]
    assert "deepseek/deepseek-v4.1-flash" not in models
    assert "qwen/qwen3.8-max-0902" in models, "it answers, but thinks longer than a token"
    assert "z-ai/glm-5.3" in models, "busy is not broken"
    assert len(models) == 4
    text = (here.folder / "pool.toml").read_text()
    assert "routemoa pool add openrouter/deepseek/deepseek-v4.1-flash" in text


def test_12_nothing_is_spent_without_consent(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "openrouter")
    done = here.routemoa("init")
    assert done.returncode == 0, done.stderr
    assert providers.asked == []
    assert "Not tried, since that costs at most $" in done.stdout
    assert "routemoa pool check --pool pool.toml" in done.stdout


def test_13_the_machine_readable_report(tmp_path: Path, providers: Recorded) -> None:
    providers.keys["openai"] = "another"
    here = machine(tmp_path, providers, "openrouter", "openai")
    done = here.routemoa("init", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["file"] == "pool.toml"
    assert [f["title"] for f in report["found"]] == ["OpenRouter", "OpenAI"]
    assert report["found"][1]["problem"].startswith("OpenAI: the key in OPENAI_API_KEY is refused")
    assert [p["ok"] for p in report["probes"]] == [True] * 4
    assert report["answer"]["text"] == "9.9"
    assert report["answer"]["cost"] > 0


def test_14_another_base_url_is_written_out(tmp_path: Path, providers: Recorded) -> None:
    """OPENAI_BASE_URL moves the key's provider; a pool file must not depend on it, and may not call itself."""
    here = machine(tmp_path, providers)
    done = here.routemoa("init", "--no-probe", OPENAI_API_KEY=KEY, OPENAI_BASE_URL=providers.base("openai"))
    assert done.returncode == 0, done.stderr
    assert {(m["endpoint"], m["api_key_env"]) for m in pool_of(here)["model"]} == {
        (providers.base("openai"), "OPENAI_API_KEY")
    }
    host = providers.base("ollama").removesuffix("/v1")
    assert here.routemoa("init", "--force", OLLAMA_HOST=host + "/v1").returncode == 0
    assert set(endpoints(pool_of(here))) == {providers.base("ollama")}


def test_15_unknown_providers_and_places(tmp_path: Path, providers: Recorded) -> None:
    here = machine(tmp_path, providers, "openrouter")
    assert "did you mean 'openrouter'?" in problem_lines(here.routemoa("init", "--provider", "openruoter"))[0]
    missing = problem_lines(here.routemoa("init", "--provider", "groq"))[0]
    assert "export GROQ_API_KEY=..." in missing
    assert "its folder does not exist" in problem_lines(here.routemoa("init", "--out", "no/pool.toml"))[0]
    assert "is a folder" in problem_lines(here.routemoa("init", "--out", "."))[0]


@pytest.mark.weights
def test_16_a_model_file_answers_in_the_embedded_runtime(tmp_path: Path, providers: Recorded) -> None:
    weight = load_manifest()["smollm2-135m"]
    if not weight.is_fetched:
        pytest.skip("run  routemoa pool fetch --only smollm2-135m")
    here = machine(tmp_path, providers)
    folder = tmp_path / "home" / ".lmstudio" / "models" / "HuggingFaceTB"
    folder.mkdir(parents=True)
    shutil.copy(weight.path, folder / "SmolLM2-135M-Instruct.Q4_1.gguf")
    done = here.routemoa("init")
    assert done.returncode == 0, done.stderr
    (model,) = pool_of(here)["model"]
    assert (model["name"], model["endpoint"]) == ("SmolLM2-135M-Instruct.Q4_1", "local")
    assert model["model"] == "~/.lmstudio/models/HuggingFaceTB/SmolLM2-135M-Instruct.Q4_1.gguf"
    assert "answers, first token after" in done.stdout
