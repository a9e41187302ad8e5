"""nginx with deploy/nginx/routemoa.conf, before servers of this machine: for tests and for benchmarks/replicas.py."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "deploy/nginx/routemoa.conf"
AROUND = """
daemon off; master_process on; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  add_header X-Upstream $upstream_addr always;
  include {folder}/routemoa.conf;
}}
"""


def find_nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def write_configuration(folder: Path, port: int, servers: Sequence[int]) -> Path:
    """Write the example for these ports, and what stands around it; return the file for `nginx -c`."""
    text = EXAMPLE.read_text()
    first, rest = re.split(r"(?:    server 127\.0\.0\.1:\d+ .*\n)+", text)
    (line,) = {re.sub(r"\d{4}", "{}", found, count=1) for found in re.findall(r"    server 127.*\n", text)}
    text = first + "".join(line.format(server) for server in servers) + rest
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port} backlog=4096;")
    (folder / "routemoa.conf").write_text(text.replace("/var/log/nginx", str(folder)))
    user = "user root;" if os.geteuid() == 0 else ""  # it writes into a folder that is ours alone
    file = folder / "nginx.conf"
    file.write_text(AROUND.format(folder=folder, user=user))
    return file


@contextmanager
def nginx(program: str, folder: Path, servers: Sequence[int]) -> Iterator[int]:
    """Run it before servers at these ports; give its port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    file = write_configuration(folder, port, servers)
    with (folder / "nginx.out").open("wb") as out:
        process = subprocess.Popen([program, "-p", str(folder), "-c", str(file)], stdout=out, stderr=out)
    try:
        end = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < end:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        else:
            raise RuntimeError(f"nginx did not start: {(folder / 'nginx.out').read_text()}")
        yield port
    finally:
        process.terminate()
        process.wait(10)
