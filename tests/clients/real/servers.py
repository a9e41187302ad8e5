"""The upstream and `routemoa serve` before it, as processes of the project's environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from msgspec import Struct

ROOT = Path(__file__).parents[3]
START_SECONDS = 60.0
KEY = "sk-client"
POOL = """\
[[tenant]]
name = "clients"
key_env = "CLIENT_KEY"
"""
MEMBER = """
[[model]]
name = "{name}"
endpoint = "{url}"
api_key_env = "UPSTREAM_KEY"
prior = {prior}
"""
PRIORS = {"first": 0.62, "second": 0.6, "third": 0.58}


class Target(Struct, frozen=True):
    """Where the cases run, as the clients read it."""

    name: str
    base_url: str
    model: str
    key: str
    upstream: str


@contextmanager
def run_servers(
    folder: Path, upstream: Sequence[str] = ("-m", "tests.clients.real.upstream"), settings: str = ""
) -> Iterator[list[Target]]:
    """Run both, and give the three targets: the upstream itself, a member passed through, the mixture.

    Args:
        folder: where the pool file, the ledger and the logs go.
        upstream: the arguments of Python that run the upstream.
        settings: further lines of the pool file.
    """
    environment = {**os.environ, "CLIENT_KEY": KEY, "UPSTREAM_KEY": "sk-upstream"}
    with _run([sys.executable, *upstream], folder / "upstream.log", environment) as url:
        pool = folder / "pool.toml"
        members = [MEMBER.format(name=n, url=url, prior=p) for n, p in PRIORS.items()]
        pool.write_text("".join([POOL, *members, settings]))
        command = ["from routemoa.cli import main; main()", "serve", "--pool", str(pool), "--port", "0"]
        serve = [sys.executable, "-c", *command, "--store", str(folder / "store.db")]
        with _run(serve, folder / "server.log", environment) as address:
            base = address.removesuffix("/v1") + "/v1"
            yield [
                Target("upstream", url, "second", KEY, url),
                Target("member", base, "second", KEY, url),
                Target("mixture", base, "routemoa", KEY, url),
            ]


@contextmanager
def _run(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run a server until the block ends; give the URL that it prints."""
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        yield _find_url(process, log)
    finally:
        process.terminate()
        process.wait(10)


def _find_url(process: subprocess.Popen[bytes], log: Path) -> str:
    until = monotonic() + START_SECONDS
    while monotonic() < until and process.poll() is None:
        if match := re.search(r"http://[\d.]+:\d+(?:/v1)?(?=\s)", log.read_text()):
            return match[0]
        sleep(0.05)
    raise RuntimeError(f"a server did not start: {log.read_text()[-2000:]}")
