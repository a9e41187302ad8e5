"""The sandbox's walls, against programs that mean harm: whatever they try, this machine must not notice."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from routemoa.core.errors import NoSandbox
from routemoa.datasets.grading import sandbox
from routemoa.datasets.grading.sandbox import run_program

try:
    run_program("pass")
except NoSandbox as error:
    pytest.skip(f"no sandbox on this machine: {error}", allow_module_level=True)


def test_a_program_runs_to_its_end() -> None:
    done = run_program("import sys, json, math\nprint('out', 6 * 7)\nprint('err', file=sys.stderr)")
    assert (done.exit_code, done.reason) == (0, "ended")
    assert "out 42" in done.output
    assert "err" in done.output


def test_exit_codes_and_tracebacks_are_told() -> None:
    assert run_program("raise SystemExit(3)").exit_code == 3
    failed = run_program("1 / 0")
    assert failed.exit_code == 1
    assert "ZeroDivisionError" in failed.output
    assert run_program("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").reason == "ended"


def test_standard_input_is_no_way_in() -> None:
    assert "EOFError" in run_program("input()").output


def test_the_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    done = run_program(
        "import os, glob\nprint(dict(os.environ))\n"
        "for p in glob.glob('/proc/*/environ'):\n    print(open(p, 'rb').read())"
    )
    assert done.exit_code == 0
    assert "secret" not in done.output
    assert "HOME" not in done.output


def test_no_file_of_this_machine_is_seen(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("very secret")
    paths = ["/etc/passwd", "/etc/shadow", "/etc/hostname", "/root", str(Path.home()), "/home", "/var", "/proc", "/sys"]
    paths += [__file__, str(Path(__file__).parent), sandbox.__file__, str(secret), "/run", "/mnt", "/usr/src", "/opt"]
    done = run_program(f"import os\nprint([p for p in {paths} if os.path.lexists(p)])")
    assert done.output.strip() == "[]"


def test_the_interpreters_place_tells_nothing() -> None:
    done = run_program("import sys, os\nprint(sys.path, sys.executable, sys.prefix, os.getcwd())")
    assert str(Path.home()) not in done.output
    assert "site-packages" not in done.output


def test_only_the_folder_in_memory_can_be_written() -> None:
    done = run_program(
        """
import os
for folder in ['/', '/usr', '/usr/lib', '/python', '/python/lib', '/tools', '/dev', '/dev/shm', '/tmp', '/etc', '/lib']:
    try:
        open(folder + '/mark', 'w')
        print('wrote to', folder)
    except OSError:
        pass
open('mark', 'w').write('kept')
print(open('/work/mark').read())
for name in ['/python/bin/python3', '/tools/prlimit', '/usr/lib']:
    try:
        os.remove(name) if not os.path.isdir(name) else os.rename(name, '/work/x')
        print('removed', name)
    except OSError:
        pass
"""
    )
    assert done.output.strip() == "kept"
    assert run_program("import os; print(os.listdir())").output.strip() == "[]"  # a new folder for each run


def test_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        done = run_program(
            f"""
import socket
for where in [('127.0.0.1', {port}), ('1.1.1.1', 53), ('169.254.169.254', 80)]:
    try:
        socket.create_connection(where, timeout=1)
        print('connected', where)
    except OSError as error:
        print('no')
try:
    socket.getaddrinfo('example.com', 80)
except OSError:
    print('no')
"""
        )
        assert done.output.split() == ["no"] * 4
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_abstract_socket_of_this_machine() -> None:
    name = f"\0routemoa-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        done = run_program(f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})")
        assert "ConnectionRefusedError" in done.output


def test_killing_hits_nobody_outside() -> None:
    program = """
import os, signal
print(os.getpid() < 10, flush=True)
for pid in [1, os.getppid(), %d, *range(2, 400)]:
    if pid != os.getpid():
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
try:
    os.killpg(%d, signal.SIGKILL)
except OSError:
    pass
os.kill(-1, signal.SIGKILL)
print('alone')
"""
    with subprocess.Popen(["sleep", "60"]) as bystander:
        done = run_program(program % (bystander.pid, os.getpgrp()))
        assert bystander.poll() is None
        bystander.kill()
    assert done.output.startswith("True")


def test_no_way_to_more_rights() -> None:
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS, NEWNET = 0x10000000, 0x20000, 0x40000000
print([libc.unshare(flag) for flag in (NEWUSER, NEWNS, NEWNET)])
print(libc.mount(b'none', b'/work', b'tmpfs', 0, None), libc.umount2(b'/work', 2), libc.setuid(0))
try:
    os.chroot('/work')
    print('chroot')
except OSError:
    pass
import resource
try:
    resource.setrlimit(resource.RLIMIT_NPROC, (1000, 1000))
    print('more')
except (OSError, ValueError):
    pass
"""
    assert run_program(program).output.split() == ["[-1,", "-1,", "-1]", "-1", "-1", "-1"]


def test_no_open_file_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        done = run_program(
            "import os\nfor fd in range(3, 64):\n    try:\n        print(os.fstat(fd))\n    except OSError: pass"
        )
    assert done.output.strip() == ""


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox._isolation_command.cache_clear()
    try:
        with pytest.raises(NoSandbox, match="apt-get install bubblewrap"):
            run_program(f"open({str(tmp_path / 'ran')!r}, 'w')")
    finally:
        sandbox._isolation_command.cache_clear()
    assert not (tmp_path / "ran").exists()


def test_where_namespaces_are_forbidden_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sandbox._isolation_command.cache_clear()
    try:
        with pytest.raises(NoSandbox, match="No permissions to create new namespace"):
            run_program("print('ran')")
    finally:
        sandbox._isolation_command.cache_clear()
