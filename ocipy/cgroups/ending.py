"""The end of a cgroup: signals to all in it, and removing what create made."""

from __future__ import annotations

import posix
from errno import EBUSY, EINVAL, ENODEV, ENOENT, ENOTEMPTY, EROFS, ESRCH
from time import sleep

from ocipy.cgroups import files, freezer
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.cgroups.cgroup import Cgroup

GONE = (ENOENT, ENODEV)
REMOVE_TRIES = 11


def kill_all(cgroup: Cgroup, signal: int) -> None:
    """Send a signal to every process in the cgroup and below. Raises OSError.

    SIGKILL goes by cgroup.kill (Linux 5.14) where there is one. Otherwise all are frozen while they are signalled, so
    that no fork escapes and no id is another's by the time; SIGKILL takes effect on v1 only after the thaw.
    """
    if signal == SIGKILL and _kill_unified(cgroup) and cgroup.mode == "v2":
        return
    was_frozen = freezer.is_frozen(cgroup.paths)
    if not cgroup.processes():
        return
    still = was_frozen
    if not was_frozen:
        try:
            freezer.freeze(cgroup.paths)
            still = True
        except (OSError, Error):
            pass
    try:
        _signal(cgroup, signal, still)
    finally:
        if not was_frozen or signal == SIGKILL:
            freezer.thaw(cgroup.paths)


def _kill_unified(cgroup: Cgroup) -> bool:
    """Whether cgroup.kill took it: not before Linux 5.14, and not in a threaded cgroup."""
    path = cgroup.path_of("")
    if not path:
        return False
    try:
        files.write(path + "/cgroup.kill", "1")
    except OSError:
        return False
    return True


def _signal(cgroup: Cgroup, signal: int, frozen: bool) -> None:
    if not frozen:
        _signal_running(cgroup.processes, signal)
        return
    for pid in cgroup.processes():
        try:
            posix.kill(pid, signal)
        except ProcessLookupError:
            pass


def _signal_running(members: Callable[[], list[int]], signal: int) -> None:
    """They run, so an id may be another's by now: hold the process first, then see that it is still one of them."""
    held: list[tuple[int, int]] = []
    try:
        for pid in members():
            try:
                held.append((pid, _kernel.pidfd_open(pid, 0)))
            except OSError as error:
                if error.errno not in (ESRCH, EINVAL):
                    raise
        still = set(members())
        for pid, pidfd in held:
            if pid in still:
                try:
                    _kernel.pidfd_send_signal(pidfd, signal)
                except ProcessLookupError:
                    pass
    finally:
        for _, pidfd in held:
            posix.close(pidfd)


def remove(cgroup: Cgroup) -> None:
    """Remove the directories that create made. Raises Error, OSError.

    A container's own cgroup goes with what is below and in it; a parent only if it is empty.
    """
    places = set(cgroup.paths.values())
    # After a normal end there is nothing in them. The freezer's first: what is frozen there does not die elsewhere.
    leaves = [path for path in cgroup.created if path in places and not _rmdir(path)]
    leaves.sort(key=lambda path: path != freezer.place(cgroup.paths)[1])
    for path in leaves:
        _empty(path)
    for path in reversed(cgroup.created):
        if path not in places:
            _rmdir(path)


def _rmdir(path: str) -> bool:
    """Whether it is gone, or cannot be removed and it is not our business (a read-only host)."""
    try:
        posix.rmdir(path)
    except OSError as error:
        if error.errno in (EBUSY, ENOTEMPTY):
            return False
        if error.errno not in (*GONE, EROFS):
            raise
    return True


def _empty(path: str) -> None:
    """Kill what is left in a cgroup and below, and remove it, children first."""
    pause = 0.001
    for left in range(REMOVE_TRIES, 0, -1):
        files.walk(path, _rmdir_quietly)
        if not files.exists(path):
            return
        if left > 1:
            _signal_running(lambda: files.processes(path), SIGKILL)
            if files.exists(path + "/freezer.state"):
                files.walk(path, _thaw_quietly)
            sleep(pause)
            pause *= 2
    raise Error(
        f"cannot remove the cgroup {path}: {len(files.processes(path))} processes in it do not end",
        pointer="/linux/cgroupsPath",
        hint="one may hang in the kernel, in a filesystem or a driver",
    )


def _rmdir_quietly(path: str) -> None:
    _rmdir(path)


def _thaw_quietly(path: str) -> None:
    try:
        files.write(path + "/freezer.state", "THAWED")
    except OSError as error:
        if error.errno not in GONE:
            raise
