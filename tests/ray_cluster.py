"""One Ray cluster of two nodes for all tests of a run, whichever worker of pytest-xdist they are on.

The first test that needs it starts it; it ends by itself once all processes that used it have ended, however they do.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["ray_cluster", "ray_connection"]

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


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of two raylets on this machine, of one CPU each."""
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
        yield address.read_text()
    if process is not None:
        process.wait(60)


@pytest.fixture(scope="module")
def ray_connection(ray_cluster: str) -> Iterator[None]:
    """This process is connected, so that commands in it use the connection, and the workers of the commands before."""
    import ray

    ray.init(address=ray_cluster, log_to_driver=False)
    yield
    ray.shutdown()


def _start_cluster(users: Path, address: Path) -> subprocess.Popen[bytes]:
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    store = {"ROUTEMOA_STORE": str(address.with_name("ray.store.db"))}  # no worker writes into the user's ledger
    command = [sys.executable, "-c", CLUSTER, str(users), str(address)]
    process = subprocess.Popen(command, **pipes, env=os.environ | store, start_new_session=True)
    assert process.stdout is not None
    with process.stdout as out:
        address.write_text(out.readline().decode().strip())
    return process
