"""Every code block of the documents runs, or is checked: Python, commands, requests."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from routemoa.cli import cli
from tests.cli.test_ask import endpoint
from tests.doc_blocks import (
    PAGES,
    ROOT,
    SNIPPET,
    Block,
    Command,
    find_blocks,
    find_commands,
    page_blocks,
    split_commands,
)
from tests.gateway.lifecycle.test_server import serve

ADDRESS = "http://127.0.0.1:8080"
"""Where the documents say that the server listens."""
CHECKED = {"sh", "python", "json", "toml", "yaml", "sql", "csv"}
SHOWN = {"", "text"}
"""Output: blocks that are compared by tests of their own, or belong to the generated reference."""


INCLUDED = {"bash", "js"}
"""Languages of the clients' lines, which `make test-clients` runs: only files of tests/clients/real/setup."""


def write_pool(folder: Path, url: str) -> Path:
    """Write the pool file of the quickstart, whose models are all at `url`."""
    text = next(b.text for b in page_blocks("docs/quickstart.md") if b.language == "toml")
    lines = [line for line in text.splitlines() if not re.match("api_key_env|input_price|output_price", line)]
    model = f'endpoint = "{url}"\ninput_price = 0.1\noutput_price = 0.3'
    text = "\n".join(model if line.startswith("endpoint") else line for line in lines)
    file = folder / "pool.toml"
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `routemoa serve` in front of two models."""
    folder = tmp_path_factory.mktemp("served")
    with ExitStack() as stack, asyncio.Runner() as runner:
        e = stack.enter_context(endpoint("It scatters blue light."))
        pool = write_pool(folder, e.url)
        pool.write_text(f'{pool.read_text()}\n[batches]\nfolder = "batches"\n')
        server = serve(pool)
        address = runner.run(server.__aenter__()).url
        try:
            yield address.removesuffix("/v1")
        finally:
            runner.run(server.__aexit__(None, None, None))


def send(url: str, body: str | None, headers: dict[str, str] | None = None) -> str:
    """Send a request as curl does, and return the body of the response; fail where the status is not 200."""
    headers = {"Content-Type": "application/json"} if headers is None else headers
    request = urllib.request.Request(url, None if body is None else body.encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(response.read().decode())


def test_every_language_is_checked() -> None:
    found = {block.language for page in PAGES for block in page_blocks(str(page.relative_to(ROOT)))}
    assert found <= CHECKED | SHOWN | INCLUDED
    for language in INCLUDED:
        for block in find_blocks(language):
            assert re.fullmatch(r'--8<-- "tests/clients/real/setup/\w+\.\w+"\n', block.text), block


@pytest.mark.parametrize("block", [b for b in find_blocks("python") if not SNIPPET.match(b.text)], ids=str)
def test_python_runs_as_pasted(block: Block, tmp_path: Path, served: str) -> None:
    with endpoint("It scatters blue light.") as e:
        write_pool(tmp_path, e.url)
        code = block.text.replace(ADDRESS, served)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if "print(" in code:
        assert done.stdout.strip()


@pytest.mark.parametrize("block", find_blocks("yaml"), ids=str)
def test_yaml_is_valid(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


def touch_files(words: tuple[str, ...]) -> None:
    """Make the input files that a command names: an option may insist that they exist."""
    for word in words:
        if re.fullmatch(r"[\w.-]+\.(toml|jsonl|json|gz)", word):
            Path(word).touch()
        elif word in ("my-scorer", "run", "mine", "my-run"):
            Path(word).mkdir(exist_ok=True)


def accept(arguments: list[str]) -> None:
    """Parse the arguments of `routemoa`: every subcommand, option and value; nothing runs."""
    found: click.Command = cli
    with ExitStack() as stack:
        context = None
        while True:
            context = stack.enter_context(found.make_context(found.name, arguments, parent=context))
            if not isinstance(found, click.Group):
                break
            arguments = [*context._protected_args, *context.args]
            if not arguments:
                assert found.invoke_without_command
                break
            name, subcommand, arguments = found.resolve_command(context, arguments)
            assert subcommand is not None, f"no {name}"
            found = subcommand


@pytest.mark.parametrize("command", find_commands("routemoa"), ids=str)
def test_commands_are_accepted(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch_files(command.words)
    accept(list(command.words[1:]))


@pytest.mark.parametrize("command", find_commands("python"), ids=str)
def test_scripts_exist_and_know_their_options(command: Command) -> None:
    script = ROOT / command.words[1]
    source = script.read_text()
    for option in command.words[2:]:
        if option.startswith("--"):
            assert option in source, f"{script.name} has no {option}"


@pytest.mark.parametrize("command", find_commands("make"), ids=str)
def test_targets_exist(command: Command) -> None:
    assert re.search(rf"^{command.words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


CHECKED_HERE = {"routemoa", "python", "make", "curl"}
CHECKED_ELSEWHERE = {"uv", "pipx", "pip", "python3", "source", "docker", "openssl", "echo", "eval"}
"""Programs whose lines tests/test_doc_installs.py checks."""
OF_OPERATORS = {
    *("systemctl", "systemd-sysusers", "journalctl", "kubectl", "helm"),
    *("cp", "install", "ln", "rm", "chown"),
}
"""Programs of the runbook, whose lines tests/deploy/test_runbook.py checks."""
OF_DATABASES = {"createdb", "pg_dump", "pg_restore"}
"""Programs whose lines tests/ledger/postgres/test_page.py runs."""
OF_BALANCERS = {"cp", "nginx"}
"""Programs whose lines put deploy/nginx in place, which tests/deploy/test_nginx.py starts."""
OF_RAY = {"serve"}
"""Programs whose lines tests/gateway/test_ray_app.py checks."""


def test_no_other_programs_are_used() -> None:
    known = {*CHECKED_HERE, *CHECKED_ELSEWHERE, "export", ".venv/bin/pre-commit"}
    for block in find_blocks("sh"):
        more = {
            "docs/how-to/runbook.md": OF_OPERATORS,
            "docs/how-to/postgresql.md": OF_DATABASES,
            "docs/how-to/ray.md": OF_RAY,
            "docs/how-to/replicas.md": OF_BALANCERS,
        }
        allowed = known | more.get(block.page, set())
        for command in split_commands(block):
            assert command.words[0] in allowed, f"{block}: {command}"


@pytest.mark.parametrize("block", find_blocks("sh"), ids=str)
def test_blocks_are_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", find_commands("curl"), ids=str)
def test_requests_by_hand_are_answered(command: Command, served: str) -> None:
    words = iter(command.words[1:])
    url, headers, body = "", {}, None
    for word in words:
        match word:
            case "-H":
                name, value = next(words).split(": ", 1)
                headers[name] = value
            case "-d":
                body = next(words)
            case "-N":
                pass
            case _:
                url = word.replace(ADDRESS, served)
    assert send(url, body, headers)


@pytest.mark.parametrize("block", [b for b in find_blocks("json") if '"messages"' in b.text], ids=str)
def test_requests_are_answered(block: Block, served: str) -> None:
    assert send(f"{served}/v1/chat/completions", block.text)


def test_the_documented_reply_has_the_fields_of_a_real_one(served: str) -> None:
    shown = next(b for b in find_blocks("json") if '"object": "chat.completion"' in b.text)
    body = {"model": "routemoa", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    real = json.loads(send(f"{served}/v1/chat/completions", json.dumps(body)))
    documented: dict[str, Any] = json.loads(shown.text)
    assert set(documented) == set(real)
    assert set(documented["routemoa"]) == set(real["routemoa"])


def test_other_json_is_json() -> None:
    for block in find_blocks("json"):
        lines = [block.text] if block.text.startswith("{\n") else block.text.splitlines()
        for line in lines:
            assert isinstance(json.loads(line), dict), block


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_an_example_without_its_arguments_says_how_it_is_called(script: Path) -> None:
    if "sys.argv" not in script.read_text():
        pytest.skip("it takes none")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"python examples/{script.name}" in done.stderr
    assert "Traceback" not in done.stderr
