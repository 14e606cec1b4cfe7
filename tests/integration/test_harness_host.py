"""The harness's promise to its user: `make test` leaves the host unchanged, or names the test that changed it."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.look import proc_mounts
from tests.harness.private import TOP, is_protected
from tests.harness.untouched import HOSTS_DEV, Untouched

pytestmark = pytest.mark.ocipy_only("about the harness alone")

# A separate session in this session's namespaces, which it treats as the host.
NESTED = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-p",
    "tests.conftest",
    "-p",
    "tests.integration.conftest",
    "-p",
    "no:cacheprovider",
]


def nested(work: Path, source: str, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run tests, given as text, with the fixtures of the integration tests."""
    file = work / "test_nested.py"
    file.write_text("import os, pytest, signal, subprocess\n" + source)
    command = [*(prefix or []), *NESTED, f"--rootdir={work}", "-c", "/dev/null", str(file)]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def host(private_host: Untouched | None) -> Untouched:
    """The remembered state of the host."""
    assert private_host is not None
    assert private_host.quick() == []
    return private_host


@pytest.mark.parametrize("path", ["/bin/sh", "/usr/bin/nsenter", "/bin/busybox", "/etc/passwd"])
def test_files_of_the_host_are_read_only(path: str) -> None:
    assert is_protected(Path(path)) and is_protected(Path(sys.executable))
    with pytest.raises(OSError) as caught:
        os.close(os.open(path, os.O_WRONLY))
    assert caught.value.errno in (errno.EROFS, errno.ETXTBSY)


def test_nodes_of_dev_belong_to_the_session(host: Untouched) -> None:
    """Their owners and names; containers with the host's /dev have changed those."""
    os.chown("/dev/null", 1234, 1234)
    Path("/dev/stdout").unlink()
    Path("/dev/stdout").symlink_to("/dev/null")
    changed = host.quick()
    Path("/dev/stdout").unlink()
    Path("/dev/stdout").symlink_to("/proc/self/fd/1")
    host.restore()
    assert [line.split(": ")[0] for line in changed] == ["/dev/null", "/dev/stdout"], "and no line of the host's /dev"
    assert host.quick() == []


def test_remount_of_proc_does_not_reach_the_host(host: Untouched) -> None:
    """hidepid would hide other users' processes from each user."""
    subprocess.run(["mount", "-o", "remount,hidepid=2", "/proc"], check=True)
    hidden = [mount for mount in proc_mounts() if mount.point == "/proc" and "hidepid=invisible" in mount.super_options]
    changed = host.quick()
    host.restore()
    assert len(hidden) == len(changed) == 1
    assert hidden[0] == [mount for mount in proc_mounts() if mount.point == "/proc"][-1] or host.quick() == []
    assert host.quick() == []


def test_hostname_belongs_to_the_session(work: Path) -> None:
    before = socket.gethostname()
    outside = os.readlink(f"/proc/{os.getppid()}/ns/uts")
    assert os.readlink("/proc/self/ns/uts") != outside
    socket.sethostname("of-a-test")
    socket.sethostname(before)


def test_the_test_that_changes_the_host_is_named(work: Path, host: Untouched) -> None:
    """The host's settings are restored."""
    evil = f"['nsenter', '-t', '{os.getpid()}', '-m', 'chown', '1234', '/dev/null']"
    result = nested(
        work, f"def test_one(): pass\ndef test_two(): subprocess.run({evil}, check=True)\ndef test_three(): pass\n"
    )
    assert "3 passed, 1 error" in result.stdout, result.stdout + result.stderr
    assert "ERROR at teardown of test_two" in result.stdout and f"{HOSTS_DEV}null: " in result.stdout
    assert host.quick() == []


def test_a_changed_program_is_noticed(work: Path) -> None:
    """This happens at the end of the session, even if its size and times are unchanged."""
    file = work / "program"
    file.write_text("one")
    here = Untouched([file])
    here.begin()
    about = file.stat()
    file.write_text("two")
    assert [line.split(": ")[0] for line in here.quick()] == [str(file)]
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert here.quick() == []
    assert [line.split(": ")[0] for line in here.thorough()] == [str(file)]
    here.close()


def test_a_damaged_program_is_not_run_by_the_hosts_shell(entering: Path, work: Path) -> None:
    """execvp(3) does that, and a container could overwrite the shell (CVE-2019-5736)."""
    spoilt = work / "spoilt"
    spoilt.write_text(f"touch {shlex.quote(str(work / 'ran'))}\n")
    spoilt.chmod(0o755)
    assert subprocess.run([entering, str(os.getpid()), spoilt], check=False).returncode == 126
    assert not (work / "ran").exists()
    sound = shutil.copy("/bin/busybox", work)
    assert subprocess.run([entering, str(os.getpid()), sound, "sh", "-c", "exit 7"], check=False).returncode == 7


def test_signals_that_nohup_ignores_are_default_in_programs_that_tests_execute(work: Path) -> None:
    source = """
def test_children():
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    values = dict(line.split(":\\t", 1) for line in status.splitlines())
    # HUP, INT and QUIT; what libc has posix_spawn(3) ignore, 32 and 33, is its own affair.
    assert [int(values[name], 16) & 0b111 for name in ("SigIgn", "SigBlk")] == [0, 0]

def test_session_goes_on():
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        os.kill(os.getpid(), number)
"""
    result = nested(work, source, ["sh", "-c", "trap '' HUP INT QUIT; exec \"$@\"", "sh"])
    assert "2 passed" in result.stdout, result.stdout + result.stderr
