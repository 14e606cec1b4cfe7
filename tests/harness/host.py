"""What the test machine has and lacks. It is read once; tests ask with marks or through the `host` fixture."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import prctl

from tests.harness.text import lines, read

# A slow (emulated) machine multiplies every time limit of the tests by this.
TIMEOUT_FACTOR = float(os.environ.get("OCIPY_TEST_TIMEOUT_FACTOR", "1"))

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x40000000

CAPABILITY_BITS = {"CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_MKNOD": 27, "CAP_SYS_TIME": 25}


def scaled(seconds: float) -> float:
    """A time limit, in seconds, for this machine."""
    return seconds * TIMEOUT_FACTOR


def wait_until(true: Callable[[], object], what: str = "", timeout: float = 10) -> None:
    """Wait until `true()` holds. Raises AssertionError after `timeout` seconds (scaled)."""
    deadline = time.monotonic() + scaled(timeout)
    pause = 0.002
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {scaled(timeout):g} s: {what or true}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def unshare(flags: int) -> None:
    """Move this process into new namespaces: unshare(2)."""
    _checked(_libc().unshare(flags), "unshare")


def setns(namespace: int) -> None:
    """Enter a namespace by its file descriptor: setns(2)."""
    _checked(_libc().setns(namespace, 0), "setns")


@contextmanager
def private_network() -> Iterator[None]:
    """Keep this process and its new children in a separate network namespace for a while."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    try:
        yield
    finally:
        setns(before)
        os.close(before)


def become_subreaper() -> None:
    """Adopt the runtime's orphans, above all the containers' inits: prctl(2)."""
    prctl.set_child_subreaper(True)


def umount(path: str) -> None:
    """Detach the mount at `path`, if any."""
    _libc().umount2(os.fsencode(path), 2)


class Host:
    """Facts of this machine."""

    def __init__(self) -> None:
        self.root = os.geteuid() == 0
        self.machine = os.uname().machine
        self.kernel = tuple(
            int("".join(c for c in part if c.isdigit()) or 0) for part in os.uname().release.split(".")[:2]
        )
        line = next(text for text in lines(read("/proc/self/status")) if text.startswith("CapEff:"))
        self.effective = int(line.split()[1], 16)
        self.cgroup = self._cgroup_mode()
        self.apparmor = _reads("/sys/module/apparmor/parameters/enabled") == "Y"
        self.selinux = Path("/sys/fs/selinux/enforce").exists()
        self.time_namespaces = Path("/proc/self/ns/time").exists()
        # The heading is one line, and each route another.
        self.network = _reads("/proc/net/route").count("\n") > 0

    @staticmethod
    def _cgroup_mode() -> str:
        """One of "v2" (unified), "hybrid", "v1", "none"."""
        base = Path("/sys/fs/cgroup")
        if (base / "cgroup.controllers").exists():
            return "v2"
        if (base / "unified" / "cgroup.controllers").exists():
            return "hybrid"
        return "v1" if base.is_dir() and any(base.iterdir()) else "none"

    def has_capability(self, name: str) -> bool:
        """Whether this process holds the capability (one of CAPABILITY_BITS) in its effective set."""
        return bool(self.effective >> CAPABILITY_BITS[name] & 1)


def _reads(path: str) -> str:
    try:
        return read(path).strip()
    except OSError:
        return ""
