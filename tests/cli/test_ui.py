"""`routemoa ui`: a server of this machine, and the address of its page."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

POOL = '[[model]]\nname = "a"\nendpoint = "http://127.0.0.1:9/v1"\nprior = 0.9\n'


def test_it_serves_the_page_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text(POOL)
    command = [sys.executable, "-m", "routemoa", "ui", "--no-open", "--pool", "pool.toml", "--store", "store.db"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = subprocess.run([*command, "--port", port], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert f"port {port} on 127.0.0.1 is taken" in refused.stderr
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = None
        while found is None and (line := process.stderr.readline()):
            found = re.search(r"in a browser: (http://127\.0\.0\.1:\d+/)", line)
        assert found is not None
        request = urllib.request.Request(found[1], headers={"Accept": "text/html"})
        with urllib.request.urlopen(request, timeout=10) as page:
            assert b"<title>RouteMoA</title>" in page.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
