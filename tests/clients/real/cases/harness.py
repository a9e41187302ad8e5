"""Runs one client's cases against targets: `python harness.py CLIENT TARGETS.json PACKAGE [CASE|TARGET ...]`.

A client's module has `ask`, `stream`, `run_tools`, `extract` and ERRORS, each in the client's own way; the cases and
what counts as right are the same for all and stand here. Prints one line of JSON for each cell.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

HERE = Path(__file__).parent
PLAIN = "What is 6 times 7? Reply with one sentence."
TOOLS = "How warm is it in Paris now, in degrees Fahrenheit? Use the tools."
PLACE = "Which city is the capital of France, and what is its population?"
COLOR = "What color is this image?"
WAIT = "Wait, then say hello."
COUNT = "Count to sixty slowly."
RED_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAAAElFTkSuQmCC"
IMAGE = f"data:image/png;base64,{RED_PNG}"
ADDRESS = "http://127.0.0.1:8080"
SHORT = 1.0  # seconds: the clients' own timeout


class Unsupported(Exception):
    """The client has no such feature."""


class Skipped(Exception):
    """There is nothing at the other end yet."""


class Place(BaseModel):
    """A city."""

    city: str
    population: int = Field(description="How many people live there.")


@dataclass(frozen=True)
class Target:
    """Where a case runs."""

    name: str
    base_url: str
    model: str
    key: str
    upstream: str

    def wrong_key(self) -> Target:
        return replace(self, key="sk-wrong")


calls: list[tuple[str, Any]] = []


def temperature(city: str) -> float:
    """Return the temperature in a city now, in degrees Celsius.

    Args:
        city: The name of the city.
    """
    calls.append(("temperature", city))
    return 21.5


def to_fahrenheit(celsius: float) -> float:
    """Convert degrees Celsius to degrees Fahrenheit.

    Args:
        celsius: The temperature in degrees Celsius.
    """
    calls.append(("to_fahrenheit", float(celsius)))
    return round(celsius * 9 / 5 + 32, 1)


def check(right: bool, what: Any) -> None:
    """Fail with what there was instead."""
    if not right:
        raise AssertionError(f"got {str(what)[:300]!r}")


def expect(kind: type[BaseException] | tuple[type[BaseException], ...], word: str, act: Callable[[], Any]) -> None:
    """Run what must raise the client's own error, which shows the server's word for it."""
    try:
        got = act()
    except kind as e:
        check(word in str(e), e)
    else:
        raise AssertionError(f"no error, but {got!r}")


def state(target: Target) -> dict[str, int]:
    """Return what the upstream holds."""
    with urllib.request.urlopen(f"{target.upstream}/models", timeout=5) as response:
        return dict(json.load(response)["state"])


def released(target: Target) -> None:
    """Check that the calls which were given up end at the upstream as well."""
    until = time.monotonic() + 3
    while (now := state(target))["open"]:
        check(time.monotonic() < until, f"{now['open']} calls still run at the upstream 3 s later")
        time.sleep(0.05)


def require_route(target: Target, route: str) -> None:
    """Skip where the server has no such API, and at the scripted upstream, which has chat completions only."""
    if target.name == "upstream":
        raise Skipped(f"the scripted upstream has no /v1{route}: there is no control")
    headers = {"Authorization": f"Bearer {target.key}"}
    try:
        urllib.request.urlopen(urllib.request.Request(f"{target.base_url}{route}", b"{}", headers), timeout=5)
    except urllib.error.HTTPError as e:
        if e.code == 404:
            raise Skipped(f"this server has no /v1{route} yet") from None


def press_ctrl_c(target: Target, pressed: list[float]) -> None:
    """Interrupt this process a moment after its request has come to the upstream."""
    until = time.monotonic() + 20
    while not state(target)["open"] and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(SHORT / 2)
    pressed.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)


def run_setup(name: str, client: Any, target: Target) -> str:
    """Run the lines that the documentation shows, at this target; return what they print."""
    (file,) = (HERE.parent / "setup").glob(f"{name}.*")
    text = file.read_text()
    for old, new in [(ADDRESS, target.base_url.removesuffix("/v1")), ("unused", target.key)]:
        check(old in text, f"the setup of {name} does not name {old}")
        text = text.replace(old, new)
    if file.suffix == ".sh":
        command = ["bash", "-ec", client.command(text, target)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        check(done.returncode == 0, done.stderr)
        return done.stdout
    text = text.replace('routemoa"', f'{target.model}"')
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(text, file.name, "exec"), {"__name__": "__main__"})
    return out.getvalue()


class Cases:
    """The cases of one client at one target."""

    def __init__(self, name: str, client: Any, target: Target) -> None:
        self.name = name
        self.client = client
        self.target = target

    def plain(self) -> None:
        """Run what the documentation shows, which prints the answer."""
        shown = run_setup(self.name, self.client, self.target)
        check("42" in shown and "assessment" not in shown, shown)

    def streamed(self) -> None:
        text = "".join(self.client.stream(self.target, PLAIN))
        check("42" in text and "41" not in text and "assessment" not in text, text)

    def tools(self) -> None:
        calls.clear()
        answer = str(self.client.run_tools(self.target, TOOLS, [temperature, to_fahrenheit]))
        check(calls == [("temperature", "Paris"), ("to_fahrenheit", 21.5)], calls)
        check("70.7" in answer, answer)

    def schema(self) -> None:
        place = self.client.extract(self.target, PLACE, Place)
        check((place.city, place.population) == ("Paris", 2100000), place)

    def image(self) -> None:
        answer = self.client.ask(self.target, COLOR, image=IMAGE)
        check("red" in str(answer), answer)

    def error(self) -> None:
        errors = self.client.ERRORS
        before = state(self.target)["requests"]
        expect(errors["401"], "key", lambda: self.client.ask(self.target.wrong_key(), PLAIN))
        wrong = getattr(self.client, "WRONG", {"temperature": 9.0})
        expect(errors["400"], *wrong, lambda: self.client.ask(self.target, PLAIN, **wrong))
        made = state(self.target)["requests"] - before
        check(made <= 2, f"{made} requests at the upstream for two errors")

    def timeout(self) -> None:
        began = time.monotonic()
        try:
            got = self.client.ask(self.target, WAIT, timeout=SHORT)
        except self.client.ERRORS["timeout"] as e:
            check(
                time.monotonic() - began < 6 + getattr(self.client, "START_SECONDS", 0),
                f"{time.monotonic() - began:.1f} s, then {e!r}",
            )
        else:
            raise AssertionError(f"no error, but {got!r}")
        released(self.target)

    def cancel(self) -> None:
        """Interrupt a stream as Ctrl-C does."""
        pressed: list[float] = []
        threading.Thread(target=press_ctrl_c, args=(self.target, pressed), daemon=True).start()
        try:
            got = list(self.client.stream(self.target, COUNT))
        except KeyboardInterrupt:
            check(time.monotonic() - pressed[0] < 3, f"it took {time.monotonic() - pressed[0]:.1f} s to stop")
        else:
            raise AssertionError(f"not interrupted: {got!r}")
        released(self.target)


CASES = ("plain", "streamed", "tools", "schema", "image", "error", "timeout", "cancel")


def run_case(name: str, client: Any, case: str, target: Target) -> dict[str, Any]:
    """Run one case; return its cell."""
    began = time.monotonic()
    cell, detail = "ok", ""
    try:
        getattr(client, "before", lambda _: None)(target)
        getattr(Cases(name, client, target), case)()
    except Unsupported as e:
        cell, detail = "unsupported", str(e)
    except Skipped as e:
        cell, detail = "skipped", str(e)
    except (Exception, KeyboardInterrupt) as e:
        cell, detail = "FAIL", " ".join(f"{type(e).__name__}: {e}".split())[:600]
        if refused := re.search(r"[^'\"]*: a mixture does not support this", detail):
            cell, detail = "refused", refused[0].strip()
        if os.environ.get("TRACE"):
            traceback.print_exc()
    seconds = round(time.monotonic() - began, 1)
    return {"client": name, "case": case, "target": target.name, "cell": cell, "detail": detail, "s": seconds}


def chunks(pieces: Iterable[str | None]) -> Iterator[str]:
    """Yield the pieces that hold text."""
    return (piece for piece in pieces if piece)


def main() -> None:
    """Run all cases of one client."""
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("ignore")
    name, file, package = sys.argv[1:4]
    only = set(sys.argv[4:])
    try:
        print(json.dumps({"version": version(package)}))
    except PackageNotFoundError:
        print(json.dumps({"skipped": f"the package {package} is not installed"}))
        return
    client = importlib.import_module(f"with_{name}")
    for given in json.loads(Path(file).read_text()):
        target = Target(**given)
        for case in CASES:
            if not only or case in only or target.name in only:
                with contextlib.redirect_stdout(sys.stderr):
                    cell = run_case(name, client, case, target)
                print(json.dumps(cell))


if __name__ == "__main__":
    sys.modules["harness"] = sys.modules["__main__"]
    main()
