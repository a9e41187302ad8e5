"""Lines of the documents that install or run the whole: with uv, pipx, pip, make, Docker, and shells.

What they name has to exist: extras, targets, files, services, volumes, options. Where the program is here and a line
can be tried without installing anything, it is.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from routemoa.core.pool_file.pool import Pool
from tests.doc_blocks import ROOT, Command, find_blocks, find_commands, split_commands
from tests.test_doc_examples import accept, touch_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
WHEEL = "$(echo dist/*.whl)"


def check_spec(spec: str) -> None:
    """Check what is installed: this checkout, or the wheel that a line before has built; and its extras."""
    found = re.fullmatch(r"(?P<what>[^\[]+)(?:\[(?P<extras>[\w,-]+)\])?", spec)
    assert found is not None, spec
    assert found["what"] in (".", WHEEL, "dist/*.whl")
    assert set((found["extras"] or "local").split(",")) <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("command", find_commands("uv"), ids=str)
def test_uv_lines(command: Command) -> None:
    assert command.words[1:3] == ("tool", "install")
    check_spec(command.words[3])
    if shutil.which("uv"):
        subprocess.run(["uv", "tool", "install", "--help"], check=True, capture_output=True)


@pytest.mark.parametrize("command", find_commands("pipx"), ids=str)
def test_pipx_lines(command: Command) -> None:
    assert command.words[1] == "install"
    check_spec(command.words[2])


@pytest.mark.parametrize("command", find_commands("pip"), ids=str)
def test_pip_lines(command: Command) -> None:
    """pip's own parser takes the options, and an installation of the wheel stands after its build."""
    pytest.importorskip("pip")
    from pip._internal.commands import create_command

    options, arguments = create_command(command.words[1]).parse_args(list(command.words[2:]))
    for argument in arguments:
        check_spec(argument)
    if command.words[1] == "wheel":
        assert (options.wheel_dir, arguments) == ("dist", ["."])
    elif not arguments:
        assert options.require_hashes
        assert all((ROOT / file).exists() for file in options.requirements)
    elif "dist/" in arguments[0]:
        before = [c.words[:2] for c in split_commands(command.block)]
        assert before.index(("pip", "wheel")) < before.index(("pip", "install"))


@pytest.mark.parametrize("command", find_commands("python3"), ids=str)
def test_modules_exist(command: Command) -> None:
    if command.words[1] == "-c":  # the backup, which tests/deploy/test_runbook.py runs
        assert command.block.page == "docs/how-to/runbook.md"
        return
    assert command.words[1] == "-m"
    assert find_spec(command.words[2])


@pytest.mark.parametrize("command", find_commands("source"), ids=str)
def test_sourced_files_are_made_before(command: Command) -> None:
    """By a line of the same page."""
    file = command.words[1]
    page = [c for b in find_blocks("sh") if b.page == command.block.page for c in split_commands(b)]
    made = {c.output_file for c in page if c.block.line <= command.block.line}
    for c in page:
        if c.words[:3] == ("python3", "-m", "venv"):
            made.add(f"{c.words[3]}/bin/activate")
        elif c.words in (("make", "install"), ("make", "demo")):
            made.add(".venv/bin/activate")
    assert file in made


@pytest.mark.parametrize("command", find_commands("echo"), ids=str)
def test_written_variables_are_read(command: Command) -> None:
    if command.output_file is None:  # the wheel
        assert command.words[1:] == ("dist/*.whl",)
        return
    assert command.output_file == ".env", "what compose reads by itself"
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
    variable = command.words[1].partition("=")[0]
    assert f"${{{variable}:?" in str(COMPOSE["x-routemoa"]["environment"][variable])


@pytest.mark.parametrize("command", find_commands("openssl"), ids=str)
def test_keys_are_drawn(command: Command) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    drawn = [subprocess.run(command.words, check=True, capture_output=True, text=True).stdout for _ in range(2)]
    assert all(re.fullmatch(r"[0-9a-f]{48}\n", d) for d in drawn)
    assert drawn[0] != drawn[1]


def test_what_is_evaluated_is_a_script_of_ours() -> None:
    assert {c.words[1] for c in find_commands("eval")} <= {f"$(routemoa completion {s})" for s in ("bash", "zsh")}


def run_parser() -> argparse.ArgumentParser:
    """The options of `docker run` that the documents use."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--rm", action="store_true")
    parser.add_argument("-p", action="append", default=[])
    parser.add_argument("-v", action="append", default=[])
    parser.add_argument("-e", action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


@pytest.mark.parametrize("command", find_commands("docker"), ids=str)
def test_docker_lines(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    match command.words[1:]:
        case ("build", "-t", "routemoa", "."):
            pass
        case ("compose", "up" | "down"):
            pass
        case ("compose", "--profile", profile, "up"):
            assert profile in {p for service in COMPOSE["services"].values() for p in service.get("profiles", ())}
        case ("compose", "exec", service, "routemoa", *arguments):
            assert service in COMPOSE["services"]
            accept(arguments)
        case ("run", *arguments):
            options = run_parser().parse_args(arguments)
            assert options.image == COMPOSE["x-routemoa"]["image"]
            assert all(p.startswith("127.0.0.1:") and p.endswith(f":{exposed_port()}") for p in options.p)
            targets = [v.split(":")[1] for v in options.v]
            assert all(t in volumes() or t in options.command for t in targets)
            touch_files(tuple(options.command))
            accept(options.command)
        case other:
            pytest.fail(f"unchecked: docker {' '.join(other)}")


# --- the files themselves


def instructions(name: str) -> list[str]:
    """Return the arguments of an instruction of the Dockerfile, of all stages."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    return re.findall(rf"^{name} (.+)$", joined, re.MULTILINE)


def volumes() -> list[str]:
    return list(yaml.safe_load(instructions("VOLUME")[-1]))


def exposed_port() -> str:
    return instructions("EXPOSE")[-1]


def own_services() -> list[dict[str, Any]]:
    """Return the services that run our image; what watches them is in tests/deploy/test_compose.py."""
    image = COMPOSE["x-routemoa"]["image"]
    return [service for service in COMPOSE["services"].values() if service["image"] == image]


def test_the_image_is_pinned_runs_unprivileged_and_holds_no_secret() -> None:
    bases = [base.split()[0] for base in instructions("FROM")]
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", base) for base in bases)
    assert len(set(bases)) == 1
    assert len(bases) == 2
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", instructions("USER")[-1])
    assert not re.search(r"(?i)^(?:ARG|ENV)\b.*(?:key|token|secret|password)", DOCKERFILE, re.MULTILINE)
    assert "/healthz" in instructions("HEALTHCHECK")[-1]
    assert "--require-hashes" in DOCKERFILE
    version = bases[0].partition(":")[2].partition("-")[0]
    assert any(c.endswith(f":: {version}") for c in PROJECT["classifiers"])


def test_the_image_starts_the_server_and_compose_gives_valid_commands() -> None:
    assert yaml.safe_load(instructions("ENTRYPOINT")[-1]) == ["routemoa"]
    default = yaml.safe_load(instructions("CMD")[-1])
    accept(list(default))
    for service in own_services():
        accept(list(service["command"]))
    assert COMPOSE["services"]["server"]["command"] == default


def test_what_is_copied_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)


def test_compose_exposes_the_server_to_this_machine_only_and_asks_for_a_key() -> None:
    server = COMPOSE["services"]["server"]
    assert server["ports"] == [f"127.0.0.1:8080:{exposed_port()}"]
    assert server["read_only"]
    assert server["cap_drop"] == ["ALL"]
    for service in own_services():
        for value in service["environment"].values():
            assert value.startswith(("${", "/")), "no key stands in the file"
    named = [v.split(":") for v in server["volumes"]]
    assert {target for source, target, *_ in named if source in COMPOSE["volumes"]} == set(volumes())
    assert len(own_services()) == 2


def test_the_pool_of_compose_is_valid_and_has_a_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    server = COMPOSE["services"]["server"]
    path, mounted = server["volumes"][0].split(":")[:2]
    assert server["environment"]["ROUTEMOA_POOL"] == mounted
    pool = Pool.from_toml(ROOT / path, {"ROUTEMOA_KEY": "k" * 48})
    assert len(pool.tenants) == 1
    assert [m.model for m in pool] == [m.model for m in Pool.embedded()]
    assert all(m.parameters == e.parameters for m, e in zip(pool, Pool.embedded(), strict=True))


def test_the_linter_of_dockerfiles_has_nothing_to_say() -> None:
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if (hadolint := shutil.which("hadolint", path=places)) is None:
        pytest.skip("no hadolint here: run  make install")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
