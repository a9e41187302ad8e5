"""A real headless browser, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

__all__ = ["Tab", "needs_browser", "open_browser"]

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason=f"no browser here: none of {', '.join(NAMES)}")


class Tab:
    """One page of a browser, over the DevTools protocol; `events` are those received so far."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0
        self.events: list[dict[str, Any]] = []

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=60)
            if message.get("id") == self._last:
                assert "error" not in message, message
                found: dict[str, Any] = message["result"]
                return found
            self.events.append(message)

    async def wait_for(self, event: str) -> None:
        """Wait for an event."""
        while not any(m.get("method") == event for m in self.events):
            self.events.append(await self._socket.receive_json(timeout=60))

    async def open(self, url: str) -> None:
        """Load a page, whole; the events of the page before are forgotten."""
        self.events.clear()
        for domain in ("Page", "Log", "Runtime", "Network"):
            await self.send(f"{domain}.enable")
        await self.send("Page.navigate", url=url)
        await self.wait_for("Page.loadEventFired")

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression; the page itself may run no script, the protocol may."""
        found = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def set_size(self, width: int, height: int = 900) -> None:
        """Set the size of the window."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def set_scheme(self, scheme: str, media: str = "") -> None:
        """Choose light or dark, screen or paper."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", media=media, features=features)

    async def picture(self) -> bytes:
        """Return a picture of what is in sight, as PNG."""
        found = await self.send("Page.captureScreenshot")
        return base64.b64decode(found["data"])

    async def take_screenshot(self, file: Path) -> None:
        """Write a picture of the whole page."""
        found = await self.send("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))  # noqa: ASYNC240

    async def print_pdf(self) -> bytes:
        """Return the page as PDF."""
        found = await self.send("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        return base64.b64decode(found["data"])

    async def wait_until(self, expression: str, seconds: float = 10.0) -> Any:
        """Wait until an expression is true, and return its value."""
        end = asyncio.get_running_loop().time() + seconds
        while not (value := await self.evaluate(expression)):
            if asyncio.get_running_loop().time() > end:
                text = await self.evaluate("document.body.innerText")
                raise AssertionError(f"{expression} did not become true; the page says:\n{text}\n{self.problems()}")
            await asyncio.sleep(0.03)
        return value

    def problems(self, origin: str = "file:") -> list[Mapping[str, Any]]:
        """Return what the browser logged, and what it requested from elsewhere than the origin of the page."""
        logged = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        found = [m for m in self.events if m.get("method") in logged]
        asked = [m for m in self.events if m.get("method") == "Network.requestWillBeSent"]
        return found + [m for m in asked if not m["params"]["request"]["url"].startswith((origin, "data:", "blob:"))]


@asynccontextmanager
async def open_browser() -> AsyncIterator[Tab]:
    """A fresh headless browser with one empty page."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        command = [
            str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--hide-scrollbars", "--disable-background-networking", "--remote-debugging-port=0",
            f"--user-data-dir={home}", "about:blank",
        ]  # fmt: skip
        process = subprocess.Popen(  # noqa: ASYNC220
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            port = Path(home) / "DevToolsActivePort"
            for _ in range(600):
                if port.exists() and port.read_text().count("\n"):
                    break
                assert process.poll() is None, "the browser did not start"
                await asyncio.sleep(0.1)
            number = port.read_text().splitlines()[0]
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{number}/json/list") as reply:
                    targets = await reply.json(content_type=None)
                address = next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page")
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    yield Tab(socket)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
