"""Freeze and thaw a cgroup, with v1's freezer controller or v2's cgroup.freeze.

Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst, Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import posix
from time import sleep

from ocipy.cgroups import files
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLPRI, SIGKILL
from ocipy.linux.files import read_file
from ocipy.linux.text import value_of, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

V1_TRIES = 1000
V2_PATIENCE_MS = 10_000


def find(paths: Mapping[str, str]) -> tuple[bool, str]:
    """Return (True, directory of the v1 freezer), or (False, v2 directory or "") if there is no v1 freezer."""
    path = files.path_of(paths, "freezer")
    return (True, path) if path else (False, paths.get("", ""))


def freeze(paths: Mapping[str, str]) -> None:
    """Freeze a cgroup and wait until it is frozen. If that fails, thaw it again and raise Error or OSError."""
    v1, path = find(paths)
    if not path:
        raise Error(
            "cannot freeze: the container has no cgroup with a freezer",
            hint="the runtime could not make one; without root, it needs a delegated cgroup",
        )
    if v1:
        _freeze_v1(path)
    else:
        _freeze_v2(path)


def _freeze_v1(path: str) -> None:
    # A process that forks while the kernel walks the list keeps the state at FREEZING. Writing again includes the new
    # processes. Now and then all must run for a moment, so that what the forks wait for can happen.
    try:
        for attempt in range(V1_TRIES):
            if attempt % 50 == 49:
                files.write(path + "/freezer.state", "THAWED")
                sleep(0.01)
            files.write(path + "/freezer.state", "FROZEN")
            if attempt > 3:
                sleep(0.001 if attempt < 25 else 0.01)
            if files.read(path + "/freezer.state").strip() == "FROZEN":
                if not _has_dying_process(path):
                    return
                # The process would stay frozen forever and seem to ignore SIGKILL: let it die first.
                _thaw_v1(path)
                sleep(0.01)
        raise Error("cannot freeze the container", hint="a process is stuck in the kernel")
    except BaseException:
        _thaw_v1(path)
        raise


def _has_dying_process(path: str) -> bool:
    """Whether SIGKILL is pending for a process in the cgroup: on v1 it takes effect only after the thaw.

    Skips a cgroup below that the container itself has frozen, since it stays frozen whatever happens to this one.
    """
    pids: list[int] = []
    topmost = True

    def look(fd: int) -> bool:
        nonlocal topmost
        try:
            if not topmost and files.read_at(fd, "freezer.self_freezing").startswith(b"1"):
                return True
            pids.extend(map(int, words_of(files.read_at(fd, "cgroup.procs"))))
        except OSError as error:
            if error.errno not in files.GONE:
                raise
        topmost = False
        return False

    files.walk(path, look)
    return any(_is_dying(pid) for pid in pids)


def _is_dying(pid: int) -> bool:
    """Whether SIGKILL is pending (proc_pid_status(5), SigPnd and ShdPnd)."""
    try:
        status = read_file(f"/proc/{pid}/status")
    except OSError:
        return False
    bit = 1 << (SIGKILL - 1)
    return any(int(value_of(status, name) or b"0", 16) & bit for name in (b"SigPnd", b"ShdPnd"))


def _freeze_v2(path: str) -> None:
    fd = posix.open(path + "/cgroup.events", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        files.write(path + "/cgroup.freeze", "1")
        deadline = _kernel.monotonic_ns() + V2_PATIENCE_MS * 1_000_000
        while b"frozen 1" not in posix.pread(fd, 4096, 0):
            left = (deadline - _kernel.monotonic_ns()) // 1_000_000
            if left <= 0:
                raise Error("cannot freeze the container", hint="a process is stuck in the kernel")
            # The kernel signals a change of the file as POLLPRI. The timeout covers a change between read and poll.
            _kernel.poll([(fd, POLLPRI)], min(left, 50))
    except BaseException:
        files.write(path + "/cgroup.freeze", "0")
        raise
    finally:
        posix.close(fd)


def thaw(paths: Mapping[str, str]) -> None:
    """Thaw a cgroup. A removed one counts as thawed. Raises OSError."""
    v1, path = find(paths)
    if not path:
        return
    try:
        if v1:
            _thaw_v1(path)
        else:
            files.write(path + "/cgroup.freeze", "0")
    except OSError as error:
        if error.errno not in files.GONE:
            raise


def thaw_all(paths: Mapping[str, str]) -> None:
    """Thaw a cgroup. On v1 also those below it, which its processes may have frozen: SIGKILL must reach all.

    Removed cgroups count as thawed. Raises OSError.
    """
    v1, path = find(paths)
    if v1:
        files.walk(path, _thaw_open)
    elif is_frozen(paths):
        thaw(paths)


def _thaw_open(fd: int) -> None:
    try:
        files.write_at(fd, "freezer.state", b"THAWED")
    except OSError as error:
        if error.errno not in files.GONE:
            raise


def _thaw_v1(path: str) -> None:
    files.write(path + "/freezer.state", "THAWED")


def is_frozen(paths: Mapping[str, str]) -> bool:
    """Whether this cgroup itself was frozen. A container is not paused if only a parent is frozen."""
    v1, path = find(paths)
    if not path:
        return False
    try:
        if not v1:
            return files.read(path + "/cgroup.freeze").startswith("1")
        if files.read(path + "/freezer.state").startswith("THAWED"):
            return False
        return files.read(path + "/freezer.self_freezing").startswith("1")
    except OSError:
        return False


def blocks_newcomers(paths: Mapping[str, str]) -> bool:
    """Whether a process that joins now would be frozen by this cgroup or one above it. Raises OSError."""
    v1, path = find(paths)
    if not path:
        return False
    if v1:
        return not files.read(path + "/freezer.state").startswith("THAWED")
    return "frozen 1" in files.read(path + "/cgroup.events")
