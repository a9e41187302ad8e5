"""One Ray cluster of two nodes for all tests of a run, whichever worker of pytest-xdist they are on.

The first test that needs it starts it; it ends by itself once all processes that used it have ended, however they do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

__all__ = ["RayCluster", "ray_cluster", "ray_connection"]

CLUSTER = """
import fcntl, os, sys
from ray.cluster_utils import Cluster
lean = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **lean})
cluster.add_node(num_cpus=1, include_log_monitor=False)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
with open(sys.argv[1], "a") as users:
    fcntl.flock(users, fcntl.LOCK_EX)
    os.unlink(sys.argv[2])
    cluster.shutdown()
"""


class RayCluster(NamedTuple):
    """A cluster of this machine."""

    address: str
    pid: int
    """Of the process that holds its nodes."""

    def find_workers(self, kind: str) -> list[psutil.Process]:
        """Return the processes of actors of a class."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found += [process] if " ".join(process.cmdline()).startswith(f"ray::{kind}") else []
        return found


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """Two raylets on this machine, of one CPU each."""
    pytest.importorskip("ray", reason="needs the extra [ray]")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    address, process = shared / "ray.address", None
    with (shared / "ray.users").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with (shared / "ray.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not address.exists():
                process = _start_cluster(Path(users.name), address)
        place, pid = address.read_text().split()
        yield RayCluster(place, int(pid))
    if process is not None:
        process.wait(60)


@pytest.fixture(scope="module")
def ray_connection(ray_cluster: RayCluster) -> Iterator[None]:
    """This process is connected, so that commands in it use the connection, and the workers of the commands before."""
    import ray

    ray.init(address=ray_cluster.address, log_to_driver=False)
    yield
    ray.shutdown()


def _start_cluster(users: Path, address: Path) -> subprocess.Popen[bytes]:
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    store = {"ROUTEMOA_STORE": str(address.with_name("ray.store.db"))}  # no worker writes into the user's ledger
    command = [sys.executable, "-c", CLUSTER, str(users), str(address)]
    process = subprocess.Popen(command, **pipes, env=os.environ | store, start_new_session=True)
    assert process.stdout is not None
    with process.stdout as out:
        address.write_text(f"{out.readline().decode().strip()} {process.pid}")
    return process
