"""`routemoa pool add`, `remove` and `update` against recorded lists, over a real socket."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from routemoa.cli import cli
from routemoa.core.pool_file.pool import Pool
from routemoa.datasets.collector import answer_length
from tests.cli.init.recorded import KEY, Recorded, recorded_providers

START = '# mine\n\n[[model]]\nname = "own"  # keep\nendpoint = "http://127.0.0.1:9/v1"\n'


@pytest.fixture
def providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """The recorded providers; two keys are set, and the current folder has a pool file."""
    with recorded_providers() as served:
        table = served.write_table(tmp_path / "providers.toml", "openrouter", "openai", "ollama")
        monkeypatch.setenv("ROUTEMOA_PROVIDERS", str(table))
        monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.delenv("ROUTEMOA_POOL", raising=False)
        monkeypatch.chdir(tmp_path)
        Path("pool.toml").write_text(START)
        yield served


def pool(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["pool", *arguments])


def models() -> dict[str, dict[str, Any]]:
    return {m["name"]: m for m in tomllib.loads(Path("pool.toml").read_text())["model"]}


def test_a_model_of_a_provider_comes_with_its_figures(providers: Recorded) -> None:
    added = pool("add", "openrouter/z-ai/glm-5.3")
    assert added.exit_code == 0, added.output
    assert models()["glm-5.3"] == {
        "name": "glm-5.3",
        "endpoint": "openrouter",
        "model": "z-ai/glm-5.3",
        "input_price": 1.4,
        "output_price": 4.4,
        "context": 1048576,
        "modalities": ["text"],
        "tools": False,
        "prior": 0.76,
    }
    assert Path("pool.toml").read_text().startswith(START)
    assert "routemoa pool check --pool pool.toml" in added.stdout
    local = pool("add", "llama3.2", "--endpoint", "ollama", "--as", "small", "--json")
    assert json.loads(local.stdout)["added"]["model"] == "llama3.2:latest"
    assert models()["small"]["input_price"] == 0.0
    assert pool("add", "openrouter/z-ai/glm-5.3", "--as", "again").exit_code == 0
    assert list(models()) == ["own", "glm-5.3", "small", "again"]


def test_a_model_at_an_address_is_added_as_named(providers: Recorded) -> None:
    added = pool("add", "my-model", "--endpoint", "http://127.0.0.1:9/v1", "--api-key-env", "OPENAI_API_KEY")
    assert added.exit_code == 0, added.output
    assert "gave no list of models" in added.stderr
    assert models()["my-model"] == {
        "name": "my-model",
        "endpoint": "http://127.0.0.1:9/v1",
        "api_key_env": "OPENAI_API_KEY",
        "model": "my-model",
    }
    assert pool("add", "m.gguf", "--endpoint", "local").exit_code == 0
    assert models()["m"]["model"] == "m.gguf"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpt-6-astra"], "which endpoint? Write PROVIDER/gpt-6-astra"),
        (
            ["openrouter/openai/gpt-6-astr"],
            "OpenRouter lists no model 'openai/gpt-6-astr'; did you mean openai/gpt-6-astra",
        ),
        (["openrouter/gpt-6-luna"], "did you mean openai/gpt-6-luna"),
        (["groq/llama"], "Groq: export GROQ_API_KEY=... (https://console.groq.com/keys)"),
        (["x", "--endpoint", "openruoter"], "did you mean 'openrouter'?"),
        (["openai/gpt-6-astra", "--as", "own"], "the name 'own' is taken"),
        (["openai/gpt-6-astra", "--pool", "no.toml"], "make one with  routemoa init"),
        (["openai/gpt-6-astra", "--as", "moa"], "is the name of a method"),
    ],
)
def test_what_cannot_be_added(arguments: list[str], message: str, providers: Recorded) -> None:
    failed = pool("add", *arguments)
    assert failed.exit_code != 0
    assert message in str(failed.exception)
    assert Path("pool.toml").read_text() == START


def test_the_same_model_twice_needs_a_name_of_its_own(providers: Recorded) -> None:
    assert pool("add", "openai/gpt-6-astra").exit_code == 0
    assert "has it already, as 'gpt-6-astra'" in str(pool("add", "openai/gpt-6-astra").exception)


@pytest.mark.parametrize(
    ("model", "warning"),
    [
        ("openai/gpt-4o", "gpt-4o: ends 2026-12-31"),
        ("openai/gpt-5.5-pro", "it is not for chat, says its list"),
        ("openrouter/minimax/minimax-m3:free", "it is free, and limited to a few calls a minute"),
        ("openrouter/google/gemini-3.1-pro-preview", "it is a preview"),
    ],
)
def test_what_should_be_known_is_said(model: str, warning: str, providers: Recorded) -> None:
    added = pool("add", model)
    assert added.exit_code == 0, added.output
    assert warning in added.stderr


def test_remove(providers: Recorded) -> None:
    pool("add", "openai/gpt-6-astra")
    with Path("pool.toml").open("a") as f:
        f.write('\n[mixture]\naggregator = "gpt-6-astra"\n')
    assert "aggregator names 'gpt-6-astra'" in str(pool("remove", "gpt-6-astra").exception)
    assert "did you mean 'own'?" in str(pool("remove", "owm").exception)
    Path("pool.toml").write_text(Path("pool.toml").read_text().partition("\n[mixture]")[0])
    removed = pool("remove", "gpt-6-astra")
    assert removed.exit_code == 0, removed.output
    assert Path("pool.toml").read_text() == START
    assert "its only model" in str(pool("remove", "own").exception)


def test_update_takes_new_prices_and_keeps_comments(providers: Recorded) -> None:
    pool("add", "openrouter/z-ai/glm-5.3")
    with Path("pool.toml").open("a") as f:
        f.write('\n# by hand\n[[model]]\nname = "hand"\nendpoint = "openrouter"\nmodel = "qwen/qwen3.8-flash"\n')
    text = Path("pool.toml").read_text()
    old = (
        text.replace("input_price = 1.4 ", "input_price = 9.75")
        .replace("of 2026-", "of 2025-")
        .replace("1048576", "1000000")
    )
    Path("pool.toml").write_text(old)
    dry = pool("update", "--dry-run")
    assert "glm-5.3: input_price 9.75 -> 1.4" in dry.stdout
    assert "not written" in dry.stdout
    assert Path("pool.toml").read_text() == old
    report = json.loads(pool("update", "--json").stdout)
    assert {(c["name"], c["key"]): (c["old"], c["new"]) for c in report["changes"]} == {
        ("glm-5.3", "input_price"): (9.75, 1.4),
        ("glm-5.3", "context"): (1000000, 1048576),
        ("hand", "input_price"): (None, 0.15),
        ("hand", "output_price"): (None, 0.47),
    }
    new = Path("pool.toml").read_text()
    assert "# by hand" in new
    assert 'name = "own"  # keep' in new
    assert "list of 2025" not in new, "the day of the price is that of the list"
    assert models()["glm-5.3"]["prior"] == 0.76
    again = pool("update")
    assert "nothing to change" in again.stdout
    assert Path("pool.toml").read_text() == new


def test_update_marks_what_ends_and_what_is_gone(providers: Recorded) -> None:
    pool("add", "openai/gpt-6-astra")
    pool("add", "openrouter/qwen/qwen3.8-flash")
    providers.lists["openai"] = {"data": [{"id": "gpt-6-astra", "shutdown_date": "2030-01-01"}]}
    providers.lists["openrouter"] = {"data": [{"id": "other/model"}]}
    updated = pool("update")
    assert "gpt-6-astra: ends 2030-01-01;  routemoa pool remove gpt-6-astra --pool pool.toml" in updated.stderr
    assert "qwen3.8-flash: not listed by OpenRouter" in updated.stderr
    text = Path("pool.toml").read_text()
    assert 'model = "gpt-6-astra"' in text
    assert "# ends 2030-01-01 (seen on " in text
    assert "# not listed by OpenRouter (seen on " in text
    providers.lists.clear()
    pool("update")
    assert "(seen on" not in Path("pool.toml").read_text(), "it is back"


def test_update_of_some_models_only(providers: Recorded) -> None:
    pool("add", "openrouter/z-ai/glm-5.3")
    text = Path("pool.toml").read_text().replace("output_price = 4.4", "output_price = 5.0")
    Path("pool.toml").write_text(text)
    pool("update", "own")
    assert Path("pool.toml").read_text() == text
    assert "no model 'none'" in str(pool("update", "none").exception)


def test_update_goes_on_where_a_provider_cannot_be_asked(providers: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    pool("add", "openrouter/z-ai/glm-5.3")
    pool("add", "openai/gpt-6-astra")
    Path("pool.toml").write_text(Path("pool.toml").read_text().replace("output_price = 4.4", "output_price = 5.0"))
    providers.keys["openai"] = "another"
    updated = pool("update")
    assert updated.exit_code == 0
    assert "OpenAI: the key in OPENAI_API_KEY is refused" in updated.stderr
    assert models()["glm-5.3"]["output_price"] == 4.4
    monkeypatch.delenv("OPENROUTER_API_KEY")
    failed = pool("update")
    assert failed.exit_code == 1
    assert "export OPENROUTER_API_KEY=..." in failed.stderr


def test_a_price_that_depends_on_the_prompt_stays_with_the_library(
    providers: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("genai_prices")
    from datetime import date

    from routemoa.cli.init.presets import Source
    from routemoa.cli.pool.update import plan_changes
    from routemoa.clients.model_lists.reply import ListedModel
    from routemoa.core.catalog.providers import load_providers

    listed = ListedModel("gpt-5.5", input_price=5.0, output_price=30.0)
    source = Source(load_providers({})["openai"], "openai", (listed,), "a list")
    entry = {"name": "a", "endpoint": "openai", "model": "gpt-5.5"}
    assert plan_changes(entry, source, date(2026, 11, 26), {}) == ([], None)


@pytest.mark.usefixtures("providers")
def test_a_local_model_gets_a_limit_that_estimates_use() -> None:
    done = pool("add", "qwen2.5-coder-0.5b", "--endpoint", "local")
    assert done.exit_code == 0, done.stderr
    assert "qwen2.5-coder-0.5b: no prior is known" in done.stderr
    assert answer_length(Pool.from_toml("pool.toml")["qwen2.5-coder-0.5b"]) == 512


@pytest.mark.usefixtures("providers")
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("coder-0.5b", "did you mean 'qwen2.5-coder-0.5b'?"),
        ("smollm2", "did you mean 'smollm2-135m'?"),
        ("all-minilm-l6-v2", "known: smollm2-135m, qwen2.5-coder-0.5b, qwen2.5-coder-1.5b"),
    ],
)
def test_an_unknown_local_model_is_refused_and_only_chat_models_are_named(name: str, hint: str) -> None:
    refused = pool("add", name, "--endpoint", "local")
    assert str(refused.exception).endswith(hint)
    assert Path("pool.toml").read_text() == START
