"""The end of a cgroup: signal all processes in it, and remove the directories that create made."""

from __future__ import annotations

import posix
from errno import EBUSY, EINVAL, EMFILE, ENOTEMPTY, EROFS, ESRCH
from time import sleep

from ocipy.cgroups import files, freezer
from ocipy.cgroups.files import GONE
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import SIGKILL
from ocipy.linux.files import read_file
from ocipy.linux.text import stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.cgroups.cgroup import Cgroup

REMOVE_TRIES = 11
# How many pidfds are open at the same time.
BATCH = 256
# Descriptors that a walk through the cgroups needs.
FILES = 4


def kill_all(cgroup: Cgroup, signal: int) -> None:
    """Send a signal to every process in the cgroup and below. Raises OSError.

    SIGKILL is sent by cgroup.kill (Linux 5.14) if possible. Otherwise the processes are frozen while they are
    signalled, so that no fork escapes and no id is reused; on v1, SIGKILL takes effect only after the thaw.
    """
    if signal == SIGKILL and _kill_unified(cgroup) and cgroup.mode == "v2":
        if not any(map(_may_have_escaped, cgroup.processes())):
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
        if signal == SIGKILL:
            freezer.thaw_all(cgroup.paths)
        elif not was_frozen:
            freezer.thaw(cgroup.paths)


def _kill_unified(cgroup: Cgroup) -> bool:
    """Write to cgroup.kill. Returns whether that worked: not before Linux 5.14, and not in a threaded cgroup."""
    path = cgroup.path_of("")
    if not path:
        return False
    try:
        files.write(path + "/cgroup.kill", "1")
    except OSError:
        return False
    return True


def _may_have_escaped(pid: int) -> bool:
    """Whether cgroup.kill may have missed this process: it signals only main threads, and this one may be gone."""
    try:
        fields = stat_fields(read_file(f"/proc/{pid}/stat"))
    except OSError:
        return True
    return fields[0] == b"Z" and int(fields[17]) > 1


def _signal(cgroup: Cgroup, signal: int, frozen: bool) -> None:
    if not frozen:
        _signal_running(cgroup.processes, signal)
        return
    failure: OSError | None = None
    for pid in _in_our_namespace(cgroup.processes()):
        try:
            posix.kill(pid, signal)
        except ProcessLookupError:
            pass
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure


def _in_our_namespace(pids: list[int]) -> list[int]:
    """Leave out processes outside our pid namespace, reported as 0: to kill(2), that means our own process group."""
    return [pid for pid in pids if pid > 0]


def _signal_running(members: Callable[[], list[int]], signal: int) -> None:
    """Signal processes that are running, so that an id may be reused: open a pidfd, then check that the process is
    still a member.

    In batches, since a process may have only 1,024 open descriptors or fewer (RLIMIT_NOFILE), and a cgroup may have any
    number of processes.
    """
    # Without duplicates: the kernel may report a process twice if it moves meanwhile.
    pids = list(dict.fromkeys(_in_our_namespace(members())))
    failure: OSError | None = None
    while pids:
        held: dict[int, int] = {}
        try:
            _hold(pids, held)
            for pid in members():
                if pid in held:
                    try:
                        _kernel.pidfd_send_signal(held[pid], signal)
                    except ProcessLookupError:
                        pass
                    except OSError as error:
                        failure = error
        finally:
            for pidfd in held.values():
                posix.close(pidfd)
    if failure is not None:
        raise failure


def _hold(pids: list[int], held: dict[int, int]) -> None:
    """Take a batch from the list, and open a pidfd for each process that is alive."""
    # Reserve the descriptors that it takes to list the members again.
    spare: list[int] = []
    try:
        while len(spare) < FILES:
            spare.append(posix.open("/", posix.O_PATH | posix.O_CLOEXEC))
        while pids and len(held) < BATCH:
            try:
                held[pids[-1]] = _kernel.pidfd_open(pids[-1], 0)
            except OSError as error:
                if error.errno == EMFILE and held:
                    return
                if error.errno not in (ESRCH, EINVAL):
                    raise
            pids.pop()
    finally:
        for fd in spare:
            posix.close(fd)


def remove(cgroup: Cgroup) -> None:
    """Remove the directories that create made. Raises Error, OSError.

    The container's own cgroup is removed with its processes and everything below it; a parent only if it is empty.
    """
    places = set(cgroup.paths.values())
    # After a normal end they are empty. Otherwise the freezer's comes first: processes frozen there cannot die.
    leaves = [path for path in cgroup.created if path in places and not _rmdir(path)]
    leaves.sort(key=lambda path: path != freezer.find(cgroup.paths)[1])
    for path in leaves:
        _empty(path)
    for path in reversed(cgroup.created):
        if path not in places:
            _rmdir(path)


def _rmdir(path: str) -> bool:
    """Remove a cgroup. Returns False if it is not empty. A missing one, and a read-only filesystem, are not errors."""
    try:
        posix.rmdir(path)
    except OSError as error:
        if error.errno in (EBUSY, ENOTEMPTY):
            return False
        if error.errno not in (*GONE, EROFS):
            raise
    return True


def _empty(path: str) -> None:
    """Kill the remaining processes in a cgroup and below it, and remove it, children first."""
    pause = 0.001
    for left in range(REMOVE_TRIES, 0, -1):
        files.walk(path, leave=_rmdir_at)
        _rmdir(path)
        if not files.is_present(path):
            return
        if left > 1:
            _signal_running(lambda: files.processes(path), SIGKILL)
            if files.is_present(path + "/freezer.state"):
                freezer.thaw_all({"freezer": path})
            sleep(pause)
            pause *= 2
    raise Error(
        f"cannot remove the cgroup {path}: {len(files.processes(path))} processes in it do not exit",
        pointer="/linux/cgroupsPath",
        hint="one of them may be stuck in the kernel, in a filesystem or a driver",
    )


def _rmdir_at(above: int, name: str) -> None:
    try:
        posix.rmdir(name, dir_fd=above)
    except OSError as error:
        if error.errno not in (EBUSY, ENOTEMPTY, EROFS, *GONE):
            raise
